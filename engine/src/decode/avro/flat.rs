//! Records straight into columns, field by field. Invariant: a record that is read here gives the row that `rows` would give; one that is
//! broken or does not fit is left to `rows`, which knows the words.
//!
//! ```text
//! record    device   ts   t   …          a field of the schema after the other
//! columns   [views]  [i64] [f64]         a value for each good record; what a bad one left is taken back
//! ```

use arrow::datatypes::SchemaRef;

use super::cursor::Cursor;
use super::field::{Current, Field};
use super::schema::Nodes;
use super::wire::Wire;
use crate::batch::{Entry, Records};
use crate::contract::{Decoded, Decoder};
use crate::decode::assemble::assemble;
use crate::decode::schema::{DecodeSchema, Source};
use crate::error::{Error, Result};

/// A decoder of good records.
pub(super) struct FlatDecoder {
    schema: DecodeSchema,
    output: SchemaRef,
    nodes: Nodes,
    /// Of the schema of the records.
    fingerprint: Vec<u8>,
    fields: Vec<Field>,
    /// Index into `fields` of each declared column.
    places: Vec<Option<usize>>,
    /// How many values of a record are read without `Wire`.
    plain: usize,
    /// Reads what is left to it.
    rows: Box<dyn Decoder>,
    /// Entries of the good records.
    kept: Vec<u32>,
}

impl FlatDecoder {
    /// `columns` has the payload column of each field of `nodes`, counted among those. Gives `rows` back if the device's name is no text, or
    /// two columns have one name.
    pub(super) fn open(
        schema: DecodeSchema,
        nodes: Nodes,
        columns: &[Option<usize>],
        fingerprint: Vec<u8>,
        rows: Box<dyn Decoder>,
    ) -> Box<dyn Decoder> {
        let payload: Vec<usize> = (0..schema.columns.len()).filter(|&i| schema.columns[i].source == Source::Payload).collect();
        let mut places = vec![None; schema.columns.len()];
        let mut fields = Vec::new();
        for ((_, id), column) in nodes.fields().iter().zip(columns) {
            let column = column.map(|i| payload[i]);
            if let Some(column) = column {
                places[column] = Some(fields.len());
            }
            let Some(field) = Field::new(&nodes, *id, &schema, column) else { return rows };
            fields.push(field);
        }
        if payload.iter().any(|&i| places[i].is_none()) {
            return rows;
        }
        let (output, plain) = (schema.output(), fields.iter().map(Field::plain_values).sum());
        Box::new(Self { schema, output, nodes, fingerprint, fields, places, plain, rows, kept: Vec::new() })
    }

    /// Reads a payload into the row `row`; none if it cannot.
    #[inline]
    fn read(&mut self, records: &Records, entry: &Entry, row: usize) -> Option<()> {
        let (body, foreign) = super::body(records.slice(&entry.payload), &self.fingerprint);
        if foreign {
            return None;
        }
        let current = Current { row, end: entry.payload.end, device: records.slice(&entry.device) };
        let (mut at, mut wire) = (Cursor::new(body), Wire::new(&self.nodes, body, self.plain));
        for field in &mut self.fields {
            field.read(&mut at, &mut wire, &current)?;
        }
        (at.left() == 0).then_some(())
    }
}

impl Decoder for FlatDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        self.fields.iter_mut().for_each(|f| f.begin(records.entries.len()));
        let mut failed = Vec::new();
        for (index, entry) in (0_u32..).zip(&records.entries) {
            let row = kept.len();
            if self.read(records, entry, row).is_some() {
                kept.push(index);
            } else {
                self.fields.iter_mut().for_each(|f| f.truncate(row));
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
        let (fields, places, columns) = (&mut self.fields, &self.places, &self.schema.columns);
        let decoded = assemble(&self.schema, &self.output, records, &kept, rejects, |i| {
            let place = places[i].ok_or_else(|| Error::internal(format!("column {i} is not in the payload")))?;
            fields[place].finish(columns[i].field.data_type(), kept.len(), &records.bytes)
        });
        self.kept = kept;
        decoded
    }
}

#[cfg(test)]
mod tests;
