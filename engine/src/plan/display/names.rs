//! Names of Arrow in the text of a plan. Invariant: types are called as in SQL, and literals are written as there; what is not known stays. Only
//! text for people comes through here: fingerprints are of the text before.
//!
//! ```text
//! CAST(x AS Int64)                                                  CAST(x AS BIGINT)
//! x > Float64(80), coalesce(x,Utf8("?"))                            x > 80, coalesce(x,'?')
//! IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 1000000 } INTERVAL '0.001' SECOND
//! ```

/// Ends of casts.
const CASTS: [(&str, &str); 22] = [
    (" AS Binary)", " AS BYTES)"),
    (" AS BinaryView)", " AS BYTES)"),
    (" AS Boolean)", " AS BOOLEAN)"),
    (" AS Date32)", " AS DATE)"),
    (" AS Decimal128(", " AS DECIMAL("),
    (" AS Float32)", " AS FLOAT)"),
    (" AS Float64)", " AS DOUBLE)"),
    (" AS Int8)", " AS TINYINT)"),
    (" AS Int16)", " AS SMALLINT)"),
    (" AS Int32)", " AS INT)"),
    (" AS Int64)", " AS BIGINT)"),
    (" AS Interval(MonthDayNano))", " AS INTERVAL)"),
    (" AS Time64(µs))", " AS TIME(6))"),
    (" AS Timestamp(ns))", " AS TIMESTAMP)"),
    (" AS Timestamp(µs))", " AS TIMESTAMP)"),
    (" AS Timestamp(µs, \"UTC\"))", " AS TIMESTAMP)"),
    (" AS UInt8)", " AS SMALLINT)"),
    (" AS UInt16)", " AS INT)"),
    (" AS UInt32)", " AS BIGINT)"),
    (" AS UInt64)", " AS BIGINT)"),
    (" AS Utf8)", " AS STRING)"),
    (" AS Utf8View)", " AS STRING)"),
];

/// What begins a literal, what ends it, and what stands around it in SQL.
const LITERALS: [(&str, &str, [&str; 2]); 16] = [
    ("Boolean(", ")", ["", ""]),
    ("Date32(\"", "\")", ["DATE '", "'"]),
    ("Float32(", ")", ["", ""]),
    ("Float64(", ")", ["", ""]),
    ("Int8(", ")", ["", ""]),
    ("Int16(", ")", ["", ""]),
    ("Int32(", ")", ["", ""]),
    ("Int64(", ")", ["", ""]),
    ("IntervalMonthDayNano(\"", "\")", ["", ""]),
    ("UInt8(", ")", ["", ""]),
    ("UInt16(", ")", ["", ""]),
    ("UInt32(", ")", ["", ""]),
    ("UInt64(", ")", ["", ""]),
    ("Utf8(\"", "\")", ["'", "'"]),
    ("Utf8View(\"", "\")", ["'", "'"]),
    (INTERVAL, " }", ["", ""]),
];

/// What begins an interval.
const INTERVAL: &str = "IntervalMonthDayNano { ";
/// Units of the part of an interval that has a fixed length, in nanoseconds.
const UNITS: [(i64, &str); 2] = [(3_600_000_000_000, "HOUR"), (60_000_000_000, "MINUTE")];
const SECOND: i64 = 1_000_000_000;

/// The text with the names of SQL.
pub(super) fn in_sql(text: &str) -> String {
    let text = CASTS.iter().fold(text.to_owned(), |text, (arrow, sql)| text.replace(arrow, sql));
    let (mut out, mut rest) = (String::with_capacity(text.len()), text.as_str());
    while let Some(next) = rest.chars().next() {
        let is_inside = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        match literal(rest).filter(|_| !is_inside) {
            Some((literal, after)) => {
                out += &literal;
                rest = after;
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

/// The literal that a text begins with, as SQL, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let (begin, end, around) = LITERALS.iter().find(|(begin, ..)| text.starts_with(begin))?;
    let (inner, after) = text.strip_prefix(begin)?.split_once(end)?;
    if *begin == INTERVAL {
        return Some((interval(inner)?, after));
    }
    // An interval in quotes is written as one.
    let inner = inner.strip_prefix(INTERVAL).and_then(|parts| interval(parts.strip_suffix(" }")?)).unwrap_or_else(|| inner.to_owned());
    let inner = if around[0] == "'" { inner.replace('\'', "''") } else { inner };
    Some((format!("{}{inner}{}", around[0], around[1]), after))
}

/// `months: 0, days: 0, nanoseconds: 1000000` in SQL.
fn interval(parts: &str) -> Option<String> {
    let mut numbers = parts.split(", ").map(|part| part.split_once(": ")?.1.parse::<i64>().ok());
    let (months, days, nanos) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let mut all: Vec<String> = Vec::new();
    let whole = [(months, "MONTH"), (days, "DAY")].into_iter().filter(|(count, _)| *count != 0);
    all.extend(whole.map(|(count, unit)| format!("INTERVAL '{count}' {unit}")));
    if nanos != 0 || all.is_empty() {
        all.push(match UNITS.iter().find(|(length, _)| nanos != 0 && nanos % length == 0) {
            Some((length, unit)) => format!("INTERVAL '{}' {unit}", nanos / length),
            None => format!("INTERVAL '{}' SECOND", seconds(nanos)),
        });
    }
    let sum = all.join(" + ");
    Some(if all.len() > 1 { format!("({sum})") } else { sum })
}

/// Seconds with the digits that they need.
fn seconds(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let fraction = format!("{:09}", (nanos % SECOND).unsigned_abs());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", (nanos / SECOND).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_literals_are_those_of_sql() {
        let arrow =
            "project CAST(CAST(a@1 AS UInt64) AS Int64) AS x, CAST(s@2 AS Timestamp(µs, \"UTC\")) AS t, CAST(n@0 AS Decimal128(9, 2)) AS d";
        assert_eq!(
            in_sql(arrow),
            "project CAST(CAST(a@1 AS BIGINT) AS BIGINT) AS x, CAST(s@2 AS TIMESTAMP) AS t, CAST(n@0 AS DECIMAL(9, 2)) AS d"
        );
        assert_eq!(in_sql("coalesce(t.s,Utf8(\"?\"))@0 > Float64(80)"), "coalesce(t.s,'?')@0 > 80");
        assert_eq!(in_sql("Utf8(\"it's\")"), "'it''s'");
        assert_eq!(in_sql("MyInt64(1), CAST(x AS INT)"), "MyInt64(1), CAST(x AS INT)");
    }

    #[test]
    fn intervals_are_those_of_sql() {
        let sql = |months: i32, days: i32, nanos: i64| {
            in_sql(&format!("x - IntervalMonthDayNano {{ months: {months}, days: {days}, nanoseconds: {nanos} }} < y"))
        };
        assert_eq!(sql(0, 0, 1_000_000), "x - INTERVAL '0.001' SECOND < y");
        assert_eq!(sql(0, 0, 90 * 60 * SECOND), "x - INTERVAL '90' MINUTE < y");
        assert_eq!(sql(0, 0, -1_500_000_000), "x - INTERVAL '-1.5' SECOND < y");
        assert_eq!(sql(0, 0, 0), "x - INTERVAL '0' SECOND < y");
        assert_eq!(sql(2, 3, 0), "x - (INTERVAL '2' MONTH + INTERVAL '3' DAY) < y");
        let quoted = "IntervalMonthDayNano(\"IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 0 }\")";
        assert_eq!(in_sql(quoted), "INTERVAL '1' DAY");
    }
}
