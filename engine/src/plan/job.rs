//! A whole job. Invariant: steps stand after what they read; every step and every output reads something that is there.
//!
//! ```text
//! in each partition of a stream                    where all partitions meet
//! scan ─┬─ input 0: stages, window (partial) ──────► window (final) ─┬─► step 0 ─► step 2 ─► output 0
//!       └─ input 1: stages ─────────────────────────────────────────┴─► step 1 ──────┘─► output 1
//! ```

use arrow::datatypes::SchemaRef;

use super::node::{Scan, Stage, Window};
use super::stateful::{AsofJoin, Group, IntervalJoin, Over, Rank, RegularJoin, Upsert, WindowJoin};
use crate::changes::Changes;
use crate::time::Micros;

/// Where rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum From {
    /// `JobPlan::inputs`.
    Input(usize),
    /// `JobPlan::steps`.
    Step(usize),
}

/// What becomes of a row that comes when the watermark has passed its event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// It goes on: no step needs the order of time. Always so if the input has a window, which decides itself.
    Keep,
    /// It is late, and goes to the job's late rows.
    Row {
        /// Index of the event time in the input's rows.
        time: usize,
    },
}

/// What each partition of a stream does.
#[derive(Debug, Clone)]
pub struct Input {
    /// Index into `JobPlan::scans`.
    pub scan: usize,
    /// Steps on each batch, before the window if there is one.
    pub stages: Vec<Stage>,
    /// Aggregation: partial in each partition, merged behind the exchange.
    pub window: Option<Window>,
    /// Rows behind the watermark.
    pub late: Lateness,
    /// Smallest step of event time in microseconds.
    pub unit: Micros,
    /// What leaves: of the last stage, or of the window.
    pub schema: SchemaRef,
}

/// How a window behind the exchange finds the window of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowSource {
    /// By its event time.
    Time,
    /// It is in the row's columns, by index.
    Attached {
        /// `window_start`.
        start: usize,
        /// `window_end`.
        end: usize,
        /// Event time, where results depend on the order of rows.
        order: Option<usize>,
    },
}

/// What a step behind the exchange does.
#[derive(Debug, Clone)]
pub enum StepKind {
    /// Steps without state; no lookup among them.
    Stages(Vec<Stage>),
    /// All rows of its inputs.
    Union,
    /// Aggregation over windows of rows that come from other steps.
    Window {
        /// Which.
        window: Window,
        /// Where the window of a row is found.
        source: WindowSource,
        /// Smallest step of event time in microseconds.
        unit: Micros,
    },
    /// See the plan.
    IntervalJoin(IntervalJoin),
    /// See the plan.
    WindowJoin(WindowJoin),
    /// See the plan.
    AsofJoin(AsofJoin),
    /// See the plan.
    RegularJoin(RegularJoin),
    /// See the plan.
    Rank(Rank),
    /// See the plan.
    Group(Group),
    /// See the plan.
    Over(Over),
    /// See the plan.
    Upsert(Upsert),
}

/// A step behind the exchange.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it reads, in the order of the operator's inputs.
    pub inputs: Vec<From>,
    /// What it does.
    pub kind: StepKind,
    /// What leaves.
    pub schema: SchemaRef,
}

/// What goes to one sink.
#[derive(Debug, Clone)]
pub struct OutputPlan {
    /// Where its rows come from.
    pub from: From,
    /// Their columns.
    pub schema: SchemaRef,
    /// Whether rows are changes of a result, not only new rows.
    pub updating: bool,
    /// Columns of the sink's primary key, by index; empty if it has none: then only new rows may come.
    pub key: Vec<usize>,
}

/// A whole job between its streams and its sinks.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// Streams that are read, each once however often it is used.
    pub scans: Vec<Scan>,
    /// What their partitions do.
    pub inputs: Vec<Input>,
    /// What is done where all partitions meet.
    pub steps: Vec<Step>,
    /// What goes where; the first is shown to those who watch.
    pub outputs: Vec<OutputPlan>,
    /// Threads that a keyed step may use where all partitions meet: 1 to `KEY_GROUPS`. More than one spreads its keys over groups.
    pub parallelism: usize,
}

impl StepKind {
    /// Whether it remembers anything between two rows.
    pub fn has_state(&self) -> bool {
        !matches!(self, Self::Stages(_) | Self::Union)
    }
}

impl OutputPlan {
    /// Columns as they are shown to those who watch: of changes, what each does comes first.
    pub fn shown(&self) -> SchemaRef {
        if self.updating { Changes::signed_schema(&self.schema) } else { self.schema.clone() }
    }
}

impl JobPlan {
    /// Columns of what `from` gives; `None` if there is no such input or step.
    pub fn schema(&self, from: From) -> Option<&SchemaRef> {
        match from {
            From::Input(i) => self.inputs.get(i).map(|input| &input.schema),
            From::Step(s) => self.steps.get(s).map(|step| &step.schema),
        }
    }

    /// Whether the keys of a step are spread over groups.
    pub fn spreads(&self, kind: &StepKind) -> bool {
        self.parallelism > 1 && kind.keys().is_some()
    }

    /// Every stage of every input and step.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        let of_steps = self.steps.iter().flat_map(|s| match &s.kind {
            StepKind::Stages(stages) => stages.as_slice(),
            _ => &[],
        });
        self.inputs.iter().flat_map(|i| &i.stages).chain(of_steps)
    }
}
