//! The graph with steps that write down what happens to them. Invariant checked: pushes and advances come in the order of steps, no
//! step gets a row at or behind the watermark that it was told, and a restored graph goes on as the one that was not interrupted.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion_physical_expr::expressions::col;
use proptest::prelude::*;

use super::*;
use crate::plan::{self, Lateness, OutputPlan, Rank, Window, WindowParameters};
use crate::time::MILLISECOND;

type Journal = Arc<Mutex<Vec<String>>>;

/// Holds rows until the watermark reaches their value, and stays behind the watermark by `behind`.
struct Fake {
    number: usize,
    behind: Micros,
    journal: Journal,
    reached: Micros,
    rows: Vec<i64>,
}

impl Fake {
    fn note(&self, what: &str) {
        self.journal.lock().unwrap().push(format!("{} {what}", self.number));
    }
}

impl Stateful for Fake {
    fn push(&mut self, input: usize, changes: Changes, _out: &mut Vec<Changes>) -> Result<()> {
        let values = numbers(&changes);
        assert!(values.iter().all(|&v| v > self.reached), "step {} got {values:?} at {}", self.number, self.reached);
        self.note(&format!("push {input} {values:?}"));
        self.rows.extend(values);
        Ok(())
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        assert!(watermark > self.reached, "a step is told of progress only");
        self.note(&format!("advance {watermark}"));
        self.reached = watermark;
        self.rows.sort_unstable();
        let left = self.rows.split_off(self.rows.partition_point(|&v| v <= watermark));
        let ready = std::mem::replace(&mut self.rows, left);
        out.push(Changes::inserts(rows(&ready)));
        Ok(watermark - self.behind)
    }

    fn held(&self) -> u64 {
        self.rows.len() as u64
    }

    fn keys(&self) -> Option<u64> {
        Some(3)
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.extend([self.reached].iter().chain(&self.rows).flat_map(|v| v.to_le_bytes()));
        Ok(())
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let mut values = state.chunks(8).map(|c| i64::from_le_bytes(c.try_into().unwrap()));
        self.reached = values.next().unwrap();
        self.rows = values.collect();
        Ok(())
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]))
}

fn rows(values: &[i64]) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(values.to_vec())) as ArrayRef]).unwrap()
}

