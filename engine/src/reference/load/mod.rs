//! Files become rows. Invariant: a file is taken whole or not at all; an error names the place and the column.

mod cell;
mod csv;
mod json;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};

/// A format of reference files.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceFormat {
    /// `'format' = '<name>'`; also the suffix of kept versions.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Reads a file into the declared columns. Errors: `Invalid`, naming line and column.
    pub load: fn(&[u8], &SchemaRef) -> Result<RecordBatch>,
}

/// Every format, sorted by name.
pub static FORMATS: &[&ReferenceFormat] = &[&csv::FORMAT, &json::FORMAT];

/// The format called `name`. Errors: `Invalid`, with the known ones.
pub(super) fn format(name: &str) -> Result<&'static ReferenceFormat> {
    FORMATS.iter().find(|f| f.name == name).copied().ok_or_else(|| {
        let names: Vec<&str> = FORMATS.iter().map(|f| f.name).collect();
        Error::invalid(format!("format '{name}' is not known for reference tables")).hint(format!("known formats: {}", names.join(", ")))
    })
}

/// What stands before the text: the byte order mark that some spreadsheets write is no part of it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
