//! Event time of a partition. Invariant: the watermark before a row is a function of the rows before it in the partition and
//! of nothing else, so that a row is late or not however the rows were cut into batches.

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, TimestampMicrosecondArray};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::TimestampMicrosecondType;

use crate::batch::{Batch, Reject};
use crate::contract::{Decoded, Output};
use crate::error::{Error, Result};
use crate::time::{self, Micros};

/// Follows the watermark of one partition and marks rows that lie at or behind it.
#[derive(Debug)]
pub struct Watermarker {
    /// Position of the event time in the decoded rows; `None` takes the receive time.
    column: Option<usize>,
    delay: Micros,
    /// Position in the decoded rows of what the watermark is the greatest of, instead of event time without the delay.
    marks: Option<usize>,
    future_tolerance: Micros,
    current: Micros,
}

impl Watermarker {
    /// `column` is a position in the decoded rows; `delay` and `future_tolerance` are microseconds.
    pub fn new(column: Option<usize>, delay: Micros, future_tolerance: Micros) -> Self {
        Self { column, delay, marks: None, future_tolerance, current: Micros::MIN }
    }

    /// The watermark is the greatest value so far of the column at this position in the decoded rows; a NULL does not move it, and
    /// none moves it further ahead of the receive time than event time may be.
    #[must_use]
    pub fn with_marks(self, position: usize) -> Self {
        Self { marks: Some(position), ..self }
    }

    /// The watermark after everything seen so far; `Micros::MIN` before the first row.
    pub fn current(&self) -> Micros {
        self.current
    }

    /// Moves the watermark forward from outside: after a restore, or because the partition is idle. Never back.
    pub fn carry(&mut self, watermark: Micros) {
        self.current = self.current.max(watermark);
    }

    /// Turns decoded rows into a batch. Rows without event time or too far ahead of their receive time are rejected, and
    /// do not move the watermark.
    pub fn assign(&mut self, decoded: Decoded, out: &mut Output) -> Result<Option<Batch>> {
        let decoded = self.reject_unusable(decoded, out)?;
        if decoded.rows.num_rows() == 0 {
            return Ok(None);
        }
        let watermarks = match self.marks {
            Some(position) => self.follow_marks(self.times(&decoded)?, times_of(&decoded, position)?, decoded.received.values()),
            None => self.follow(self.times(&decoded)?),
        };
        Ok(Some(Batch { rows: decoded.rows, offsets: decoded.offsets, watermarks }))
    }

    fn times<'a>(&self, decoded: &'a Decoded) -> Result<&'a [Micros]> {
        match self.column {
            Some(position) => Ok(times_of(decoded, position)?.values()),
            None => Ok(decoded.received.values()),
        }
    }

    fn follow(&mut self, times: &[Micros]) -> Option<Int64Array> {
        let (least, greatest) = times.iter().fold((Micros::MAX, Micros::MIN), |(l, g), &t| (l.min(t), g.max(t)));
        let end = self.current.max(greatest.saturating_sub(self.delay));
        if least > end {
            self.current = end;
            return None;
        }
        let delay = self.delay;
        self.follow_rows(times, |row| times[row].saturating_sub(delay))
    }

    fn follow_marks(&mut self, times: &[Micros], marks: &TimestampMicrosecondArray, received: &[Micros]) -> Option<Int64Array> {
        let tolerance = self.future_tolerance;
        let most = |row: usize| received[row].saturating_add(tolerance);
        self.follow_rows(times, |row| if marks.is_null(row) { Micros::MIN } else { marks.value(row).min(most(row)) })
    }

    /// The watermark before each row; `None` if no row lies at or behind it.
    fn follow_rows(&mut self, times: &[Micros], mark: impl Fn(usize) -> Micros) -> Option<Int64Array> {
        let mut behind = false;
        let mut before = Vec::with_capacity(times.len());
        for (row, &t) in times.iter().enumerate() {
            before.push(self.current);
            behind |= t <= self.current;
            self.current = self.current.max(mark(row));
        }
        behind.then(|| Int64Array::from(before))
    }

    fn reject_unusable(&self, decoded: Decoded, out: &mut Output) -> Result<Decoded> {
        let Some(index) = self.column else { return Ok(decoded) };
        let times = self.times(&decoded)?;
        let received = decoded.received.values();
        let nulls = decoded.rows.column(index).nulls();
        let is_bad = |i: usize| nulls.is_some_and(|n| n.is_null(i)) || times[i] > received[i].saturating_add(self.future_tolerance);
        if !(0..times.len()).any(is_bad) {
            return Ok(decoded);
        }
        let name = decoded.rows.schema_ref().field(index).name().clone();
        for i in (0..times.len()).filter(|&i| is_bad(i)) {
            let reason = if nulls.is_some_and(|n| n.is_null(i)) {
                format!("column {name}: the event time is missing")
            } else {
                let (ahead, at_most) = ((times[i] - received[i]) / time::SECOND, self.future_tolerance / time::SECOND);
                format!("column {name}: {} is {ahead} s after it was received; at most {at_most} s is allowed", time::format(times[i]))
            };
            out.rejects.push(Reject { offset: decoded.offsets.value(i), reason });
        }
        let good: BooleanArray = (0..times.len()).map(|i| Some(!is_bad(i))).collect();
        out.counters.rejected += (times.len() - good.true_count()) as u64;
        Ok(Decoded {
            rows: filter_record_batch(&decoded.rows, &good)?,
            offsets: filter(&decoded.offsets, &good)?.as_primitive().clone(),
            received: filter(&decoded.received, &good)?.as_primitive().clone(),
            rejects: decoded.rejects,
        })
    }
}

