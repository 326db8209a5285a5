//! Cumulative windows. Invariant: that of all windows.

use super::windowed::write;
use super::{Gives, Shape};

/// The shape.
pub static SHAPE: Shape = Shape { name: "cumulate", gives: Gives::Timed, windowed: true, write: |draft| write(draft, "cumulate") };
