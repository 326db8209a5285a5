//! The format `protobuf`: one message of a known type. Invariant: the definition that the table declares alone says how the bytes are
//! read.
//!
//! A field that can be absent and is gives NULL; one that cannot (a plain field of proto3) has its default value, because the wire
//! does not tell the two apart. Enums are texts, `google.protobuf.Timestamp` is a time, wrappers are what they wrap.

mod columns;

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::datatypes::{DataType, FieldRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value as Item};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::Format;
use super::rows::{self, Reader, Row};
use super::schema::DecodeSchema;
use super::value::Value;
use crate::contract::connector::distance;
use crate::contract::{Decoder, OptionSpec};
use crate::error::{Error, Result};
use crate::time::SECOND;

/// The format.
pub(super) static FORMAT: Format = Format {
    name: "protobuf",
    about: "One protobuf message a record; fields are taken by the columns' names.",
    options: &[
        OptionSpec {
            name: "protobuf.descriptor",
            required: false,
            default: None,
            about: "instead of a schema: what protoc --include_imports --descriptor_set_out writes, in base64",
        },
        OptionSpec {
            name: "protobuf.message",
            required: false,
            default: None,
            about: "full name of the message; may be left out if the schema has one",
        },
        OptionSpec {
            name: "protobuf.schema",
            required: false,
            default: None,
            about: "text of a .proto file, which may import google/protobuf files only",
        },
    ],
    open,
    attributes: None,
    columns: Some(columns::columns),
};

/// The message that is a time.
const TIMESTAMP: &str = "google.protobuf.Timestamp";
/// Name under which the text of the schema is compiled.
const FILE: &str = "schema.proto";

fn open(schema: DecodeSchema) -> Result<Box<dyn Decoder>> {
    rows::open(schema, FORMAT.name, |schema, columns| {
        let message = described(&schema.options)?;
        let fields = columns.iter().map(|column| field(&message, column)).collect::<Result<_>>()?;
        Ok(Box::new(ProtobufReader { message, fields }))
    })
}

/// The message that the options describe. Errors: `Invalid` if they describe none, or several.
fn described(options: &BTreeMap<String, String>) -> Result<MessageDescriptor> {
    let option = |name: &str| options.get(name).map(String::as_str);
    match (option("protobuf.schema"), option("protobuf.descriptor")) {
        (Some(text), None) => message(compile(text)?, option("protobuf.message")),
        (None, Some(text)) => message(descriptor(text)?, option("protobuf.message")),
        _ => Err(Error::invalid("format protobuf needs one of 'protobuf.schema' and 'protobuf.descriptor'")
            .hint("add 'protobuf.schema' = '…' with the text of the .proto file")),
    }
}

struct ProtobufReader {
    message: MessageDescriptor,
    /// Field of each column.
    fields: Vec<FieldDescriptor>,
}

impl Reader for ProtobufReader {
    fn read(&mut self, payload: &[u8], row: &mut Row<'_>) -> Result<(), String> {
        let message = DynamicMessage::decode(self.message.clone(), payload).map_err(|e| format!("broken protobuf: {e}"))?;
        for (place, field) in self.fields.iter().enumerate() {
            row.put(place, &value_of(&message, field))?;
        }
        Ok(())
    }
}

/// Finds the schema in the table's option; the imports are Google's own.
struct Declared(File);

impl FileResolver for Declared {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == FILE { Ok(self.0.clone()) } else { Err(protox::Error::file_not_found(name)) }
    }
}

/// The definitions in a text, and the message types of the text itself.
fn compile(text: &str) -> Result<(DescriptorPool, Vec<MessageDescriptor>)> {
    let wrong = |e: protox::Error| Error::invalid(format!("option 'protobuf.schema': {e}")).hint("give the text of the .proto file");
    let mut files = ChainFileResolver::new();
    files.add(Declared(File::from_source(FILE, text).map_err(wrong)?));
    files.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.open_file(FILE).map_err(wrong)?;
    let pool = compiler.descriptor_pool();
    let own = pool.get_file_by_name(FILE).map(|file| file.messages().collect()).unwrap_or_default();
    Ok((pool, own))
}

