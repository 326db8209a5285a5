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
/// The bits of a view that a short text in ASCII does not have.
const NOT_ASCII: u128 = 0x8080_8080_8080_8080_8080_8080 << 32;

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

/// The view of a text that starts at `start` of the first buffer; none if it is not UTF-8.
#[inline]
pub(super) fn text_view(text: &[u8], start: u32) -> Option<u128> {
    let view = make_view(text, 0, start);
    let ascii = if text.len() > INLINE_BYTES_MAX as usize { text.is_ascii() } else { view & NOT_ASCII == 0 };
    (ascii || std::str::from_utf8(text).is_ok()).then_some(view)
}

fn entries<'a>(records: &'a Records, kept: &'a [u32]) -> impl ExactSizeIterator<Item = &'a Entry> {
    kept.iter().map(|&i| &records.entries[i as usize])
}

/// Parts of the log's bytes as strings without copying; what is not UTF-8 shows as U+FFFD, as in `Records::text`.
fn texts<'a>(records: &'a Records, ranges: impl Iterator<Item = &'a std::ops::Range<u32>>) -> Result<ArrayRef> {
    let replacement = make_view("\u{fffd}".as_bytes(), 0, 0);
    let views = ranges.map(|range| text_view(records.slice(range), range.start).unwrap_or(replacement));
    strings(views.collect(), std::slice::from_ref(&records.bytes), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_of_utf8_whatever_its_length() {
        for length in 0..40 {
            let ascii = vec![b'a'; length];
            assert_eq!(text_view(&ascii, 7), Some(make_view(&ascii, 0, 7)));
            for place in 0..length {
                let mut broken = ascii.clone();
                broken[place] = 0xc3;
                assert_eq!(text_view(&broken, 7), None);
                let wide = [&ascii[..place], "ä".as_bytes(), &ascii[place..]].concat();
                assert_eq!(text_view(&wide, 7), Some(make_view(&wide, 0, 7)));
            }
        }
    }
}
