//! Time as the engine counts it. Invariant: every time is microseconds since 1970-01-01T00:00:00 UTC in an `i64`, in Arrow
//! `Timestamp(Microsecond, "UTC")`; there are no time zones inside.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, SecondsFormat};

/// Microseconds since the Unix epoch, UTC.
pub type Micros = i64;

/// Microseconds in a millisecond.
pub const MILLISECOND: Micros = 1_000;
/// Microseconds in a second.
pub const SECOND: Micros = 1_000_000;
/// Microseconds in a day.
pub const DAY: Micros = 86_400 * SECOND;

/// The Arrow type of every time column.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// The least event time that can still come once `watermark` is reached, if all of them are multiples of `unit`. A window is over
/// exactly if its end is not after this.
pub fn ahead(watermark: Micros, unit: Micros) -> Micros {
    watermark.saturating_sub(watermark.rem_euclid(unit)).saturating_add(unit)
}

/// `2026-01-02T03:04:05.678901Z`, as short as it can be without loss; out of range gives the number itself.
pub fn format(t: Micros) -> String {
    DateTime::from_timestamp_micros(t).map_or_else(|| t.to_string(), |d| d.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// The UTC day of `t` as `2026-01-02`: the partition value of lake tables.
pub fn date(t: Micros) -> String {
    DateTime::from_timestamp_micros(t).map_or_else(|| "1970-01-01".to_owned(), |d| d.format("%Y-%m-%d").to_string())
}

/// Parses `YYYY-MM-DD[T ]HH:MM:SS[.fraction][Z|±HH:MM]`; no zone means UTC; digits past microseconds are cut off.
/// None if it is anything else.
pub fn parse(text: &[u8]) -> Option<Micros> {
    if text.len() < 19
        || text[4] != b'-'
        || text[7] != b'-'
        || !matches!(text[10], b'T' | b' ' | b't')
        || text[13] != b':'
        || text[16] != b':'
    {
        return None;
    }
    let (year, month, day) = (digits(&text[0..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    let (hour, minute, second) = (digits(&text[11..13])?, digits(&text[14..16])?, digits(&text[17..19])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[19..];
    let mut fraction = 0;
    if let [b'.', tail @ ..] = rest {
        let n = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 || n > 12 {
            return None;
        }
        let mut scale = 100_000;
        for &b in &tail[..n.min(6)] {
            fraction += i64::from(b - b'0') * scale;
            scale /= 10;
        }
        rest = &tail[n..];
    }
    let zone = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (h, m) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if h > 23 || m > 59 {
                return None;
            }
            let seconds = h * 3600 + m * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone;
    Some(seconds * SECOND + fraction)
}

/// Parses `YYYY-MM-DD`: days since 1970-01-01. None if it is anything else.
pub fn parse_date(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let (year, month, day) = (digits(&[y1, y2, y3, y4])?, digits(&[m1, m2])?, digits(&[d1, d2])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    i32::try_from(days_from_civil(year, month, day)).ok()
}

/// Parses `HH:MM[:SS[.fraction]]`: microseconds since midnight; digits past microseconds are cut off. None if it is anything
/// else.
pub fn parse_time_of_day(text: &[u8]) -> Option<Micros> {
    let padded = if text.len() == 5 { [text, b":00"].concat() } else { text.to_vec() };
    // The same form on the first day there is.
    if padded.last().is_some_and(|b| !b.is_ascii_digit()) || padded.len() > 8 && padded[8] != b'.' {
        return None;
    }
    parse(&[b"1970-01-01T".as_slice(), &padded].concat())
}

fn digits(text: &[u8]) -> Option<i64> {
    let mut n = 0;
    for &b in text {
        if !b.is_ascii_digit() {
            return None;
        }
        n = n * 10 + i64::from(b - b'0');
    }
    Some(n)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date; the year starts in March so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_agrees_with_chrono() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-22T17:18:20.123456Z",
            "2024-02-29 23:59:59.9",
            "1969-12-31T23:59:59.000001Z",
            "2026-01-02T03:04:05+02:30",
            "2026-01-02T03:04:05-11:00",
            "2000-03-01T00:00:00.123456789Z",
        ] {
            let zoned = if text.ends_with('Z') || text[11..].contains(['+', '-']) { text.to_owned() } else { format!("{text}Z") };
            let want = DateTime::parse_from_rfc3339(&zoned.replace(' ', "T")).unwrap().timestamp_micros();
            assert_eq!(parse(text.as_bytes()), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-01-02",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05X",
            "2026-01-02T03:04:05+0200",
            "20260102T030405Z.......",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_can_still_come_lies_ahead_of_the_watermark_by_a_unit_at_most() {
        assert_eq!([ahead(4_999, 1_000), ahead(5_000, 1_000), ahead(-1, 1_000), ahead(7, 1)], [5_000, 6_000, 0, 8]);
        assert_eq!(ahead(Micros::MAX, 1_000), Micros::MAX);
        assert!(ahead(Micros::MIN, 1_000) < Micros::MIN + 2_000);
    }

    #[test]
    fn dates_and_times_of_day_are_parsed_alone() {
        assert_eq!(parse_date(b"1970-01-02"), Some(1));
        assert_eq!([parse_date(b"2024-02-29"), parse_date(b"2023-02-29"), parse_date(b"2024-2-29")], [Some(19_782), None, None]);
        let of = |text: &str| parse_time_of_day(text.as_bytes());
        assert_eq!([of("00:00"), of("01:02:03"), of("23:59:59.9999999")], [Some(0), Some(3_723_000_000), Some(DAY - 1)]);
        for bad in ["", "1:00", "24:00", "12:60", "12:00:00Z", "12:00:00+01:00", "12:00:00.", "12:00:0", "noon", "12:00 "] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_utc_days() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(DAY), "1970-01-02");
    }
}
