//! Columns of a protobuf message, in the order of the numbers of its fields. Invariant: a column takes every value of its field; a field that
//! contains itself is named.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{TIMESTAMP, described, is_wrapper};
use crate::decode::columns::{Room, list, map, refused, row};
use crate::error::Result;

/// Names and types of the fields. Errors: `Invalid` if the options describe no message, or it contains itself.
pub(super) fn columns(options: &BTreeMap<String, String>) -> Result<Vec<(String, DataType)>> {
    let message = described(options)?;
    let mut types = Types { inside: vec![message.full_name().to_owned()], room: Room::new() };
    let option = if options.contains_key("protobuf.schema") { "protobuf.schema" } else { "protobuf.descriptor" };
    types.fields(&message).map_err(|what| refused(option, &what))
}

struct Types {
    /// Messages around the field.
    inside: Vec<String>,
    room: Room,
}

impl Types {
    fn fields(&mut self, message: &MessageDescriptor) -> Result<Vec<(String, DataType)>, String> {
        message.fields().map(|field| Ok((field.name().to_owned(), self.field(&field)?))).collect()
    }

    fn field(&mut self, field: &FieldDescriptor) -> Result<DataType, String> {
        let kind = field.kind();
        if field.is_map()
            && let Kind::Message(entry) = &kind
        {
            return Ok(map(self.value(field.name(), &entry.map_entry_value_field().kind())?));
        }
        let value = self.value(field.name(), &kind)?;
        Ok(if field.is_list() { list(value) } else { value })
    }

    fn value(&mut self, name: &str, kind: &Kind) -> Result<DataType, String> {
        self.room.take()?;
        Ok(match kind {
            Kind::Double => DataType::Float64,
            Kind::Float => DataType::Float32,
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => DataType::Int32,
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint32 | Kind::Fixed32 => DataType::Int64,
            Kind::Uint64 | Kind::Fixed64 => DataType::Decimal128(20, 0),
            Kind::Bool => DataType::Boolean,
            Kind::String | Kind::Enum(_) => DataType::Utf8View,
            Kind::Bytes => DataType::Binary,
            Kind::Message(message) => return self.message(name, message),
        })
    }

    fn message(&mut self, name: &str, message: &MessageDescriptor) -> Result<DataType, String> {
        let full_name = message.full_name();
        if full_name == TIMESTAMP {
            return Ok(crate::time::timestamp_type());
        }
        if is_wrapper(full_name)
            && let Some(wrapped) = message.get_field_by_name("value")
        {
            return self.value(name, &wrapped.kind());
        }
        if self.inside.iter().any(|around| around == full_name) {
            return Err(format!("field {name} contains itself"));
        }
        self.inside.push(full_name.to_owned());
        let fields = self.fields(message)?;
        self.inside.pop();
        row(name, fields)
    }
}
