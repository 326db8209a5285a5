//! A field of a record, and the column that its values go to. Invariant: a value becomes what the row decoder makes of it; one that is
//! broken or does not fit is not taken, whether the column is wanted or not.
//!
//! ```text
//! plain    boolean int long float double string timestamp      bytes ─► slots, if the column is of that kind
//! other    all else                                            bytes ─► Value ─► Builder
//! ```

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};

use super::cursor::Cursor;
use super::schema::{Node, NodeId, Nodes};
use super::wire::Wire;
use crate::decode::assemble::{cut, strings, text_view};
use crate::decode::builder::Builder;
use crate::decode::schema::DecodeSchema;
use crate::decode::value::{TIME_RANGE, Value};
use crate::error::{Error, Result};
use crate::time::{MILLISECOND, Micros};

/// The record that is being read.
pub(super) struct Current<'a> {
    /// Good records before it.
    pub(super) row: usize,
    /// Where it ends in the records' bytes, data buffer 0 of every string column.
    pub(super) end: u32,
    /// Who sent it.
    pub(super) device: &'a [u8],
}

/// Where values go.
enum Values {
    /// Nowhere: a plain field that nobody declared.
    Skipped,
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Text(Vec<u128>),
    Timestamp(Vec<Micros>),
    /// Those of any other field; no builder if nobody declared it.
    Other(Option<Box<Builder>>),
}

/// A field of the record.
pub(super) struct Field {
    id: NodeId,
    /// How a value is written that is not null.
    node: Node,
    /// Of a union with null, which branch that is.
    null: Option<i64>,
    /// Whether there must be a value.
    required: bool,
    /// Whether it names the device.
    identity: bool,
    wanted: bool,
    /// Times are cut down to multiples of this many microseconds.
    unit: Micros,
    /// One for each good record, if the column is wanted.
    values: Values,
    /// Rows that are NULL, ascending.
    nulls: Vec<u32>,
}

impl Field {
    /// The field `id`; `column` is what is declared under its name. None if that names the device, but the field is no text.
    pub(super) fn new(nodes: &Nodes, id: NodeId, schema: &DecodeSchema, column: Option<usize>) -> Option<Self> {
        let whole = nodes.get(id);
        let (node, null) = match whole {
            Node::Union(branches) => match branches.as_slice() {
                [null, other] if *nodes.get(*null) == Node::Null => (nodes.get(*other), Some(0)),
                [other, null] if *nodes.get(*null) == Node::Null => (nodes.get(*other), Some(1)),
                _ => (whole, None),
            },
            _ => (whole, None),
        };
        let declared = column.map(|i| &schema.columns[i]);
        let plain = match declared {
            Some(declared) => Values::of(node, declared.field.data_type()),
            None => is_plain(node).then_some(Values::Skipped),
        };
        let (values, null) = match (plain, declared) {
            (Some(values), _) => (values, null),
            (None, Some(declared)) => {
                let builder = Builder::new(declared.field.data_type(), declared.time_unit)?;
                (Values::Other(Some(Box::new(builder))), None)
            }
            (None, None) => (Values::Other(None), None),
        };
        let identity = column.is_some() && column == schema.identity;
        if identity && !matches!(values, Values::Text(_)) {
            return None;
        }
        Some(Self {
            id,
            node: node.clone(),
            null,
            required: identity || declared.is_some_and(|c| !c.field.is_nullable()),
            identity,
            wanted: column.is_some_and(|i| schema.projection.contains(&i)),
            unit: declared.map_or(1, |c| c.time_unit),
            values,
            nulls: Vec::new(),
        })
    }

    /// How many values of a record are read here without `Wire`.
    pub(super) fn plain_values(&self) -> usize {
        match self.values {
            Values::Other(_) => 0,
            _ => 1 + usize::from(self.null.is_some()),
        }
    }

    /// Makes room for the values of so many records, if the column is wanted.
    pub(super) fn begin(&mut self, records: usize) {
        let room = if self.wanted { records } else { 0 };
        self.nulls.clear();
        match &mut self.values {
            Values::Boolean(v) => renew(v, room),
            Values::Int8(v) => renew(v, room),
            Values::Int16(v) => renew(v, room),
            Values::Int32(v) => renew(v, room),
            Values::Int64(v) | Values::Timestamp(v) => renew(v, room),
            Values::Float32(v) => renew(v, room),
            Values::Float64(v) => renew(v, room),
            Values::Text(v) => renew(v, room),
            Values::Other(Some(builder)) => builder.truncate(0),
            Values::Skipped | Values::Other(None) => {}
        }
    }

