//! Partitions and the merge stage together, as the runtime drives them: items of each partition wait in a queue, and the merge stage
//! takes them in any order.

use std::collections::VecDeque;

use super::oracle::{DELAY, expected};
use super::*;
use crate::contract::{Emission, Operator, Output};
use crate::metrics::JobCounters;
use crate::operators::watermark::Watermarker;
use crate::state::snapshot;

/// One partition: event time, inputs and window, as the runtime chains them.
struct Partition {
    watermarker: Watermarker,
    inputs: WindowInputs,
    operator: WindowOperator,
    /// What the merge stage has not heard yet: partial results, and the watermark after them.
    items: VecDeque<(Vec<Emission>, i64)>,
    pushed: usize,
    unit: i64,
    late: Vec<u64>,
    /// What the merge stage has heard.
    heard: i64,
}

impl Partition {
    fn new(plan: &Window, unit: i64) -> Self {
        Self {
            unit,
            watermarker: Watermarker::new(Some(0), DELAY, 10_000 * SECOND),
            inputs: WindowInputs::new(plan, &input()).unwrap(),
            operator: WindowOperator::new(plan.clone(), unit).unwrap(),
            items: VecDeque::new(),
            pushed: 0,
            late: Vec::new(),
            heard: i64::MIN,
        }
    }

    fn push(&mut self, rows: &[Row], counters: &mut JobCounters) {
        let mut out = Output::default();
        counters.consumed += rows.len() as u64;
        let Some(batch) = self.watermarker.assign(decoded(rows, self.pushed as u64), &mut out).unwrap() else { return };
        self.pushed += rows.len();
        let batch = self.inputs.push(batch, &mut out).unwrap().unwrap();
        assert!(self.operator.push(batch, &mut out).unwrap().is_none());
        self.advance(self.watermarker.current(), &mut out);
        self.late.extend(out.late.iter().flat_map(|l| l.offsets.values().to_vec()));
        counters.add(&out.counters);
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) {
        self.operator.advance(watermark, out).unwrap();
        self.items.push_back((std::mem::take(&mut out.emissions), watermark));
    }

    fn resume(&mut self, plan: &Window) {
        let state = self.operator.snapshot().unwrap();
        // The one that goes on must not be changed by its snapshot, and the restored one must equal it.
        assert_eq!(content(&self.operator.snapshot().unwrap()), content(&state));
        self.operator = WindowOperator::new(plan.clone(), self.unit).unwrap();
        self.operator.restore(&state).unwrap();
        assert_eq!(content(&self.operator.snapshot().unwrap()), content(&state));
    }
}

/// What a snapshot holds; its bytes may differ in what lies under a NULL or in the buffers of texts.
fn content(state: &[u8]) -> (serde_json::Value, Vec<RecordBatch>) {
    snapshot::decode(state).unwrap()
}

/// A step of a run.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A partition reads so many rows.
    Read(usize, usize),
    /// The merge stage takes an item of a partition.
    Hear(usize),
    /// A checkpoint and a restart.
    Resume,
}

struct Job {
    plan: Window,
    keys: usize,
    unit: i64,
    partitions: Vec<Partition>,
    merge: WindowMerge,
    counters: JobCounters,
    results: Vec<Group>,
}

impl Job {
    fn new(plan: Window, unit: i64, partitions: usize) -> Self {
        Self {
            keys: plan.keys.len(),
            unit,
            partitions: (0..partitions).map(|_| Partition::new(&plan, unit)).collect(),
            merge: WindowMerge::new(plan.clone(), unit).unwrap(),
            plan,
            counters: JobCounters::default(),
            results: Vec::new(),
        }
    }