/// The definitions in a descriptor set, and their message types but those of Google.
fn descriptor(text: &str) -> Result<(DescriptorPool, Vec<MessageDescriptor>)> {
    let wrong = |e: String| Error::invalid(format!("option 'protobuf.descriptor': {e}")).hint("give the descriptor set in base64");
    let bytes = STANDARD.decode(text.trim()).map_err(|e| wrong(e.to_string()))?;
    let pool = DescriptorPool::decode(bytes.as_slice()).map_err(|e| wrong(e.to_string()))?;
    let own = pool.files().filter(|f| !f.name().starts_with("google/protobuf/"));
    let own = own.flat_map(|file| file.messages().collect::<Vec<_>>()).collect();
    Ok((pool, own))
}

/// The message that the payloads are.
fn message((pool, own): (DescriptorPool, Vec<MessageDescriptor>), name: Option<&str>) -> Result<MessageDescriptor> {
    let names = || own.iter().map(MessageDescriptor::full_name).collect::<Vec<_>>().join(", ");
    match (name, own.as_slice()) {
        (Some(name), _) => pool.get_message_by_name(name).ok_or_else(|| {
            Error::invalid(format!("option 'protobuf.message': '{name}' is not in the schema")).hint(format!("it has: {}", names()))
        }),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Error::invalid("option 'protobuf.message' is missing").hint(format!("the schema has: {}", names()))),
    }
}

/// The field of a column. Errors: `Invalid` if there is none, or none for a field of a ROW in it.
fn field(message: &MessageDescriptor, column: &FieldRef) -> Result<FieldDescriptor> {
    let name = column.name();
    let absent = |path: &str, name: &str, message: &MessageDescriptor| {
        let error = Error::invalid(format!("column {path}: message {} has no such field", message.full_name()));
        let nearest = message.fields().min_by_key(|f| distance(f.name(), name));
        error.hint(nearest.map_or_else(|| "it has none".to_owned(), |f| format!("is it {}?", f.name())))
    };
    let found = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name));
    let found = found.ok_or_else(|| absent(name, name, message))?;
    match lacking(&found, column.data_type()) {
        Some((path, lacked, inside)) => Err(absent(&format!("{name}{path}"), &lacked, &inside)),
        None => Ok(found),
    }
}

/// A field of a ROW in `data_type` that no value of a field has: its path from there, its name, and the message that lacks it. A map may
/// have any.
fn lacking(field: &FieldDescriptor, data_type: &DataType) -> Option<(String, String, MessageDescriptor)> {
    let kind = field.kind();
    match (&kind, data_type) {
        (Kind::Message(entry), DataType::Map(entries, _)) if field.is_map() => match entries.data_type() {
            DataType::Struct(pair) => lacking(&entry.map_entry_value_field(), pair.get(1)?.data_type()),
            _ => None,
        },
        (Kind::Message(message), DataType::List(item)) if field.is_list() => lacking_in(message, item.data_type()),
        (Kind::Message(message), _) if !field.is_map() && !field.is_list() => lacking_in(message, data_type),
        _ => None,
    }
}

fn lacking_in(message: &MessageDescriptor, data_type: &DataType) -> Option<(String, String, MessageDescriptor)> {
    let DataType::Struct(wanted) = data_type else { return None };
    if message.full_name() == TIMESTAMP || is_wrapper(message.full_name()) {
        return None;
    }
    wanted.iter().find_map(|field| {
        let name = field.name();
        match message.get_field_by_name(name) {
            Some(known) => {
                let (path, lacked, inside) = lacking(&known, field.data_type())?;
                Some((format!(".{name}{path}"), lacked, inside))
            }
            None => Some((format!(".{name}"), name.clone(), message.clone())),
        }
    })
}

