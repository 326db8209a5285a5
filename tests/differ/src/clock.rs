//! Times of a case, and how they are written. Invariant: both sides read a literal of time or length as the same microseconds.

use thalweg_engine::time::{self, MILLISECOND, Micros, SECOND};

/// Where event times lie.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The first.
    pub start: Micros,
    /// Up to where after the first, in microseconds.
    pub length: Micros,
}

/// A literal of a time.
pub fn literal(t: Micros) -> String {
    format!("TIMESTAMP '{}'", plain(t))
}

/// A time as text without a zone.
pub fn plain(t: Micros) -> String {
    time::format(t).trim_end_matches('Z').replace('T', " ")
}

/// A literal of a length in whole milliseconds.
pub fn interval(length: Micros) -> String {
    match length {
        l if l % (60 * SECOND) == 0 => format!("INTERVAL '{}' MINUTE", l / (60 * SECOND)),
        l if l % SECOND == 0 => format!("INTERVAL '{}' SECOND", l / SECOND),
        l => format!("INTERVAL '{}' MILLISECOND", l / MILLISECOND),
    }
}
