//! Patterns of times in Java's letters, such as `yyyy-MM-dd HH:mm:ss.SSS`. Invariant: a letter that is not known here is refused, never
//! taken as it stands; a text that does not fit a pattern from its first to its last character is not read.

use chrono::NaiveDate;
use datafusion::common::{Result, plan_datafusion_err};
use thalweg_engine::time::{Micros, SECOND};

use super::units::TIMES;

/// What is done with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Write,
    Read,
}

/// A part of a time that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    DayOfYear,
    Hour,
    HourOfHalf,
    Half,
    Minute,
    Second,
    Micros,
    /// Seconds that the clock is ahead of UTC.
    Zone,
}

const PARTS: usize = Part::Zone as usize + 1;

/// How letters are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// They are only written.
    No,
    /// A number of at least and at most so many digits.
    Number(Part, usize, usize),
    /// So many digits of a second.
    Fraction(usize),
    /// A name; the number of the first.
    Name(Part, i64, &'static [&'static str]),
    /// `Z`, or a sign, hours and minutes: with this between them, or without minutes if they may be left out.
    Zone(&'static str, Minutes),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Minutes {
    Always,
    Maybe,
}

/// Letters as often as they stand, chrono's specifier of the same meaning, and how they are read.
type Letters = (&'static str, Option<&'static str>, Reads);

const LETTERS: &[Letters] = &[
    ("D", Some("%-j"), Reads::Number(Part::DayOfYear, 1, 3)),
    ("DDD", Some("%j"), Reads::Number(Part::DayOfYear, 3, 3)),
    ("E", Some("%a"), Reads::No),
    ("EE", Some("%a"), Reads::No),
    ("EEE", Some("%a"), Reads::No),
    ("EEEE", Some("%A"), Reads::No),
    ("H", Some("%-H"), Reads::Number(Part::Hour, 1, 2)),
    ("HH", Some("%H"), Reads::Number(Part::Hour, 2, 2)),
    ("M", Some("%-m"), Reads::Number(Part::Month, 1, 2)),
    ("MM", Some("%m"), Reads::Number(Part::Month, 2, 2)),
    ("MMM", Some("%b"), Reads::Name(Part::Month, 1, &SHORT_MONTHS)),
    ("MMMM", Some("%B"), Reads::Name(Part::Month, 1, &MONTHS)),
    ("SSS", Some("%3f"), Reads::Fraction(3)),
    ("SSSSSS", Some("%6f"), Reads::Fraction(6)),
    ("SSSSSSSSS", Some("%9f"), Reads::Fraction(9)),
    ("X", None, Reads::Zone("", Minutes::Maybe)),
    ("XX", None, Reads::Zone("", Minutes::Always)),
    ("XXX", None, Reads::Zone(":", Minutes::Always)),
    ("a", Some("%p"), Reads::Name(Part::Half, 0, &["AM", "PM"])),
    ("d", Some("%-d"), Reads::Number(Part::Day, 1, 2)),
    ("dd", Some("%d"), Reads::Number(Part::Day, 2, 2)),
    ("h", Some("%-I"), Reads::Number(Part::HourOfHalf, 1, 2)),
    ("hh", Some("%I"), Reads::Number(Part::HourOfHalf, 2, 2)),
    ("m", Some("%-M"), Reads::Number(Part::Minute, 1, 2)),
    ("mm", Some("%M"), Reads::Number(Part::Minute, 2, 2)),
    ("s", Some("%-S"), Reads::Number(Part::Second, 1, 2)),
    ("ss", Some("%S"), Reads::Number(Part::Second, 2, 2)),
    ("uuuu", Some("%Y"), Reads::Number(Part::Year, 4, 4)),
    // Engines disagree on the century.
    ("yy", Some("%y"), Reads::No),
    ("yyyy", Some("%Y"), Reads::Number(Part::Year, 4, 4)),
];

const SHORT_MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Stands for itself.
    Text(String),
    Letters(Letters),
}

