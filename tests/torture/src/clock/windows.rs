//! Windows of a job under a clock that jumps, with a restart after each kind of jump. Invariant: the same records give the same windows as
//! without jumps, none of them is late or rejected for them, and no start lets retention have more than the oldest segment of a partition.
//!
//! Event times are those of devices whose clocks are right: a day behind them, the machine must not take them for rows from the future,
//! and ten years ahead, it must not close their windows. Monotonic time is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::SqlService;
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::{Clock, LogStore};
use thalweg_engine::ids::Name;
use thalweg_engine::log::Log;
use thalweg_engine::runtime::JobState;
use thalweg_engine::system::{RealDisk, SystemClock};
use thalweg_engine::time::{DAY, MILLISECOND, Micros, SECOND, format};
use tokio::runtime::Runtime;

use crate::exactly_once::reader;
use crate::harness::{Report, Settings};
use crate::machine;

use super::{PARTITIONS, RETENTION, WAIT};

const STREAM: &str = "telemetry";
const JOB: &str = "windows";
/// Devices that send in turn.
const DEVICES: u64 = 8;
/// Records of one life of the engine.
const RECORDS: u64 = 100;
/// From one record to the next by event time. Some come up to a second and a half later than in order.
const STEP: Micros = SECOND / 4;
/// Event time begins so long before the first record is sent.
const AGE: Micros = 1_200 * SECOND;
/// The last records come so long after the first by event time: they close all windows, and lie in the past, too.
const CLOSING: Micros = 600 * SECOND;
const PAUSE: Duration = Duration::from_millis(1);
const LOOK: Duration = Duration::from_millis(20);
const STANDSTILL: Duration = Duration::from_secs(60);

/// How far from the truth the wall clock is, in turn from record to record; one line a life of the engine.
const LIVES: [&[Micros]; 5] = [&[0], &[-DAY], &[10 * 365 * DAY], &[0, -DAY, 10 * 365 * DAY, 60 * SECOND, -SECOND], &[10 * 365 * DAY, -DAY]];

const STATEMENTS: &str = "
    CREATE TABLE telemetry (device_id STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
      WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json', 'scan.watermark.idle-timeout' = '1h');
    CREATE TABLE windows (window_start TIMESTAMP(3), window_end TIMESTAMP(3), device_id STRING, n BIGINT, total BIGINT)
      WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'torture@example.com', 'description' = 'windows under a clock that jumps');
    INSERT INTO windows SELECT window_start, window_end, device_id, COUNT(*), SUM(v)
      FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, device_id;";

/// The machine's clock, away from the truth.
#[derive(Debug, Default)]
struct SkewedClock {
    machine: SystemClock,
    distance: AtomicI64,
}

impl Clock for SkewedClock {
    fn now(&self) -> Micros {
        self.machine.now().saturating_add(self.distance.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}

/// What a run does with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing.
    Straight,
    /// It jumps.
    Jumping,
    /// It jumps, and so do the devices: a seeded bug.
    DevicesToo,
}

/// What came of a run.
#[derive(Debug, Default)]
struct Outcome {
    /// (begin of a window, device) → (records, sum).
    windows: BTreeMap<(i64, String), (i64, i64)>,
    /// Rows that were late, and records that were rejected.
    left_out: (u64, u64),
    jumps: u64,
    /// What should not be in any run.
    wrong: Vec<String>,
}

/// Compares a run with jumps to one without.
pub(super) fn judge(settings: &Settings, report: &mut Report) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    let origin = (SystemClock::new().now() - AGE) / SECOND * SECOND;
    let way = if settings.has("devices-jump") { Way::DevicesToo } else { Way::Jumping };
    let (straight, jumped) = (run(&runtime, origin, Way::Straight)?, run(&runtime, origin, way)?);
    let records = LIVES.len() as u64 * RECORDS;
    let counted: i64 = straight.windows.values().map(|(n, _)| n).sum();
    if counted.unsigned_abs() != records || straight.left_out != (0, 0) {
        return Err(format!("of {records} records {counted} are in windows without jumps, (late, rejected) {:?}", straight.left_out));
    }
    report.runs += jumped.jumps;
    report.blame("windows", differences(&straight, &jumped));
    report.blame("windows, without jumps", straight.wrong);
    report.blame("windows, with jumps", jumped.wrong);
    report.notes.push(format!("{} windows of {records} records, {} jumps, with a run without them", straight.windows.len(), jumped.jumps));
    Ok(())
}

fn differences(want: &Outcome, got: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    if want.left_out != got.left_out {
        wrong.push(format!("(late, rejected) are {:?}, without jumps {:?}", got.left_out, want.left_out));
    }
    let all: BTreeSet<_> = want.windows.keys().chain(got.windows.keys()).collect();
    let other: Vec<_> = all.into_iter().filter(|key| want.windows.get(*key) != got.windows.get(*key)).collect();
    if let Some(first) = other.first() {
        let (begin, device) = *first;
        let (got, want) = (got.windows.get(*first), want.windows.get(*first));
        wrong.push(format!("{} differ, the first that of {device} at {}: {got:?}, without jumps {want:?}", other.len(), format(*begin)));
    }
    wrong
}

