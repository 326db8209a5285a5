//! Where a job's partitions meet: windows are merged, and rows go from step to step. Invariant: the watermark of a step is the least of
//! its inputs, and rises only after everything before it has gone on, so that no step meets a row that is late.
//!
//! ```text
//! rows, panes of a partition ─► input ─► push of every step that reads it, in their order ─► their rows likewise … ─► outputs
//! watermark of each scan ─► windows close, their rows go on ─► step 0 advances, its rows go on ─► step 1 …
//! ```

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::batch::FailedRow;
use crate::changes::Changes;
use crate::contract::{Emission, Stateful, Usage};
use crate::error::{Error, Result};
use crate::ids::Partition;
use crate::limits::HELD_ROW_BYTES;
use crate::operators::open_step;
use crate::operators::window::WindowMerge;
use crate::parallel::Helpers;
use crate::plan::{From, JobPlan, StateLayout, StepKind};
use crate::reference::ReferenceTable;
use crate::state::snapshot;
use crate::time::Micros;

/// What left, each with the number of its output, in order.
pub type Leaving = Vec<(usize, Changes)>;

/// Windows of inputs that were closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closed {
    /// Rows that went into them, once for each group.
    pub rows: u64,
    /// Their distinct ends.
    pub windows: u64,
}

struct Input {
    scan: usize,
    merge: Option<WindowMerge>,
    watermark: Micros,
}

struct Step {
    operator: Box<dyn Stateful>,
    has_state: bool,
    inputs: Vec<From>,
    /// The first scan that it reads, directly or through other steps.
    scan: usize,
    /// The least watermark of its inputs, as far as the operator was told.
    reached: Micros,
    /// What the operator said then.
    watermark: Micros,
    /// What a row or key that it holds takes of memory, more or less.
    item_bytes: u64,
}

/// What a part of a graph takes of memory.
pub struct Part {
    /// What it is.
    pub what: String,
    /// How much.
    pub usage: Usage,
    /// What it is made of, for people.
    pub content: String,
}

/// Who reads the rows of an input or step.
#[derive(Default, Clone)]
struct Readers {
    /// Number of the step, and which of its inputs; ascending.
    steps: Vec<(usize, usize)>,
    outputs: Vec<usize>,
}

#[derive(Default)]
struct Routes {
    of_inputs: Vec<Readers>,
    of_steps: Vec<Readers>,
}

/// The part of a plan behind the exchange.
#[derive(Default)]
pub struct Graph {
    inputs: Vec<Input>,
    steps: Vec<Step>,
    routes: Routes,
}

impl Graph {
    /// For a plan; `references` must hold a table for each lookup. Errors: `Internal` if a step or output reads what is not there or does not stand before it.
    pub fn new(plan: &JobPlan, references: &[Arc<ReferenceTable>]) -> Result<Self> {
        // All steps have the same: they are done one after the other.
        let helpers = Arc::new(Helpers::new(plan.parallelism));
        Self::with(plan, |kind, inputs| open_step(kind, inputs, references, &helpers))
    }

    /// With the operators that `open` makes.
    pub fn with(plan: &JobPlan, open: impl Fn(&StepKind, &[SchemaRef]) -> Result<Box<dyn Stateful>>) -> Result<Self> {
        let input = |i: &crate::plan::Input| {
            let merge = i.window.clone().map(|w| WindowMerge::new(w, i.unit)).transpose()?;
            Ok(Input { scan: i.scan, merge, watermark: Micros::MIN })
        };
        let inputs = plan.inputs.iter().map(input).collect::<Result<Vec<_>>>()?;
        let mut routes = Routes { of_inputs: vec![Readers::default(); plan.inputs.len()], of_steps: Vec::new() };
        let mut steps: Vec<Step> = Vec::with_capacity(plan.steps.len());
        for (number, step) in plan.steps.iter().enumerate() {
            let mut schemas = Vec::with_capacity(step.inputs.len());
            for (slot, &from) in step.inputs.iter().enumerate() {
                // The routes know the steps before this one only.
                routes.readers(from)?.steps.push((number, slot));
                schemas.push(plan.schema(from).ok_or_else(|| astray(from))?.clone());
            }
            let operator = open(&step.kind, &schemas)?;
            let scan = match step.inputs.first() {
                Some(From::Input(i)) => inputs.get(*i).map_or(0, |input: &Input| input.scan),
                Some(From::Step(s)) => steps.get(*s).map_or(0, |step| step.scan),
                None => 0,
            };
            let (has_state, inputs) = (step.kind.has_state(), step.inputs.clone());
            let (reached, watermark) = (Micros::MIN, Micros::MIN);
            steps.push(Step { operator, has_state, inputs, scan, reached, watermark, item_bytes: HELD_ROW_BYTES });
            routes.of_steps.push(Readers::default());
        }
        for (number, output) in plan.outputs.iter().enumerate() {
            routes.readers(output.from)?.outputs.push(number);
        }
        Ok(Self { inputs, steps, routes })
    }

