//! The format `cbor` (RFC 8949): one map a record. Invariant: every item is read to its end within the payload, or the record is
//! rejected; nothing is allocated because a length was claimed.
//!
//! Names are texts, or whole numbers taken as text (`{6: 21.5}` fills a column called `6`). Tag 0 and 1 are times, tag 4 is a
//! decimal; other tags are passed over.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ciborium_ll::{Decoder as Headers, Error as HeaderError, Header};

use super::rows::{self, Reader, Row};
use super::schema::DecodeSchema;
use super::value::Value;
use super::{Attributes, Format};
use crate::contract::Decoder;
use crate::error::Result;
use crate::limits::JSON_DEPTH_MAX;
use crate::time::SECOND;

/// The format.
pub(super) static FORMAT: Format = Format {
    name: "cbor",
    about: "One CBOR map a record; members are taken by the columns' names.",
    options: &[],
    open,
    attributes: Some(attributes),
    columns: None,
};

/// Tag of an ISO text.
const TAG_DATE_TIME: u64 = 0;
/// Tag of seconds since the epoch.
const TAG_SECONDS: u64 = 1;
/// Tag of `[exponent, mantissa]`.
const TAG_DECIMAL: u64 = 4;

fn open(schema: DecodeSchema) -> Result<Box<dyn Decoder>> {
    rows::open(schema, FORMAT.name, |_, _| Ok(Box::new(CborReader)))
}

fn attributes<'a>(_: &BTreeMap<String, String>, payload: &'a [u8]) -> Result<Attributes<'a>, String> {
    let mut attributes = Vec::new();
    members(payload, |name, value| {
        attributes.push((name, value));
        Ok(())
    })?;
    Ok(attributes)
}

struct CborReader;

impl Reader for CborReader {
    fn read(&mut self, payload: &[u8], row: &mut Row<'_>) -> Result<(), String> {
        members(payload, |name, value| match row.place(&name) {
            Some(place) => row.put(place, &value),
            None => Ok(()),
        })
    }
}

/// Hands out the members of a record.
fn members<'a>(payload: &'a [u8], mut take: impl FnMut(Cow<'a, str>, Value<'a>) -> Result<(), String>) -> Result<(), String> {
    let mut items = Items { payload, rest: payload };
    let mut header = items.header()?;
    while let Header::Tag(_) = header {
        header = items.header()?;
    }
    let Header::Map(length) = header else { return Err("broken CBOR at byte 0: expected a map".to_owned()) };
    let mut left = length;
    while let Some(key) = items.next_of(&mut left)? {
        let name = items.name(key)?;
        let first = items.header()?;
        take(name, items.value(first, 1)?)?;
    }
    match items.rest.len() {
        0 => Ok(()),
        more => Err(format!("broken CBOR: {more} bytes follow the record")),
    }
}

