//! What a kind of window is: a cutting of event time into slices of equal width. Invariant: every time lies in exactly one
//! slice `[start, start + width)`, and slices are aligned to the epoch.

use crate::error::Result;
use crate::time::Micros;

/// A kind of window.
pub struct WindowKind {
    /// Name of its table function.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Names of its interval arguments, in order.
    pub arguments: &'static [&'static str],
    /// Checks the sizes (microseconds) and gives the slices. Errors: `Invalid`.
    pub open: fn(&[Micros]) -> Result<Slices>,
}

impl std::fmt::Debug for WindowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Slices of one window definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slices {
    /// Width in microseconds.
    pub width: Micros,
}

impl Slices {
    /// Start of the slice that `time` lies in.
    pub fn start(&self, time: Micros) -> Micros {
        time - time.rem_euclid(self.width)
    }

    /// End of the slice that starts at `start`, exclusive.
    pub fn end(&self, start: Micros) -> Micros {
        start + self.width
    }
}
