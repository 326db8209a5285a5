//! The format `avro`: one record of a known writer schema, in Avro's binary encoding. Invariant: the schema that the table declares
//! alone says how the bytes are read; they are read to their end, or the record is rejected.
//!
//! ```text
//! mod      options, columns ─► fields of the schema        schema   the schema as nodes that are quick to follow
//! cursor   bytes ─► plain values                           wire     bytes along the nodes ─► values
//! flat     records ─► columns, field by field              field    a field, and the column that its values go to
//! columns  the nodes ─► columns, where none are declared
//!
//! C3 01 <fingerprint, 8 bytes> <record>    single-object encoding: taken off if the fingerprint is that of the schema
//! 00 <number, 4 bytes> <record>            as clients of a schema registry send it: not read, the number says nothing here
//! ```

mod columns;
mod cursor;
mod field;
mod flat;
mod schema;
mod wire;

use apache_avro::Schema as AvroSchema;
use apache_avro::rabin::Rabin;
use arrow::datatypes::FieldRef;
use serde_json::Value;

use super::Format;
use super::rows::{self, Reader, Row};
use super::schema::{DecodeSchema, Source};
use crate::contract::connector::distance;
use crate::contract::{Decoder, OptionSpec};
use crate::error::{Error, Result};
use flat::FlatDecoder;
use schema::Nodes;
use wire::Wire;

/// The option with the schema.
const SCHEMA: &str = "avro.schema";

/// The format.
pub(super) static FORMAT: Format = Format {
    name: "avro",
    about: "One Avro record, in binary or single-object encoding; fields are taken by the columns' names.",
    options: &[OptionSpec {
        name: "avro.schema",
        required: true,
        default: None,
        about: "the schema that devices write with, as JSON: a record",
    }],
    open,
    attributes: None,
    columns: Some(columns::columns),
};

/// What single-object encoding begins with.
const MARKER: [u8; 2] = [0xc3, 0x01];
/// Length of the marker and the fingerprint.
const HEADER_BYTES: usize = 10;
/// Length of what clients of a schema registry put before a record.
const REGISTRY_HEADER_BYTES: usize = 5;

fn open(schema: DecodeSchema) -> Result<Box<dyn Decoder>> {
    let text = schema.options.get(SCHEMA).cloned().unwrap_or_default();
    let rows = rows::open(schema.clone(), FORMAT.name, |_, fields| Ok(Box::new(AvroReader::new(&text, fields)?)))?;
    let payload = schema.columns.iter().filter(|c| c.source == Source::Payload);
    let fields: Vec<FieldRef> = payload.map(|c| c.field.clone()).collect();
    let AvroReader { nodes, fingerprint, places } = AvroReader::new(&text, &fields)?;
    Ok(FlatDecoder::open(schema, nodes, &places, fingerprint, rows))
}

/// The schema, also as nodes. Errors: `Invalid` if it is none, or no record.
fn parse(text: &str) -> Result<(AvroSchema, Nodes)> {
    let wrong =
        |what: String| Error::invalid(format!("option '{SCHEMA}': {what}")).hint("give the schema that devices write with, as JSON");
    let mut json: Value = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    forget_fixed_uuids(&mut json);
    let parsed = AvroSchema::parse(&json).map_err(|e| wrong(e.to_string()))?;
    let nodes = Nodes::new(&parsed).map_err(wrong)?;
    Ok((parsed, nodes))
}

/// Takes away that 16 fixed bytes are a UUID: the library would take them for a text, and forget their name.
fn forget_fixed_uuids(schema: &mut Value) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(forget_fixed_uuids),
        Value::Object(parts) => {
            let says = |key: &str, word: &str| parts.get(key).and_then(Value::as_str) == Some(word);
            if says("type", "fixed") && says("logicalType", "uuid") {
                parts.remove("logicalType");
            }
            parts.values_mut().for_each(forget_fixed_uuids);
        }
        _ => {}
    }
}

/// The record in a payload, and whether it had a header of another schema, or bytes that look so.
fn body<'a>(payload: &'a [u8], fingerprint: &[u8]) -> (&'a [u8], bool) {
    match payload.split_at_checked(HEADER_BYTES) {
        Some((header, body)) if header.starts_with(&MARKER) => {
            let own = header[MARKER.len()..] == *fingerprint;
            if own { (body, false) } else { (payload, true) }
        }
        _ => (payload, false),
    }
}

struct AvroReader {
    nodes: Nodes,
    fingerprint: Vec<u8>,
    /// Column of each field of the record.
    places: Vec<Option<usize>>,
}

impl AvroReader {
    /// Errors: `Invalid` if the schema is none, is no record, or lacks a column or a field of one.
    fn new(text: &str, columns: &[FieldRef]) -> Result<Self> {
        let (parsed, nodes) = parse(text)?;
        let names: Vec<&str> = nodes.fields().iter().map(|(name, _)| name.as_str()).collect();
        for column in columns {
            let lacking = match nodes.fields().iter().find(|(name, _)| name == column.name()) {
                Some((_, node)) => nodes.lacking(*node, column.data_type()),
                None => Some((String::new(), column.name().clone(), names.clone())),
            };
            if let Some((path, name, known)) = lacking {
                let error = Error::invalid(format!("column {}{path}: the Avro schema has no such field", column.name()));
                let nearest = known.iter().min_by_key(|n| distance(n, &name));
                return Err(error.hint(nearest.map_or_else(|| "it has none".to_owned(), |n| format!("is it {n}?"))));
            }
        }
        let places = names.iter().map(|name| columns.iter().position(|c| c.name() == name)).collect();
        Ok(Self { fingerprint: parsed.fingerprint::<Rabin>().bytes, places, nodes })
    }

    /// Whether what is no record of the schema is one behind the header of a schema registry.
    fn is_registered(&self, payload: &[u8]) -> bool {
        let Some((header, body)) = payload.split_at_checked(REGISTRY_HEADER_BYTES) else { return false };
        let mut wire = Wire::new(&self.nodes, body, 0);
        header.starts_with(&[0]) && self.nodes.fields().iter().all(|(_, node)| wire.value(*node, 1).is_ok()) && wire.finish().is_ok()
    }

    fn fields(&self, body: &[u8], row: &mut Row<'_>) -> Result<(), String> {
        let mut wire = Wire::new(&self.nodes, body, 0);
        for ((_, node), place) in self.nodes.fields().iter().zip(&self.places) {
            let value = wire.value(*node, 1)?;
            if let Some(place) = place {
                row.put(*place, &value)?;
            }
        }
        wire.finish()
    }
}

impl Reader for AvroReader {
    fn read(&mut self, payload: &[u8], row: &mut Row<'_>) -> Result<(), String> {
        let (body, foreign) = body(payload, &self.fingerprint);
        self.fields(body, row).map_err(|reason| {
            if foreign {
                format!("{reason}; the record may be of another schema: its fingerprint is not that of 'avro.schema'")
            } else if self.is_registered(payload) {
                format!("{reason}; the record has the header of a schema registry before it, which is not read")
            } else {
                reason
            }
        })
    }
}

#[cfg(test)]
mod tests;