/// A place in a payload.
struct Items<'a> {
    payload: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    fn broken(&self, what: &str) -> String {
        format!("broken CBOR at byte {}: {what}", self.payload.len() - self.rest.len())
    }

    /// The head of the next item.
    fn header(&mut self) -> Result<Header, String> {
        let mut headers = Headers::from(self.rest);
        let header = headers.pull().map_err(|e| match e {
            HeaderError::Io(_) => self.broken("the payload ends in the middle"),
            HeaderError::Syntax(_) => self.broken("this begins no item"),
        })?;
        self.rest = self.rest.get(headers.offset()..).unwrap_or_default();
        Ok(header)
    }

    /// The head of the next item of a list or map of which `left` are left; `None` is its end.
    fn next_of(&mut self, left: &mut Option<usize>) -> Result<Option<Header>, String> {
        match left {
            Some(0) => return Ok(None),
            Some(n) => *n -= 1,
            None => {}
        }
        let header = self.header()?;
        Ok(if left.is_none() && header == Header::Break { None } else { Some(header) })
    }

    /// The bytes of a text or of bytes; those of unknown length come in pieces.
    fn bytes(&mut self, length: Option<usize>, piece: fn(Header) -> Option<usize>) -> Result<Cow<'a, [u8]>, String> {
        if let Some(length) = length {
            let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.broken("the payload ends in the middle"))?;
            self.rest = rest;
            return Ok(Cow::Borrowed(bytes));
        }
        let mut all = Vec::new();
        while let Some(header) = self.next_of(&mut None)? {
            let length = piece(header).ok_or_else(|| self.broken("expected a piece of the same kind"))?;
            all.extend_from_slice(&self.bytes(Some(length), piece)?);
        }
        Ok(Cow::Owned(all))
    }

    fn text(&mut self, length: Option<usize>) -> Result<Cow<'a, str>, String> {
        let bytes = self.bytes(length, |h| if let Header::Text(length) = h { length } else { None })?;
        let text = match bytes {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
        };
        text.ok_or_else(|| self.broken("the text before is not UTF-8"))
    }

    fn name(&mut self, header: Header) -> Result<Cow<'a, str>, String> {
        match header {
            Header::Text(length) => self.text(length),
            Header::Positive(n) => Ok(Cow::Owned(n.to_string())),
            Header::Negative(n) => Ok(Cow::Owned(negative(n).to_string())),
            _ => Err(self.broken("a name is a text or a whole number")),
        }
    }

    /// The rest of the item that `header` begins, inside of `depth` lists and maps.
    fn value(&mut self, header: Header, depth: usize) -> Result<Value<'a>, String> {
        if depth >= JSON_DEPTH_MAX {
            return Err(format!("CBOR is nested deeper than {JSON_DEPTH_MAX}"));
        }
        Ok(match header {
            Header::Positive(n) => Value::Integer(n.into()),
            Header::Negative(n) => Value::Integer(negative(n)),
            Header::Float(x) => Value::Double(x),
            Header::Simple(ciborium_ll::simple::FALSE) => Value::Boolean(false),
            Header::Simple(ciborium_ll::simple::TRUE) => Value::Boolean(true),
            Header::Simple(ciborium_ll::simple::NULL | ciborium_ll::simple::UNDEFINED) => Value::Null,
            Header::Text(length) => Value::Text(self.text(length)?),
            Header::Bytes(length) => Value::Bytes(self.bytes(length, |h| if let Header::Bytes(length) = h { length } else { None })?),
            Header::Array(mut left) => {
                let mut items = Vec::new();
                while let Some(first) = self.next_of(&mut left)? {
                    items.push(self.value(first, depth + 1)?);
                }
                Value::list(items)
            }
            Header::Map(mut left) => {
                let mut members = Vec::new();
                while let Some(key) = self.next_of(&mut left)? {
                    let name = self.name(key)?;
                    let first = self.header()?;
                    members.push((name, self.value(first, depth + 1)?));
                }
                Value::map(members)
            }
            Header::Tag(tag) => {
                let first = self.header()?;
                let inner = self.value(first, depth + 1)?;
                tagged(tag, inner).map_err(|what| self.broken(what))?
            }
            Header::Simple(_) | Header::Break => return Err(self.broken("the item before has no value")),
        })
    }
}

fn negative(inverted: u64) -> i128 {
    -1 - i128::from(inverted)
}

fn tagged(tag: u64, inner: Value<'_>) -> Result<Value<'_>, &'static str> {
    match (tag, inner) {
        (TAG_DATE_TIME, Value::Text(text)) => {
            crate::time::parse(text.as_bytes()).map(Value::Timestamp).ok_or("the text before is no date and time")
        }
        (TAG_SECONDS, Value::Integer(seconds)) => {
            i64::try_from(seconds).ok().and_then(|s| s.checked_mul(SECOND)).map(Value::Timestamp).ok_or("the seconds before are too many")
        }
        // Milliseconds as text are cut towards the past, as in JSON.
        (TAG_SECONDS, Value::Double(seconds)) => {
            Value::Double(seconds * 1_000.0).to_timestamp().map(Value::Timestamp).ok_or("the seconds before are no time")
        }
        (TAG_DECIMAL, Value::List { items, .. }) => match items.as_slice() {
            [Value::Integer(exponent @ -38..=0), Value::Integer(unscaled)] => {
                Ok(Value::Decimal { unscaled: *unscaled, scale: exponent.unsigned_abs() as u32 })
            }
            [Value::Integer(exponent @ 1..=38), Value::Integer(mantissa)] => {
                let unscaled = 10_i128.checked_pow(*exponent as u32).and_then(|power| mantissa.checked_mul(power));
                unscaled.map(Value::Integer).ok_or("the decimal before has too many digits")
            }
            _ => Err("the item before is no decimal"),
        },
        (TAG_DATE_TIME | TAG_SECONDS | TAG_DECIMAL, _) => Err("the item before does not fit its tag"),
        (_, inner) => Ok(inner),
    }
}

#[cfg(test)]
mod tests;
