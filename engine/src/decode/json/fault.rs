//! What can be wrong with a record. Invariant: a fault is small and borrows nothing; it becomes words only when the record is
//! rejected, and the words are of bounded length.

use super::column::Column;
use crate::batch::type_name;

/// Characters of the payload that a reason quotes at most.
const QUOTED_CHARS_MAX: usize = 40;

/// Why a record is rejected. Positions are bytes of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON.
    Broken { at: u32, expected: Syntax },
    /// Not UTF-8.
    Utf8 { at: u32 },
    /// Nested too deeply.
    Deep { at: u32 },
    /// A value that does not fit the column's type.
    Type { column: u32, start: u32, end: u32 },
    /// A value that does not fit the column's type; the column knows more.
    Misfit { column: u32 },
    /// A NOT NULL column without a value.
    Missing { column: u32 },
    /// The device's id is not in the record.
    NoDevice { column: u32 },
    /// The record names another device than the one that sent it.
    OtherDevice { column: u32, start: u32, end: u32 },
}

/// What the scanner expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Object,
    Key,
    Colon,
    Value,
    StringEnd,
    Escape,
    Digit,
    NoZero,
    MemberEnd,
    ItemEnd,
    End,
}

impl Syntax {
    fn words(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Key => "an attribute name in quotes",
            Self::Colon => "':'",
            Self::Value => "a value",
            Self::StringEnd => "the end of a string",
            Self::Escape => "a valid escape",
            Self::Digit => "a digit",
            Self::NoZero => "a number without leading zeros",
            Self::MemberEnd => "',' or '}'",
            Self::ItemEnd => "',' or ']'",
            Self::End => "the end of the payload",
        }
    }
}

impl Fault {
    /// The reason in words.
    #[cold]
    pub(super) fn describe(self, columns: &[Column], payload: &[u8], device: &str) -> String {
        let name = |column: u32| columns[column as usize].name();
        match self {
            Self::Broken { .. } if payload.is_empty() => "payload is empty".to_owned(),
            Self::Broken { at, expected } => {
                let found = payload.get(at as usize..).and_then(|rest| quote(rest, 1));
                let found = found.map_or_else(|| "the end".to_owned(), |c| format!("'{c}'"));
                format!("broken JSON at byte {at}: expected {}, found {found}", expected.words())
            }
            Self::Utf8 { at } => format!("payload is not UTF-8 at byte {at}"),
            Self::Deep { at } => format!("JSON is nested deeper than {} at byte {at}", crate::limits::JSON_DEPTH_MAX),
            Self::Type { column, start, end } => {
                let wanted = type_name(columns[column as usize].data_type());
                format!("column {}: expected {wanted}, found {}", name(column), found(payload, start, end))
            }
            Self::Misfit { column } => {
                columns[column as usize].misfit().map_or_else(String::new, |misfit| misfit.reason(columns[column as usize].name()))
            }
            Self::Missing { column } => format!("column {}: declared NOT NULL, but missing or null", name(column)),
            Self::NoDevice { column } => format!("attribute {} is missing: the record came from device {device}", name(column)),
            Self::OtherDevice { column, start, end } => {
                format!("attribute {} says {} but the record came from device {device:?}", name(column), found(payload, start, end))
            }
        }
    }
}

fn found(payload: &[u8], start: u32, end: u32) -> String {
    quote(&payload[start as usize..end as usize], QUOTED_CHARS_MAX).unwrap_or_default()
}

/// The first characters, printable, with `…` if there are more; none if there are no bytes.
fn quote(bytes: &[u8], chars_max: usize) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(chars_max * 4 + 4)]);
    text.chars().next()?;
    let mut quoted: String = text.chars().take(chars_max).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if chars_max > 1 && text.chars().count() > chars_max {
        quoted.push('…');
    }
    Some(quoted)
}
