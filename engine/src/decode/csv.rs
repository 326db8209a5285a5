//! The format `csv`: one line a record, cells by position. Invariant: a line is taken as RFC 4180 writes it, without a header, or
//! rejected; a cell that is not there is NULL, one that nobody declared is ignored.
//!
//! ```text
//! pump-1;21.5;;"a ""b"""        cells: pump-1 | 21.5 | NULL | a "b"
//! ```
//!
//! Only a cell without quotes can be the text that stands for NULL, so that `""` is an empty text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::rows::{self, Reader, Row};
use super::schema::DecodeSchema;
use super::value::Value;
use super::{Attributes, Format};
use crate::contract::{Decoder, OptionSpec};
use crate::error::{Error, Result};

/// The format.
pub(super) static FORMAT: Format = Format {
    name: "csv",
    about: "One line of separated cells a record, without a header; cells are taken by the position of the columns.",
    options: &[
        OptionSpec {
            name: "csv.field-delimiter",
            required: false,
            default: Some(","),
            about: "one character between two cells; \\t is a tab",
        },
        OptionSpec {
            name: "csv.null-literal",
            required: false,
            default: None,
            about: "a cell without quotes that holds this text is NULL; without the option, an empty one",
        },
        OptionSpec {
            name: "csv.quote-character",
            required: false,
            default: Some("\""),
            about: "one character around cells that may hold anything; written twice inside of them",
        },
    ],
    open,
    attributes: Some(attributes),
    columns: None,
};

fn open(schema: DecodeSchema) -> Result<Box<dyn Decoder>> {
    rows::open(schema, FORMAT.name, |schema, fields| {
        Ok(Box::new(CsvReader { dialect: Dialect::new(&schema.options)?, columns: fields.len() }))
    })
}

/// Cells under the names c1, c2, …
fn attributes<'a>(options: &BTreeMap<String, String>, payload: &'a [u8]) -> Result<Attributes<'a>, String> {
    let dialect = Dialect::new(options).map_err(|e| e.to_string())?;
    let mut attributes = Vec::new();
    dialect.cells(payload, |i, cell| {
        attributes.push((Cow::Owned(format!("c{}", i + 1)), cell));
        Ok(())
    })?;
    Ok(attributes)
}

struct CsvReader {
    dialect: Dialect,
    columns: usize,
}

impl Reader for CsvReader {
    fn read(&mut self, payload: &[u8], row: &mut Row<'_>) -> Result<(), String> {
        let columns = self.columns;
        self.dialect.cells(payload, |i, cell| if i < columns { row.put(i, &cell) } else { Ok(()) })
    }
}

struct Dialect {
    delimiter: char,
    quote: char,
    null: String,
}

impl Dialect {
    /// Errors: `Invalid` if an option is not one character, or both are the same.
    fn new(options: &BTreeMap<String, String>) -> Result<Self> {
        let delimiter = character(options, "csv.field-delimiter", ',')?;
        let quote = character(options, "csv.quote-character", '"')?;
        if delimiter == quote {
            return Err(Error::invalid(format!("option 'csv.quote-character': {quote:?} is the delimiter")).hint("choose two characters"));
        }
        Ok(Self { delimiter, quote, null: options.get("csv.null-literal").cloned().unwrap_or_default() })
    }

    /// Hands out the cells of a line with their positions.
    fn cells<'a>(&self, payload: &'a [u8], mut take: impl FnMut(usize, Value<'a>) -> Result<(), String>) -> Result<(), String> {
        if payload.is_empty() {
            return Err("payload is empty".to_owned());
        }
        let text = std::str::from_utf8(payload).map_err(|e| format!("payload is not UTF-8 at byte {}", e.valid_up_to()))?;
        let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        // Some writers begin UTF-8 with the mark of a byte order.
        let mut rest = line.strip_prefix('\u{feff}').unwrap_or(line);
        for position in 0.. {
            let quoted = rest.strip_prefix(self.quote).map(|inside| self.quoted(inside));
            let (cell, behind) = match quoted {
                Some(cell) => cell.ok_or_else(|| format!("broken CSV at byte {}: the quote is not closed", line.len() - rest.len()))?,
                None => self.plain(rest),
            };
            take(position, cell)?;
            match behind.strip_prefix(self.delimiter) {
                Some(next) => rest = next,
                None if behind.is_empty() => break,
                None if behind.starts_with(['\r', '\n']) => return Err("broken CSV: a record is one line, and there are more".to_owned()),
                None => {
                    let found: String = behind.chars().take(1).collect();
                    let at = line.len() - behind.len();
                    return Err(format!(
                        "broken CSV at byte {at}: expected {:?} or the end after a quote, found {found:?}",
                        self.delimiter
                    ));
                }
            }
        }
        Ok(())
    }

    /// A cell without quotes, and what follows it.
    fn plain<'a>(&self, rest: &'a str) -> (Value<'a>, &'a str) {
        let (cell, behind) = rest.split_at(rest.find([self.delimiter, '\r', '\n']).unwrap_or(rest.len()));
        (if cell == self.null { Value::Null } else { Value::Cell(Cow::Borrowed(cell)) }, behind)
    }

    /// The cell whose opening quote was just passed, and what follows it; none if it does not end.
    fn quoted<'a>(&self, inside: &'a str) -> Option<(Value<'a>, &'a str)> {
        let (mut cell, mut rest) = (Cow::Borrowed(""), inside);
        loop {
            let (piece, behind) = rest.split_once(self.quote)?;
            let Some(more) = behind.strip_prefix(self.quote) else {
                let cell = if cell.is_empty() { Cow::Borrowed(piece) } else { cell + piece };
                return Some((Value::Cell(cell), behind));
            };
            let text = cell.to_mut();
            text.push_str(piece);
            text.push(self.quote);
            rest = more;
        }
    }
}

fn character(options: &BTreeMap<String, String>, key: &str, default: char) -> Result<char> {
    let Some(text) = options.get(key) else { return Ok(default) };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(c), None) if !matches!(c, '\r' | '\n') => Ok(c),
        _ if text == "\\t" => Ok('\t'),
        _ => Err(Error::invalid(format!("option '{key}': {text:?} is not one character")).hint("write one character, or \\t for a tab")),
    }
}

#[cfg(test)]
mod tests;
