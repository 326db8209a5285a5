//! Figures for people, short and with their unit. Invariant: two digits or more of each are right; programs read `/v1/jobs` and
//! `/metrics`, where figures are whole.

use thalweg_engine::time::{DAY, MILLISECOND, Micros, SECOND};

const THOUSANDS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;

/// Things: `12`, `340 k`, `1.2 M`.
pub fn count(things: u64) -> String {
    let (figure, thousands) = scaled(things as f64);
    if thousands.is_empty() { figure } else { format!("{figure} {thousands}") }
}

/// Bytes: `12 B`, `340 kB`, `1.2 MB`.
pub fn bytes(bytes: u64) -> String {
    let (figure, thousands) = scaled(bytes as f64);
    format!("{figure} {thousands}B")
}

/// Things a second: `0.5/s`, `340 k/s`, `1.2 M/s`.
pub fn rate(a_second: f64) -> String {
    let (figure, thousands) = scaled(a_second.max(0.0));
    let blank = if thousands.is_empty() { "" } else { " " };
    format!("{figure}{blank}{thousands}/s")
}

/// A length of time: `40 ms`, `1.5 s`, `12 s`, `34 min`, `5.2 h`, `3 d`. What is not nothing is at least a millisecond.
pub fn duration(time: Micros) -> String {
    let time = time.max(0);
    let (unit, name) = match time {
        _ if time < SECOND => return format!("{} ms", (time / MILLISECOND).max(time.min(1))),
        _ if time < MINUTE => (SECOND, "s"),
        _ if time < HOUR => (MINUTE, "min"),
        _ if time < DAY => (HOUR, "h"),
        _ => (DAY, "d"),
    };
    format!("{} {name}", figure(time as f64 / unit as f64))
}

/// A number below a thousand, and how many thousands it stands for.
fn scaled(mut number: f64) -> (String, &'static str) {
    let mut power = 0;
    // 999.5 would be written as a thousand.
    while number >= 999.5 && power + 1 < THOUSANDS.len() {
        number /= 1000.0;
        power += 1;
    }
    (figure(number), THOUSANDS[power])
}

/// With a digit behind the point if there is one before it.
fn figure(number: f64) -> String {
    if number >= 9.95 { format!("{number:.0}") } else { format!("{number:.1}").trim_end_matches(".0").to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_their_unit() {
        assert_eq!(
            [0, 7, 999, 1_000, 1_234, 9_960, 339_600, 999_499, 999_500, u64::MAX].map(count).join("|"),
            "0|7|999|1 k|1.2 k|10 k|340 k|999 k|1 M|18447 P"
        );
        assert_eq!([0, 512, 340_000, 1_250_001].map(bytes).join("|"), "0 B|512 B|340 kB|1.3 MB");
        assert_eq!([0.0, 0.46, 12.4, 1_180_000.0, -0.1].map(rate).join("|"), "0/s|0.5/s|12/s|1.2 M/s|0/s");
        let times = [0, 1, 40 * MILLISECOND, 1_540 * MILLISECOND, 12 * SECOND, 34 * MINUTE, 5 * HOUR + 12 * MINUTE, 3 * DAY, -SECOND];
        assert_eq!(times.map(duration).join("|"), "0 ms|1 ms|40 ms|1.5 s|12 s|34 min|5.2 h|3 d|0 ms");
    }
}