/// The last column.
fn numbers(changes: &Changes) -> Vec<i64> {
    changes.rows.columns().last().unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn input(scan: usize) -> plan::Input {
    plan::Input { scan, stages: vec![], window: None, late: Lateness::Keep, unit: 1, schema: schema() }
}

/// Windows without aggregates over the key `v`.
fn windowed(scan: usize) -> plan::Input {
    let keys = vec![(col("v", &schema()).unwrap(), Arc::new(Field::new("v", DataType::Int64, true)))];
    let window = Window {
        parameters: WindowParameters { kind: "tumble".to_owned(), sizes: vec![10 * MILLISECOND], offset: 0 },
        time: 0,
        keys,
        aggregates: vec![],
    };
    plan::Input { schema: window.schema(), window: Some(window), unit: MILLISECOND, ..input(scan) }
}

/// A step with state that a `Fake` stands for.
fn fake(inputs: &[From], behind: u64) -> plan::Step {
    let rank = Rank {
        input: schema(),
        partition: vec![],
        order: vec![],
        offset: behind,
        limit: 1,
        place: false,
        time: None,
        window_end: None,
        unit: 1,
        ttl: None,
        schema: schema(),
    };
    plan::Step { inputs: inputs.to_vec(), kind: StepKind::Rank(rank), schema: schema() }
}

fn union(inputs: &[From]) -> plan::Step {
    plan::Step { inputs: inputs.to_vec(), kind: StepKind::Union, schema: schema() }
}

fn plan(inputs: Vec<plan::Input>, steps: Vec<plan::Step>, outputs: &[From]) -> JobPlan {
    let output = |&from: &From| OutputPlan { from, schema: schema(), updating: false, key: vec![] };
    JobPlan { scans: vec![], inputs, steps, outputs: outputs.iter().map(output).collect(), parallelism: 1 }
}

fn graph(plan: &JobPlan) -> (Graph, Journal) {
    let (journal, number) = (Journal::default(), Cell::new(0));
    let open = |kind: &StepKind, inputs: &[SchemaRef]| -> Result<Box<dyn Stateful>> {
        let number = number.replace(number.get() + 1);
        let StepKind::Rank(rank) = kind else { return open_step(kind, inputs, &[], &Arc::new(Helpers::new(1))) };
        Ok(Box::new(Fake { number, behind: rank.offset as Micros, journal: journal.clone(), reached: Micros::MIN, rows: vec![] }))
    };
    let graph = Graph::with(plan, open).unwrap();
    (graph, journal)
}

impl Graph {
    fn give(&mut self, input: usize, values: &[i64], out: &mut Leaving) {
        self.take(input, 0, Emission::Rows(rows(values)), out).unwrap();
    }

    /// Start and keys in milliseconds.
    fn pane(&mut self, input: usize, partition: Partition, start: Micros, keys: &[i64], out: &mut Leaving) {
        let keys: Vec<i64> = keys.iter().map(|k| k * MILLISECOND).collect();
        let emission =
            Emission::Pane { start: start * MILLISECOND, from: (start + 10) * MILLISECOND, partial: rows(&keys), rows: keys.len() as u64 };
        self.take(input, partition, emission, out).unwrap();
    }
}

fn taken(journal: &Journal) -> Vec<String> {
    std::mem::take(&mut journal.lock().unwrap())
}

fn left(out: &mut Leaving) -> Vec<(usize, Vec<i64>)> {
    out.drain(..).map(|(output, changes)| (output, numbers(&changes))).collect()
}

#[test]
fn rows_go_to_steps_in_their_order_and_to_every_output() {
    use plan::From::{Input, Step};
    // Step 2 reads the input twice over, once as step 1 gives it.
    let steps = vec![fake(&[Input(0)], 0), union(&[Input(0)]), fake(&[Input(0), Step(1), Step(0)], 0)];
    let (mut graph, journal) = graph(&plan(vec![input(0)], steps, &[Step(2), Input(0), Step(1)]));
    let mut out = Leaving::new();
    graph.give(0, &[5, 3], &mut out);
    assert_eq!(taken(&journal), ["0 push 0 [5, 3]", "2 push 1 [5, 3]", "2 push 0 [5, 3]"]);
    assert_eq!(left(&mut out), [(2, vec![5, 3]), (1, vec![5, 3])]);
    assert_eq!(graph.held(), 6);
    assert_eq!(graph.advance(&[4], &mut out).unwrap(), Closed::default());
    assert_eq!(taken(&journal), ["0 advance 4", "2 push 2 [3]", "2 advance 4"]);
    assert_eq!(left(&mut out), [(0, vec![3, 3, 3])]);
    assert_eq!(graph.held(), 3);
    graph.advance(&[4], &mut out).unwrap();
    graph.give(0, &[], &mut out);
    assert_eq!((taken(&journal).len(), out.len()), (0, 0), "nothing new happens to a step");
}

#[test]
fn a_watermark_is_the_least_of_the_inputs_and_what_the_steps_before_say() {
    use plan::From::{Input, Step};
    let steps = vec![fake(&[Input(0)], 10), union(&[Step(0), Input(1)]), fake(&[Step(1)], 1), fake(&[Step(2), Input(0)], 0)];
    let (mut graph, journal) = graph(&plan(vec![input(0), input(1)], steps, &[Step(3)]));
    let mut out = Leaving::new();
    graph.advance(&[100, Micros::MIN], &mut out).unwrap();
    assert_eq!(taken(&journal), ["0 advance 100"]);
    graph.advance(&[100, 50], &mut out).unwrap();
    assert_eq!(taken(&journal), ["2 advance 50", "3 advance 49"]);
    graph.advance(&[100, 200], &mut out).unwrap();
    assert_eq!(taken(&journal), ["2 advance 90", "3 advance 89"], "the union waits for step 0, which is 10 behind");
    graph.give(0, &[101], &mut out);
    graph.give(1, &[201], &mut out);
    taken(&journal);
    graph.advance(&[300, 200], &mut out).unwrap();
    assert_eq!(
        taken(&journal),
        ["0 advance 300", "2 push 0 [101]", "2 advance 200", "3 push 0 [101]", "3 advance 199"],
        "a row goes on before the watermark that it made"
    );
    assert_eq!(left(&mut out), [(0, vec![101, 101])]);
}

#[test]
fn windows_close_by_their_own_scan_and_before_steps_advance() {
    use plan::From::{Input, Step};
    let steps = vec![fake(&[Input(0), Input(1)], 0)];
    let (mut graph, journal) = graph(&plan(vec![windowed(0), windowed(1)], steps, &[Step(0), Input(1)]));
    let mut out = Leaving::new();
    graph.pane(0, 1, 0, &[9], &mut out);
    graph.pane(0, 0, 0, &[10, 9], &mut out);
    graph.pane(0, 0, 10, &[19], &mut out);
    graph.pane(1, 0, 0, &[9], &mut out);
    assert_eq!((graph.open_rows(), out.len()), (5, 0));
    assert_eq!(graph.advance(&[8 * MILLISECOND, 9 * MILLISECOND], &mut out).unwrap(), Closed { rows: 1, windows: 1 });
    assert_eq!(taken(&journal), ["0 push 1 [9000]", "0 advance 8000"]);
    assert_eq!(left(&mut out), [(1, vec![9000])]);
    assert_eq!(graph.advance(&[19 * MILLISECOND, 9 * MILLISECOND], &mut out).unwrap(), Closed { rows: 4, windows: 2 });
    assert_eq!(taken(&journal), ["0 push 0 [10000, 9000]", "0 push 0 [19000]", "0 advance 9000"]);
    assert_eq!(left(&mut out), [(0, vec![9000, 9000])]);
    assert_eq!(graph.open_rows(), 0);
}

#[test]
fn scans_whose_rows_meet_in_a_step_go_together() {
    use plan::From::{Input, Step};
    let inputs = || vec![input(0), input(1), input(2), input(1)];
    let company = |steps: Vec<plan::Step>| graph(&plan(inputs(), steps, &[])).0.company(3);
    assert_eq!(company(vec![]), [0, 1, 2]);
    assert_eq!(company(vec![union(&[Input(0)]), union(&[Input(2), Input(3)])]), [0, 1, 1]);
    assert_eq!(company(vec![union(&[Input(1), Input(2)]), union(&[Step(0), Input(0)])]), [0, 0, 0]);
}

#[test]
fn a_plan_whose_parts_do_not_fit_is_refused() {
    use plan::From::{Input, Step};
    let wrong =
        |steps: Vec<plan::Step>, outputs: &[From]| Graph::new(&plan(vec![input(0)], steps, outputs), &[]).err().unwrap().to_string();
    assert!(wrong(vec![union(&[Step(0)])], &[]).contains("reads step 0"));
    assert!(wrong(vec![union(&[Step(1)]), union(&[Input(0)])], &[]).contains("reads step 1"));
    assert!(wrong(vec![], &[Input(1)]).contains("reads input 1"));
    let twice = plan::Step { kind: StepKind::Stages(vec![]), ..union(&[Input(0), Input(0)]) };
    assert!(wrong(vec![twice], &[]).contains("2 inputs instead of 1"));
}

#[test]
fn what_a_step_takes_is_told_by_its_keys_and_rows_and_the_last_state_known() {
    let plan = plan(vec![input(0)], vec![fake(&[plan::From::Input(0)], 0)], &[]);
    let (mut running, _) = graph(&plan);
    assert_eq!(running.usage(), Usage { bytes: 3 * HELD_ROW_BYTES, groups: 3 }, "keys alone");
    running.give(0, &[1, 2, 3, 4, 5], &mut Leaving::new());
    assert_eq!(running.usage(), Usage { bytes: 5 * HELD_ROW_BYTES, groups: 5 });
    let state = running.snapshot().unwrap();
    // Six numbers for five rows, beside two watermarks.
    let known = Usage { bytes: 5 * (HELD_ROW_BYTES / 2 + 2 * (6 * 8 / 5)), groups: 5 };
    assert_eq!(running.usage(), known);
    let (mut restored, _) = graph(&plan);
    restored.restore(&state).unwrap();
    assert_eq!(restored.usage(), known);
    let steps = vec![plan::StatePart { what: "rank".to_owned(), traits: vec![] }];
    let parts = restored.parts(StateLayout { steps, ..StateLayout::default() });
    assert_eq!(
        parts.iter().map(|p| (p.what.as_str(), p.content.as_str(), p.usage)).collect::<Vec<_>>(),
        [("rank", "3 keys and 5 rows", known)]
    );
}

#[derive(Debug, Clone)]
enum Event {
    Row(usize, i64),
    Pane(i64),
    Time(usize, i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0usize..2, 1i64..40).prop_map(|(i, v)| Event::Row(i, v)),
        (0i64..4).prop_map(Event::Pane),
        (0usize..2, 1i64..6).prop_map(|(s, t)| Event::Time(s, t)),
    ];
    prop::collection::vec(event, 1..60)
}

