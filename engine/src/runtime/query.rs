//! The chain of a query: records get their event time once, then for each input of the plan its steps and its window. Invariant: each record
//! is counted, once for each input, in one way out: rejected, filtered, late, aggregated or passed.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{concat, concat_batches};

use super::chain::{Chain, Chunk, Target};
use super::read::Reader;
use crate::batch::{Batch, Records, Reject};
use crate::contract::{Decoded, Emission, Operator, Output, Usage};
use crate::decode;
use crate::error::{Error, Result};
use crate::lake;
use crate::metrics::JobCounters;
use crate::operators::late::Late;
use crate::operators::open_stage;
use crate::operators::watermark::Watermarker;
use crate::operators::window::{WindowInputs, WindowOperator};
use crate::plan::{self, ColumnSource, JobPlan, Lateness, Metadata, Scan};
use crate::reference::ReferenceTable;
use crate::state::snapshot;
use crate::time::Micros;

/// The steps of one partition of a scan.
pub struct QueryChain {
    job: String,
    reader: Reader,
    branches: Vec<Branch>,
    counters: JobCounters,
}

/// What one input of the plan makes of each batch.
struct Branch {
    /// Index of the input.
    input: usize,
    steps: Vec<Box<dyn Operator>>,
    window: Option<WindowOperator>,
}

impl QueryChain {
    /// Builds the chain of one of the scans of `plan`, by index; `references` must hold a table for each lookup.
    pub fn new(job: &str, plan: &JobPlan, scan: usize, references: &[Arc<ReferenceTable>]) -> Result<Self> {
        let inputs = plan.inputs.iter().enumerate().filter(|(_, input)| input.scan == scan);
        let table = plan.scans.get(scan).ok_or_else(|| Error::internal(format!("a plan has no scan {scan}")))?;
        let branches = inputs.map(|(i, input)| Branch::new(i, input, table, references)).collect::<Result<Vec<_>>>()?;
        if branches.is_empty() {
            return Err(Error::internal(format!("nothing reads the scan of {}", table.table)));
        }
        Ok(Self { job: job.to_owned(), reader: Reader::new(table)?, branches, counters: JobCounters::default() })
    }

    fn windows(&mut self) -> impl Iterator<Item = &mut WindowOperator> {
        self.branches.iter_mut().filter_map(|b| b.window.as_mut())
    }
}

impl Branch {
    fn new(input: usize, plan: &plan::Input, scan: &Scan, references: &[Arc<ReferenceTable>]) -> Result<Self> {
        let mut steps: Vec<Box<dyn Operator>> = Vec::new();
        let mut schema = scan.schema();
        for stage in &plan.stages {
            steps.push(open_stage(stage, references)?);
            if let Some(changed) = stage.schema() {
                schema = changed.clone();
            }
        }
        if let Lateness::Row { time } = plan.late {
            steps.push(Box::new(Late::new(time)));
        }
        let window = match &plan.window {
            Some(w) => {
                steps.push(Box::new(WindowInputs::new(w, &schema)?));
                Some(WindowOperator::new(w.clone(), plan.unit)?)
            }
            None => None,
        };
        Ok(Self { input, steps, window })
    }

    /// Takes the next batch, if a row is left of it, and the watermark after it.
    fn push(&mut self, mut batch: Option<Batch>, watermark: Micros, out: &mut Output, chunks: &mut Vec<Chunk>) -> Result<()> {
        for step in &mut self.steps {
            let Some(b) = batch else { break };
            batch = push_or_reject(step.as_mut(), b, out)?;
        }
        match (&mut self.window, batch) {
            (Some(window), Some(batch)) => {
                window.push(batch, out)?;
            }
            (None, Some(batch)) => {
                out.counters.passed += batch.rows.num_rows() as u64;
                out.emissions.push(Emission::Rows(batch.rows));
            }
            (_, None) => {}
        }
        self.advance(watermark, out, chunks)
    }

