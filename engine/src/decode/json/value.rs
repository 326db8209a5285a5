//! Any JSON value as a `Value`, for columns whose type has no fast path. Invariant: what is read is checked as `skip_value` checks
//! it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::fault::{Fault, Syntax};
use super::scan::{Scan, Text};
use super::string;
use crate::decode::Attributes;
use crate::decode::value::Value;
use crate::limits::JSON_DEPTH_MAX;

/// The attributes of a payload.
pub(super) fn attributes<'a>(_: &BTreeMap<String, String>, payload: &'a [u8]) -> Result<Attributes<'a>, String> {
    let mut scan = Scan::new(payload);
    let mut read = || {
        scan.skip_mark();
        if scan.skip_space() != b'{' {
            return Err(scan.broken(Syntax::Object));
        }
        let members = scan.members(1)?;
        scan.skip_space();
        if scan.at < payload.len() { Err(scan.broken(Syntax::End)) } else { Ok(members) }
    };
    read().map_err(|fault| fault.describe(&[], payload, ""))
}

impl<'a> Scan<'a> {
    /// Moves over any value; `at` is its first byte, inside of `depth` objects and arrays.
    pub(super) fn value(&mut self, depth: usize) -> Result<Value<'a>, Fault> {
        let start = self.at;
        match self.peek() {
            b'"' => Ok(Value::Text(self.plain_string()?)),
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Ok(Value::Number(self.since(start)))
            }
            b't' => self.literal(b"true").map(|()| Value::Boolean(true)),
            b'f' => self.literal(b"false").map(|()| Value::Boolean(false)),
            b'n' => self.literal(b"null").map(|()| Value::Null),
            b'{' | b'[' if depth >= JSON_DEPTH_MAX => Err(Fault::Deep { at: self.at as u32 }),
            b'{' => {
                let members = self.members(depth)?;
                Ok(Value::Map { members, source: self.since(start) })
            }
            b'[' => {
                let items = self.items(depth)?;
                Ok(Value::List { items, source: self.since(start) })
            }
            _ => Err(self.broken(Syntax::Value)),
        }
    }

    /// Members of the object at `at`, up to and with its closing brace.
    fn members(&mut self, depth: usize) -> Result<Attributes<'a>, Fault> {
        let mut members = Vec::new();
        self.at += 1;
        if self.skip_space() == b'}' {
            self.at += 1;
            return Ok(members);
        }
        loop {
            if self.skip_space() != b'"' {
                return Err(self.broken(Syntax::Key));
            }
            let name = self.plain_string()?;
            self.skip_space();
            self.expect(b':', Syntax::Colon)?;
            self.skip_space();
            members.push((name, self.value(depth + 1)?));
            match self.skip_space() {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.broken(Syntax::MemberEnd)),
            }
        }
        self.at += 1;
        Ok(members)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Value<'a>>, Fault> {
        let mut items = Vec::new();
        self.at += 1;
        if self.skip_space() == b']' {
            self.at += 1;
            return Ok(items);
        }
        loop {
            self.skip_space();
            items.push(self.value(depth + 1)?);
            match self.skip_space() {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.broken(Syntax::ItemEnd)),
            }
        }
        self.at += 1;
        Ok(items)
    }

    fn plain_string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let text: Text<'a> = self.string()?;
        if !text.escaped {
            return Ok(String::from_utf8_lossy(text.raw));
        }
        let mut plain = Vec::with_capacity(text.raw.len());
        string::unescape(text, |piece| plain.extend_from_slice(piece))?;
        // Both were checked to be UTF-8: nothing is lost.
        Ok(Cow::Owned(String::from_utf8_lossy(&plain).into_owned()))
    }

    /// The text from `start` on; it was checked to be UTF-8.
    fn since(&self, start: usize) -> &'a str {
        std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default()
    }
}
