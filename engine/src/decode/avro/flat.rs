//! Records of plain fields, straight from the wire into columns. Invariant: a record that is read here gives the row that `rows` would give;
//! one that is broken or does not fit is left to `rows`, which knows the words.
//!
//! ```text
//! wire      device   ts   t   …          a step a field of the schema, in its order
//! columns   [views]  [i64] [f64]         slots, one a record; a record that failed leaves its slot to the next
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, TimestampMicrosecondArray, make_view};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

use super::schema::{Node, NodeId, Nodes};
use super::wire::Wire;
use crate::batch::{Entry, Records};
use crate::contract::{Decoded, Decoder};
use crate::decode::assemble::{assemble, cut, strings};
use crate::decode::schema::{DecodeSchema, Source};
use crate::decode::value::TIME_RANGE;
use crate::error::{Error, Result};
use crate::time::Micros;

/// How a plain field is read.
#[derive(Debug, Clone, Copy)]
enum Plain {
    Boolean,
    Whole,
    Float,
    Double,
    Text,
    /// Numerator and denominator of a unit in microseconds.
    Timestamp(i64, i64),
}

/// A field of the schema.
struct Step {
    plain: Plain,
    /// Of a union with null, which branch that is.
    null: Option<i64>,
    /// Whether a whole number has 32 bits.
    narrow: bool,
    /// Index into the columns, unless nobody declared it.
    place: Option<usize>,
}

enum Values {
    Boolean(Vec<bool>),
    Whole(Vec<i64>),
    Double(Vec<f64>),
    Text(Vec<u128>),
    Time(Vec<Micros>),
}

/// A payload column.
struct Column {
    data_type: DataType,
    unit: Micros,
    identity: bool,
    nullable: bool,
    wanted: bool,
    values: Values,
    /// Rows that are NULL, ascending.
    nulls: Vec<u32>,
}

/// A decoder of records whose fields are all plain.
pub(super) struct FlatDecoder {
    schema: DecodeSchema,
    output: arrow::datatypes::SchemaRef,
    steps: Vec<Step>,
    columns: Vec<Column>,
    /// Index into `columns` of each declared column.
    places: Vec<Option<usize>>,
    /// Of the records.
    fingerprint: Vec<u8>,
    /// Reads what is left to it.
    rows: Box<dyn Decoder>,
    /// Entries of the good records.
    kept: Vec<u32>,
}

impl FlatDecoder {
    /// `fields` has the payload column of each field of `nodes`, counted among those. Gives `rows` back if not every field is plain and of its
    /// column's own type.
    pub(super) fn open(
        schema: &DecodeSchema,
        nodes: &Nodes,
        fields: &[Option<usize>],
        fingerprint: &[u8],
        rows: Box<dyn Decoder>,
    ) -> Box<dyn Decoder> {
        let mut columns = Vec::new();
        let mut places = vec![None; schema.columns.len()];
        for (i, declared) in schema.columns.iter().enumerate().filter(|(_, c)| c.source == Source::Payload) {
            places[i] = Some(columns.len());
            let Some(values) = Values::of(declared.field.data_type()) else { return rows };
            columns.push(Column {
                data_type: declared.field.data_type().clone(),
                unit: declared.time_unit,
                identity: schema.identity == Some(i),
                nullable: declared.field.is_nullable(),
                wanted: schema.projection.contains(&i),
                values,
                nulls: Vec::new(),
            });
        }
        let step = |((_, node), &place): (&(String, NodeId), &Option<usize>)| Step::new(nodes, *node, place, &columns);
        let Some(steps) = nodes.fields().iter().zip(fields).map(step).collect() else { return rows };
        let (output, fingerprint) = (schema.output(), fingerprint.to_vec());
        Box::new(Self { schema: schema.clone(), output, steps, columns, places, fingerprint, rows, kept: Vec::new() })
    }

