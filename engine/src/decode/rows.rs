//! Records to rows, for formats that hand out `Value`s. Invariant: a record is good or bad as in format `json`: attributes that
//! nobody declared are ignored, missing ones are NULL, of repeated ones the last counts.
//!
//! ```text
//! payload ──► Reader: attribute by attribute ──► Row::put: into its column ──► assemble
//! ```

use std::collections::HashMap;

use ahash::RandomState;
use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, SchemaRef};

use super::assemble::assemble;
use super::builder::Builder;
use super::schema::{DecodeColumn, DecodeSchema, Source};
use super::value::Value;
use crate::batch::{Records, Reject, type_name};
use crate::contract::{Decoded, Decoder};
use crate::error::{Error, Result};

/// Takes payloads apart.
pub(super) trait Reader: Send {
    /// Hands the attributes of one payload to `row`. Errors: what is wrong with the payload, for a person.
    fn read(&mut self, payload: &[u8], row: &mut Row<'_>) -> Result<(), String>;
}

/// A decoder that reads with what `reader` makes for the payload columns. Errors: `Invalid` if a column has a type that no payload
/// gives, or those of `reader`.
pub(super) fn open(
    schema: DecodeSchema,
    format: &str,
    reader: impl FnOnce(&DecodeSchema, &[FieldRef]) -> Result<Box<dyn Reader>>,
) -> Result<Box<dyn Decoder>> {
    let mut columns = Vec::new();
    let mut places = vec![None; schema.columns.len()];
    for (i, declared) in schema.columns.iter().enumerate().filter(|(_, c)| c.source == Source::Payload) {
        places[i] = Some(columns.len());
        columns.push(Column::new(declared, format, schema.projection.contains(&i), schema.identity == Some(i))?);
    }
    let fields: Vec<FieldRef> = columns.iter().map(|c| c.field.clone()).collect();
    let reader = reader(&schema, &fields)?;
    let names = fields.iter().enumerate().map(|(i, f)| (f.name().clone(), i)).collect();
    let output = schema.output();
    Ok(Box::new(RowDecoder { schema, output, columns, places, names, reader, kept: Vec::new(), record: 0 }))
}

struct RowDecoder {
    schema: DecodeSchema,
    output: SchemaRef,
    /// Payload columns.
    columns: Vec<Column>,
    /// Index into `columns` of each declared column.
    places: Vec<Option<usize>>,
    names: HashMap<String, usize, RandomState>,
    reader: Box<dyn Reader>,
    /// Entries of the good records.
    kept: Vec<u32>,
    /// Number of the current record, from 1.
    record: u64,
}

impl Decoder for RowDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        self.kept.clear();
        self.columns.iter_mut().for_each(|c| c.builder.truncate(0));
        let mut rejects = Vec::new();
        for (index, entry) in (0_u32..).zip(&records.entries) {
            self.record += 1;
            let (columns, names) = (&mut self.columns, &self.names);
            let mut row = Row { columns, names, record: self.record, row: self.kept.len(), device: records.text(&entry.device) };
            let read = self.reader.read(records.slice(&entry.payload), &mut row).and_then(|()| row.finish());
            match read {
                Ok(()) => self.kept.push(index),
                Err(reason) => rejects.push(Reject { offset: entry.offset, reason }),
            }
        }
        let (columns, places, rows) = (&mut self.columns, &self.places, self.kept.len());
        assemble(&self.schema, &self.output, records, &self.kept, rejects, |i| -> Result<ArrayRef> {
            let place = places[i].ok_or_else(|| Error::internal(format!("column {i} is not in the payload")))?;
            columns[place].builder.finish(rows)
        })
    }
}

/// A payload column.
struct Column {
    field: FieldRef,
    /// Whether it names the device.
    identity: bool,
    wanted: bool,
    /// One value for each good record; of a column that is not wanted, at most the last.
    builder: Builder,
    /// Number of the last record that had the attribute.
    seen_in: u64,
}

impl Column {
    fn new(declared: &DecodeColumn, format: &str, wanted: bool, identity: bool) -> Result<Self> {
        let (field, unit) = (declared.field.clone(), declared.time_unit);
        let builder = Builder::new(field.data_type(), unit).ok_or_else(|| {
            let message = format!("column {}: format {format} cannot give {}", field.name(), type_name(field.data_type()));
            Error::invalid(message).hint("declare it as STRING and convert it in the query")
        })?;
        Ok(Self { field, identity, wanted, builder, seen_in: 0 })
    }
}

/// The record that is being read.
pub(super) struct Row<'r> {
    columns: &'r mut [Column],
    names: &'r HashMap<String, usize, RandomState>,
    record: u64,
    row: usize,
    device: &'r str,
}

impl Row<'_> {
    /// The payload column of this name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Puts a value into a payload column. Errors: the reason to reject the record.
    pub(super) fn put(&mut self, place: usize, value: &Value<'_>) -> Result<(), String> {
        let (device, record) = (self.device, self.record);
        let Some(column) = self.columns.get_mut(place) else { return Ok(()) };
        column.seen_in = record;
        column.builder.truncate(if column.wanted { self.row } else { 0 });
        if *value == Value::Null {
            return put_null(column, device);
        }
        let name = column.field.name();
        if column.identity && value.to_text().as_deref() != Some(device) {
            return Err(format!("attribute {name} says {} but the record came from device {device:?}", value.shown()));
        }
        column.builder.append(value).map_err(|misfit| misfit.reason(name))
    }

    /// The columns that the payload had no attribute for.
    fn finish(&mut self) -> Result<(), String> {
        for column in self.columns.iter_mut().filter(|c| c.seen_in != self.record) {
            column.builder.truncate(if column.wanted { self.row } else { 0 });
            put_null(column, self.device)?;
        }
        Ok(())
    }
}

fn put_null(column: &mut Column, device: &str) -> Result<(), String> {
    let name = column.field.name();
    if column.identity {
        return Err(format!("attribute {name} is missing: the record came from device {device}"));
    }
    if !column.field.is_nullable() {
        return Err(format!("column {name}: declared NOT NULL, but missing or null"));
    }
    column.builder.append_null();
    Ok(())
}

#[cfg(test)]
mod tests;
