//! Avro's binary encoding along the nodes of a schema. Invariant: nothing is read past the end, nothing is allocated because a
//! length was claimed, and one payload holds no more values than a schema makes of so many bytes, and few of those that take none.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::schema::{Node, NodeId, Nodes};
use crate::decode::value::Value;
use crate::limits::{JSON_DEPTH_MAX, RECORD_PAYLOAD_BYTES_MAX};
use crate::time::MILLISECOND;

/// Items without bytes that even the shortest record may have; there may be one more for each of its bytes.
const EMPTY_ITEMS_MIN: usize = 1024;

/// The values of a record, one after another.
pub(super) struct Wire<'a> {
    nodes: &'a Nodes,
    record: &'a [u8],
    /// Where the next value begins.
    pub(super) at: Cursor<'a>,
    /// Values that may still be read.
    values_left: usize,
    /// Items of lists that take no bytes, of which there may still be some.
    empty_left: usize,
}

impl<'a> Wire<'a> {
    /// The start of a record; `plain` of its values are read without the nodes, and count as well.
    pub(super) fn new(nodes: &'a Nodes, record: &'a [u8], plain: usize) -> Self {
        let (values_left, empty_left) = (RECORD_PAYLOAD_BYTES_MAX.saturating_sub(plain), record.len() + EMPTY_ITEMS_MIN);
        Self { nodes, record, at: Cursor::new(record), values_left, empty_left }
    }

    /// Errors: something follows.
    pub(super) fn finish(&self) -> Result<(), String> {
        match self.at.left() {
            0 => Ok(()),
            more => Err(format!("broken Avro: {more} bytes follow the record")),
        }
    }

    /// Reads a value, inside of `depth` others.
    pub(super) fn value(&mut self, id: NodeId, depth: usize) -> Result<Value<'a>, String> {
        if depth >= JSON_DEPTH_MAX {
            return Err(format!("Avro is nested deeper than {JSON_DEPTH_MAX}"));
        }
        self.values_left =
            self.values_left.checked_sub(1).ok_or_else(|| format!("a record has more than {RECORD_PAYLOAD_BYTES_MAX} values"))?;
        let nodes = self.nodes;
        Ok(match nodes.get(id) {
            Node::Null => Value::Null,
            Node::Boolean => match self.take(1)? {
                [0] => Value::Boolean(false),
                [1] => Value::Boolean(true),
                _ => return Err(self.broken("expected 0 or 1")),
            },
            Node::Int => Value::Integer(self.int()?.into()),
            Node::Long => Value::Integer(self.long()?.into()),
            Node::Float => Value::Double(f32::from_le_bytes(self.array()?).into()),
            Node::Double => Value::Double(f64::from_le_bytes(self.array()?)),
            Node::Bytes => Value::Bytes(Cow::Borrowed(self.counted()?)),
            Node::Text => Value::Text(Cow::Borrowed(self.text()?)),
            Node::Date => Value::Date(self.int()?),
            Node::TimeMillis => Value::Time(i64::from(self.int()?) * MILLISECOND),
            Node::TimeMicros => Value::Time(self.long()?),
            Node::Timestamp(numerator, denominator) => {
                let time = self.long()?.checked_mul(*numerator).ok_or_else(|| self.broken("the time before is out of range"))?;
                Value::Timestamp(time.div_euclid(*denominator))
            }
            Node::Decimal { size, scale, .. } => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.counted()?,
                };
                let unscaled = signed(bytes).ok_or_else(|| self.broken("the decimal before has too many digits"))?;
                Value::Decimal { unscaled, scale: *scale }
            }
            Node::Fixed(size) => Value::Bytes(Cow::Borrowed(self.take(*size)?)),
            Node::Symbols(symbols) => {
                let symbol = usize::try_from(self.int()?).ok().and_then(|i| symbols.get(i));
                Value::Text(Cow::Borrowed(symbol.ok_or_else(|| self.broken("the enum has no such symbol"))?))
            }
            Node::List(item) => {
                let mut items = Vec::new();
                self.blocks(|wire| {
                    items.push(wire.value(*item, depth + 1)?);
                    Ok(())
                })?;
                Value::list(items)
            }
            Node::Map(item) => {
                let mut members = Vec::new();
                self.blocks(|wire| {
                    let name = Cow::Borrowed(wire.text()?);
                    members.push((name, wire.value(*item, depth + 1)?));
                    Ok(())
                })?;
                Value::map(members)
            }
            Node::Union(variants) => {
                let variant = usize::try_from(self.long()?).ok().and_then(|i| variants.get(i));
                let variant = *variant.ok_or_else(|| self.broken("the union has no such branch"))?;
                self.value(variant, depth + 1)?
            }
            Node::Record(fields) => {
                let members = fields.iter().map(|(name, field)| Ok((Cow::Borrowed(name.as_str()), self.value(*field, depth + 1)?)));
                Value::map(members.collect::<Result<_, String>>()?)
            }
        })
    }

    fn broken(&self, what: &str) -> String {
        format!("broken Avro at byte {}: {what}", self.record.len() - self.at.left())
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        self.at.take(bytes).ok_or_else(|| self.broken("the record ends in the middle"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.at.chunk().ok_or_else(|| self.broken("the record ends in the middle"))
    }

    fn long(&mut self) -> Result<i64, String> {
        let before = self.at.left();
        self.at.whole().ok_or_else(|| {
            // Ten bytes are never too few.
            if self.at.left() == 0 && before < 10 {
                self.broken("the record ends in the middle")
            } else {
                self.broken("a number has more than 64 bits")
            }
        })
    }

    fn int(&mut self) -> Result<i32, String> {
        i32::try_from(self.long()?).map_err(|_| self.broken("a number has more than 32 bits"))
    }

    /// Bytes with their length before them.
    fn counted(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| self.broken("a length is below 0"))?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let bytes = self.counted()?;
        std::str::from_utf8(bytes).map_err(|_| self.broken("the text before is not UTF-8"))
    }

    /// Reads each item of the blocks of a list or map.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), String>) -> Result<(), String> {
        loop {
            let count = self.long()?;
            if count < 0 {
                // The block's length in bytes, for those who skip it.
                self.long()?;
            }
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count.unsigned_abs() {
                let before = self.at.left();
                item(self)?;
                if self.at.left() == before {
                    self.empty_left = self.empty_left.checked_sub(1).ok_or_else(|| {
                        let most = self.record.len() + EMPTY_ITEMS_MIN;
                        format!("a record of {} bytes has more than {most} items that take none", self.record.len())
                    })?;
                }
            }
        }
    }
}

/// A whole number in two's complement, greatest byte first; none if it does not fit.
pub(super) fn signed(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|b| *b >= 0x80);
    let filler = if negative { 0xff } else { 0 };
    let significant = bytes.iter().position(|b| *b != filler).map_or(&[][..], |first| &bytes[first..]);
    if significant.len() > 16 || significant.len() == 16 && (significant[0] >= 0x80) != negative {
        return None;
    }
    Some(significant.iter().fold(if negative { -1 } else { 0 }, |n, b| (n << 8) | i128::from(*b)))
}