    /// Reads a payload into the slots of a row; none if it cannot.
    #[inline]
    fn read(&mut self, records: &Records, entry: &Entry, row: usize) -> Option<()> {
        let payload = records.slice(&entry.payload);
        let (body, foreign) = super::body(payload, &self.fingerprint);
        if foreign {
            return None;
        }
        let mut wire = Wire::of_plain(body);
        for step in &self.steps {
            if let Some(null) = step.null
                && wire.branch(2)? == null
            {
                match step.place {
                    Some(place) => self.columns[place].put_null(row)?,
                    None => continue,
                }
                continue;
            }
            let Some(place) = step.place else {
                step.skip(&mut wire)?;
                continue;
            };
            let column = &mut self.columns[place];
            match (step.plain, &mut column.values) {
                (Plain::Boolean, Values::Boolean(v)) => put(v, row, wire.boolean()?),
                (Plain::Whole, Values::Whole(v)) => put(v, row, step.whole(&mut wire)?),
                (Plain::Float, Values::Double(v)) => put(v, row, Some(f64::from(wire.float()?)).filter(|f| f.is_finite())?),
                (Plain::Double, Values::Double(v)) => put(v, row, Some(wire.double()?).filter(|f| f.is_finite())?),
                (Plain::Text, Values::Text(v)) => {
                    let text = wire.bytes()?;
                    let known = column.identity && text == records.slice(&entry.device);
                    if !known && (column.identity || std::str::from_utf8(text).is_err()) {
                        return None;
                    }
                    let end = entry.payload.end - wire.left() as u32;
                    put(v, row, make_view(text, 0, end - text.len() as u32));
                }
                (Plain::Timestamp(numerator, denominator), Values::Time(v)) => {
                    let time = wire.whole()?.checked_mul(numerator)?.div_euclid(denominator);
                    put(v, row, cut(Some(time).filter(|t| TIME_RANGE.contains(t))?, column.unit));
                }
                _ => return None,
            }
        }
        (wire.left() == 0).then_some(())
    }
}

impl Decoder for FlatDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        self.columns.iter_mut().for_each(|c| c.begin(records.entries.len()));
        let mut failed = Vec::new();
        for (index, entry) in (0_u32..).zip(&records.entries) {
            let row = kept.len();
            if self.read(records, entry, row).is_some() {
                kept.push(index);
            } else {
                for column in &mut self.columns {
                    column.nulls.pop_if(|null| *null as usize == row);
                }
                failed.push(entry.clone());
            }
        }
        let mut rejects = Vec::new();
        if !failed.is_empty() {
            let left = Records { partition: records.partition, bytes: records.bytes.clone(), entries: failed, lost: None };
            let decoded = self.rows.decode(&left)?;
            if decoded.rows.num_rows() > 0 {
                return self.rows.decode(records);
            }
            rejects = decoded.rejects;
        }
        let (columns, places, rows) = (&mut self.columns, &self.places, kept.len());
        let decoded = assemble(&self.schema, &self.output, records, &kept, rejects, |i| {
            let place = places[i].ok_or_else(|| Error::internal(format!("column {i} is not in the payload")))?;
            columns[place].finish(rows, &records.bytes)
        });
        self.kept = kept;
        decoded
    }
}

impl Step {
    /// None if the field is not plain, or not of its column's own type.
    fn new(nodes: &Nodes, node: NodeId, place: Option<usize>, columns: &[Column]) -> Option<Self> {
        let (node, null) = match nodes.get(node) {
            Node::Union(branches) => match branches.as_slice() {
                [null, other] if *nodes.get(*null) == Node::Null => (nodes.get(*other), Some(0)),
                [other, null] if *nodes.get(*null) == Node::Null => (nodes.get(*other), Some(1)),
                _ => return None,
            },
            node => (node, None),
        };
        let plain = match node {
            Node::Boolean => Plain::Boolean,
            Node::Int | Node::Long => Plain::Whole,
            Node::Float => Plain::Float,
            Node::Double => Plain::Double,
            Node::Text => Plain::Text,
            Node::Timestamp(numerator, denominator) => Plain::Timestamp(*numerator, *denominator),
            _ => return None,
        };
        let fits = place.is_none_or(|place| {
            let values = columns.get(place).map(|c| &c.values);
            matches!(
                (plain, values),
                (Plain::Boolean, Some(Values::Boolean(_)))
                    | (Plain::Whole, Some(Values::Whole(_)))
                    | (Plain::Float | Plain::Double, Some(Values::Double(_)))
                    | (Plain::Text, Some(Values::Text(_)))
                    | (Plain::Timestamp(..), Some(Values::Time(_)))
            )
        });
        fits.then_some(Self { plain, null, narrow: *node == Node::Int, place })
    }