/// Some lives of an engine over one data directory, and what its job has made of them.
fn run(runtime: &Runtime, origin: Micros, way: Way) -> Result<Outcome, String> {
    let scratch = machine::scratch()?;
    let config = Config {
        data: scratch.path().join("data"),
        partitions: PARTITIONS,
        checkpoint_interval: Duration::from_millis(100),
        segment_bytes: 4096,
        retention: Some(RETENTION),
        ..Config::default()
    };
    let (clock, mut outcome) = (Arc::new(SkewedClock::default()), Outcome::default());
    let _inside = runtime.enter();
    for (life, distances) in (0..).zip(LIVES) {
        let core =
            Core::open_on(Arc::new(RealDisk), clock.clone(), config.clone()).map_err(|e| format!("the engine does not open: {e}"))?;
        if life == 0 {
            let who = Principal { name: Name::new("torture").map_err(|e| e.to_string())?, role: Role::Admin };
            let service = Service(core.engine.clone());
            runtime.block_on(service.execute(&who, STATEMENTS)).map_err(|e| format!("the statements: {e}"))?;
        }
        let log = core.logs.stream(&Name::new(STREAM).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        let mut removed = 0;
        for number in life * RECORDS..(life + 1) * RECORDS {
            let distance = if way == Way::Straight { 0 } else { distances[(number % distances.len() as u64) as usize] };
            outcome.jumps += u64::from(clock.distance.swap(distance, Ordering::SeqCst) != distance);
            let late = (number * 7_919 % 1_500) as i64 * MILLISECOND;
            let at = origin + number as i64 * STEP - late.min(number as i64 * STEP);
            send(&log, number, if way == Way::DevicesToo { at + distance } else { at })?;
            if number % 25 == 0 {
                removed += core.logs.upkeep().map_err(|e| e.to_string())?.segments;
                check(&core)?;
            }
            std::thread::sleep(PAUSE);
        }
        if removed > u64::from(PARTITIONS) {
            outcome.wrong.push(format!("retention of an hour removed {removed} segments that are seconds old, life {life}"));
        }
        if life + 1 == LIVES.len() as u64 {
            (0..DEVICES).try_for_each(|device| send(&log, device, origin + CLOSING))?;
            outcome.left_out = finish(&core, LIVES.len() as u64 * RECORDS + DEVICES)?;
        }
        core.close();
    }
    let table = reader::read(&config.data.join("lake/warm").join(JOB))?;
    outcome.wrong.extend(table.problems);
    for row in &table.rows {
        let number = |column| reader::number(row, column).ok_or_else(|| format!("a window has no {column}"));
        let device = reader::text(row, "device_id").ok_or("a window has no device")?.to_owned();
        if outcome.windows.insert((number("window_start")?, device), (number("n")?, number("total")?)).is_some() {
            outcome.wrong.push("a window is there twice".to_owned());
        }
    }
    Ok(outcome)
}

/// Appends a record, and waits until it is durable.
fn send(log: &Log, number: u64, at: Micros) -> Result<(), String> {
    let device = format!("device-{}", number % DEVICES);
    let topic = format!("devices/{device}/{STREAM}");
    let payload = format!(r#"{{"device_id":"{device}","ts":"{}","v":{number}}}"#, format(at));
    let record = Record { device: &device, topic: &topic, content_type: ContentType::Json, producer: None, payload: payload.as_bytes() };
    let ticket = log.append(&record).map_err(|e| format!("the log refused: {e}"))?;
    if log.wait(ticket.partition, ticket.offset, WAIT) { Ok(()) } else { Err("a record does not become durable".to_owned()) }
}

/// Errors: a job does not run.
fn check(core: &Core) -> Result<(), String> {
    for job in core.engine.supervisor().list() {
        if let JobState::Failed(reason) | JobState::Restarting(reason) = job.life {
            return Err(format!("job {} does not run: {reason}", job.name));
        }
    }
    Ok(())
}

/// Waits until the job has committed what it made of all records; how many rows were late, and how many records were rejected.
fn finish(core: &Core, records: u64) -> Result<(u64, u64), String> {
    let start = Instant::now();
    loop {
        check(core)?;
        let counts = core.engine.supervisor().status(JOB).map_err(|e| e.to_string())?.committed;
        if counts.consumed == records {
            return Ok((counts.late, counts.rejected));
        }
        if start.elapsed() > STANDSTILL {
            return Err(format!("the job has read {} of {records} records", counts.consumed));
        }
        core.engine.supervisor().checkpoint_all();
        std::thread::sleep(LOOK);
    }
}
