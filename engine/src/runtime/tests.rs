//! Whole jobs over logs in memory: several streams, several outputs, restarts. Invariant checked: every row reaches each output once,
//! the counts balance, and what an unread partition still holds is kept.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr_common::operator::Operator;
use datafusion_physical_expr::expressions::{binary, col, lit};

use super::*;
use crate::batch::{ContentType, Record};
use crate::changes::Changes;
use crate::contract::{LogStore, PreCommit, Sink};
use crate::error::Result;
use crate::ids::{Epoch, Name};
use crate::limits::{APART_QUIET_MS, APART_ROWS_MIN, DISK_SCARCE_BYTES};
use crate::log::sim::SimDisk;
use crate::log::{Durability, MemoryLog};
use crate::plan::{
    Column, ColumnSource, From, Input, JobPlan, Lateness, OutputPlan, RowTime, Scan, Stage, Step, StepKind, Window, WindowParameters,
};
use crate::system::SystemClock;
use crate::time::{self, MILLISECOND, Micros, SECOND};

mod idle;
mod panics;
mod starting;
mod state;

const PATIENCE: Duration = Duration::from_secs(30);

/// Rows that a sink committed.
type Table = Arc<Mutex<Vec<RecordBatch>>>;

struct Memory {
    app: String,
    table: Table,
    written: Vec<RecordBatch>,
    prepared: Vec<RecordBatch>,
}

impl Sink for Memory {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.written.push(rows.clone());
        Ok(())
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<PreCommit> {
        self.prepared.append(&mut self.written);
        Ok(PreCommit { app_id: self.app.clone(), epoch, previous: 0, files: vec![], removes: vec![], event_time_max: None })
    }

    fn commit(&mut self, prepared: &PreCommit) -> Result<()> {
        assert_eq!(prepared.app_id, self.app, "sinks stay in their order");
        self.table.lock().unwrap().append(&mut self.prepared);
        Ok(())
    }

    fn recover(&mut self, prepared: &PreCommit) -> Result<()> {
        assert_eq!(prepared.app_id, self.app, "sinks stay in their order");
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        Ok(())
    }
}

fn scan(stream: &str, idle_timeout: Micros) -> Scan {
    let column = |name: &str, data_type| {
        let field: FieldRef = Arc::new(Field::new(name, data_type, true));
        Column { field, source: ColumnSource::Payload, time_unit: MILLISECOND }
    };
    Scan {
        stream: Name::new(stream).unwrap(),
        table: Name::new(stream).unwrap(),
        format: "json".to_owned(),
        columns: vec![column("ts", time::timestamp_type()), column("v", DataType::Int64)],
        projection: vec![0, 1],
        row_time: Some(RowTime { column: 0, delay: 0 }),
        watermark: None,
        format_options: std::collections::BTreeMap::new(),
        future_tolerance: SECOND,
        idle_timeout,
        start: None,
    }
}

fn schema() -> SchemaRef {
    scan("a", 0).schema()
}

fn input(scan: usize, late: Lateness, stages: Vec<Stage>) -> Input {
    Input { scan, stages, window: None, late, unit: MILLISECOND, schema: schema() }
}

fn output(from: From) -> OutputPlan {
    OutputPlan { from, schema: schema(), updating: false, key: vec![] }
}

/// All rows that are not late of two streams into output 0, rows of the first over 10 into output 1.
fn plan(idle_timeout: [Micros; 2]) -> JobPlan {
    let over = binary(col("v", &schema()).unwrap(), Operator::Gt, lit(ScalarValue::Int64(Some(10))), &schema()).unwrap();
    let timely = Lateness::Row { time: 0 };
    JobPlan {
        scans: vec![scan("a", idle_timeout[0]), scan("b", idle_timeout[1])],
        inputs: vec![input(0, timely, vec![]), input(0, Lateness::Keep, vec![Stage::Filter(over)]), input(1, timely, vec![])],
        steps: vec![Step { inputs: vec![From::Input(0), From::Input(2)], kind: StepKind::Union, schema: schema() }],
        outputs: vec![output(From::Step(0)), output(From::Input(1))],
        parallelism: 1,
    }
}

struct Bench {
    supervisor: Supervisor,
    logs: Vec<Arc<MemoryLog>>,
    disk: SimDisk,
    /// Two outputs, late rows, rejects of two scans.
    tables: [Table; 5],
}

