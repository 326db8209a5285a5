//! One payload column: checks a value against the declared type and puts it where it belongs. Invariant: a value is checked
//! in the same way whether the column is wanted or not; `values` of a column that is not wanted has no slots.
//!
//! ```text
//! row        0     1     2 (being read)
//! values   21.5    0   [ 22 ]  0  0  …      one slot for each record of the batch; a rejected record's slot is used again
//! validity   1     0     1     1  1  …      a bit is cleared for NULL
//! ```
//!
//! The vectors become Arrow buffers without copying, so each batch allocates them anew: one allocation a column and batch.
//! Types without such a vector (DECIMAL, DATE, TIME, BYTES, nested ones) go through a `Builder`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, TimestampMicrosecondArray, make_view,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef};

use super::fault::Fault;
use super::number::{Number, TIME_RANGE};
use super::scan::{Scan, starts_with};
use super::string;
use super::timestamp::TimestampReader;
use crate::batch::type_name;
use crate::decode::assemble::{cut, strings};
use crate::decode::builder::{Builder, Misfit};
use crate::decode::schema::DecodeColumn;
use crate::error::{Error, Result};
use crate::time::Micros;

/// Buffers that all columns of a decoder share.
#[derive(Default)]
pub(super) struct Shared {
    /// Strings that had escapes; data buffer 1 of every string column.
    pub(super) unescaped: Vec<u8>,
    /// A numeric string that had escapes.
    scratch: Vec<u8>,
    /// Times of one record tend to fall on the same day, whatever their column.
    timestamps: TimestampReader,
}

/// The record that is being read.
#[derive(Clone, Copy)]
pub(super) struct Current<'a> {
    /// Slot that its values go to.
    pub(super) row: usize,
    /// Where its payload starts in the records' bytes, data buffer 0 of every string column.
    pub(super) base: u32,
    /// Who sent it: an id without quotes and backslashes.
    pub(super) device: &'a [u8],
}

enum Values {
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Text(Vec<u128>),
    Time(Vec<Micros>),
    /// Any other type.
    Built(Box<Built>),
}

/// A column without a fast path.
struct Built {
    builder: Builder,
    /// Why the last value did not fit, if one did not.
    misfit: Option<Misfit>,
}

/// A payload column.
pub(super) struct Column {
    field: FieldRef,
    index: u32,
    time_unit: Micros,
    identity: bool,
    wanted: bool,
    values: Values,
    validity: Vec<u8>,
    has_nulls: bool,
    /// Number of the last record that had the attribute.
    pub(super) seen_in: u64,
}

impl Column {
    /// Column number `index` of the payload. Errors: `Invalid` if JSON cannot give its type.
    pub(super) fn new(declared: &DecodeColumn, index: usize, wanted: bool, identity: bool) -> Result<Self> {
        let values = match declared.field.data_type() {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Utf8View => Values::Text(Vec::new()),
            time if *time == crate::time::timestamp_type() => Values::Time(Vec::new()),
            other => match Builder::new(other, declared.time_unit) {
                Some(builder) => Values::Built(Box::new(Built { builder, misfit: None })),
                None => {
                    let message = format!("column {}: format json cannot give {}", declared.field.name(), type_name(other));
                    return Err(Error::invalid(message).hint("declare it as STRING and convert it in the query"));
                }
            },
        };
        let (field, time_unit) = (declared.field.clone(), declared.time_unit);
        let (validity, has_nulls, seen_in) = (Vec::new(), false, 0);
        Ok(Self { field, index: index as u32, time_unit, identity, wanted, values, validity, has_nulls, seen_in })
    }

    /// Name of the attribute.
    pub(super) fn name(&self) -> &str {
        self.field.name()
    }

    /// Why the last value that was read does not fit.
    pub(super) fn misfit(&self) -> Option<&Misfit> {
        match &self.values {
            Values::Built(built) => built.misfit.as_ref(),
            _ => None,
        }
    }

    /// Declared type.
    pub(super) fn data_type(&self) -> &DataType {
        self.field.data_type()
    }

    /// Makes slots for `records` records.
    pub(super) fn begin(&mut self, records: usize) {
        if !self.wanted {
            return;
        }
        self.has_nulls = false;
        self.validity = vec![0xff; records.div_ceil(8)];
        match &mut self.values {
            Values::Boolean(v) => *v = vec![false; records],
            Values::Int8(v) => *v = vec![0; records],
            Values::Int16(v) => *v = vec![0; records],
            Values::Int32(v) => *v = vec![0; records],
            Values::Int64(v) | Values::Time(v) => *v = vec![0; records],
            Values::Float32(v) => *v = vec![0.0; records],
            Values::Float64(v) => *v = vec![0.0; records],
            Values::Text(v) => *v = vec![0; records],
            Values::Built(built) => built.builder.truncate(0),
        }
    }