    /// Event time has reached `watermark`; moves what the branch let go into chunks.
    fn advance(&mut self, watermark: Micros, out: &mut Output, chunks: &mut Vec<Chunk>) -> Result<()> {
        if let Some(window) = &mut self.window {
            window.advance(watermark, out)?;
        }
        chunks.extend(out.emissions.drain(..).map(|e| Chunk::Emission(self.input, e)));
        Ok(())
    }
}

impl Chain for QueryChain {
    fn push(&mut self, records: &Records, decoded: Decoded, chunks: &mut Vec<Chunk>) -> Result<bool> {
        self.counters.consumed += records.entries.len() as u64;
        self.counters.rejected += decoded.rejects.len() as u64;
        let mut out = Output::default();
        let batch = self.reader.time(decoded, &mut out)?;
        let is_timed = batch.is_some();
        // Decode and time rejects are written once, by the stream's archive; here they are only counted.
        out.rejects.clear();
        let batch = match batch {
            Some(batch) => self.reader.project(batch, &mut out)?,
            None => None,
        };
        let rows = batch.as_ref().map_or(0, |b| b.rows.num_rows()) as u64;
        out.counters.expanded += rows * (self.branches.len() as u64 - 1);
        let watermark = self.reader.watermark();
        if let Some((last, others)) = self.branches.split_last_mut() {
            for branch in others {
                branch.push(batch.clone(), watermark, &mut out, chunks)?;
            }
            last.push(batch, watermark, &mut out, chunks)?;
        }
        for late in &out.late {
            chunks.push(Chunk::Rows(Target::Late, lake::late_rows(records, late)?));
        }
        if !out.rejects.is_empty() {
            out.rejects.sort_by_key(|r| r.offset);
            chunks.push(Chunk::Rows(Target::Rejects, lake::dlq_rows(records, Some(&self.job), &out.rejects)?));
        }
        self.counters.add(&out.counters);
        Ok(is_timed)
    }

    fn lose(&mut self, records: u64) {
        self.counters.lost += records;
    }

    fn carry(&mut self, watermark: Micros, chunks: &mut Vec<Chunk>) -> Result<()> {
        self.reader.carry(watermark);
        let mut out = Output::default();
        for branch in &mut self.branches {
            branch.advance(watermark, &mut out, chunks)?;
        }
        self.counters.add(&out.counters);
        Ok(())
    }

    fn watermark(&self) -> Micros {
        self.reader.watermark()
    }

    fn counters(&self) -> JobCounters {
        let open = self.branches.iter().filter_map(|b| b.window.as_ref()).map(WindowOperator::open_rows).sum();
        JobCounters { open, ..self.counters.clone() }
    }

    fn usage(&self) -> Usage {
        self.branches.iter().filter_map(|b| b.window.as_ref()).map(WindowOperator::usage).sum()
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        let (mut bytes, count) = (Vec::new(), self.windows().count());
        self.windows().try_for_each(|window| snapshot::put_state(&mut bytes, count, |bytes| window.snapshot_into(bytes)))?;
        Ok(bytes)
    }

    fn restore(&mut self, watermark: Micros, counters: JobCounters, state: &[u8]) -> Result<()> {
        self.reader.carry(watermark);
        self.counters = JobCounters { open: 0, ..counters };
        let count = self.windows().count();
        let states = snapshot::split_states(state, count)?;
        self.windows().zip(states).try_for_each(|(window, state)| window.restore(state))
    }
}