fn times_of(decoded: &Decoded, position: usize) -> Result<&TimestampMicrosecondArray> {
    let column = decoded.rows.column(position);
    column
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal(format!("event time is {}, not a timestamp", column.data_type())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, UInt64Array};

    use super::*;

    fn decoded(times: &[Option<i64>], received: i64) -> Decoded {
        let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
        Decoded {
            rows: RecordBatch::try_from_iter([("ts", ts)]).unwrap(),
            offsets: UInt64Array::from_iter_values(0..times.len() as u64),
            received: Int64Array::from(vec![received; times.len()]),
            rejects: vec![],
        }
    }

    fn marks(batches: &[&[i64]]) -> Vec<(i64, bool)> {
        let mut w = Watermarker::new(Some(0), 10, 1_000);
        let mut got = Vec::new();
        for times in batches {
            let batch =
                w.assign(decoded(&times.iter().map(|&t| Some(t)).collect::<Vec<_>>(), 100), &mut Output::default()).unwrap().unwrap();
            let behind = |i: usize| batch.watermarks.as_ref().is_some_and(|m| times[i] <= m.value(i));
            got.extend((0..times.len()).map(|i| (times[i], behind(i))));
        }
        got
    }

    #[test]
    fn whether_a_row_is_behind_does_not_depend_on_batches() {
        let times = [5, 30, 21, 20, 19, 50, 41, 40, 12];
        let whole = marks(&[&times]);
        assert_eq!(whole.iter().filter(|(_, b)| *b).map(|(t, _)| *t).collect::<Vec<_>>(), [20, 19, 40, 12]);
        for cut in 1..times.len() {
            assert_eq!(marks(&[&times[..cut], &times[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_watermark_of_its_own_is_the_greatest_so_far_and_null_does_not_move_it() {
        let rows =
            [(5, Some(1)), (4, None), (3, Some(4)), (4, Some(2)), (9, None), (5, Some(30)), (30, None), (31, None), (32, Some(9_999_999))];
        let marks = |cuts: &[std::ops::Range<usize>]| {
            let mut w = Watermarker::new(Some(0), 10, 1_000).with_marks(1);
            let mut got = Vec::new();
            for cut in cuts {
                let column = |values: Vec<Option<i64>>| Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
                let (times, own): (Vec<_>, Vec<_>) = rows[cut.clone()].iter().map(|&(t, m)| (Some(t), m)).unzip();
                let plain = decoded(&times, 100);
                let rows =
                    RecordBatch::try_from_iter_with_nullable([("ts", column(times.clone()), true), ("m", column(own), true)]).unwrap();
                let batch = w.assign(Decoded { rows, ..plain }, &mut Output::default()).unwrap().unwrap();
                let behind = |i: usize| batch.watermarks.as_ref().is_some_and(|m| times[i].unwrap() <= m.value(i));
                got.extend((0..times.len()).map(behind));
            }
            (got, w.current())
        };
        let whole = marks(std::slice::from_ref(&(0..rows.len())));
        assert_eq!(whole, (vec![false, false, false, true, false, false, true, false, false], 1_100), "the last is from the far future");
        for cut in 1..rows.len() {
            assert_eq!(marks(&[0..cut, cut..rows.len()]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn rows_without_time_or_from_the_far_future_are_rejected_and_do_not_move_the_watermark() {
        let mut w = Watermarker::new(Some(0), 10, 1_000);
        let mut out = Output::default();
        let batch = w.assign(decoded(&[Some(50), None, Some(5_000_000), Some(60)], 100), &mut out).unwrap().unwrap();
        assert_eq!(batch.offsets.values(), &[0, 3]);
        assert_eq!((w.current(), out.counters.rejected), (50, 2));
        assert!(out.rejects[0].reason.contains("missing") && out.rejects[1].reason.contains("after it was received"), "{:?}", out.rejects);
    }
}