impl Bench {
    fn new(partitions: [u32; 2]) -> Self {
        let (clock, disk) = (Arc::new(SystemClock::new()), SimDisk::default());
        let environment = Environment {
            disk: Arc::new(disk.clone()),
            clock: clock.clone(),
            directory: "checkpoints".into(),
            checkpoint_interval: Duration::from_millis(5),
        };
        let log = |n| Arc::new(MemoryLog::new(n, clock.clone(), Durability::AtOnce));
        Self { supervisor: Supervisor::new(environment), logs: partitions.map(log).into(), disk, tables: Default::default() }
    }

    fn start(&self, plan: JobPlan, logs: &[usize]) {
        self.supervisor.start(self.spec("job", plan, logs)).unwrap();
    }

    fn spec(&self, name: &str, plan: JobPlan, logs: &[usize]) -> JobSpec {
        let tables = self.tables.clone();
        let sinks = move || {
            let sink = |i: usize| -> Box<dyn Sink> {
                Box::new(Memory { app: i.to_string(), table: tables[i].clone(), written: vec![], prepared: vec![] })
            };
            Ok(Sinks { main: vec![sink(0), sink(1)], late: Some(sink(2)), rejects: vec![sink(3), sink(4)] })
        };
        JobSpec {
            name: name.to_owned(),
            sql: String::new(),
            kind: JobKind::Query { plan, references: vec![] },
            logs: logs.iter().map(|&i| self.logs[i].clone() as Arc<dyn LogStore>).collect(),
            sinks: Box::new(sinks),
            start: StartAt::Earliest,
            state_memory: None,
        }
    }

    /// Leaves so much of the disk free.
    fn leave(&self, free: u64) {
        self.disk.faults.taken.store(u64::MAX - free, Ordering::Relaxed);
    }