/// Event time of a scan, in rows of its decoded columns and, behind them, its event time and watermark if they are computed.
pub fn watermarker(scan: &Scan) -> Result<Watermarker> {
    let Some(row_time) = scan.row_time else { return Ok(Watermarker::new(None, 0, scan.future_tolerance)) };
    let decoded = scan.decoded();
    let (position, width) = match scan.computed_time() {
        Some(_) => (Some(decoded.len()), decoded.len() + 1),
        None => (decoded.iter().position(|&i| i == row_time.column), decoded.len()),
    };
    let position = position.ok_or_else(|| Error::internal("the event time is not among the decoded columns"))?;
    let watermarker = Watermarker::new(Some(position), row_time.delay, scan.future_tolerance);
    Ok(if scan.watermark.is_some() { watermarker.with_marks(width) } else { watermarker })
}

/// What the decoder of a scan has to do. A physical column `device_id` must name the device that sent the record.
pub fn decode_schema(scan: &Scan) -> decode::DecodeSchema {
    let source = |c: &plan::Column| match c.source {
        ColumnSource::Payload => Some(decode::Source::Payload),
        ColumnSource::Metadata(Metadata::DeviceId) => Some(decode::Source::DeviceId),
        ColumnSource::Metadata(Metadata::Topic) => Some(decode::Source::Topic),
        ColumnSource::Metadata(Metadata::ReceivedAt) => Some(decode::Source::ReceivedAt),
        ColumnSource::Metadata(Metadata::Partition) => Some(decode::Source::Partition),
        ColumnSource::Metadata(Metadata::Offset) => Some(decode::Source::Offset),
        ColumnSource::Computed(_) => None,
    };
    let column = |c: &plan::Column| Some(decode::DecodeColumn { field: c.field.clone(), source: source(c)?, time_unit: c.time_unit });
    let columns: Vec<decode::DecodeColumn> = scan.columns.iter().filter_map(column).collect();
    // Indexes count only what can be decoded.
    let place = |index: usize| scan.columns[..index].iter().filter(|c| c.computed().is_none()).count();
    let is_identity = |c: &decode::DecodeColumn| c.source == decode::Source::Payload && c.field.name() == "device_id";
    decode::DecodeSchema {
        identity: columns.iter().position(is_identity),
        projection: scan.decoded().into_iter().map(place).collect(),
        columns,
        options: scan.format_options.clone(),
    }
}

/// Pushes a batch through a stateless step; if it fails, halves it until the rows that fail stand alone, and rejects those.
fn push_or_reject(step: &mut dyn Operator, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
    let error = match step.push(batch.clone(), out) {
        Ok(result) => return Ok(result),
        Err(e) => e,
    };
    let rows = batch.rows.num_rows();
    if rows <= 1 {
        out.counters.rejected += rows as u64;
        out.rejects.extend(batch.offsets.values().iter().map(|&offset| Reject { offset, reason: error.message().to_owned() }));
        return Ok(None);
    }
    let (left, right) = (slice(&batch, 0, rows / 2), slice(&batch, rows / 2, rows - rows / 2));
    match (push_or_reject(step, left, out)?, push_or_reject(step, right, out)?) {
        (Some(a), Some(b)) => join(&a, &b).map(Some),
        (a, b) => Ok(a.or(b)),
    }
}

fn slice(batch: &Batch, from: usize, rows: usize) -> Batch {
    Batch {
        rows: batch.rows.slice(from, rows),
        offsets: batch.offsets.slice(from, rows),
        watermarks: batch.watermarks.as_ref().map(|w| w.slice(from, rows)),
    }
}

fn join(a: &Batch, b: &Batch) -> Result<Batch> {
    let both = |x: &dyn arrow::array::Array, y: &dyn arrow::array::Array| -> Result<ArrayRef> { Ok(concat(&[x, y])?) };
    let watermarks = match (&a.watermarks, &b.watermarks) {
        (Some(x), Some(y)) => Some(both(x, y)?.as_primitive().clone()),
        _ => None,
    };
    Ok(Batch {
        rows: concat_batches(a.rows.schema_ref(), [&a.rows, &b.rows])?,
        offsets: both(&a.offsets, &b.offsets)?.as_primitive().clone(),
        watermarks,
    })
}
