//! The chain of a query: decode, event time, steps, window. Invariant: each record is counted in one way out: rejected,
//! filtered, late, aggregated or passed.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{concat, concat_batches};

use super::chain::{Chain, Chunk, Target};
use crate::batch::{Batch, Records, Reject};
use crate::contract::{Decoder, Emission, Operator, Output};
use crate::decode;
use crate::error::{Error, Result};
use crate::lake;
use crate::metrics::JobCounters;
use crate::operators::filter::Filter;
use crate::operators::lookup::LookupOperator;
use crate::operators::project::Project;
use crate::operators::watermark::Watermarker;
use crate::operators::window::{WindowInputs, WindowOperator};
use crate::plan::{self, ColumnSource, JobPlan, Metadata, Scan, Stage};
use crate::reference::ReferenceTable;
use crate::time::Micros;

/// The steps of one partition of a query.
pub struct QueryChain {
    job: String,
    decoder: Box<dyn Decoder>,
    watermarker: Watermarker,
    steps: Vec<Box<dyn Operator>>,
    window: Option<WindowOperator>,
    counters: JobCounters,
}

impl QueryChain {
    /// Builds the chain of `plan`; `references` must hold a table for each lookup.
    pub fn new(job: &str, plan: &JobPlan, references: &[Arc<ReferenceTable>]) -> Result<Self> {
        let mut steps: Vec<Box<dyn Operator>> = Vec::new();
        let mut schema = plan.scan.schema();
        for stage in &plan.before {
            match stage {
                Stage::Filter(predicate) => steps.push(Box::new(Filter::new(predicate.clone()))),
                Stage::Project(p) => {
                    schema = p.schema.clone();
                    steps.push(Box::new(Project::new(p.clone())));
                }
                Stage::Lookup(l) => {
                    let table = references.iter().find(|t| t.name() == &l.table);
                    let table = table.ok_or_else(|| Error::not_found(format!("reference table {} is not loaded", l.table)))?;
                    schema = l.schema.clone();
                    steps.push(Box::new(LookupOperator::new(l.clone(), table.clone())?));
                }
            }
        }
        let window = match &plan.window {
            Some(w) => {
                steps.push(Box::new(WindowInputs::new(w, &schema)?));
                Some(WindowOperator::new(w.clone(), time_unit(&plan.scan))?)
            }
            None => None,
        };
        let decoder = decode::open(&plan.scan.format, decode_schema(&plan.scan))?;
        Ok(Self { job: job.to_owned(), decoder, watermarker: watermarker(&plan.scan)?, steps, window, counters: JobCounters::default() })
    }

    /// Moves what the window let go into chunks.
    fn emit(&mut self, out: &mut Output, chunks: &mut Vec<Chunk>) {
        self.counters.add(&out.counters);
        chunks.extend(out.emissions.drain(..).map(Chunk::Emission));
    }
}

impl Chain for QueryChain {
    fn push(&mut self, records: &Records, chunks: &mut Vec<Chunk>) -> Result<()> {
        let decoded = self.decoder.decode(records)?;
        self.counters.consumed += records.entries.len() as u64;
        self.counters.rejected += decoded.rejects.len() as u64;
        let mut out = Output::default();
        let mut batch = self.watermarker.assign(decoded, &mut out)?;
        // Decode and time rejects are written once, by the stream's archive; here they are only counted.
        out.rejects.clear();
        for step in &mut self.steps {
            let Some(b) = batch else { break };
            batch = push_or_reject(step.as_mut(), b, &mut out)?;
        }
        if let Some(batch) = batch {
            match &mut self.window {
                Some(window) => {
                    window.push(batch, &mut out)?;
                }
                None => {
                    out.counters.passed += batch.rows.num_rows() as u64;
                    out.emissions.push(Emission::Rows(batch.rows));
                }
            }
        }
        if let Some(window) = &mut self.window {
            window.advance(self.watermarker.current(), &mut out)?;
        }
        for late in &out.late {
            chunks.push(Chunk::Rows(Target::Late, lake::late_rows(records, late)?));
        }
        if !out.rejects.is_empty() {
            out.rejects.sort_by_key(|r| r.offset);
            chunks.push(Chunk::Rows(Target::Rejects, lake::dlq_rows(records, Some(&self.job), &out.rejects)?));
        }
        self.emit(&mut out, chunks);
        Ok(())
    }

    fn lose(&mut self, records: u64) {
        self.counters.lost += records;
    }

    fn carry(&mut self, watermark: Micros, chunks: &mut Vec<Chunk>) -> Result<()> {
        self.watermarker.carry(watermark);
        let mut out = Output::default();
        if let Some(window) = &mut self.window {
            window.advance(watermark, &mut out)?;
        }
        self.emit(&mut out, chunks);
        Ok(())
    }

    fn watermark(&self) -> Micros {
        self.watermarker.current()
    }

    fn counters(&self) -> JobCounters {
        let open = self.window.as_ref().map_or(0, WindowOperator::open_rows);
        JobCounters { open, ..self.counters.clone() }
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.window.as_mut().map_or_else(|| Ok(Vec::new()), Operator::snapshot)
    }

    fn restore(&mut self, watermark: Micros, counters: JobCounters, state: &[u8]) -> Result<()> {
        self.watermarker.carry(watermark);
        self.counters = JobCounters { open: 0, ..counters };
        match &mut self.window {
            Some(window) => window.restore(state),
            None => Ok(()),
        }
    }
}

/// Event time of a scan.
pub fn watermarker(scan: &Scan) -> Result<Watermarker> {
    let Some(row_time) = scan.row_time else { return Ok(Watermarker::new(None, 0, scan.future_tolerance)) };
    let position = scan.projection.iter().position(|&i| i == row_time.column);
    let position = position.ok_or_else(|| Error::internal("the event time is not among the scanned columns"))?;
    Ok(Watermarker::new(Some(position), row_time.delay, scan.future_tolerance))
}

/// The smallest step of a scan's event time in microseconds.
pub fn time_unit(scan: &Scan) -> Micros {
    scan.row_time.map_or(1, |t| scan.columns[t.column].time_unit.max(1))
}

/// What the decoder of a scan has to do. A physical column `device_id` must name the device that sent the record.
pub fn decode_schema(scan: &Scan) -> decode::DecodeSchema {
    let source = |c: &plan::Column| match c.source {
        ColumnSource::Payload => decode::Source::Payload,
        ColumnSource::Metadata(Metadata::DeviceId) => decode::Source::DeviceId,
        ColumnSource::Metadata(Metadata::Topic) => decode::Source::Topic,
        ColumnSource::Metadata(Metadata::ReceivedAt) => decode::Source::ReceivedAt,
        ColumnSource::Metadata(Metadata::Partition) => decode::Source::Partition,
        ColumnSource::Metadata(Metadata::Offset) => decode::Source::Offset,
    };
    let column = |c: &plan::Column| decode::DecodeColumn { field: c.field.clone(), source: source(c), time_unit: c.time_unit };
    decode::DecodeSchema {
        columns: scan.columns.iter().map(column).collect(),
        projection: scan.projection.clone(),
        identity: scan.columns.iter().position(|c| c.source == ColumnSource::Payload && c.field.name() == "device_id"),
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