/// Runs events, with a new graph from the snapshot after each whose number is in `cuts`.
fn run(events: &[Event], cuts: &[usize]) -> Vec<String> {
    use plan::From::{Input, Step};
    let steps = vec![fake(&[Input(0), Input(1)], 7), union(&[Step(0), Input(1)]), fake(&[Step(1)], 0), union(&[Step(2), Input(2)])];
    let plan = plan(vec![input(0), input(1), windowed(0)], steps, &[Step(2), Step(3)]);
    let (mut running, mut journal) = graph(&plan);
    let (mut out, mut scans, mut seen) = (Leaving::new(), [0, 0], Vec::new());
    let mut given = std::collections::BTreeSet::new();
    for (number, event) in events.iter().enumerate() {
        match *event {
            Event::Row(input, ahead) => running.give(input, &[scans[input] + ahead], &mut out),
            Event::Pane(ahead) => {
                let start = (scans[0] / MILLISECOND / 10 + 1 + ahead) * 10;
                // A partition gives a pane once.
                if given.insert(start) {
                    running.pane(2, 0, start, &[start + 9], &mut out);
                }
            }
            Event::Time(scan, by) => {
                scans[scan] += by * MILLISECOND;
                let closed = running.advance(&scans, &mut out).unwrap();
                seen.push(format!("{closed:?}"));
            }
        }
        seen.extend(taken(&journal));
        seen.push(format!("{:?} open {} held {}", left(&mut out), running.open_rows(), running.held()));
        if cuts.contains(&number) {
            let state = running.snapshot().unwrap();
            (running, journal) = graph(&plan);
            assert!(running.restore(&state[..state.len() - 1]).is_err());
            running.restore(&state).unwrap();
            assert_eq!(running.snapshot().unwrap(), state);
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_restored_graph_goes_on_as_if_nothing_had_happened(events in events(), cuts in prop::collection::vec(0usize..60, 0..6)) {
        prop_assert_eq!(run(&events, &cuts), run(&events, &[]));
    }
}