    /// Whether anything in it waits for watermarks.
    pub fn follows_time(&self) -> bool {
        !self.steps.is_empty() || self.inputs.iter().any(|i| i.merge.is_some())
    }

    /// Of each of so many scans the first one whose rows meet its own in a step, itself if there is none: event time of others is nothing
    /// to it.
    pub fn company(&self, scans: usize) -> Vec<usize> {
        let mut first: Vec<usize> = (0..scans).collect();
        let scan_of = |from: &From| match *from {
            From::Input(i) => self.inputs[i].scan,
            From::Step(s) => self.steps[s].scan,
        };
        for step in &self.steps {
            let met: Vec<usize> = step.inputs.iter().map(|from| first[scan_of(from)]).collect();
            let Some(&least) = met.iter().min() else { continue };
            for company in &mut first {
                if met.contains(company) {
                    *company = least;
                }
            }
        }
        first
    }

    /// Takes what a partition's chain emitted for an input.
    pub fn take(&mut self, input: usize, partition: Partition, emission: Emission, out: &mut Leaving) -> Result<()> {
        match emission {
            Emission::Rows(rows) => self.push(input, rows, out),
            part => {
                let merge = self.inputs.get_mut(input).and_then(|i| i.merge.as_mut());
                merge.ok_or_else(|| Error::internal("a pane for an input without a window"))?.add(partition, part)
            }
        }
    }

    fn push(&mut self, input: usize, rows: RecordBatch, out: &mut Leaving) -> Result<()> {
        deliver(&mut self.steps, &self.routes, From::Input(input), Changes::inserts(rows), out)
    }

    /// Event time has reached `scans`, one watermark a scan: closes what is complete.
    pub fn advance(&mut self, scans: &[Micros], out: &mut Leaving) -> Result<Closed> {
        let Self { inputs, steps, routes } = self;
        let mut closed = Closed::default();
        for (number, input) in inputs.iter_mut().enumerate() {
            if scans[input.scan] <= input.watermark {
                continue;
            }
            input.watermark = scans[input.scan];
            let Some(merge) = &mut input.merge else { continue };
            for window in merge.close(input.watermark)? {
                closed.rows += window.rows;
                closed.windows += window.windows;
                deliver(steps, routes, From::Input(number), Changes::inserts(window.result), out)?;
            }
        }
        for number in 0..steps.len() {
            let of = |from: &From| match *from {
                From::Input(i) => inputs[i].passed(),
                From::Step(s) => steps[s].watermark,
            };
            let reached = steps[number].inputs.iter().map(of).min().unwrap_or(Micros::MIN);
            let step = &mut steps[number];
            if reached <= step.reached {
                continue;
            }
            let mut emitted = Vec::new();
            let watermark = step.operator.advance(reached, &mut emitted)?;
            step.reached = reached;
            for changes in emitted {
                deliver(steps, routes, From::Step(number), changes, out)?;
            }
            steps[number].watermark = steps[number].watermark.max(watermark);
        }
        Ok(closed)
    }

    /// Rows in windows of inputs that wait for other partitions.
    pub fn open_rows(&self) -> u64 {
        self.inputs.iter().filter_map(|i| i.merge.as_ref()).map(WindowMerge::open_rows).sum()
    }

