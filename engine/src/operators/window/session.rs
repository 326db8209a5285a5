//! Session windows. Invariant: the rows of a key are in one window exactly if one gets from each to the next by steps of at most the gap;
//! the window is `[first row, last row + gap)`.
//!
//! As in Flink, rows that are exactly a gap apart belong together: so a window is over only when the watermark has reached its end. Unlike
//! in Flink, a row at or behind the watermark is late also if a window that it would belong to is still open.

use super::kind::{Shape, WindowKind};
use crate::error::{Error, Result};
use crate::plan::WindowParameters;

/// `SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), gap)`.
pub static KIND: WindowKind = WindowKind {
    name: "session",
    about: "A window of each key as long as its rows follow one another at most a gap apart.",
    arguments: &["gap"],
    open,
};

fn open(parameters: &WindowParameters) -> Result<Shape> {
    let [gap] = KIND.intervals(parameters)?;
    if parameters.offset != 0 {
        return Err(Error::invalid("a SESSION window has no offset").hint("sessions begin with their first row"));
    }
    Ok(Shape::Session { gap })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_a_gap_and_no_offset() {
        let open_with = |sizes: &[i64], offset| open(&WindowParameters { kind: "session".to_owned(), sizes: sizes.to_vec(), offset });
        assert_eq!(open_with(&[5_000], 0).unwrap(), Shape::Session { gap: 5_000 });
        assert!(open_with(&[5_000], 1_000).unwrap_err().message().contains("offset"));
        assert!(open_with(&[], 0).is_err());
    }
}
