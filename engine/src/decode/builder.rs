//! A column of any declared type, built value by value. Invariant: after `truncate(n)` the column holds its first `n` values
//! and nothing of any other, whatever went wrong in the middle of a nested one.
//!
//! ```text
//! ARRAY<ROW<a INT>>    offsets 0 2 2 5      [{1},{2}]  []  [{3},{4},{5}]
//!   └─ ROW                                   2 + 0 + 3 rows
//!        └─ a          1 2 3 4 5
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, NullBufferBuilder, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, make_view,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};

use super::assemble::{cut, strings};
use super::value::Value;
use crate::batch::type_name;
use crate::error::Result;
use crate::time::Micros;

/// A value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Where in the column: `.b[3]`.
    path: String,
    wanted: String,
    found: String,
}

impl Misfit {
    /// The reason to reject the record, for the column of this name.
    pub(super) fn reason(&self, column: &str) -> String {
        format!("column {column}{}: expected {}, found {}", self.path, self.wanted, self.found)
    }

    fn inside(mut self, step: String) -> Self {
        self.path.insert_str(0, &step);
        self
    }
}

/// A column that grows at its end.
pub(super) struct Builder {
    data_type: DataType,
    /// Times are cut down to multiples of this many microseconds.
    unit: Micros,
    nulls: NullBufferBuilder,
    values: Values,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, u8, u32),
    Date(Vec<i32>),
    Time(Vec<Micros>),
    Timestamp(Vec<Micros>),
    /// Views, and the bytes of the long ones.
    Text(Vec<u128>, Vec<u8>),
    /// Ends, beginning with 0, and all bytes.
    Bytes(Vec<i32>, Vec<u8>),
    List(Vec<i32>, Box<Builder>),
    /// Ends, keys and values.
    Map(Vec<i32>, Box<Builder>, Box<Builder>),
    Row(Fields, Vec<Builder>),
}