    /// Reads the value at `at`; none if it is broken or does not fit. `wire` is for values that are not plain.
    #[inline(always)]
    pub(super) fn read<'a>(&mut self, at: &mut Cursor<'a>, wire: &mut Wire<'a>, current: &Current<'_>) -> Option<()> {
        if let Some(null) = self.null
            && at.branch(2)? == null
        {
            return self.put_null(current.row);
        }
        let node = &self.node;
        match &mut self.values {
            Values::Skipped => skip(node, at),
            Values::Boolean(v) => put(v, at.boolean()),
            Values::Int8(v) => put(v, narrow(at)),
            Values::Int16(v) => put(v, narrow(at)),
            Values::Int32(v) => put(v, narrow(at)),
            Values::Int64(v) => put(v, whole(node, at)),
            Values::Float32(v) => put(v, double(node, at).map(|d| d as f32).filter(|f| f.is_finite())),
            Values::Float64(v) => put(v, double(node, at).filter(|d| d.is_finite())),
            Values::Text(v) => {
                let text = at.bytes()?;
                if self.identity && text != current.device {
                    return None;
                }
                put(v, text_view(text, current.end - (at.left() + text.len()) as u32))
            }
            Values::Timestamp(v) => put(v, timestamp(node, at).map(|t| cut(t, self.unit))),
            Values::Other(_) => {
                wire.at = *at;
                self.read_other(wire, current.row)?;
                *at = wire.at;
                Some(())
            }
        }
    }

    fn read_other(&mut self, wire: &mut Wire<'_>, row: usize) -> Option<()> {
        let value = wire.value(self.id, 1).ok()?;
        let Values::Other(Some(builder)) = &mut self.values else { return Some(()) };
        if self.required && value == Value::Null {
            return None;
        }
        builder.truncate(if self.wanted { row } else { 0 });
        builder.append(&value).ok()
    }

    /// None if there must be a value.
    fn put_null(&mut self, row: usize) -> Option<()> {
        if self.required {
            return None;
        }
        if self.wanted {
            self.nulls.push(row as u32);
        }
        match &mut self.values {
            Values::Boolean(v) => put(v, Some(false)),
            Values::Int8(v) => put(v, Some(0)),
            Values::Int16(v) => put(v, Some(0)),
            Values::Int32(v) => put(v, Some(0)),
            Values::Int64(v) | Values::Timestamp(v) => put(v, Some(0)),
            Values::Float32(v) => put(v, Some(0.0)),
            Values::Float64(v) => put(v, Some(0.0)),
            Values::Text(v) => put(v, Some(0)),
            Values::Skipped | Values::Other(_) => Some(()),
        }
    }

    /// Takes back what a bad record left behind the first `rows` good ones.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.nulls.pop_if(|null| *null as usize == rows);
        match &mut self.values {
            Values::Boolean(v) => v.truncate(rows),
            Values::Int8(v) => v.truncate(rows),
            Values::Int16(v) => v.truncate(rows),
            Values::Int32(v) => v.truncate(rows),
            Values::Int64(v) | Values::Timestamp(v) => v.truncate(rows),
            Values::Float32(v) => v.truncate(rows),
            Values::Float64(v) => v.truncate(rows),
            Values::Text(v) => v.truncate(rows),
            // A builder is cut before each value.
            Values::Skipped | Values::Other(_) => {}
        }
    }

    /// The values of the `rows` good records as an array of the column's type; long strings borrow from `bytes`.
    pub(super) fn finish(&mut self, data_type: &DataType, rows: usize, bytes: &Buffer) -> Result<ArrayRef> {
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut valid = MutableBuffer::new(rows.div_ceil(8)).with_bitset(rows.div_ceil(8), true);
            self.nulls.iter().for_each(|&row| arrow::util::bit_util::unset_bit(&mut valid, row as usize));
            NullBuffer::new(BooleanBuffer::new(valid.into(), 0, rows))
        });
        Ok(match &mut self.values {
            Values::Boolean(v) => Arc::new(BooleanArray::new(BooleanBuffer::from(v.as_slice()), nulls)),
            Values::Int8(v) => Arc::new(Int8Array::new(taken(v), nulls)),
            Values::Int16(v) => Arc::new(Int16Array::new(taken(v), nulls)),
            Values::Int32(v) => Arc::new(Int32Array::new(taken(v), nulls)),
            Values::Int64(v) => Arc::new(Int64Array::new(taken(v), nulls)),
            Values::Float32(v) => Arc::new(Float32Array::new(taken(v), nulls)),
            Values::Float64(v) => Arc::new(Float64Array::new(taken(v), nulls)),
            Values::Text(v) => strings(std::mem::take(v), std::slice::from_ref(bytes), nulls)?,
            Values::Timestamp(v) => Arc::new(TimestampMicrosecondArray::new(taken(v), nulls).with_data_type(data_type.clone())),
            Values::Other(Some(builder)) => builder.finish(rows)?,
            Values::Skipped | Values::Other(None) => return Err(Error::internal("a column is wanted of a field that nobody declared")),
        })
    }
}

