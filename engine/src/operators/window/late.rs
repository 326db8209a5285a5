//! Late rows of a window. Invariant: whether a row is late depends on its time and on the watermark before it in its partition, however
//! far anybody else is.

use super::inputs::times;
use crate::batch::Batch;
use crate::contract::Output;
use crate::contract::operator::LateRows;
use crate::error::Result;

/// Counts the rows with the numbers `late` and puts them aside; `time` is the column of the event time.
pub(super) fn put_aside(batch: &Batch, time: usize, late: &[u32], out: &mut Output) -> Result<()> {
    let Some(watermarks) = batch.watermarks.as_ref().filter(|_| !late.is_empty()) else { return Ok(()) };
    let times = times(batch.rows.column(time))?;
    let each = || late.iter().map(|&i| i as usize);
    out.counters.late += late.len() as u64;
    out.late.push(LateRows {
        offsets: each().map(|i| batch.offsets.value(i)).collect::<Vec<u64>>().into(),
        times: each().map(|i| times[i]).collect(),
        watermarks: each().map(|i| watermarks.value(i)).collect(),
    });
    Ok(())
}
