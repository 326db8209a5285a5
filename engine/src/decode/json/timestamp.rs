//! Times as text, fast for the common case: telemetry comes in the order of days. Invariant: the result is that of
//! `time::parse`, for every text.
//!
//! ```text
//! 2026-01-02T03:04:05.678Z
//! └── day ──┘└ fixed layout┘   same day as the text before: midnight is known, 8 to 14 bytes remain
//! ```

use crate::time::{self, DAY, MILLISECOND, Micros, SECOND};

/// Reads times; knows the day of the last one.
#[derive(Debug, Default)]
pub(super) struct TimestampReader {
    day: [u8; 10],
    midnight: Micros,
}

impl TimestampReader {
    /// The time that `text` gives, in microseconds.
    #[inline]
    pub(super) fn read(&mut self, text: &[u8]) -> Option<Micros> {
        if let Some((day, rest)) = text.split_first_chunk::<10>()
            && *day == self.day
            && let Some(time) = time_of_day(rest)
        {
            return Some(self.midnight + time);
        }
        self.read_any(text)
    }

    /// The time that a text of the usual form gives, if it is on the day of the last one and its closing quote follows.
    #[inline(always)]
    pub(super) fn read_usual(&self, quoted: &[u8; 25]) -> Option<Micros> {
        let (day, rest) = quoted.split_first_chunk::<10>()?;
        let [b'T', _, _, b':', _, _, b':', _, _, b'.', _, _, _, b'Z', b'"'] = rest else { return None };
        if *day != self.day {
            return None;
        }
        time_of_day(&rest[..14]).map(|time| self.midnight + time)
    }

    /// Reads any form, and remembers the day.
    fn read_any(&mut self, text: &[u8]) -> Option<Micros> {
        let time = time::parse(text)?;
        if let Some((day, rest)) = text.split_first_chunk::<10>()
            && time_of_day(rest).is_some()
        {
            self.day = *day;
            self.midnight = time - time.rem_euclid(DAY);
        }
        Some(time)
    }
}

/// Microseconds since midnight of `T03:04:05`, `T03:04:05Z`, `T03:04:05.678` and `T03:04:05.678Z`; none for other forms.
#[inline]
fn time_of_day(text: &[u8]) -> Option<Micros> {
    let (head, rest) = text.split_first_chunk::<9>()?;
    let [b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2] = *head else { return None };
    let (hour, minute, second) = (pair(h1, h2), pair(m1, m2), pair(s1, s2));
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match *rest {
        [] | [b'Z'] => 0,
        [b'.', d1, d2, d3] | [b'.', d1, d2, d3, b'Z'] => {
            let (head, last) = (pair(d1, d2), pair(b'0', d3));
            if head > 99 || last > 9 {
                return None;
            }
            head * 10 + last
        }
        _ => return None,
    };
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Some(seconds * SECOND + i64::from(fraction) * MILLISECOND)
}

/// Two digits as a number; anything else gives 1000 or more.
#[inline(always)]
fn pair(tens: u8, ones: u8) -> u32 {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 { 1000 } else { u32::from(tens) * 10 + u32::from(ones) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_known_day_changes_nothing() {
        let mut reader = TimestampReader::default();
        for text in [
            "2026-01-02T03:04:05.678Z",
            "2026-01-02T03:04:05.679Z",
            "2026-01-02 23:59:59",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:05.67aZ",
            "2026-01-02T03:04:05.678901+02:00",
            "2026-01-02T03:04:05Z",
            "1969-12-31T23:59:59.999Z",
            "1969-12-31T00:00:00.000",
            "2026-02-30T03:04:05Z",
            "2026-02-30T03:04:05Z",
        ] {
            assert_eq!(reader.read(text.as_bytes()), time::parse(text.as_bytes()), "{text}");
            let quoted = format!("{text}\"");
            if let Some(usual) = quoted.as_bytes().first_chunk().and_then(|quoted| reader.read_usual(quoted)) {
                assert_eq!((Some(usual), text.len()), (time::parse(text.as_bytes()), 24), "{text}");
            }
        }
        assert!(reader.read(b"2026-01-02T03:04:05.678Z").is_some());
        assert!(reader.read_usual(b"2026-01-02T13:24:35.678Z\"").is_some());
        assert_eq!(reader.read_usual(b"2026-01-02T13:24:35.678+\""), None);
        assert_eq!(reader.read_usual(b"2026-01-03T13:24:35.678Z\""), None);
    }

    proptest! {
        #[test]
        fn mutated_times_agree_with_the_reference(place in 0_usize..24, byte in 0x20_u8..0x7f, cut in 15_usize..25) {
            let mut reader = TimestampReader::default();
            reader.read(b"2026-01-02T03:04:05.678Z");
            let mut text = b"2026-01-02T13:24:35.678Z".to_vec();
            text[place] = byte;
            text.truncate(cut);
            prop_assert_eq!(reader.read(&text), time::parse(&text));
        }
    }
}
