//! Payloads become columns. Invariant: decoding is total: every record is in the rows or in the rejects, exactly once and in
//! order, and which of the two does not depend on the columns that are wanted.
//!
//! ```text
//! Records ──► format: payload columns, row by row ──► assemble: + metadata columns ──► Decoded
//!                └─► rejects with a reason
//!
//! json, avro    columns of their own for flat values; Builders for what is nested
//! the others    Value by Value through `rows` into Builders          raw    nothing to decode
//! ```

mod assemble;
mod avro;
mod builder;
mod cbor;
mod columns;
mod csv;
mod infer;
mod json;
mod protobuf;
mod raw;
mod rows;
mod schema;
#[cfg(test)]
mod testing;
mod value;

pub use infer::{Inferred, declared, infer};
pub use schema::{DecodeColumn, DecodeSchema, Source};

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::datatypes::DataType;

use crate::contract::connector::distance;
use crate::contract::{Decoder, OptionSpec};
use crate::error::{Error, Result};

/// Letters by which a misspelt option may differ from the one that is suggested.
const OPTION_DISTANCE_MAX: usize = 6;

/// Attributes of a payload in order.
type Attributes<'a> = Vec<(Cow<'a, str>, value::Value<'a>)>;

/// Gives the attributes of a payload, or what is wrong with it; the map holds options of the format.
type ReadAttributes = for<'a> fn(&BTreeMap<String, String>, &'a [u8]) -> Result<Attributes<'a>, String>;

/// Names and types of columns by the schema that options of the format hold.
type ReadColumns = fn(&BTreeMap<String, String>) -> Result<Vec<(String, DataType)>>;

/// A format of payloads.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// `'format' = '<name>'`.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Options that it takes in `WITH (…)`, sorted by name; each begins with the name of the format.
    pub options: &'static [OptionSpec],
    /// Makes a decoder. Errors: `Invalid` if a column cannot be decoded from this format.
    pub open: fn(DecodeSchema) -> Result<Box<dyn Decoder>>,
    /// Takes a payload apart without knowing its columns, if that can be done.
    attributes: Option<ReadAttributes>,
    /// Reads the columns out of its schema, if it has one.
    columns: Option<ReadColumns>,
}

/// Every format, sorted by name.
pub static FORMATS: &[&Format] = &[&avro::FORMAT, &cbor::FORMAT, &csv::FORMAT, &json::FORMAT, &protobuf::FORMAT, &raw::FORMAT];

/// A decoder for a table declared with `format`. Errors: `Invalid` if the format is not known or does not fit the columns.
pub fn open(format: &str, schema: DecodeSchema) -> Result<Box<dyn Decoder>> {
    schema.check()?;
    let known = find(format)?;
    if let Some(other) = schema.options.keys().find(|key| !known.options.iter().any(|o| o.name == key.as_str())) {
        let names = known.options.iter().map(|o| o.name);
        let nearest = names.clone().min_by_key(|name| distance(name, other)).filter(|name| distance(name, other) <= OPTION_DISTANCE_MAX);
        let hint = match nearest {
            Some(name) => format!("did you mean '{name}'?"),
            None => format!("its options: {}", names.collect::<Vec<_>>().join(", ")),
        };
        return Err(Error::invalid(format!("option '{other}' is not known to format {format}")).hint(hint));
    }
    (known.open)(schema)
}

/// The format called `name`. Errors: `Invalid`, with the known ones.
pub fn find(name: &str) -> Result<&'static Format> {
    FORMATS.iter().find(|f| f.name == name).copied().ok_or_else(|| {
        let names: Vec<&str> = FORMATS.iter().map(|f| f.name).collect();
        Error::invalid(format!("format '{name}' is not known")).hint(format!("known formats: {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_sorted_and_an_unknown_one_is_refused_with_the_list() {
        assert!(FORMATS.is_sorted_by_key(|f| f.name));
        for format in FORMATS {
            assert!(format.options.is_sorted_by_key(|o| o.name));
            assert!(format.options.iter().all(|o| o.name.starts_with(&format!("{}.", format.name))));
        }
        let schema = DecodeSchema { columns: Vec::new(), projection: Vec::new(), identity: None, options: Default::default() };
        let error = open("yaml", schema).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("format 'yaml' is not known (hint: known formats: avro, cbor, csv, json, protobuf, raw)"));
    }
}
