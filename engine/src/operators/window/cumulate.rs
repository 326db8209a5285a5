//! Cumulative windows. Invariant: a row belongs to every window `[n·size, n·size + k·step)` after the offset, with k from 1 to
//! size / step, that its event time lies in.

use super::kind::{Shape, WindowKind};
use super::slices::Slices;
use crate::error::{Error, Result};
use crate::plan::WindowParameters;

/// `CUMULATE(TABLE t, DESCRIPTOR(ts), step, size [, offset])`. The size is a multiple of the step.
pub static KIND: WindowKind = WindowKind {
    name: "cumulate",
    about: "Windows that begin together and end one step after the other, until one has the full size.",
    arguments: &["step", "size"],
    open,
};

fn open(parameters: &WindowParameters) -> Result<Shape> {
    let [step, size] = KIND.intervals(parameters)?;
    if size % step != 0 {
        return Err(Error::invalid("the size of a CUMULATE window must be a multiple of its step"));
    }
    Ok(Shape::Sliced(Slices::cumulative(step, size, parameters.offset)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_is_no_multiple_is_refused() {
        let open_with = |sizes: &[i64]| open(&WindowParameters { kind: "cumulate".to_owned(), sizes: sizes.to_vec(), offset: 0 });
        assert!(open_with(&[2_000, 5_000]).unwrap_err().message().contains("multiple"));
        assert!(open_with(&[2_000, 6_000]).is_ok());
    }
}
