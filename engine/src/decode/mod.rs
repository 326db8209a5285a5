//! Payloads become columns. Invariant: decoding is total: every record is in the rows or in the rejects, exactly once and in
//! order, and which of the two does not depend on the columns that are wanted.
//!
//! ```text
//! Records ──► format (json, raw): payload columns, row by row ──► assemble: + metadata columns ──► Decoded
//!                    └─► rejects with a reason
//! ```

mod assemble;
mod json;
mod raw;
mod schema;
#[cfg(test)]
mod testing;

pub use schema::{DecodeColumn, DecodeSchema, Source};

use crate::contract::Decoder;
use crate::error::{Error, Result};

/// A format of payloads.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// `'format' = '<name>'`.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Makes a decoder. Errors: `Invalid` if a column cannot be decoded from this format.
    pub open: fn(DecodeSchema) -> Result<Box<dyn Decoder>>,
}

/// Every format, sorted by name.
pub static FORMATS: &[&Format] = &[&json::FORMAT, &raw::FORMAT];

/// Names of every format, sorted.
pub static FORMAT_NAMES: &[&str] = &[json::FORMAT.name, raw::FORMAT.name];

/// A decoder for a table declared with `format`. Errors: `Invalid` if the format is not known or does not fit the columns.
pub fn open(format: &str, schema: DecodeSchema) -> Result<Box<dyn Decoder>> {
    schema.check()?;
    let Some(known) = FORMATS.iter().find(|f| f.name == format) else {
        let names: Vec<&str> = FORMATS.iter().map(|f| f.name).collect();
        return Err(Error::invalid(format!("format '{format}' is not known")).hint(format!("known formats: {}", names.join(", "))));
    };
    (known.open)(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_sorted_and_an_unknown_one_is_refused_with_the_list() {
        assert!(FORMATS.is_sorted_by_key(|f| f.name));
        assert!(FORMATS.iter().map(|f| f.name).eq(FORMAT_NAMES.iter().copied()));
        let schema = DecodeSchema { columns: Vec::new(), projection: Vec::new(), identity: None };
        let error = open("yaml", schema).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("format 'yaml' is not known (hint: known formats: json, raw)"));
    }
}