    /// Rows that steps could not compute since this was asked last, with the scan whose rejects they join: the first that the step
    /// reads.
    pub fn failed(&mut self) -> Vec<(usize, Vec<FailedRow>)> {
        let failed = self.steps.iter_mut().map(|s| (s.scan, s.operator.failed()));
        failed.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// Rows that steps hold.
    pub fn held(&self) -> u64 {
        self.steps.iter().map(|s| s.operator.held()).sum()
    }

    /// What it takes of memory.
    pub fn usage(&self) -> Usage {
        let windows = self.inputs.iter().filter_map(|i| i.merge.as_ref()).map(WindowMerge::usage);
        windows.chain(self.steps.iter().map(Step::usage)).sum()
    }

    /// The same part by part, as `layout` calls them.
    pub fn parts(&self, layout: StateLayout) -> Vec<Part> {
        let windows = self.inputs.iter().filter_map(|i| i.merge.as_ref()).zip(layout.windows);
        let windows = windows.map(|(merge, (_, part))| Part::of_groups(format!("{} (merged)", part.what), merge.usage()));
        let steps = self.steps.iter().filter(|s| s.has_state).zip(layout.steps);
        let steps = steps.map(|(step, part)| Part { what: part.what, usage: step.usage(), content: step.content() });
        windows.chain(steps).filter(|part| part.usage.bytes > 0).collect()
    }

    /// State as bytes: of the windows in the order of inputs, then of the steps that have any, each behind its two watermarks.
    pub fn snapshot(&mut self) -> Result<Vec<u8>> {
        let merges = self.inputs.iter().filter_map(|i| i.merge.as_ref()).collect::<Vec<_>>();
        let steps = self.steps.iter_mut().filter(|s| s.has_state).collect::<Vec<_>>();
        let (mut bytes, count) = (Vec::new(), merges.len() + steps.len());
        for merge in merges {
            snapshot::put_state(&mut bytes, count, |bytes| merge.snapshot_into(bytes))?;
        }
        for step in steps {
            snapshot::put_state(&mut bytes, count, |bytes| step.snapshot_into(bytes))?;
        }
        Ok(bytes)
    }

    /// Takes over state from `snapshot`. Errors: `Corrupt`.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let merges = self.inputs.iter_mut().filter_map(|i| i.merge.as_mut()).collect::<Vec<_>>();
        let steps = self.steps.iter_mut().filter(|s| s.has_state).collect::<Vec<_>>();
        let mut states = snapshot::split_states(state, merges.len() + steps.len())?.into_iter();
        for (merge, state) in merges.into_iter().zip(states.by_ref()) {
            merge.restore(state)?;
        }
        for (step, state) in steps.into_iter().zip(states) {
            let short = || Error::corrupt("the state of a step is cut short");
            let (reached, rest) = state.split_first_chunk().ok_or_else(short)?;
            let (watermark, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (step.reached, step.watermark) = (Micros::from_le_bytes(*reached), Micros::from_le_bytes(*watermark));
            step.operator.restore(rest)?;
            step.weigh(rest.len());
        }
        Ok(())
    }
}

impl Part {
    /// One that is made of groups.
    pub fn of_groups(what: String, usage: Usage) -> Self {
        Self { what, usage, content: format!("{} groups", usage.groups) }
    }
}

impl Step {
    /// Rows or keys that it holds, whichever are more.
    fn items(&self) -> u64 {
        self.operator.held().max(self.operator.keys().unwrap_or(0))
    }

    /// Appends its state, behind its two watermarks.
    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.extend_from_slice(&self.reached.to_le_bytes());
        bytes.extend_from_slice(&self.watermark.to_le_bytes());
        let start = bytes.len();
        self.operator.snapshot_into(bytes)?;
        self.weigh(bytes.len() - start);
        Ok(())
    }

    /// Remembers what each of them takes, by the size of a snapshot. Rows in memory stand beside their keys, places and times.
    fn weigh(&mut self, snapshot: usize) {
        if let Some(each) = (snapshot as u64).checked_div(self.items()) {
            self.item_bytes = HELD_ROW_BYTES / 2 + 2 * each;
        }
    }

    fn usage(&self) -> Usage {
        let items = self.items();
        self.operator.usage().unwrap_or(Usage { bytes: items.saturating_mul(self.item_bytes), groups: items })
    }

    fn content(&self) -> String {
        let rows = self.operator.held();
        self.operator.keys().map_or_else(|| format!("{rows} rows"), |keys| format!("{keys} keys and {rows} rows"))
    }
}

impl Input {
    /// The watermark of its rows: those of a window have a time of their own.
    fn passed(&self) -> Micros {
        self.merge.as_ref().map_or(self.watermark, |m| m.watermark(self.watermark))
    }
}

impl Routes {
    fn readers(&mut self, from: From) -> Result<&mut Readers> {
        let found = match from {
            From::Input(i) => self.of_inputs.get_mut(i),
            From::Step(s) => self.of_steps.get_mut(s),
        };
        found.ok_or_else(|| astray(from))
    }
}

fn astray(from: From) -> Error {
    Error::internal(format!("a plan reads {from}, which is not there or stands later"))
}

/// Hands rows to all who read them, and what these make of them likewise.
fn deliver(steps: &mut [Step], routes: &Routes, from: From, changes: Changes, out: &mut Leaving) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let readers = match from {
        From::Input(i) => routes.of_inputs.get(i),
        From::Step(s) => routes.of_steps.get(s),
    };
    let readers = readers.ok_or_else(|| astray(from))?;
    for &(step, slot) in &readers.steps {
        let mut emitted = Vec::new();
        steps[step].operator.push(slot, changes.clone(), &mut emitted)?;
        for changes in emitted {
            deliver(steps, routes, From::Step(step), changes, out)?;
        }
    }
    out.extend(readers.outputs.iter().map(|&output| (output, changes.clone())));
    Ok(())
}

#[cfg(test)]
mod tests;