    fn feed(&self, log: usize, device: &str, rows: &[(i64, i64)]) {
        for (second, v) in rows {
            self.feed_text(log, device, &format!(r#"{{"ts":"{}","v":{v}}}"#, time::format(second * SECOND)));
        }
    }

    fn feed_text(&self, log: usize, device: &str, payload: &str) {
        let content_type = ContentType::Json;
        let record = Record { device, topic: "t", content_type, producer: None, payload: payload.as_bytes() };
        self.logs[log].append(&record).unwrap();
    }

    fn until(&self, what: &str, done: impl Fn(&JobStatus) -> bool) -> JobStatus {
        let began = Instant::now();
        loop {
            let status = self.supervisor.status("job").unwrap();
            if done(&status) {
                return status;
            }
            assert!(!matches!(status.life, JobState::Failed(_)) && began.elapsed() < PATIENCE, "{what}: {status:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Values of a column, sorted.
    fn values(&self, table: usize) -> Vec<i64> {
        let batches = self.tables[table].lock().unwrap();
        let mut values: Vec<i64> =
            batches.iter().flat_map(|b| b.column_by_name("v").unwrap().as_primitive::<Int64Type>().values().to_vec()).collect();
        values.sort_unstable();
        values
    }

    fn count(&self, table: usize) -> usize {
        self.tables[table].lock().unwrap().iter().map(RecordBatch::num_rows).sum()
    }
}

#[test]
fn two_streams_and_two_outputs_survive_a_restart() {
    let bench = Bench::new([2, 1]);
    bench.feed(0, "x", &[(10, 1), (30, 20), (20, 30)]);
    bench.feed(1, "y", &[(5, 2), (6, 3)]);
    bench.start(plan([time::DAY; 2]), &[0, 1]);
    bench.until("the first records", |s| s.committed.consumed == 5);
    bench.feed_text(0, "x", "no json");
    bench.feed_text(1, "y", r#"{"v":7}"#);
    bench.supervisor.stop("job").unwrap();
    bench.feed(0, "x", &[(40, 40), (35, 50)]);
    bench.feed(1, "y", &[(6, 4), (7, 5)]);
    bench.start(plan([time::DAY; 2]), &[0, 1]);
    let status = bench.until("all records", |s| s.committed.consumed == 11 && s.lag == 0);
    let c = &status.committed;
    assert_eq!((c.row_balance(), c.expanded, c.filtered, c.late, c.rejected), (0, 5, 1, 3, 2), "{c:?}");
    assert_eq!((c.passed, c.written, c.held), (10, 10, 0), "{c:?}");
    assert_eq!(bench.values(0), [1, 2, 3, 5, 20, 40]);
    assert_eq!(bench.values(1), [20, 30, 40, 50], "an output of all rows has those that are late elsewhere");
    assert_eq!((bench.count(2), bench.count(3), bench.count(4)), (3, 0, 0), "decode rejects are the archive's");
}

#[test]
fn a_job_waits_while_only_the_log_may_take_room_and_loses_nothing() {
    let bench = Bench::new([2, 1]);
    bench.feed(0, "x", &[(10, 1)]);
    bench.start(plan([time::DAY; 2]), &[0, 1]);
    bench.until("the first record", |s| s.committed.consumed == 1);
    bench.leave(DISK_SCARCE_BYTES);
    let waiting = bench.until("the job waits", |s| matches!(s.life, JobState::Restarting(_)));
    assert!(matches!(&waiting.life, JobState::Restarting(why) if why.contains("kept for the log")), "{waiting:?}");
    bench.feed(0, "x", &[(11, 2), (12, 3)]);
    let wrote = bench.disk.files().len();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(bench.disk.files().len(), wrote);
    assert_eq!(bench.until("it still waits", |_| true).committed.consumed, 1);
    bench.leave(DISK_SCARCE_BYTES + 1);
    let status = bench.until("all records", |s| s.committed.consumed == 3 && s.lag == 0);
    assert_eq!((status.life, bench.values(0)), (JobState::Running, vec![1, 2, 3]));
}

#[test]
fn a_job_that_retention_waits_for_goes_on_where_only_the_log_may_take_room() {
    let bench = Bench::new([1, 1]);
    bench.leave(DISK_SCARCE_BYTES);
    bench.feed(0, "x", &[(10, 1), (11, 2)]);
    bench.start(plan([time::DAY; 2]), &[0, 1]);
    bench.until("the job waits", |s| matches!(s.life, JobState::Restarting(_)));
    bench.logs[0].retain_from(0, 2);
    assert_eq!(bench.logs[0].bounds(0).start, 0, "the job has not read it");
    bench.until("the records that retention waits for", |s| s.committed.consumed == 2);
    // The log is held at the oldest checkpoint that is kept.
    let mut consumed = 2;
    while bench.logs[0].bounds(0).start < 2 {
        consumed += 1;
        bench.feed(0, "x", &[(12, 3)]);
        bench.until("one record more", |s| s.committed.consumed == consumed);
        bench.logs[0].retain_from(0, 2);
    }
    bench.until("it waits again", |s| matches!(s.life, JobState::Restarting(_)));
}

#[test]
fn an_idle_stream_is_carried_along_by_the_other() {
    let bench = Bench::new([1, 1]);
    bench.start(plan([time::DAY, 20 * MILLISECOND]), &[0, 1]);
    bench.feed(1, "y", &[(1, 1)]);
    bench.feed(0, "x", &[(50, 2)]);
    let followed = bench.until("the idle stream follows", |s| s.counters.consumed == 2 && s.watermark == Some(50 * SECOND));
    assert_eq!(followed.counters.late, 0);
    bench.feed(1, "y", &[(50, 3), (51, 4)]);
    bench.until("the next records", |s| s.committed.consumed == 4);
    assert_eq!((bench.values(0), bench.count(2)), (vec![1, 2, 4], 1));
}

#[test]
fn when_all_are_idle_event_time_is_that_of_the_foremost() {
    let bench = Bench::new([1, 1]);
    bench.start(plan([20 * MILLISECOND; 2]), &[0, 1]);
    bench.feed(1, "y", &[(1, 1)]);
    bench.feed(0, "x", &[(50, 2)]);
    let last = bench.until("both are at the end", |s| s.counters.consumed == 2 && s.watermark == Some(50 * SECOND));
    assert_eq!(last.counters.late, 0);
}

#[test]
fn a_stream_that_is_scanned_twice_is_kept_for_the_scan_that_is_behind() {
    let bench = Bench::new([2, 1]);
    bench.feed(1, "y", &[(1, 1), (2, 2)]);
    bench.start(plan([time::DAY; 2]), &[1, 1]);
    let status = bench.until("all records, twice", |s| s.committed.consumed == 4);
    assert_eq!(status.lag, 0);
    assert_eq!(bench.values(0), [1, 1, 2, 2]);
    bench.supervisor.stop("job").unwrap();
    bench.feed(1, "y", &[(3, 3), (4, 4)]);
    let start_without = |pin: &str| {
        bench.logs[1].unpin(pin);
        bench.logs[1].retain_from(0, 4);
        bench.logs[1].bounds(0).start
    };
    assert!(start_without("job") <= 2, "the second scan has a pin of its own");
    assert_eq!(start_without("job#1"), 4);
}

#[test]
fn partitions_with_much_to_read_go_apart_and_come_home_and_lose_nothing() {
    let bench = Bench::new([2, 1]);
    let many = 6 * APART_ROWS_MIN as i64;
    let feed = |from: i64, rows: i64| {
        let rows: Vec<(i64, i64)> = (from..from + rows).map(|v| (v, v)).collect();
        for (i, rows) in rows.chunks(100).enumerate() {
            bench.feed(0, ["x", "y", "z"][i % 3], rows);
        }
    };
    feed(0, many);
    bench.start(plan([time::DAY; 2]), &[0, 1]);
    // Somewhere on the way.
    bench.supervisor.stop("job").unwrap();
    bench.start(plan([time::DAY; 2]), &[0, 1]);
    bench.until("most records", |s| s.counters.consumed > many as u64 / 2);
    bench.supervisor.stop("job").unwrap();
    bench.start(plan([time::DAY; 2]), &[0, 1]);
    bench.until("many records", |s| s.committed.consumed == many as u64);
    std::thread::sleep(Duration::from_millis(APART_QUIET_MS + 500));
    feed(many, 10);
    bench.until("a few at home", |s| s.committed.consumed == many as u64 + 10);
    feed(many + 10, many);
    let all = 2 * many + 10;
    let status = bench.until("many again", |s| s.committed.consumed == all as u64 && s.lag == 0);
    let c = &status.committed;
    assert_eq!((c.row_balance(), c.filtered, c.passed + c.late, c.rejected), (0, 11, 2 * all as u64 - 11, 0), "{c:?}");
    let over: Vec<i64> = (11..all).collect();
    assert_eq!(bench.values(1), over);
}

/// Windows of 10 s and of 20 s over one stream, each with a row for each value.
fn windows() -> JobPlan {
    let windowed = |seconds: i64| {
        let keys = vec![(col("v", &schema()).unwrap(), schema().fields()[1].clone())];
        let parameters = WindowParameters { kind: "tumble".to_owned(), sizes: vec![seconds * SECOND], offset: 0 };
        let window = Window { parameters, time: 0, keys, aggregates: vec![] };
        Input { schema: window.schema(), window: Some(window), ..input(0, Lateness::Keep, vec![]) }
    };
    JobPlan {
        scans: vec![scan("a", time::DAY)],
        inputs: vec![windowed(10), windowed(20)],
        steps: vec![],
        outputs: vec![output(From::Input(0)), output(From::Input(1))],
        parallelism: 1,
    }
}

#[test]
fn several_windows_over_one_stream_survive_a_restart() {
    let bench = Bench::new([1, 1]);
    bench.feed(0, "x", &[(1, 1), (2, 2), (11, 3)]);
    bench.start(windows(), &[0]);
    let before = bench.until("the first records", |s| s.committed.consumed == 3).committed;
    assert_eq!((before.aggregated, before.emitted, before.open, before.expanded), (6, 2, 4, 3));
    assert_eq!((bench.values(0), bench.values(1)), (vec![1, 2], vec![]));
    bench.supervisor.stop("job").unwrap();
    bench.start(windows(), &[0]);
    bench.feed(0, "x", &[(12, 4), (3, 5), (40, 6)]);
    let after = bench.until("all records", |s| s.committed.consumed == 6).committed;
    assert_eq!((after.row_balance(), after.window_balance(), after.late, after.windows), (0, 0, 1, 3), "{after:?}");
    assert_eq!((bench.values(0), bench.values(1)), (vec![1, 2, 3, 4], vec![1, 2, 3, 4, 5]));
}

#[test]
fn changes_are_refused_where_only_new_rows_may_come() {
    let rows = RecordBatch::new_empty(schema());
    let kinds = |kinds| Changes { rows: rows.clone(), kinds };
    let mut sink = Memory { app: String::new(), table: Table::default(), written: vec![], prepared: vec![] };
    sink.change(&kinds(None)).unwrap();
    assert!(sink.change(&kinds(Some(vec![]))).is_err());
    assert_eq!(sink.written.len(), 1);
}
