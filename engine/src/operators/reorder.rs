//! Rows in the order of event time. Invariant: what leaves is a function of the rows alone: rows of equal time leave together,
//! ordered by their columns from left to right, or by one of them before the others, however they were cut into batches and in
//! whatever order they came.
//!
//! ```text
//! push ─► run: a batch and the order of its times          release ─► rows of all runs up to the watermark, merged
//! runs by the time of their next row: a release looks at no run in which nothing is due
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_arrays, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};

use super::compact::compact;
use crate::error::{Error, Result};
use crate::time::Micros;

/// A run of which less than this part is left gives its memory back.
const LEFT_PART: usize = 4;
/// Runs with fewer rows than this on average are put together by a snapshot: each takes memory beside its rows.
const RUN_ROWS: usize = 256;

/// Holds rows until the watermark passes them.
pub struct Reorder {
    schema: SchemaRef,
    time: usize,
    content: RowConverter,
    /// Columns in the order in which rows of equal time are compared.
    compared: Vec<usize>,
    /// By the time of the next row, then by a number of its own.
    runs: BTreeMap<(Micros, u64), Run>,
    numbers: u64,
    len: usize,
}

/// A batch in the order of its times.
struct Run {
    rows: RecordBatch,
    /// Rows in the order of time; `None` if they lie so.
    order: Option<Vec<u32>>,
    /// Places in that order that have left.
    left: usize,
}

impl Reorder {
    /// For rows of `schema`, whose column `time` is their event time. Errors: `Internal` if a column cannot be compared.
    pub fn new(schema: SchemaRef, time: usize) -> Result<Self> {
        Self::by(schema, time, None)
    }

    /// The same, where rows of equal time are ordered by a column before the others. Errors: as `new`.
    pub fn by(schema: SchemaRef, time: usize, first: Option<usize>) -> Result<Self> {
        let compared: Vec<usize> = first.into_iter().chain((0..schema.fields().len()).filter(|c| Some(*c) != first)).collect();
        let content = RowConverter::new(compared.iter().map(|&c| SortField::new(schema.field(c).data_type().clone())).collect())?;
        Ok(Self { schema, time, content, compared, runs: BTreeMap::new(), numbers: 0, len: 0 })
    }

