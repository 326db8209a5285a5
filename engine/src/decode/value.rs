//! A value as a format found it, before it is anything in SQL. Invariant: a conversion gives the value exactly or correctly
//! rounded, or none at all; what a value may become is the same whatever the format.
//!
//! ```text
//! JSON 21.5    Number ─┐                       numbers also out of quotes, STRING out of numbers and truth values,
//! CSV  21.5    Cell   ─┼─► DOUBLE, DECIMAL, …   times out of ISO texts or milliseconds, BYTES out of base64
//! CBOR 21.5    Double ─┘
//! ```

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::GeneralPurposeConfig;
use base64::engine::{DecodePaddingMode, GeneralPurpose};

use super::json::number;
use crate::decimal;
use crate::time::{self, DAY, MILLISECOND, Micros};

/// Characters of a value that a reason quotes at most.
const QUOTED_CHARS_MAX: usize = 40;
/// Times of every format lie in this range.
pub(super) const TIME_RANGE: Range<Micros> = number::TIME_RANGE;
/// The standard alphabet; the padding may be left out.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A value of a payload.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// No value.
    Null,
    Boolean(bool),
    Integer(i128),
    Double(f64),
    /// A JSON number as it was written.
    Number(&'a str),
    Text(Cow<'a, str>),
    /// A text of a format that has no other values.
    Cell(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// `unscaled × 10^-scale`.
    Decimal {
        unscaled: i128,
        scale: u32,
    },
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(Micros),
    /// Microseconds since the epoch.
    Timestamp(Micros),
    /// `source` is its text in a format of texts, else empty.
    List {
        items: Vec<Value<'a>>,
        source: &'a str,
    },
    /// Names may repeat: the last one counts.
    Map {
        members: Vec<(Cow<'a, str>, Value<'a>)>,
        source: &'a str,
    },
}

impl<'a> Value<'a> {
    /// A list of a format that is no text.
    pub(super) fn list(items: Vec<Value<'a>>) -> Self {
        Self::List { items, source: "" }
    }

    /// A map of a format that is no text.
    pub(super) fn map(members: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        Self::Map { members, source: "" }
    }

    /// As BOOLEAN.
    pub(super) fn to_boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Cell(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Cell(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// As a whole number.
    pub(super) fn to_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => i64::try_from(*value).ok(),
            // Beyond 2^63 the text has no point either, and does not fit.
            Self::Double(value) if value.fract() == 0.0 => format!("{value}").parse().ok(),
            Self::Decimal { unscaled, scale } => {
                let power = 10_i128.checked_pow(*scale)?;
                (unscaled % power == 0).then(|| i64::try_from(unscaled / power).ok())?
            }
            _ => number::parse(self.digits()?.as_bytes())?.to_i64(),
        }
    }

    /// As the nearest double; none if it is not finite.
    pub(super) fn to_double(&self) -> Option<f64> {
        let value = match self {
            Self::Integer(value) => *value as f64,
            Self::Double(value) => *value,
            Self::Decimal { unscaled, scale } => decimal::text(*unscaled, *scale).parse().ok()?,
            _ => {
                let text = self.digits()?;
                number::parse(text.as_bytes())?.to_f64(text.as_bytes())?
            }
        };
        Some(value).filter(|v| v.is_finite())
    }

    /// As the nearest float; none if it is not finite.
    pub(super) fn to_float(&self) -> Option<f32> {
        let value = match self {
            Self::Integer(value) => *value as f32,
            Self::Double(value) => *value as f32,
            Self::Decimal { unscaled, scale } => decimal::text(*unscaled, *scale).parse().ok()?,
            _ => {
                let text = self.digits()?;
                number::parse(text.as_bytes())?.to_f32(text.as_bytes())?
            }
        };
        Some(value).filter(|v| v.is_finite())
    }

    /// As `DECIMAL(precision, scale)`: the number without its point. Half a unit of the last digit is rounded away from zero.
    pub(super) fn to_decimal(&self, precision: u8, scale: u32) -> Option<i128> {
        match self {
            Self::Integer(value) => decimal::rescale(*value, 0, precision, scale),
            Self::Decimal { unscaled, scale: from } => decimal::rescale(*unscaled, *from, precision, scale),
            Self::Double(value) if value.is_finite() => decimal::parse(format!("{value}").as_bytes(), precision, scale),
            _ => decimal::parse(self.digits()?.as_bytes(), precision, scale),
        }
    }

    /// As DATE.
    pub(super) fn to_date(&self) -> Option<i32> {
        match self {
            Self::Text(text) | Self::Cell(text) => time::parse_date(text.as_bytes()),
            Self::Date(days) => Some(*days).filter(|d| TIME_RANGE.contains(&i64::from(*d).saturating_mul(DAY))),
            _ => None,
        }
    }

    /// As a time of day.
    pub(super) fn to_time(&self) -> Option<Micros> {
        match self {
            Self::Text(text) | Self::Cell(text) => time::parse_time_of_day(text.as_bytes()),
            Self::Time(time) => Some(*time).filter(|t| (0..DAY).contains(t)),
            _ => None,
        }
    }

    /// As TIMESTAMP: an ISO text, or milliseconds since the epoch.
    pub(super) fn to_timestamp(&self) -> Option<Micros> {
        let time = match self {
            Self::Text(text) => time::parse(text.as_bytes()),
            Self::Cell(text) => time::parse(text.as_bytes()).or_else(|| number::parse(text.as_bytes())?.to_time()),
            Self::Number(text) => number::parse(text.as_bytes())?.to_time(),
            Self::Integer(value) => i64::try_from(*value).ok()?.checked_mul(MILLISECOND),
            Self::Double(value) if value.is_finite() => number::parse(format!("{value}").as_bytes())?.to_time(),
            Self::Timestamp(time) => Some(*time),
            _ => None,
        };
        time.filter(|t| TIME_RANGE.contains(t))
    }

    /// As STRING: a text, or the text of a number, a truth value, or of anything in JSON.
    pub(super) fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) | Self::Cell(text) => Some(Cow::Borrowed(text)),
            Self::Number(text) => Some(Cow::Borrowed(text)),
            Self::Boolean(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Self::Integer(value) => Some(Cow::Owned(value.to_string())),
            Self::Double(value) if value.is_finite() => Some(Cow::Owned(value.to_string())),
            Self::Decimal { unscaled, scale } => Some(Cow::Owned(decimal::text(*unscaled, *scale))),
            Self::List { source, .. } | Self::Map { source, .. } if !source.is_empty() => Some(Cow::Borrowed(source)),
            _ => None,
        }
    }

    /// As BYTES: bytes, or a text in base64.
    pub(super) fn to_bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            Self::Text(text) | Self::Cell(text) => BASE64.decode(text.as_bytes()).ok().map(Cow::Owned),
            _ => None,
        }
    }

    /// The text that may be a number.
    fn digits(&self) -> Option<&str> {
        match self {
            Self::Number(text) => Some(text),
            Self::Text(text) | Self::Cell(text) => Some(text.trim_ascii()),
            _ => None,
        }
    }

    /// The value for a person, of bounded length.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Text(text) | Self::Cell(text) => format!("\"{}\"", shortened(text)),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::Date(days) => time::date(i64::from(*days).saturating_mul(DAY)),
            Self::Time(time) | Self::Timestamp(time) => time::format(*time),
            Self::List { items, source: "" } => format!("a list of {}", items.len()),
            Self::Map { members, source: "" } => format!("a map of {}", members.len()),
            Self::List { source, .. } | Self::Map { source, .. } => shortened(source),
            Self::Double(value) => value.to_string(),
            _ => self.to_text().map_or_else(String::new, |text| shortened(&text)),
        }
    }
}

/// The first characters, printable, with `…` if there are more.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}