    fn hear(&mut self, partition: usize) {
        let Some((emissions, watermark)) = self.partitions[partition].items.pop_front() else { return };
        emissions.into_iter().for_each(|e| self.merge.add(partition as u32, e).unwrap());
        self.partitions[partition].heard = watermark;
        let reached = self.partitions.iter().map(|p| p.heard).min().unwrap();
        for closed in self.merge.close(reached).unwrap() {
            self.counters.emitted += closed.rows;
            self.counters.windows += closed.windows;
            assert!(closed.result.num_rows() > 0, "a window without rows");
            self.results.extend(groups(&closed.result, self.keys));
        }
    }

    fn hear_all(&mut self) {
        for partition in 0..self.partitions.len() {
            while !self.partitions[partition].items.is_empty() {
                self.hear(partition);
            }
        }
        self.counters.open = self.merge.open_rows() + self.partitions.iter().map(|p| p.operator.open_rows()).sum::<u64>();
        assert_eq!((self.counters.row_balance(), self.counters.window_balance()), (0, 0), "{:?}", self.counters);
    }

    fn resume(&mut self) {
        self.hear_all();
        for partition in &mut self.partitions {
            partition.resume(&self.plan);
        }
        let snapshot = |merge: &WindowMerge| {
            let mut bytes = Vec::new();
            merge.snapshot_into(&mut bytes).unwrap();
            bytes
        };
        let state = snapshot(&self.merge);
        self.merge = WindowMerge::new(self.plan.clone(), self.unit).unwrap();
        self.merge.restore(&state).unwrap();
        assert_eq!(content(&snapshot(&self.merge)), content(&state));
        self.hear_all();
    }

    /// Runs to the end: late rows of each partition, rows between windows, results in the order in which they came.
    fn run(mut self, rows: &[Vec<Row>], steps: &[Step]) -> (Vec<Vec<u64>>, u64, Vec<Group>) {
        for step in steps {
            match *step {
                Step::Read(partition, count) => self.read(rows, partition % rows.len(), count),
                Step::Hear(partition) => self.hear(partition % rows.len()),
                Step::Resume => self.resume(),
            }
        }
        for partition in 0..rows.len() {
            self.read(rows, partition, usize::MAX);
            self.partitions[partition].advance(i64::MAX, &mut Output::default());
        }
        self.hear_all();
        assert_eq!(self.counters.open, 0);
        let mut ends: Vec<i64> = self.results.iter().map(|g| g.end).collect();
        assert!(self.results.is_sorted_by_key(|g| (g.end, g.start)), "windows out of order");
        ends.dedup();
        assert_eq!(self.counters.windows, ends.len() as u64);
        (self.partitions.iter().map(|p| p.late.clone()).collect(), self.counters.filtered, self.results)
    }