impl Builder {
    /// An empty column; none if a payload cannot give the type. `unit` holds for every time in it.
    pub(super) fn new(data_type: &DataType, unit: Micros) -> Option<Self> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal(Vec::new(), *precision, u32::try_from(*scale).ok()?),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(Vec::new()),
            time if *time == crate::time::timestamp_type() => Values::Timestamp(Vec::new()),
            DataType::Utf8View => Values::Text(Vec::new(), Vec::new()),
            DataType::Binary => Values::Bytes(vec![0], Vec::new()),
            DataType::List(item) => Values::List(vec![0], Box::new(Self::new(item.data_type(), unit)?)),
            DataType::Map(entries, false) => {
                let [key, value] = pair(entries)?;
                let key = Some(key).filter(|k| *k.data_type() == DataType::Utf8View)?;
                Values::Map(vec![0], Box::new(Self::new(key.data_type(), unit)?), Box::new(Self::new(value.data_type(), unit)?))
            }
            DataType::Struct(fields) if !fields.is_empty() => {
                let columns = fields.iter().map(|f| Self::new(f.data_type(), unit)).collect::<Option<_>>()?;
                Values::Row(fields.clone(), columns)
            }
            _ => return None,
        };
        Some(Self { data_type: data_type.clone(), unit, nulls: NullBufferBuilder::new(0), values })
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Removes all but the first `len` values.
    pub(super) fn truncate(&mut self, len: usize) {
        self.nulls.truncate(len);
        match &mut self.values {
            Values::Boolean(v) => v.truncate(len),
            Values::Int8(v) => v.truncate(len),
            Values::Int16(v) => v.truncate(len),
            Values::Int32(v) | Values::Date(v) => v.truncate(len),
            Values::Int64(v) | Values::Time(v) | Values::Timestamp(v) => v.truncate(len),
            Values::Float32(v) => v.truncate(len),
            Values::Float64(v) => v.truncate(len),
            Values::Decimal(v, ..) => v.truncate(len),
            Values::Text(views, bytes) => {
                views.truncate(len);
                if len == 0 {
                    bytes.clear();
                }
            }
            Values::Bytes(ends, bytes) => bytes.truncate(last(ends, len)),
            Values::List(ends, items) => items.truncate(last(ends, len)),
            Values::Map(ends, keys, values) => {
                let end = last(ends, len);
                keys.truncate(end);
                values.truncate(end);
            }
            Values::Row(_, columns) => columns.iter_mut().for_each(|c| c.truncate(len)),
        }
    }

    /// Appends a value. Errors: it does not fit; then the column is to be truncated before anything else.
    pub(super) fn append(&mut self, value: &Value<'_>) -> Result<(), Misfit> {
        if *value == Value::Null {
            self.append_null();
            return Ok(());
        }
        let unit = self.unit;
        let fits = match &mut self.values {
            Values::Boolean(v) => value.to_boolean().map(|b| v.append(b)).is_some(),
            Values::Int8(v) => push(v, value.to_integer().and_then(|n| n.try_into().ok())),
            Values::Int16(v) => push(v, value.to_integer().and_then(|n| n.try_into().ok())),
            Values::Int32(v) => push(v, value.to_integer().and_then(|n| n.try_into().ok())),
            Values::Int64(v) => push(v, value.to_integer()),
            Values::Float32(v) => push(v, value.to_float()),
            Values::Float64(v) => push(v, value.to_double()),
            Values::Decimal(v, precision, scale) => push(v, value.to_decimal(*precision, *scale)),
            Values::Date(v) => push(v, value.to_date()),
            Values::Time(v) => push(v, value.to_time().map(|t| cut(t, unit))),
            Values::Timestamp(v) => push(v, value.to_timestamp().map(|t| cut(t, unit))),
            Values::Text(views, bytes) => value.to_text().is_some_and(|text| push_text(views, bytes, text.as_bytes())),
            Values::Bytes(ends, bytes) => value.to_bytes().is_some_and(|b| {
                bytes.extend_from_slice(&b);
                push(ends, i32::try_from(bytes.len()).ok())
            }),
            Values::List(ends, items) => append_list(ends, items, value)?,
            Values::Map(ends, keys, values) => append_map(ends, keys, values, value)?,
            Values::Row(fields, columns) => append_row(fields, columns, value)?,
        };
        if !fits {
            return Err(Misfit { path: String::new(), wanted: type_name(&self.data_type), found: value.shown() });
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends NULL.
    pub(super) fn append_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Boolean(v) => v.append(false),
            Values::Int8(v) => v.push(0),
            Values::Int16(v) => v.push(0),
            Values::Int32(v) | Values::Date(v) => v.push(0),
            Values::Int64(v) | Values::Time(v) | Values::Timestamp(v) => v.push(0),
            Values::Float32(v) => v.push(0.0),
            Values::Float64(v) => v.push(0.0),
            Values::Decimal(v, ..) => v.push(0),
            Values::Text(views, _) => views.push(0),
            Values::Bytes(ends, _) | Values::List(ends, _) | Values::Map(ends, ..) => ends.extend(ends.last().copied()),
            Values::Row(_, columns) => columns.iter_mut().for_each(Self::append_null),
        }
    }

    /// The first `rows` values as an array; the builder is empty afterwards.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef> {
        self.truncate(rows);
        let nulls = self.nulls.finish();
        Ok(match (&mut self.values, &self.data_type) {
            (Values::Boolean(v), _) => Arc::new(BooleanArray::new(v.finish(), nulls)),
            (Values::Int8(v), _) => Arc::new(Int8Array::new(taken(v), nulls)),
            (Values::Int16(v), _) => Arc::new(Int16Array::new(taken(v), nulls)),
            (Values::Int32(v), _) => Arc::new(Int32Array::new(taken(v), nulls)),
            (Values::Int64(v), _) => Arc::new(Int64Array::new(taken(v), nulls)),
            (Values::Float32(v), _) => Arc::new(Float32Array::new(taken(v), nulls)),
            (Values::Float64(v), _) => Arc::new(Float64Array::new(taken(v), nulls)),
            (Values::Decimal(v, ..), t) => Arc::new(Decimal128Array::new(taken(v), nulls).with_data_type(t.clone())),
            (Values::Date(v), _) => Arc::new(Date32Array::new(taken(v), nulls)),
            (Values::Time(v), _) => Arc::new(Time64MicrosecondArray::new(taken(v), nulls)),
            (Values::Timestamp(v), t) => Arc::new(TimestampMicrosecondArray::new(taken(v), nulls).with_data_type(t.clone())),
            (Values::Text(views, bytes), _) => strings(std::mem::take(views), &[Buffer::from_vec(std::mem::take(bytes))], nulls)?,
            (Values::Bytes(ends, bytes), _) => {
                Arc::new(BinaryArray::try_new(offsets(ends), Buffer::from_vec(std::mem::take(bytes)), nulls)?)
            }
            (Values::List(ends, items), DataType::List(item)) => {
                let offsets = offsets(ends);
                Arc::new(ListArray::try_new(item.clone(), offsets.clone(), items.finish(end(&offsets))?, nulls)?)
            }
            (Values::Map(ends, keys, values), DataType::Map(entries, _)) => {
                let offsets = offsets(ends);
                let columns = vec![keys.finish(end(&offsets))?, values.finish(end(&offsets))?];
                let fields = pair(entries).map(|pair| Fields::from(pair.to_vec())).unwrap_or_default();
                let pairs = StructArray::try_new_with_length(fields, columns, None, end(&offsets))?;
                Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, false)?)
            }
            (Values::Row(fields, columns), _) => {
                let columns = columns.iter_mut().map(|c| c.finish(rows)).collect::<Result<_>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?)
            }
            (Values::List(..) | Values::Map(..), other) => {
                return Err(crate::error::Error::internal(format!("a nested column is {other}")));
            }
        })
    }
}