impl Pattern {
    /// A pattern that `function` writes or reads with. Text in quotes stands for itself, and so does what is no letter; two quotes are
    /// one. Errors: letters that cannot be used so, an open quote.
    pub(super) fn new(pattern: &str, function: &str, used: Use) -> Result<Self> {
        let refused =
            |what: &str, hint: &str| plan_datafusion_err!("function '{function}' {what} in the pattern \"{pattern}\"\nhint: {hint}");
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let run = &rest[..rest.len() - rest.trim_start_matches(first).len()];
            let taken = if first == '\'' {
                let (text, taken) = quoted(rest).ok_or_else(|| refused("finds an open quote", "a quote that is meant is written twice"))?;
                pieces.push(Piece::Text(text));
                taken
            } else if first.is_ascii_alphabetic() {
                let usable = |(letters, writes, reads): &&Letters| {
                    *letters == run && if used == Use::Write { writes.is_some() } else { *reads != Reads::No }
                };
                let known = LETTERS.iter().find(usable);
                let hint = "the SQL reference lists the letters; text stands in quotes: yyyy-MM-dd''T''HH:mm:ss";
                pieces.push(Piece::Letters(*known.ok_or_else(|| refused(&format!("does not know \"{run}\""), hint))?));
                run.len()
            } else {
                pieces.push(Piece::Text(run.to_owned()));
                run.len()
            };
            rest = &rest[taken..];
        }
        Ok(Self(pieces))
    }

    /// The pattern in chrono's specifiers.
    pub(super) fn specifiers(&self) -> String {
        let specifiers = |piece: &Piece| match piece {
            Piece::Text(text) => text.replace('%', "%%"),
            Piece::Letters((_, writes, _)) => writes.unwrap_or_default().to_owned(),
        };
        self.0.iter().map(specifiers).collect()
    }

    /// The time that a text means, in UTC if it names no other zone. Parts that the pattern does not have are those of
    /// 1970-01-01 00:00:00. `None` if the text does not fit, or means no time of the years 1 to 9999.
    pub(super) fn read(&self, text: &str) -> Option<Micros> {
        let mut parts = [None; PARTS];
        let mut rest = text;
        for piece in &self.0 {
            rest = match piece {
                Piece::Text(text) => rest.strip_prefix(text.as_str())?,
                Piece::Letters((_, _, reads)) => take(*reads, rest, &mut parts)?,
            };
        }
        if rest.is_empty() { time(&parts) } else { None }
    }
}

/// The text that a quote begins, and how much of the pattern it takes; none is a quote itself.
fn quoted(rest: &str) -> Option<(String, usize)> {
    let mut end = 1 + rest[1..].find('\'')?;
    while rest[end + 1..].starts_with('\'') {
        end += 2 + rest[end + 2..].find('\'')?;
    }
    let text = if end == 1 { "'".to_owned() } else { rest[1..end].replace("''", "'") };
    Some((text, end + 1))
}

/// Reads what letters stand for; gives what is left of the text.
fn take<'t>(reads: Reads, text: &'t str, parts: &mut [Option<i64>; PARTS]) -> Option<&'t str> {
    let (part, value, rest) = match reads {
        Reads::No => return None,
        Reads::Number(part, least, most) => {
            let (value, rest) = number(text, least, most)?;
            (part, value, rest)
        }
        Reads::Fraction(digits) => {
            let (value, rest) = number(text, digits, digits)?;
            let micros = match digits {
                3 => value * 1_000,
                6 => value,
                _ => value / 1_000,
            };
            (Part::Micros, micros, rest)
        }
        Reads::Name(part, first, names) => {
            let (index, rest) = names.iter().enumerate().find_map(|(i, name)| Some((i, text.strip_prefix(name)?)))?;
            (part, first + i64::try_from(index).ok()?, rest)
        }
        Reads::Zone(between, minutes) => {
            let (value, rest) = zone(text, between, minutes)?;
            (Part::Zone, value, rest)
        }
    };
    parts[part as usize] = Some(value);
    Some(rest)
}

fn number(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if digits < least { None } else { Some((number.parse().ok()?, rest)) }
}

/// Seconds ahead of UTC.
fn zone<'t>(text: &'t str, between: &str, minutes: Minutes) -> Option<(i64, &'t str)> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some((0, rest));
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, rest) = number(text.strip_prefix(['+', '-'])?, 2, 2)?;
    let (of_hour, rest) = match (rest.strip_prefix(between).and_then(|rest| number(rest, 2, 2)), minutes) {
        (Some(found), _) => found,
        (None, Minutes::Maybe) => (0, rest),
        (None, Minutes::Always) => return None,
    };
    (hours < 24 && of_hour < 60).then_some((sign * (hours * 3_600 + of_hour * 60), rest))
}

fn time(parts: &[Option<i64>; PARTS]) -> Option<Micros> {
    let of = |part: Part, otherwise: i64| u32::try_from(parts[part as usize].unwrap_or(otherwise)).ok();
    let year = i32::try_from(of(Part::Year, 1970)?).ok()?;
    let date = match parts[Part::DayOfYear as usize] {
        Some(_) => NaiveDate::from_yo_opt(year, of(Part::DayOfYear, 1)?),
        None => NaiveDate::from_ymd_opt(year, of(Part::Month, 1)?, of(Part::Day, 1)?),
    };
    let hour = match of(Part::HourOfHalf, 12)? {
        12 => 12 * of(Part::Half, 0)?,
        hour @ 1..=11 => hour + 12 * of(Part::Half, 0)?,
        _ => return None,
    };
    let hour = if parts[Part::Hour as usize].is_some() { of(Part::Hour, 0)? } else { hour };
    let time = date?.and_hms_micro_opt(hour, of(Part::Minute, 0)?, of(Part::Second, 0)?, of(Part::Micros, 0)?)?;
    let time = time.and_utc().timestamp_micros() - parts[Part::Zone as usize].unwrap_or(0) * SECOND;
    TIMES.contains(&time).then_some(time)
}