    /// Reads the value at `scan` into the record's slot.
    #[inline]
    pub(super) fn read(&mut self, scan: &mut Scan<'_>, current: Current<'_>, shared: &mut Shared) -> Result<(), Fault> {
        let (start, row) = (scan.at, current.row);
        if scan.peek() == b'n' {
            scan.literal(b"null")?;
            return self.put_null(row);
        }
        let fits = match &mut self.values {
            // A column that is not wanted needs no value, only to know that there is one.
            Values::Float64(v) if v.is_empty() => number(scan, &mut shared.scratch, |n, text| n.is_f64(text).then_some(()))?.is_some(),
            Values::Float64(v) => put(v, row, number(scan, &mut shared.scratch, Number::to_f64)?),
            Values::Text(v) => {
                let column = if self.identity { Some(self.index) } else { None };
                read_text(v, scan, current, &mut shared.unescaped, column)?;
                true
            }
            Values::Time(v) => put(v, row, time(scan, shared)?.map(|t| cut(t, self.time_unit))),
            Values::Int64(v) => put(v, row, number(scan, &mut shared.scratch, |n, _| n.to_i64())?),
            Values::Int32(v) => put(v, row, narrow(scan, shared)?),
            Values::Int16(v) => put(v, row, narrow(scan, shared)?),
            Values::Int8(v) => put(v, row, narrow(scan, shared)?),
            Values::Float32(v) => put(v, row, number(scan, &mut shared.scratch, Number::to_f32)?),
            Values::Boolean(v) => put(v, row, boolean(scan)?),
            Values::Built(built) => {
                let value = scan.value(1)?;
                built.builder.truncate(if self.wanted { row } else { 0 });
                let column = self.index;
                return built.builder.append(&value).map_err(|why| {
                    built.misfit = Some(why);
                    Fault::Misfit { column }
                });
            }
        };
        if fits {
            return Ok(());
        }
        scan.at = start;
        scan.skip_value()?;
        Err(Fault::Type { column: self.index, start: start as u32, end: scan.at as u32 })
    }

    /// The record has no value for the column.
    pub(super) fn put_null(&mut self, row: usize) -> Result<(), Fault> {
        if self.identity {
            return Err(Fault::NoDevice { column: self.index });
        }
        if !self.field.is_nullable() {
            return Err(Fault::Missing { column: self.index });
        }
        if let Values::Built(built) = &mut self.values {
            built.builder.truncate(if self.wanted { row } else { 0 });
            built.builder.append_null();
            return Ok(());
        }
        let Some(byte) = self.validity.get_mut(row / 8) else { return Ok(()) };
        *byte &= !(1 << (row % 8));
        self.has_nulls = true;
        match &mut self.values {
            Values::Boolean(v) => v[row] = false,
            Values::Int8(v) => v[row] = 0,
            Values::Int16(v) => v[row] = 0,
            Values::Int32(v) => v[row] = 0,
            Values::Int64(v) | Values::Time(v) => v[row] = 0,
            Values::Float32(v) => v[row] = 0.0,
            Values::Float64(v) => v[row] = 0.0,
            Values::Text(v) => v[row] = 0,
            Values::Built(..) => {}
        }
        Ok(())
    }

    /// Takes back a NULL: the record was rejected, or has the attribute a second time.
    pub(super) fn clear_null(&mut self, row: usize) {
        if self.has_nulls {
            self.validity[row / 8] |= 1 << (row % 8);
        }
    }

    /// The first `rows` slots as an array; `buffers` are what long strings borrow from.
    pub(super) fn finish(&mut self, rows: usize, buffers: &[Buffer]) -> Result<ArrayRef> {
        let validity = std::mem::take(&mut self.validity);
        let nulls = self.has_nulls.then(|| NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(validity), 0, rows)));
        let nulls = nulls.filter(|n| n.null_count() > 0);
        Ok(match &mut self.values {
            Values::Boolean(v) => Arc::new(BooleanArray::new(BooleanBuffer::from(&v[..rows]), nulls)),
            Values::Int8(v) => Arc::new(Int8Array::new(taken(v, rows), nulls)),
            Values::Int16(v) => Arc::new(Int16Array::new(taken(v, rows), nulls)),
            Values::Int32(v) => Arc::new(Int32Array::new(taken(v, rows), nulls)),
            Values::Int64(v) => Arc::new(Int64Array::new(taken(v, rows), nulls)),
            Values::Float32(v) => Arc::new(Float32Array::new(taken(v, rows), nulls)),
            Values::Float64(v) => Arc::new(Float64Array::new(taken(v, rows), nulls)),
            Values::Text(v) => {
                v.truncate(rows);
                strings(std::mem::take(v), buffers, nulls)?
            }
            Values::Built(built) => built.builder.finish(rows)?,
            Values::Time(v) => {
                Arc::new(TimestampMicrosecondArray::new(taken(v, rows), nulls).with_data_type(self.field.data_type().clone()))
            }
        })
    }
}

fn taken<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>, rows: usize) -> ScalarBuffer<T> {
    values.truncate(rows);
    ScalarBuffer::from(std::mem::take(values))
}