/// Key and value of a map's entries.
fn pair(entries: &FieldRef) -> Option<[FieldRef; 2]> {
    match entries.data_type() {
        DataType::Struct(fields) => fields.iter().cloned().collect::<Vec<_>>().try_into().ok(),
        _ => None,
    }
}

fn append_list(ends: &mut Vec<i32>, items: &mut Builder, value: &Value<'_>) -> Result<bool, Misfit> {
    let Value::List { items: found, .. } = value else { return Ok(false) };
    for (i, item) in found.iter().enumerate() {
        items.append(item).map_err(|m| m.inside(format!("[{i}]")))?;
    }
    Ok(push(ends, i32::try_from(items.len()).ok()))
}

/// Of members with one name the last one counts.
fn append_map(ends: &mut Vec<i32>, keys: &mut Builder, values: &mut Builder, value: &Value<'_>) -> Result<bool, Misfit> {
    let Value::Map { members, .. } = value else { return Ok(false) };
    let mut seen: HashSet<&str, RandomState> = HashSet::default();
    let mut counts: Vec<bool> = members.iter().rev().map(|(name, _)| seen.insert(name)).collect();
    counts.reverse();
    for (name, member) in members.iter().zip(counts).filter(|(_, counts)| *counts).map(|(member, _)| member) {
        keys.append(&Value::Text((&**name).into()))?;
        values.append(member).map_err(|m| m.inside(format!("['{}']", super::value::shortened(name))))?;
    }
    Ok(push(ends, i32::try_from(keys.len()).ok()))
}

fn append_row(fields: &Fields, columns: &mut [Builder], value: &Value<'_>) -> Result<bool, Misfit> {
    let Value::Map { members, .. } = value else { return Ok(false) };
    for (field, column) in fields.iter().zip(columns) {
        match members.iter().rev().find(|(name, _)| name == field.name()) {
            Some((_, member)) => column.append(member).map_err(|m| m.inside(format!(".{}", field.name())))?,
            None => column.append_null(),
        }
    }
    Ok(true)
}

/// Appends a value that fits. Returns whether it did.
fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    value.map(|v| values.push(v)).is_some()
}

fn push_text(views: &mut Vec<u128>, bytes: &mut Vec<u8>, text: &[u8]) -> bool {
    let Ok(start) = u32::try_from(bytes.len()) else { return false };
    if text.len() > super::assemble::INLINE_BYTES_MAX as usize {
        bytes.extend_from_slice(text);
    }
    views.push(make_view(text, 0, start));
    true
}

/// Cuts the ends of values down to those of the first `len`; returns the last.
fn last(ends: &mut Vec<i32>, len: usize) -> usize {
    ends.truncate(len + 1);
    ends.last().map_or(0, |&end| end as usize)
}

fn taken<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    ScalarBuffer::from(std::mem::take(values))
}

/// The ends as offsets; none are left.
fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])))
}

fn end(offsets: &OffsetBuffer<i32>) -> usize {
    offsets.last().map_or(0, |&end| end as usize)
}

#[cfg(test)]
mod tests;