    /// Takes rows. Errors: `Internal` if a time is NULL.
    pub fn push(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())?;
        let times = event_times(&rows, self.time)?;
        let order = (!times.is_sorted()).then(|| {
            let mut order: Vec<u32> = (0..times.len() as u32).collect();
            order.sort_by_key(|&i| times[i as usize]);
            order
        });
        self.len += rows.num_rows();
        self.keep(Run { rows, order, left: 0 })
    }

    /// Rows with times up to `watermark`, in order; none if there are none.
    pub fn release(&mut self, watermark: Micros) -> Result<Option<RecordBatch>> {
        let mut due: Vec<(Run, Range<usize>)> = Vec::new();
        while let Some(entry) = self.runs.first_entry().filter(|e| e.key().0 <= watermark) {
            let run = entry.remove();
            let range = run.left..run.passed(self.time, watermark)?;
            due.push((run, range));
        }
        if due.is_empty() {
            return Ok(None);
        }
        let rows = self.merged(&due)?;
        self.len -= rows.num_rows();
        for (mut run, range) in due {
            run.left = range.end;
            let left = run.rows.num_rows() - run.left;
            if left > 0 {
                self.keep(if left * LEFT_PART < run.rows.num_rows() { run.rest()? } else { run })?;
            }
        }
        self.order_ties(rows).map(Some)
    }

    /// Number of rows that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The rows that wait, as one batch: run after run, because they are put in order anyway when they leave.
    pub fn snapshot(&mut self) -> Result<RecordBatch> {
        self.runs.values_mut().try_for_each(Run::trim)?;
        let rows = concat_batches(&self.schema, self.runs.values().map(|run| &run.rows))?;
        if self.runs.len() > 1 && self.len < self.runs.len() * RUN_ROWS {
            self.runs.clear();
            self.len = 0;
            self.push(rows.clone())?;
        }
        Ok(rows)
    }

    /// Takes rows from `snapshot`.
    pub fn restore(&mut self, rows: RecordBatch) -> Result<()> {
        self.push(rows)
    }

    /// Puts a run to where its next row belongs.
    fn keep(&mut self, run: Run) -> Result<()> {
        let next = event_times(&run.rows, self.time)?[run.row(run.left)];
        self.numbers += 1;
        self.runs.insert((next, self.numbers), run);
        Ok(())
    }

    /// Those places of the runs, in the order of time.
    fn merged(&self, parts: &[(Run, Range<usize>)]) -> Result<RecordBatch> {
        if let [(run @ Run { order: None, .. }, range)] = parts {
            return Ok(run.rows.slice(range.start, range.len()));
        }
        let mut places: Vec<(Micros, u32, u32)> = Vec::with_capacity(parts.iter().map(|(_, range)| range.len()).sum());
        for (number, (run, range)) in parts.iter().enumerate() {
            let times = event_times(&run.rows, self.time)?;
            places.extend(range.clone().map(|place| run.row(place)).map(|row| (times[row], number as u32, row as u32)));
        }
        // Stable sorting merges the runs, each of which is in order.
        places.sort_by_key(|p| p.0);
        let places: Vec<(usize, usize)> = places.into_iter().map(|(_, run, row)| (run as usize, row as usize)).collect();
        let batches: Vec<&RecordBatch> = parts.iter().map(|(run, _)| &run.rows).collect();
        Ok(interleave_record_batch(&batches, &places)?)
    }

    /// Orders rows of equal time by their content.
    fn order_ties(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let times = event_times(&rows, self.time)?;
        let mut ties: Vec<Range<usize>> = Vec::new();
        let mut from = 0;
        for same in times.chunk_by(|a, b| a == b) {
            if same.len() > 1 {
                ties.push(from..from + same.len());
            }
            from += same.len();
        }
        let tied = ties.iter().map(Range::len).sum::<usize>();
        if tied == 0 {
            return Ok(rows);
        }
        let columns: Vec<_> = self.compared.iter().map(|&c| rows.column(c).clone()).collect();
        let content = if tied == times.len() {
            self.content.convert_columns(&columns)?
        } else {
            let tied: UInt32Array = ties.iter().cloned().flatten().map(|i| i as u32).collect();
            self.content.convert_columns(&take_arrays(&columns, &tied, None)?)?
        };
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        let mut before = 0;
        for tie in ties {
            let content_of = |row: u32| content.row(before + row as usize - tie.start);
            order[tie.clone()].sort_unstable_by(|&a, &b| content_of(a).cmp(&content_of(b)));
            before += tie.len();
        }
        if order.is_sorted() {
            return Ok(rows);
        }
        Ok(take_record_batch(&rows, &UInt32Array::from(order))?)
    }
}

impl Run {
    /// The row at a place in the order of time.
    fn row(&self, place: usize) -> usize {
        self.order.as_ref().map_or(place, |order| order[place] as usize)
    }

    /// The first place whose time is after `watermark`.
    fn passed(&self, time: usize, watermark: Micros) -> Result<usize> {
        let times = event_times(&self.rows, time)?;
        Ok(match &self.order {
            None => times.partition_point(|&t| t <= watermark),
            Some(order) => order.partition_point(|&row| times[row as usize] <= watermark),
        })
    }

    /// Lets go of rows that have left, and of texts that no row needs.
    fn trim(&mut self) -> Result<()> {
        if self.left > 0 {
            *self = self.rest()?;
        } else {
            self.rows = compact(&self.rows)?;
        }
        Ok(())
    }

    /// What is left of it, in memory of its own.
    fn rest(&self) -> Result<Self> {
        let places = (self.left..self.rows.num_rows()).map(|place| self.row(place) as u32);
        let rows = take_record_batch(&self.rows, &UInt32Array::from_iter_values(places))?;
        Ok(Self { rows: compact(&rows)?, order: None, left: 0 })
    }
}

/// Column `time` of `rows`. Errors: `Internal` if it is no timestamp, or NULL anywhere.
pub fn event_times(rows: &RecordBatch, time: usize) -> Result<&[Micros]> {
    let column = rows.column(time);
    let name = || rows.schema_ref().field(time).name().clone();
    if column.null_count() > 0 {
        return Err(Error::internal(format!("a row without a time in column {} reached a step that orders by it", name())));
    }
    let times = column.as_primitive_opt::<TimestampMicrosecondType>();
    Ok(times.ok_or_else(|| Error::internal(format!("column {} is {}, not a timestamp", name(), column.data_type())))?.values())
}

#[cfg(test)]
mod tests;
