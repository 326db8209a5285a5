//! What a kind of window is. Invariant: a kind says where windows lie and nothing else; panes, late rows, merging and snapshots are the
//! same for all that are made of slices.

use super::slices::Slices;
use crate::error::{Error, Result};
use crate::plan::WindowParameters;
use crate::time::{DAY, MILLISECOND, Micros};

/// A kind of window.
pub struct WindowKind {
    /// Name of its table function.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Names of its interval arguments, in order.
    pub arguments: &'static [&'static str],
    /// Checks sizes and offset. Errors: `Invalid`.
    pub open: fn(&WindowParameters) -> Result<Shape>,
}

impl std::fmt::Debug for WindowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Where windows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// At times known beforehand.
    Sliced(Slices),
    /// Where rows are: the windows of a key are as long as its rows are at most `gap` microseconds apart.
    Session {
        /// Microseconds.
        gap: Micros,
    },
}

impl WindowKind {
    /// The intervals of `parameters`: as many as this kind takes, each in whole milliseconds, from one millisecond to ten years.
    pub fn intervals<const N: usize>(&self, parameters: &WindowParameters) -> Result<[Micros; N]> {
        let name = self.name.to_uppercase();
        let intervals = <[Micros; N]>::try_from(parameters.sizes.as_slice()).map_err(|_| {
            Error::invalid(format!("{name} takes {N} intervals ({}), and got {}", self.arguments.join(", "), parameters.sizes.len()))
        })?;
        for (interval, argument) in intervals.iter().zip(self.arguments) {
            if !(MILLISECOND..=3_660 * DAY).contains(interval) || interval % MILLISECOND != 0 {
                let message = format!("the {argument} of a {name} window must lie between 1 millisecond and 10 years");
                return Err(Error::invalid(message).hint("it is counted in whole milliseconds"));
            }
        }
        if parameters.offset % MILLISECOND != 0 {
            return Err(Error::invalid(format!("the offset of a {name} window is counted in whole milliseconds")));
        }
        Ok(intervals)
    }
}

impl WindowParameters {
    /// What the kind makes of the sizes. Errors: `Invalid`; `Internal` for a kind that is not in `WINDOWS`.
    pub fn shape(&self) -> Result<Shape> {
        let kind = super::kind(&self.kind).ok_or_else(|| Error::internal(format!("window kind {} is not registered", self.kind)))?;
        (kind.open)(self)
    }
}