/// Puts a value that fits into its slot, if there are slots. Returns whether it fits.
#[inline(always)]
fn put<T>(values: &mut [T], row: usize, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    if let Some(slot) = values.get_mut(row) {
        *slot = value;
    }
    true
}

/// What `convert` makes of a number, or of a string that holds nothing else, and of the text that it was read from. A short number is
/// converted here, in registers; what is handed on through memory costs more than reading it.
#[inline(always)]
fn number<T>(scan: &mut Scan<'_>, scratch: &mut Vec<u8>, convert: impl Fn(Number, &[u8]) -> Option<T>) -> Result<Option<T>, Fault> {
    match scan.peek() {
        b'-' | b'0'..=b'9' => match scan.short_number() {
            Some(number) => Ok(convert(number, scan.bytes)),
            None => Ok(convert(scan.number()?, scan.bytes)),
        },
        b'"' => Ok(quoted_number(scan, scratch)?.and_then(|(number, text)| convert(number, text))),
        _ => Ok(None),
    }
}

#[inline(never)]
fn quoted_number<'s, 'p: 's>(scan: &mut Scan<'p>, scratch: &'s mut Vec<u8>) -> Result<Option<(Number, &'s [u8])>, Fault> {
    let text = scan.string()?;
    let mut plain = text.raw;
    if text.escaped {
        scratch.clear();
        string::unescape(text, |piece| scratch.extend_from_slice(piece))?;
        plain = scratch;
    }
    let mut inner = Scan::new(plain.trim_ascii());
    let number = inner.number().ok().filter(|_| inner.at == inner.bytes.len());
    Ok(number.map(|n| (n, inner.bytes)))
}

fn narrow<T: TryFrom<i64>>(scan: &mut Scan<'_>, shared: &mut Shared) -> Result<Option<T>, Fault> {
    number(scan, &mut shared.scratch, |n, _| T::try_from(n.to_i64()?).ok())
}

fn boolean(scan: &mut Scan<'_>) -> Result<Option<bool>, Fault> {
    match scan.peek() {
        b't' => scan.literal(b"true").map(|()| Some(true)),
        b'f' => scan.literal(b"false").map(|()| Some(false)),
        _ => Ok(None),
    }
}

/// A time as text, or as milliseconds since the epoch. With an offset a text can leave the years that a time may be of.
#[inline(always)]
fn time(scan: &mut Scan<'_>, shared: &mut Shared) -> Result<Option<Micros>, Fault> {
    match scan.peek() {
        b'"' => {
            if let Some(text) = scan.bytes[scan.at + 1..].first_chunk()
                && let Some(time) = shared.timestamps.read_usual(text)
            {
                scan.at += 1 + text.len();
                return Ok(Some(time));
            }
            let text = scan.string()?;
            if !text.escaped {
                return Ok(shared.timestamps.read(text.raw).filter(|t| TIME_RANGE.contains(t)));
            }
            shared.scratch.clear();
            string::unescape(text, |piece| shared.scratch.extend_from_slice(piece))?;
            Ok(shared.timestamps.read(&shared.scratch).filter(|t| TIME_RANGE.contains(t)))
        }
        b'-' | b'0'..=b'9' => Ok(scan.number()?.to_time()),
        _ => Ok(None),
    }
}

/// A string without its escapes, or the JSON text of anything else. If the column is the device's id (`identity`, its
/// number), the value must equal the device.
#[inline(always)]
fn read_text(
    views: &mut [u128],
    scan: &mut Scan<'_>,
    current: Current<'_>,
    unescaped: &mut Vec<u8>,
    identity: Option<u32>,
) -> Result<(), Fault> {
    let start = scan.at;
    let mut place = (0, current.base + start as u32);
    let value = match scan.peek() {
        b'"' if identity.is_some() && is_quoted(&scan.bytes[start..], current.device) => {
            scan.at += current.device.len() + 2;
            place.1 += 1;
            current.device
        }
        b'"' if identity.is_none()
            && let Some((text, length)) = scan.short_text() =>
        {
            // As `make_view` does: the length, and the text behind it.
            put(views, current.row, Some((u128::from(text) << 32) | u128::from(length)));
            return Ok(());
        }
        b'"' => {
            let text = scan.string()?;
            place.1 += 1;
            if text.escaped {
                place = (1, unescaped.len() as u32);
                string::unescape(text, |piece| unescaped.extend_from_slice(piece))?;
                &unescaped[place.1 as usize..]
            } else {
                text.raw
            }
        }
        _ => {
            scan.skip_value()?;
            &scan.bytes[start..scan.at]
        }
    };
    if let Some(column) = identity
        && value != current.device
    {
        return Err(Fault::OtherDevice { column, start: start as u32, end: scan.at as u32 });
    }
    put(views, current.row, Some(make_view(value, place.0, place.1)));
    Ok(())
}

/// Whether `bytes` starts with `text` in quotes; `text` has nothing to escape.
#[inline(always)]
fn is_quoted(bytes: &[u8], text: &[u8]) -> bool {
    bytes.len() >= text.len() + 2 && starts_with(&bytes[1..], text) && bytes[text.len() + 1] == b'"'
}