    fn read(&mut self, rows: &[Vec<Row>], partition: usize, count: usize) {
        let from = self.partitions[partition].pushed;
        let to = from.saturating_add(count).min(rows[partition].len());
        if to > from {
            self.partitions[partition].push(&rows[partition][from..to], &mut self.counters);
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..3, 1usize..25).prop_map(|(p, n)| Step::Read(p, n)),
        5 => (0usize..3).prop_map(Step::Hear),
        1 => Just(Step::Resume),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn windows_hold_exactly_the_rows_that_are_not_late_for_them(
        (parameters, keys) in windows(), unit in units(MILLISECOND),
        rows in prop::collection::vec(rows(exact(), 150), 1..4), steps in steps(),
    ) {
        let (late, nowhere, mut got) = Job::new(plan(parameters.clone(), keys), unit, rows.len()).run(&rows, &steps);
        // Within a window, groups have the order in which their keys were first seen.
        got.sort();
        prop_assert_eq!((late, nowhere, got), expected((&parameters, keys, unit), &rows));
    }

    #[test]
    fn batches_resumes_and_the_order_of_partitions_change_no_bit(
        (parameters, keys) in windows(), unit in units(MILLISECOND),
        rows in prop::collection::vec(rows(wild(), 150), 1..4), steps in steps(), others in steps(),
    ) {
        let plan = plan(parameters, keys);
        let plain = Job::new(plan.clone(), unit, rows.len()).run(&rows, &[]);
        prop_assert_eq!(&Job::new(plan.clone(), unit, rows.len()).run(&rows, &steps), &plain);
        prop_assert_eq!(&Job::new(plan, unit, rows.len()).run(&rows, &others), &plain);
    }
}

#[test]
fn a_window_closes_at_its_end_and_not_a_millisecond_before() {
    let plan = plan(parameters("tumble", &[10 * SECOND], 0), 1);
    let (mut partition, mut merge) = (Partition::new(&plan, MILLISECOND), WindowMerge::new(plan, MILLISECOND).unwrap());
    let row = Row { time: SECOND, key: Some("north"), value: Some(1.0) };
    partition.push(&[row], &mut JobCounters::default());
    for (watermark, given) in [(10 * SECOND - 2 * MILLISECOND, 0), (10 * SECOND - MILLISECOND, 1)] {
        partition.items.clear();
        partition.advance(watermark, &mut Output::default());
        assert_eq!(partition.items[0].0.len(), given);
    }
    partition.items[0].0.drain(..).for_each(|e| merge.add(0, e).unwrap());
    assert!(merge.close(10 * SECOND - 2 * MILLISECOND).unwrap().is_empty());
    assert_eq!((merge.open_rows(), merge.close(10 * SECOND - MILLISECOND).unwrap().len()), (1, 1));
}

#[test]
fn a_session_waits_for_one_that_is_open_elsewhere_and_reaches_into_it() {
    let plan = plan(parameters("session", &[5 * SECOND], 0), 1);
    let row = |seconds: i64, key| Row { time: seconds * SECOND, key: Some(key), value: Some(1.0) };
    // Each watermark is two seconds behind: partition 0 passes the end of [10, 15) at 17, partition 1 keeps its session open.
    let rows = [vec![row(10, "a"), row(30, "b")], vec![row(14, "a"), row(18, "a"), row(22, "a"), row(26, "a"), row(40, "c")]];
    let mut job = Job::new(plan, MILLISECOND, 2);
    job.read(&rows, 0, 2);
    job.read(&rows, 1, 3);
    job.hear_all();
    assert!(job.results.is_empty(), "partition 1 has passed 20, and its session of a begins at 14");
    job.read(&rows, 1, 2);
    job.hear_all();
    assert!(job.results.is_empty(), "partition 0 has not passed 31");
    let (_, _, results) = job.run(&rows, &[]);
    let sessions: Vec<(i64, i64, i64)> = results.iter().map(|g| (g.start / SECOND, g.end / SECOND, g.count)).collect();
    assert_eq!(sessions, [(10, 31, 5), (30, 35, 1), (40, 45, 1)]);
}

#[test]
fn keys_that_come_once_are_forgotten() {
    let plan = plan(parameters("session", &[SECOND], 0), 1);
    let names: Vec<&'static str> = (0..20_000).map(|i| &*format!("a device of many: {i}").leak()).collect();
    let row = |i: usize| Row { time: i as i64 * 100 * MILLISECOND, key: Some(names[i]), value: Some(i as f64) };
    let rows = vec![(0..names.len()).map(row).collect::<Vec<_>>()];
    let steps: Vec<Step> = (0..200).flat_map(|i| [Step::Read(0, 100), if i % 50 == 49 { Step::Resume } else { Step::Hear(0) }]).collect();
    let (late, _, results) = Job::new(plan, MILLISECOND, 1).run(&rows, &steps);
    assert!(late[0].is_empty());
    let got: Vec<(i64, Option<&str>, i64)> = results.iter().map(|g| (g.start, g.keys[0].as_deref(), g.count)).collect();
    let want: Vec<(i64, Option<&str>, i64)> = rows[0].iter().map(|r| (r.time, r.key, 1)).collect();
    assert_eq!(got, want);
}
