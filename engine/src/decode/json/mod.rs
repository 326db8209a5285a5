//! The format `json`: one object a record. Invariant: a payload is scanned exactly once, from its first byte to its last, and
//! either all of it was valid and fits the declared columns, or the record is rejected.
//!
//! ```text
//! decoder    records ─► attributes, by the order in which the record before had them ─► columns
//! scan       bytes of one payload: white space, strings, skipping        string   escapes
//! number     numbers without copying                                     timestamp  times
//! column     a value against its declared type, into its slot            fault    why not
//! value      any value, for types without a fast path
//! ```

mod column;
mod decoder;
mod fault;
pub(super) mod number;
mod scan;
mod string;
mod timestamp;
mod value;

#[cfg(test)]
mod tests;

use super::Format;

/// The format.
pub(super) static FORMAT: Format = Format {
    name: "json",
    about: "One JSON object a record; attributes are taken by the columns' names.",
    options: &[],
    open: decoder::open,
    attributes: Some(value::attributes),
    columns: None,
};