impl Values {
    /// Slots for the values of a plain field, if the column is of its kind.
    fn of(node: &Node, data_type: &DataType) -> Option<Self> {
        Some(match (node, data_type) {
            (Node::Boolean, DataType::Boolean) => Self::Boolean(Vec::new()),
            (Node::Int | Node::Long, DataType::Int8) => Self::Int8(Vec::new()),
            (Node::Int | Node::Long, DataType::Int16) => Self::Int16(Vec::new()),
            (Node::Int | Node::Long, DataType::Int32) => Self::Int32(Vec::new()),
            (Node::Int | Node::Long, DataType::Int64) => Self::Int64(Vec::new()),
            (Node::Float | Node::Double, DataType::Float32) => Self::Float32(Vec::new()),
            (Node::Float | Node::Double, DataType::Float64) => Self::Float64(Vec::new()),
            (Node::Text, DataType::Utf8View) => Self::Text(Vec::new()),
            (Node::Long | Node::Timestamp(..), time) if *time == crate::time::timestamp_type() => Self::Timestamp(Vec::new()),
            _ => return None,
        })
    }
}

/// Whether `skip` knows the field.
fn is_plain(node: &Node) -> bool {
    matches!(node, Node::Boolean | Node::Int | Node::Long | Node::Float | Node::Double | Node::Text | Node::Timestamp(..))
}

/// Moves over a value of a plain field.
#[inline(always)]
fn skip(node: &Node, at: &mut Cursor<'_>) -> Option<()> {
    match node {
        Node::Boolean => at.boolean().map(drop),
        Node::Int | Node::Long => whole(node, at).map(drop),
        Node::Float => at.float().map(drop),
        Node::Double => at.double().map(drop),
        Node::Text => {
            let text = at.bytes()?;
            (text.is_ascii() || std::str::from_utf8(text).is_ok()).then_some(())
        }
        Node::Timestamp(numerator, _) => at.whole()?.checked_mul(*numerator).map(drop),
        _ => None,
    }
}

/// A whole number that the column has fewer bits for than the field.
#[inline(always)]
fn narrow<T: TryFrom<i64>>(at: &mut Cursor<'_>) -> Option<T> {
    T::try_from(at.whole()?).ok()
}

#[inline(always)]
fn whole(node: &Node, at: &mut Cursor<'_>) -> Option<i64> {
    let value = at.whole()?;
    if matches!(node, Node::Int) { i32::try_from(value).ok().map(i64::from) } else { Some(value) }
}

#[inline(always)]
fn double(node: &Node, at: &mut Cursor<'_>) -> Option<f64> {
    if matches!(node, Node::Float) { at.float().map(f64::from) } else { at.double() }
}

#[inline(always)]
fn timestamp(node: &Node, at: &mut Cursor<'_>) -> Option<Micros> {
    let (numerator, denominator) = match node {
        Node::Timestamp(numerator, denominator) => (*numerator, *denominator),
        // A whole number is milliseconds.
        _ => (MILLISECOND, 1),
    };
    let time = at.whole()?.checked_mul(numerator)?;
    // Few fields need the division, which is slow.
    let time = if denominator == 1 { time } else { time.div_euclid(denominator) };
    Some(time).filter(|t| TIME_RANGE.contains(t))
}

/// Puts a value that fits behind the others, if there is room: a column that is not wanted has none.
#[inline(always)]
fn put<T>(values: &mut Vec<T>, value: Option<T>) -> Option<()> {
    let value = value?;
    if values.len() < values.capacity() {
        values.push(value);
    }
    Some(())
}

fn renew<T>(values: &mut Vec<T>, room: usize) {
    values.clear();
    values.reserve_exact(room);
}

fn taken<T: ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    ScalarBuffer::from(std::mem::take(values))
}