/// The value of a field; NULL if it can be absent and is.
fn value_of<'a>(message: &'a DynamicMessage, field: &FieldDescriptor) -> Value<'a> {
    if field.supports_presence() && !message.has_field(field) {
        return Value::Null;
    }
    let kind = field.kind();
    match message.get_field(field) {
        Cow::Borrowed(item) => value(item, &kind),
        // A default value: it borrows nothing.
        Cow::Owned(item) => owned(&item, &kind),
    }
}

fn value<'a>(item: &'a Item, kind: &Kind) -> Value<'a> {
    match (item, kind) {
        (Item::String(text), _) => Value::Text(Cow::Borrowed(text)),
        (Item::Bytes(bytes), _) => Value::Bytes(Cow::Borrowed(bytes)),
        (Item::Message(message), _) => of_message(message),
        (Item::List(items), _) => Value::list(items.iter().map(|item| value(item, kind)).collect()),
        (Item::Map(items), Kind::Message(entry)) => {
            let kind = entry.map_entry_value_field().kind();
            let mut sorted: Vec<_> = items.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            Value::map(sorted.into_iter().map(|(key, item)| (name(key), value(item, &kind))).collect())
        }
        _ => owned(item, kind),
    }
}

/// A value that borrows nothing: a scalar, or the default of anything.
fn owned(item: &Item, kind: &Kind) -> Value<'static> {
    match item {
        Item::Bool(value) => Value::Boolean(*value),
        Item::I32(value) => Value::Integer((*value).into()),
        Item::I64(value) => Value::Integer((*value).into()),
        Item::U32(value) => Value::Integer((*value).into()),
        Item::U64(value) => Value::Integer((*value).into()),
        Item::F32(value) => Value::Double((*value).into()),
        Item::F64(value) => Value::Double(*value),
        Item::EnumNumber(number) => match kind {
            Kind::Enum(kind) => match kind.get_value(*number) {
                Some(symbol) => Value::Text(Cow::Owned(symbol.name().to_owned())),
                None => Value::Integer((*number).into()),
            },
            _ => Value::Integer((*number).into()),
        },
        Item::String(text) => Value::Text(Cow::Owned(text.clone())),
        Item::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.to_vec())),
        Item::List(_) => Value::list(Vec::new()),
        Item::Map(_) | Item::Message(_) => Value::map(Vec::new()),
    }
}

fn of_message(message: &DynamicMessage) -> Value<'_> {
    let descriptor = message.descriptor();
    let number = |name: &str| match message.get_field_by_name(name).as_deref() {
        Some(Item::I64(n)) => Some(*n),
        Some(Item::I32(n)) => Some(i64::from(*n)),
        _ => None,
    };
    match descriptor.full_name() {
        TIMESTAMP => {
            let seconds = number("seconds").unwrap_or_default().saturating_mul(SECOND);
            Value::Timestamp(seconds.saturating_add(number("nanos").unwrap_or_default().div_euclid(1_000)))
        }
        name if is_wrapper(name) => descriptor.get_field_by_name("value").map_or(Value::Null, |field| value_of(message, &field)),
        _ => Value::map(descriptor.fields().map(|field| (Cow::Owned(field.name().to_owned()), value_of(message, &field))).collect()),
    }
}

/// Whether messages of this type only wrap a value, so that it can be absent.
fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "google.protobuf.BoolValue"
            | "google.protobuf.BytesValue"
            | "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int32Value"
            | "google.protobuf.Int64Value"
            | "google.protobuf.StringValue"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.UInt64Value"
    )
}

fn name(key: &MapKey) -> Cow<'_, str> {
    match key {
        MapKey::String(text) => Cow::Borrowed(text),
        MapKey::Bool(value) => Cow::Owned(value.to_string()),
        MapKey::I32(value) => Cow::Owned(value.to_string()),
        MapKey::I64(value) => Cow::Owned(value.to_string()),
        MapKey::U32(value) => Cow::Owned(value.to_string()),
        MapKey::U64(value) => Cow::Owned(value.to_string()),
    }
}

#[cfg(test)]
mod tests;
