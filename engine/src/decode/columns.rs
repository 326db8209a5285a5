//! Types of columns as a schema makes them. Invariant: a type has no more fields than the bound says, whatever the schema repeats.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result};

/// Fields of a schema, those of nested ones counted each time that they appear.
const FIELDS_MAX: usize = 10_000;

/// Fields that there may still be.
pub(super) struct Room(usize);

impl Room {
    /// For one schema.
    pub(super) fn new() -> Self {
        Self(FIELDS_MAX)
    }

    /// Errors: there are too many.
    pub(super) fn take(&mut self) -> Result<(), String> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| format!("there are more than {FIELDS_MAX} fields"))?;
        Ok(())
    }
}

/// A list of values.
pub(super) fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// Values by name.
pub(super) fn map(value: DataType) -> DataType {
    let pair = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", value, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false)
}

/// A row. Errors: it has no fields; `name` is where it stands.
pub(super) fn row(name: &str, fields: Vec<(String, DataType)>) -> Result<DataType, String> {
    if fields.is_empty() {
        return Err(format!("field {name} has no fields"));
    }
    Ok(DataType::Struct(fields.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect()))
}

/// What to say of a schema, in this option, that no columns can be made of.
pub(super) fn refused(option: &str, what: &str) -> Error {
    Error::invalid(format!("option '{option}': {what}")).hint("declare the columns that you need")
}
