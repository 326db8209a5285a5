//! The common end of every format: good rows get their metadata columns, offsets and receive times. Invariant: row `r` of
//! every column belongs to the record `entries[kept[r]]`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, TimestampMicrosecondArray, UInt64Array, make_view,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::SchemaRef;

use super::schema::{DecodeColumn, DecodeSchema, Source};
use crate::batch::{Entry, Records, Reject};
use crate::contract::Decoded;
use crate::error::{Error, Result};
use crate::time::Micros;

/// Longest value that a view holds itself; a longer one borrows from a data buffer.
pub(super) const INLINE_BYTES_MAX: u32 = 12;

/// Puts the result together; `payload` gives the array of a wanted payload column by its index.
pub(super) fn assemble(
    schema: &DecodeSchema,
    output: &SchemaRef,
    records: &Records,
    kept: &[u32],
    rejects: Vec<Reject>,
    mut payload: impl FnMut(usize) -> Result<ArrayRef>,
) -> Result<Decoded> {
    let columns = schema.projection.iter().map(|&i| {
        let DecodeColumn { field, source, time_unit } = &schema.columns[i];
        let entries = entries(records, kept);
        Ok::<ArrayRef, Error>(match source {
            Source::Payload => payload(i)?,
            Source::DeviceId => texts(records, entries.map(|e| &e.device))?,
            Source::Topic => texts(records, entries.map(|e| &e.topic))?,
            Source::ReceivedAt => {
                let times = entries.map(|e| cut(e.received, *time_unit));
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_data_type(field.data_type().clone()))
            }
            Source::Partition => Arc::new(Int64Array::from_value(i64::from(records.partition), kept.len())),
            Source::Offset => Arc::new(Int64Array::from_iter_values(entries.map(|e| e.offset as i64))),
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
    let rows = RecordBatch::try_new_with_options(output.clone(), columns, &options)?;
    let offsets = UInt64Array::from_iter_values(entries(records, kept).map(|e| e.offset));
    let received = Int64Array::from_iter_values(entries(records, kept).map(|e| e.received));
    Ok(Decoded { rows, offsets, received, rejects })
}

/// `time` without what is finer than `unit` microseconds, towards the past.
#[inline]
pub(super) fn cut(time: Micros, unit: Micros) -> Micros {
    match unit {
        ..=1 => time,
        1_000 => time - time.rem_euclid(1_000),
        _ => time - time.rem_euclid(unit),
    }
}

/// A string array of `views`, whose long values lie in `buffers`; the buffers are held only if a view borrows from them.
pub(super) fn strings(views: Vec<u128>, buffers: &[Buffer], nulls: Option<arrow::buffer::NullBuffer>) -> Result<ArrayRef> {
    let borrows = views.iter().any(|v| *v as u32 > INLINE_BYTES_MAX);
    let buffers = if borrows { buffers.to_vec() } else { Vec::new() };
    Ok(Arc::new(StringViewArray::try_new(ScalarBuffer::from(views), buffers, nulls)?))
}

fn entries<'a>(records: &'a Records, kept: &'a [u32]) -> impl ExactSizeIterator<Item = &'a Entry> {
    kept.iter().map(|&i| &records.entries[i as usize])
}

/// Parts of the log's bytes as strings without copying; what is not UTF-8 shows as U+FFFD, as in `Records::text`.
fn texts<'a>(records: &'a Records, ranges: impl Iterator<Item = &'a std::ops::Range<u32>>) -> Result<ArrayRef> {
    let views = ranges.map(|range| {
        let bytes = records.slice(range);
        let valid = bytes.is_ascii() || std::str::from_utf8(bytes).is_ok();
        if valid { make_view(bytes, 0, range.start) } else { make_view("\u{fffd}".as_bytes(), 0, 0) }
    });
    strings(views.collect(), std::slice::from_ref(&records.bytes), None)
}
