//! The loop over records and attributes. Invariant: an attribute is found by its name alone; the order of the record before
//! only makes it faster.
//!
//! ```text
//! order   ["device_id" → 0] ["ts" → 1] ["unit" → skip] ["temperature" → 2]     as the record before had them
//! record  {"device_id":"pump-1","ts":…                                         compared byte for byte, no hashing
//! ```

use std::collections::HashMap;

use ahash::RandomState;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;

use super::column::{Column, Current, Shared};
use super::fault::{Fault, Syntax};
use super::scan::Scan;
use super::string;
use crate::batch::{Records, Reject};
use crate::contract::{Decoded, Decoder};
use crate::decode::assemble::assemble;
use crate::decode::schema::{DecodeSchema, Source};
use crate::error::Result;
use crate::limits::{JSON_ORDER_ATTRIBUTES_MAX, JSON_ORDER_NAME_BYTES_MAX};

/// Opens a decoder. Errors: `Invalid` if a column has a type that JSON cannot give.
pub(super) fn open(schema: DecodeSchema) -> Result<Box<dyn Decoder>> {
    let mut columns = Vec::new();
    let mut places = vec![None; schema.columns.len()];
    for (i, declared) in schema.columns.iter().enumerate().filter(|(_, c)| c.source == Source::Payload) {
        places[i] = Some(columns.len());
        let (wanted, identity) = (schema.projection.contains(&i), schema.identity == Some(i));
        columns.push(Column::new(declared, columns.len(), wanted, identity)?);
    }
    let names = columns.iter().enumerate().map(|(i, c)| (c.name().as_bytes().to_vec(), i)).collect();
    let attributes = Attributes { names, order: Vec::new(), scratch: Vec::new() };
    let output = schema.output();
    Ok(Box::new(JsonDecoder { schema, output, columns, places, attributes, shared: Shared::default(), kept: Vec::new(), record: 0 }))
}

struct JsonDecoder {
    schema: DecodeSchema,
    output: SchemaRef,
    /// Payload columns.
    columns: Vec<Column>,
    /// Index into `columns` of each declared column.
    places: Vec<Option<usize>>,
    attributes: Attributes,
    shared: Shared,
    /// Entries of the good records.
    kept: Vec<u32>,
    /// Number of the current record, from 1.
    record: u64,
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        self.kept.clear();
        self.columns.iter_mut().for_each(|c| c.begin(records.entries.len()));
        let mut rejects = Vec::new();
        for (index, entry) in records.entries.iter().enumerate() {
            let payload = records.slice(&entry.payload);
            let row = self.kept.len();
            let current = Current { row, base: entry.payload.start, device: records.slice(&entry.device) };
            match self.read(payload, current) {
                Ok(()) => self.kept.push(index as u32),
                Err(fault) => {
                    self.columns.iter_mut().for_each(|c| c.clear_null(row));
                    let reason = fault.describe(&self.columns, payload, records.text(&entry.device));
                    rejects.push(Reject { offset: entry.offset, reason });
                }
            }
        }
        let buffers = [records.bytes.clone(), Buffer::from_vec(std::mem::take(&mut self.shared.unescaped))];
        let (columns, places, rows) = (&mut self.columns, &self.places, self.kept.len());
        assemble(&self.schema, &self.output, records, &self.kept, rejects, |i| {
            let place = places[i].ok_or_else(|| crate::error::Error::internal(format!("column {i} is not in the payload")))?;
            columns[place].finish(rows, &buffers)
        })
    }
}

impl JsonDecoder {
    /// Reads one payload into the slots of one row.
    fn read(&mut self, payload: &[u8], current: Current<'_>) -> Result<(), Fault> {
        self.record += 1;
        let mut scan = Scan::new(payload);
        scan.skip_space();
        scan.expect(b'{', Syntax::Object)?;
        let mut found = 0;
        if scan.skip_space() == b'}' {
            scan.at += 1;
        } else {
            found = self.read_attributes(&mut scan, current)?;
        }
        scan.skip_space();
        if scan.at < payload.len() {
            return Err(scan.broken(Syntax::End));
        }
        if found < self.columns.len() {
            for column in self.columns.iter_mut().filter(|c| c.seen_in != self.record) {
                column.put_null(current.row)?;
            }
        }
        Ok(())
    }

    /// Reads attributes up to and with the closing brace; returns how many columns had one.
    #[inline]
    fn read_attributes(&mut self, scan: &mut Scan<'_>, current: Current<'_>) -> Result<usize, Fault> {
        let mut found = 0;
        for position in 0.. {
            let place = self.attributes.next(scan, position)?;
            if scan.skip_space() != b':' {
                return Err(scan.broken(Syntax::Colon));
            }
            scan.at += 1;
            scan.skip_space();
            if let Some(place) = place {
                let column = &mut self.columns[place];
                if column.seen_in == self.record {
                    column.clear_null(current.row);
                } else {
                    column.seen_in = self.record;
                    found += 1;
                }
                column.read(scan, current, &mut self.shared)?;
            } else {
                scan.skip_value()?;
            }
            match scan.skip_space() {
                b',' => scan.at += 1,
                b'}' => break,
                _ => return Err(scan.broken(Syntax::MemberEnd)),
            }
            scan.skip_space();
        }
        scan.at += 1;
        Ok(found)
    }
}

/// Finds the column of an attribute.
struct Attributes {
    names: HashMap<Vec<u8>, usize, RandomState>,
    order: Vec<Expected>,
    scratch: Vec<u8>,
}

/// An attribute name as the record before had it, with its quotes, and its column.
struct Expected {
    quoted: Vec<u8>,
    place: Option<usize>,
}

impl Attributes {
    /// Moves over the name at `scan`, attribute number `position` of its record; returns its column, none if not declared.
    #[inline]
    fn next(&mut self, scan: &mut Scan<'_>, position: usize) -> Result<Option<usize>, Fault> {
        if let Some(expected) = self.order.get(position)
            && scan.bytes[scan.at..].starts_with(&expected.quoted)
        {
            scan.at += expected.quoted.len();
            return Ok(expected.place);
        }
        self.learn(scan, position)
    }

    fn learn(&mut self, scan: &mut Scan<'_>, position: usize) -> Result<Option<usize>, Fault> {
        if scan.peek() != b'"' {
            return Err(scan.broken(Syntax::Key));
        }
        let start = scan.at;
        let text = scan.string()?;
        if text.escaped {
            self.scratch.clear();
            string::unescape(text, |piece| self.scratch.extend_from_slice(piece))?;
            return Ok(self.names.get(self.scratch.as_slice()).copied());
        }
        let place = self.names.get(text.raw).copied();
        let quoted = &scan.bytes[start..scan.at];
        if quoted.len() > JSON_ORDER_NAME_BYTES_MAX {
            return Ok(place);
        }
        if position == self.order.len() && position < JSON_ORDER_ATTRIBUTES_MAX {
            self.order.push(Expected { quoted: Vec::new(), place });
        }
        if let Some(expected) = self.order.get_mut(position) {
            expected.quoted.clear();
            expected.quoted.extend_from_slice(quoted);
            expected.place = place;
        }
        Ok(place)
    }
}
