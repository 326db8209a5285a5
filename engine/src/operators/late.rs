//! Rows behind the watermark, before steps that need the order of time. Invariant: a row is late exactly if its event time lies at or
//! behind the watermark that stood before it in its partition.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{filter, not};
use arrow::datatypes::TimestampMicrosecondType;

use super::filter::keep;
use crate::batch::Batch;
use crate::contract::operator::LateRows;
use crate::contract::{Operator, Output};
use crate::error::{Error, Result};
use crate::time::Micros;

/// Takes late rows out.
pub struct Late {
    time: usize,
}

impl Late {
    /// `time` is the index of the event time in the rows.
    pub fn new(time: usize) -> Self {
        Self { time }
    }
}

impl Operator for Late {
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let column = batch.rows.column(self.time);
        if column.null_count() > 0 {
            return Err(Error::internal("a NULL event time reached a step that needs it"));
        }
        let Some(watermarks) = &batch.watermarks else { return Ok(Some(batch)) };
        let times =
            column.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| Error::internal("event time is not a timestamp"))?;
        let late: BooleanArray = times.values().iter().zip(watermarks.values()).map(|(t, w)| Some(t <= w)).collect();
        let count = late.true_count();
        if count == 0 {
            return Ok(Some(batch));
        }
        out.counters.late += count as u64;
        let chosen = |values: &[Micros]| values.iter().zip(late.values()).filter(|(_, l)| *l).map(|(v, _)| *v).collect();
        out.late.push(LateRows {
            offsets: filter(&batch.offsets, &late)?.as_primitive().clone(),
            times: chosen(times.values()),
            watermarks: chosen(watermarks.values()),
        });
        if count == late.len() { Ok(None) } else { keep(&batch, &not(&late)?).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array};

    use super::*;

    fn batch(times: &[Option<Micros>], watermarks: Option<&[Micros]>) -> Batch {
        let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
        Batch {
            rows: RecordBatch::try_from_iter([("ts", ts)]).unwrap(),
            offsets: UInt64Array::from_iter_values(7..7 + times.len() as u64),
            watermarks: watermarks.map(|w| Int64Array::from(w.to_vec())),
        }
    }

    #[test]
    fn rows_at_or_behind_the_watermark_before_them_leave_as_late() {
        let mut out = Output::default();
        let kept = Late::new(0).push(batch(&[Some(5), Some(6), Some(4), Some(9)], Some(&[4, 6, 6, 6])), &mut out).unwrap().unwrap();
        assert_eq!((kept.offsets.values().as_ref(), out.counters.late), ([7, 10].as_slice(), 2));
        assert_eq!((&out.late[0].times, &out.late[0].watermarks), (&vec![6, 4], &vec![6, 6]));
        assert_eq!(out.late[0].offsets.values().as_ref(), [8, 9]);
        assert!(Late::new(0).push(batch(&[Some(1)], Some(&[1])), &mut out).unwrap().is_none());
        assert_eq!(Late::new(0).push(batch(&[Some(1), Some(0)], None), &mut out).unwrap().unwrap().rows.num_rows(), 2);
        assert!(Late::new(0).push(batch(&[None], None), &mut out).is_err());
    }
}
