//! What a decoder is asked for. Invariant: a schema that passed `check` names only columns that exist, and metadata columns
//! have the one type that the log can give.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};

use crate::batch::type_name;
use crate::error::{Error, Result};
use crate::time::Micros;

/// Where a column's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The attribute of the payload with the column's name.
    Payload,
    /// The authenticated device.
    DeviceId,
    /// The topic that it was published to.
    Topic,
    /// When the log received the record.
    ReceivedAt,
    /// The partition of the log.
    Partition,
    /// The offset in the partition.
    Offset,
}

/// A declared column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeColumn {
    /// Name, type, and whether it may be NULL. STRING is `Utf8View`, BYTES `Binary`, TIMESTAMP `time::timestamp_type()`, TIME
    /// `Time64(Microsecond)`, DECIMAL `Decimal128`; what is nested may be NULL.
    pub field: FieldRef,
    /// Where its value comes from.
    pub source: Source,
    /// For times, nested ones included: the unit that values are cut down to, in microseconds.
    pub time_unit: Micros,
}

/// Declared columns, and which of them are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeSchema {
    /// Every declared column: a record is checked against all of them.
    pub columns: Vec<DecodeColumn>,
    /// Columns to hand out, indexes into `columns`, in the order of the result.
    pub projection: Vec<usize>,
    /// Payload column that must equal the record's authenticated device.
    pub identity: Option<usize>,
    /// Options of the format, as declared: keys of `Format::options`.
    pub options: BTreeMap<String, String>,
}

impl DecodeSchema {
    /// Schema of the decoded rows.
    pub fn output(&self) -> SchemaRef {
        Arc::new(Schema::new(self.projection.iter().map(|&i| self.columns[i].field.clone()).collect::<Vec<_>>()))
    }

    /// Errors: `Invalid` if an index names no column or is wanted twice, or a column has a type that its source cannot give.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(i) = self.projection.iter().chain(&self.identity).find(|&&i| i >= self.columns.len()) {
            return Err(Error::invalid(format!("column {i} is wanted, but there are {}", self.columns.len())));
        }
        if let Some(i) = (1..self.projection.len()).find(|&i| self.projection[..i].contains(&self.projection[i])) {
            return Err(Error::invalid(format!("column {} is wanted twice", self.projection[i])));
        }
        for column in &self.columns {
            let wanted = match column.source {
                Source::Payload => continue,
                Source::DeviceId | Source::Topic => DataType::Utf8View,
                Source::ReceivedAt => crate::time::timestamp_type(),
                Source::Partition | Source::Offset => DataType::Int64,
            };
            if *column.field.data_type() != wanted {
                let (name, found) = (column.field.name(), type_name(column.field.data_type()));
                return Err(Error::invalid(format!("metadata column {name} is {}, not {found}", type_name(&wanted))));
            }
        }
        let identity = self.identity.map(|i| &self.columns[i]);
        if let Some(c) = identity.filter(|c| c.source != Source::Payload || *c.field.data_type() != DataType::Utf8View) {
            let message = format!("column {} holds the device's id: it must be a STRING of the payload", c.field.name());
            return Err(Error::invalid(message).hint("declare it as STRING, or give the column another name"));
        }
        Ok(())
    }
}