#[cfg(test)]
mod tests {
    use thalweg_engine::time::format;

    use super::*;

    #[test]
    fn patterns_are_translated_or_refused() {
        let shown = |pattern: &str| Pattern::new(pattern, "f", Use::Write).unwrap().specifiers();
        assert_eq!(shown("yyyy-MM-dd HH:mm:ss.SSS"), "%Y-%m-%d %H:%M:%S.%3f");
        assert_eq!(shown("d. MMMM yy, h 'o''clock' a"), "%-d. %B %y, %-I o'clock %p");
        assert_eq!(shown("'%Y'''HH%"), "%%Y'%H%%");
        assert_eq!(shown("''HH''"), "'%H'");
        assert_eq!(shown("''''HH"), "'%H");
        assert_eq!(shown(""), "");
        for wrong in ["YYYY", "yyy", "%Y-%m", "'open", "HH'", "SS", "EEEEE", "X"] {
            assert!(Pattern::new(wrong, "f", Use::Write).is_err(), "{wrong}");
        }
        for wrong in ["yy", "EEE", "YYYY", "'open"] {
            assert!(Pattern::new(wrong, "f", Use::Read).is_err(), "{wrong}");
        }
        assert!(LETTERS.is_sorted_by_key(|(letters, ..)| letters));
    }

    fn read(pattern: &str, text: &str) -> String {
        Pattern::new(pattern, "f", Use::Read).unwrap().read(text).map_or_else(|| "-".to_owned(), format)
    }

    #[test]
    fn texts_that_fit_are_read() {
        for (pattern, text, want) in [
            ("yyyy-MM-dd HH:mm:ss", "2024-02-29 23:59:58", "2024-02-29T23:59:58Z"),
            ("yyyyMMddHHmmssSSS", "20240229235958007", "2024-02-29T23:59:58.007Z"),
            ("d.M.yyyy", "1.2.2024", "2024-02-01T00:00:00Z"),
            ("d.M.yyyy", "01.02.2024", "2024-02-01T00:00:00Z"),
            ("dd MMM yyyy", "05 May 2024", "2024-05-05T00:00:00Z"),
            ("MMMM d, yyyy h:mm a", "June 7, 2024 12:30 AM", "2024-06-07T00:30:00Z"),
            ("MMMM d, yyyy h:mm a", "June 7, 2024 12:30 PM", "2024-06-07T12:30:00Z"),
            ("MMMM d, yyyy h:mm a", "June 7, 2024 1:30 PM", "2024-06-07T13:30:00Z"),
            ("yyyy DDD", "2024 366", "2024-12-31T00:00:00Z"),
            ("HH:mm:ss.SSSSSS", "01:02:03.000004", "1970-01-01T01:02:03.000004Z"),
            ("ss.SSSSSSSSS", "01.123456789", "1970-01-01T00:00:01.123456Z"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-03-01T00:30:00+01:00", "2024-02-29T23:30:00Z"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-03-01T00:30:00Z", "2024-03-01T00:30:00Z"),
            ("HH X", "08 +0800", "1970-01-01T00:00:00Z"),
            ("HH X", "08 +08", "1970-01-01T00:00:00Z"),
            ("HH XX", "08 -0130", "1970-01-01T09:30:00Z"),
            ("yyyy", "0001", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(read(pattern, text), want, "{text}");
        }
    }

    #[test]
    fn texts_that_do_not_fit_are_not() {
        for (pattern, text) in [
            ("yyyy-MM-dd", "2023-02-29"),
            ("yyyy-MM-dd", "2023-2-28"),
            ("yyyy-MM-dd", "2023-02-28 "),
            ("yyyy-MM-dd", " 2023-02-28"),
            ("yyyy-MM-dd", "2023-02"),
            ("yyyy-MM-dd", "2023-13-01"),
            ("yyyy-MM-dd", "0000-01-01"),
            ("yyyy-MM-dd", "+2023-01-01"),
            ("yyyy-MM-dd", "２０２３-01-01"),
            ("yyyy-MM-dd", ""),
            ("HH:mm:ss", "24:00:00"),
            ("HH:mm:ss", "23:59:60"),
            ("hh a", "13 PM"),
            ("hh a", "00 AM"),
            ("MMM", "jan"),
            ("yyyy DDD", "2023 366"),
            ("XXX", "+01"),
            ("XX", "+01:00"),
            ("XX", "+2400"),
            ("HH", "é1"),
            ("yyyy-MM-dd HH X", "0001-01-01 00 +01"),
        ] {
            assert_eq!(read(pattern, text), "-", "{pattern} {text}");
        }
    }
}
