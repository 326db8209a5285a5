//! Law of `ConnectorSpec` and `Options`: a spec is plain data that parser, help, documentation and tests iterate over;
//! options are taken one by one, and what is left over is an error that suggests the nearest name.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::contract::source::Source;
use crate::error::{Error, Result};

/// Edit distance, for suggestions.
pub use strsim::levenshtein as distance;

/// What a table with this connector is.
#[derive(Clone, Copy)]
pub enum Role {
    /// Reads a stream of the log.
    Log,
    /// Reads reference data, joined by key.
    Reference,
    /// Writes a table of the lake.
    Lake,
    /// Reads from outside into a stream of the log.
    Source(fn(&mut Options) -> Result<Box<dyn Source>>),
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Log => "Log",
            Self::Reference => "Reference",
            Self::Lake => "Lake",
            Self::Source(_) => "Source",
        })
    }
}

/// One option in `WITH (…)`.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its key.
    pub name: &'static str,
    /// Whether a table cannot do without.
    pub required: bool,
    /// What stands in if it is left out, for the documentation.
    pub default: Option<&'static str>,
    /// What it means, units included.
    pub about: &'static str,
}

/// A connector.
#[derive(Debug, Clone, Copy)]
pub struct ConnectorSpec {
    /// `WITH ('connector' = '<name>')`.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// What a table of it is.
    pub role: Role,
    /// Every option that it knows, sorted by name.
    pub options: &'static [OptionSpec],
}

/// The options of one table, taken one by one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    left: BTreeMap<String, String>,
    known: Vec<String>,
}

impl Options {
    /// Options as written, keys to values.
    pub fn new(pairs: BTreeMap<String, String>) -> Self {
        Self { left: pairs, known: Vec::new() }
    }

    /// Takes an optional text.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.known.push(name.to_owned());
        self.left.remove(name)
    }

    /// Takes a text that must be there. Errors: `Invalid`, naming it.
    pub fn take_required(&mut self, name: &str) -> Result<String> {
        self.take(name).ok_or_else(|| Error::invalid(format!("option '{name}' is missing")).hint(format!("add '{name}' = '…' to WITH (…)")))
    }

    /// Takes a duration such as `250ms`, `30s`, `5 min`, `1h`, `7d`. Errors: `Invalid`, naming it.
    pub fn take_duration(&mut self, name: &str) -> Result<Option<Duration>> {
        self.take(name).map(|text| parse_duration(&text).map_err(|e| e.context(format!("option '{name}'")))).transpose()
    }

    /// Takes a whole number. Errors: `Invalid`, naming it.
    pub fn take_number(&mut self, name: &str) -> Result<Option<u64>> {
        let parse = |t: String| t.parse().map_err(|_| Error::invalid(format!("option '{name}': {t:?} is not a whole number")));
        self.take(name).map(parse).transpose()
    }

    /// Ends the taking. Errors: `Invalid` if an option was not taken, with the nearest known name.
    pub fn finish(self) -> Result<()> {
        let Some(extra) = self.left.keys().next() else { return Ok(()) };
        let nearest = self.known.iter().min_by_key(|k| distance(k, extra)).filter(|k| distance(k, extra) <= 3);
        let hint = match nearest {
            Some(k) => format!("did you mean '{k}'?"),
            None => format!("known options: {}", self.known.join(", ")),
        };
        Err(Error::invalid(format!("option '{extra}' is not known")).hint(hint))
    }
}

/// Parses a duration: a whole number and a unit (`ms`, `s`, `m`/`min`, `h`, `d`). Errors: `Invalid`.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let wrong = || Error::invalid(format!("{text:?} is not a duration")).hint("write a number and a unit: 250ms, 30s, 5min, 1h or 7d");
    let number: u64 = text[..split].parse().map_err(|_| wrong())?;
    let unit_ms = match text[split..].trim() {
        "ms" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_option_is_named_with_the_nearest() {
        let mut o = Options::new(BTreeMap::from([("pth".into(), "x".into())]));
        assert_eq!(o.take("path"), None);
        let e = o.finish().unwrap_err();
        assert_eq!(e.to_string(), "option 'pth' is not known (hint: did you mean 'path'?)");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(parse_duration("5 min").unwrap(), Duration::from_secs(300));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert!(parse_duration("30").is_err());
        assert!(parse_duration("99999999999999999999d").is_err());
        assert!(parse_duration("s").is_err());
    }
}
