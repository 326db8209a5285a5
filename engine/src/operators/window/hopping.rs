//! Hopping windows. Invariant: a row belongs to every window `[n·slide, n·slide + size)` after the offset that its event time lies in. If
//! the slide is longer than the size, some times lie in none: such rows are left out and counted as filtered.

use super::kind::{Shape, WindowKind};
use super::slices::Slices;
use crate::error::Result;
use crate::plan::WindowParameters;

/// `HOP(TABLE t, DESCRIPTOR(ts), slide, size [, offset])`. The size need not be a multiple of the slide.
pub static KIND: WindowKind = WindowKind {
    name: "hop",
    about: "Windows of one size, of which one begins every slide; they overlap, or leave gaps if the slide is longer than the size.",
    arguments: &["slide", "size"],
    open,
};

fn open(parameters: &WindowParameters) -> Result<Shape> {
    let [slide, size] = KIND.intervals(parameters)?;
    Ok(Shape::Sliced(Slices::hopping(slide, size, parameters.offset)?))
}