    #[inline]
    fn whole(&self, wire: &mut Wire<'_>) -> Option<i64> {
        let value = wire.whole()?;
        if self.narrow { i32::try_from(value).ok().map(i64::from) } else { Some(value) }
    }

    /// Moves over a value that nobody declared.
    fn skip(&self, wire: &mut Wire<'_>) -> Option<()> {
        match self.plain {
            Plain::Boolean => wire.boolean().map(drop),
            Plain::Whole => self.whole(wire).map(drop),
            Plain::Float => wire.float().map(drop),
            Plain::Double => wire.double().map(drop),
            Plain::Text => std::str::from_utf8(wire.bytes()?).ok().map(drop),
            Plain::Timestamp(numerator, _) => wire.whole()?.checked_mul(numerator).map(drop),
        }
    }
}

impl Values {
    fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean(Vec::new()),
            DataType::Int64 => Self::Whole(Vec::new()),
            DataType::Float64 => Self::Double(Vec::new()),
            DataType::Utf8View => Self::Text(Vec::new()),
            time if *time == crate::time::timestamp_type() => Self::Time(Vec::new()),
            _ => return None,
        })
    }
}

impl Column {
    /// Makes slots for `records` records, if the column is wanted.
    fn begin(&mut self, records: usize) {
        let slots = if self.wanted { records } else { 0 };
        self.nulls.clear();
        match &mut self.values {
            Values::Boolean(v) => *v = vec![false; slots],
            Values::Whole(v) | Values::Time(v) => *v = vec![0; slots],
            Values::Double(v) => *v = vec![0.0; slots],
            Values::Text(v) => *v = vec![0; slots],
        }
    }

    /// None if it must have a value.
    fn put_null(&mut self, row: usize) -> Option<()> {
        if self.identity || !self.nullable {
            return None;
        }
        self.nulls.push(row as u32);
        match &mut self.values {
            Values::Boolean(v) => put(v, row, false),
            Values::Whole(v) | Values::Time(v) => put(v, row, 0),
            Values::Double(v) => put(v, row, 0.0),
            Values::Text(v) => put(v, row, 0),
        }
        Some(())
    }

    /// The first `rows` slots as an array.
    fn finish(&mut self, rows: usize, bytes: &Buffer) -> Result<ArrayRef> {
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut valid = MutableBuffer::new(rows.div_ceil(8)).with_bitset(rows.div_ceil(8), true);
            self.nulls.iter().for_each(|&row| arrow::util::bit_util::unset_bit(&mut valid, row as usize));
            NullBuffer::new(BooleanBuffer::new(valid.into(), 0, rows))
        });
        Ok(match &mut self.values {
            Values::Boolean(v) => Arc::new(BooleanArray::new(BooleanBuffer::from(&v[..rows]), nulls)),
            Values::Whole(v) => Arc::new(Int64Array::new(taken(v, rows), nulls)),
            Values::Double(v) => Arc::new(Float64Array::new(taken(v, rows), nulls)),
            Values::Text(v) => {
                v.truncate(rows);
                strings(std::mem::take(v), std::slice::from_ref(bytes), nulls)?
            }
            Values::Time(v) => Arc::new(TimestampMicrosecondArray::new(taken(v, rows), nulls).with_data_type(self.data_type.clone())),
        })
    }
}

fn taken<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>, rows: usize) -> ScalarBuffer<T> {
    values.truncate(rows);
    ScalarBuffer::from(std::mem::take(values))
}

/// Puts a value into its slot, if there are slots.
#[inline(always)]
fn put<T>(values: &mut [T], row: usize, value: T) {
    if let Some(slot) = values.get_mut(row) {
        *slot = value;
    }
}
