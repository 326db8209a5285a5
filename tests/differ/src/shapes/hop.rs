//! Hopping windows. Invariant: that of all windows.

use super::windowed::write;
use super::{Gives, Shape};

/// The shape.
pub static SHAPE: Shape = Shape { name: "hop", gives: Gives::Timed, windowed: true, write: |draft| write(draft, "hop") };
