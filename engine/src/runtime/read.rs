//! From decoded records to rows with event time: what an archive and every job do first. Invariant: which records are rejected for their
//! payload, their event time or their watermark depends on the table alone, so that the archive, which keeps those rejects, and jobs
//! agree; a row whose other computed columns fail is rejected by the job that reads them.
//!
//! ```text
//! decoded ─► event time, watermark if they are computed ─► watermark before each row ─► other computed columns ─► as projected
//! ```

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Field, FieldRef, SchemaRef};

use super::query::watermarker;
use crate::batch::{Batch, Reject};
use crate::contract::{Decoded, Output};
use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::operators::compute::{Compute, Failure, widened};
use crate::operators::filter::keep;
use crate::operators::watermark::Watermarker;
use crate::plan::Scan;
use crate::time::{Micros, timestamp_type};

/// Reads the records of one partition, once they are decoded.
pub struct Reader {
    /// Event time and watermark, as far as they are computed: they stand behind the decoded columns.
    times: Vec<(FieldRef, Compute)>,
    watermarker: Watermarker,
    /// How the projected columns are made; `None` if they are the decoded ones.
    columns: Option<Vec<Column>>,
    schema: SchemaRef,
}

/// A projected column.
enum Column {
    /// It stands at this position.
    At(usize),
    /// It is computed.
    Computed(Compute),
}

impl Reader {
    /// As a table is declared. Errors: `Internal` if a column is not among those that are decoded.
    pub fn new(scan: &Scan) -> Result<Self> {
        let decoded = scan.decoded();
        let mut times = Vec::new();
        if let Some(time) = scan.row_time
            && let Some(compute) = Compute::column(scan, time.column, &decoded)?
        {
            times.push((scan.columns[time.column].field.clone(), compute));
        }
        if let Some(watermark) = &scan.watermark {
            let field = Arc::new(Field::new("watermark", timestamp_type(), true));
            times.push((field.clone(), Compute::new("watermark".to_owned(), watermark, &field, &decoded)?));
        }
        let computed_time = scan.computed_time().and(scan.row_time).map(|t| t.column);
        let column = |&index: &usize| match Compute::column(scan, index, &decoded)? {
            Some(_) if computed_time == Some(index) => Ok(Column::At(decoded.len())),
            Some(compute) => Ok(Column::Computed(compute)),
            None => {
                let position = decoded.iter().position(|d| *d == index);
                Ok(Column::At(position.ok_or_else(|| Error::internal(format!("column {index} is not decoded")))?))
            }
        };
        let columns = match scan.projection == decoded && times.is_empty() {
            true => None,
            false => Some(scan.projection.iter().map(column).collect::<Result<Vec<Column>>>()?),
        };
        Ok(Self { times, watermarker: watermarker(scan)?, columns, schema: scan.schema() })
    }

    /// Gives decoded rows their event time and the watermark before each. What is rejected here is rejected for everybody.
    pub fn time(&mut self, decoded: Decoded, out: &mut Output) -> Result<Option<Batch>> {
        let decoded = if self.times.is_empty() { decoded } else { self.compute_times(decoded, out)? };
        self.watermarker.assign(decoded, out)
    }

    fn compute_times(&self, decoded: Decoded, out: &mut Output) -> Result<Decoded> {
        let mut failures = Vec::new();
        let mut columns = Vec::new();
        for (field, compute) in &self.times {
            columns.push((field.clone(), compute.evaluate(&decoded.rows, &mut failures)?));
        }
        let rows = widened(&decoded.rows, columns)?;
        let Some(good) = reject(rows.num_rows(), failures, |row| decoded.offsets.value(row), out) else {
            return Ok(Decoded { rows, ..decoded });
        };
        Ok(Decoded {
            rows: filter_record_batch(&rows, &good)?,
            offsets: filter(&decoded.offsets, &good)?.as_primitive().clone(),
            received: filter(&decoded.received, &good)?.as_primitive().clone(),
            rejects: decoded.rejects,
        })
    }

    /// The projected columns of rows that have their event time; rows that fail are rejected. `None` if no row is left.
    pub fn project(&self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let Some(columns) = &self.columns else { return Ok(Some(batch)) };
        let mut failures = Vec::new();
        let mut arrays = Vec::with_capacity(columns.len());
        for column in columns {
            arrays.push(match column {
                Column::At(position) => batch.rows.column(*position).clone(),
                Column::Computed(compute) => compute.evaluate(&batch.rows, &mut failures)?,
            });
        }
        let (batch, arrays) = match reject(batch.rows.num_rows(), failures, |row| batch.offsets.value(row), out) {
            Some(good) if good.true_count() == 0 => return Ok(None),
            Some(good) => (keep(&batch, &good)?, arrays.iter().map(|a| filter(a, &good)).collect::<std::result::Result<_, _>>()?),
            None => (batch, arrays),
        };
        let count = RecordBatchOptions::new().with_row_count(Some(batch.rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &count)?;
        Ok(Some(Batch { rows, ..batch }))
    }

    /// The watermark after everything read so far.
    pub fn watermark(&self) -> Micros {
        self.watermarker.current()
    }

    /// Moves the watermark forward from outside.
    pub fn carry(&mut self, watermark: Micros) {
        self.watermarker.carry(watermark);
    }
}

/// Rejects rows that failed, each once, and gives those that did not; `None` if none failed.
fn reject(rows: usize, mut failures: Vec<Failure>, offset: impl Fn(usize) -> Offset, out: &mut Output) -> Option<BooleanArray> {
    if failures.is_empty() {
        return None;
    }
    failures.sort_by_key(|(row, _)| *row);
    failures.dedup_by_key(|(row, _)| *row);
    let mut good = vec![true; rows];
    out.counters.rejected += failures.len() as u64;
    for (row, reason) in failures {
        good[row] = false;
        out.rejects.push(Reject { offset: offset(row), reason });
    }
    Some(BooleanArray::from(good))
}

#[cfg(test)]
mod tests;
