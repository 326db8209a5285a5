//! The loop over records and attributes. Invariant: an attribute is found by its name alone; the order of the record before
//! only makes it faster.
//!
//! ```text
//! order   [{"device_id": → 0] [,"ts": → 1] [,"unit": → skip] [,"temperature": → 2]     as the record before had them
//! record   {"device_id":"pump-1","ts":…                                               compared as a whole, no hashing
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
    #[inline]
    fn read(&mut self, payload: &[u8], current: Current<'_>) -> Result<(), Fault> {
        self.record += 1;
        let mut scan = Scan::new(payload);
        let mut found = 0;
        for position in 0.. {
            let place = match self.attributes.expected(&mut scan, position) {
                Some(place) => place,
                None => match self.attributes.any(&mut scan, position)? {
                    Some(place) => place,
                    None => break,
                },
            };
            scan.skip_space();
            let Some(place) = place else {
                scan.skip_value()?;
                continue;
            };
            let column = &mut self.columns[place];
            if column.seen_in == self.record {
                column.clear_null(current.row);
            } else {
                column.seen_in = self.record;
                found += 1;
            }
            column.read(&mut scan, current, &mut self.shared)?;
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
}

/// Finds the column of an attribute.
struct Attributes {
    names: HashMap<Vec<u8>, usize, RandomState>,
    order: Vec<Expected>,
    scratch: Vec<u8>,
}

/// An attribute name as the record before had it, and its column.
struct Expected {
    /// `{"name":` or `,"name":`, as records without white space have it.
    lead: Vec<u8>,
    place: Option<usize>,
}

impl Expected {
    /// The name in its quotes.
    fn quoted(&self) -> &[u8] {
        &self.lead[1..self.lead.len() - 1]
    }
}

impl Attributes {
    /// Moves from the value before, or from the beginning, to the value of the attribute that the record before had in this position,
    /// if it follows without white space; returns its column, none if not declared.
    #[inline(always)]
    fn expected(&self, scan: &mut Scan<'_>, position: usize) -> Option<Option<usize>> {
        let expected = self.order.get(position)?;
        scan.passes(&expected.lead).then_some(expected.place)
    }

    /// The same for any attribute and white space; none if the object ends, then behind its closing brace.
    fn any(&mut self, scan: &mut Scan<'_>, position: usize) -> Result<Option<Option<usize>>, Fault> {
        let first = position == 0;
        if first {
            scan.skip_mark();
        }
        let next = scan.skip_space();
        if first {
            scan.expect(b'{', Syntax::Object)?;
        }
        match if first { scan.skip_space() } else { next } {
            b'}' => {
                scan.at += 1;
                return Ok(None);
            }
            b',' if !first => scan.at += 1,
            _ if !first => return Err(scan.broken(Syntax::MemberEnd)),
            _ => {}
        }
        scan.skip_space();
        let place = self.name(scan, position)?;
        if scan.skip_space() != b':' {
            return Err(scan.broken(Syntax::Colon));
        }
        scan.at += 1;
        Ok(Some(place))
    }

    /// Moves over the name at `scan`, attribute number `position` of its record; returns its column, none if not declared.
    fn name(&mut self, scan: &mut Scan<'_>, position: usize) -> Result<Option<usize>, Fault> {
        if let Some(expected) = self.order.get(position)
            && scan.passes(expected.quoted())
        {
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
            self.order.push(Expected { lead: Vec::new(), place });
        }
        if let Some(expected) = self.order.get_mut(position) {
            let before: &[u8] = if position == 0 { b"{" } else { b"," };
            expected.lead.clear();
            [before, quoted, b":"].iter().for_each(|part| expected.lead.extend_from_slice(part));
            expected.place = place;
        }
        Ok(place)
    }
}
