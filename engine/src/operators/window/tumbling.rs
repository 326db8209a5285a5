//! Tumbling windows. Invariant: a row belongs to exactly one window, `[n·size, (n+1)·size)` after the offset, chosen by event time alone.

use super::kind::{Shape, WindowKind};
use super::slices::Slices;
use crate::error::Result;
use crate::plan::WindowParameters;

/// `TUMBLE(TABLE t, DESCRIPTOR(ts), size [, offset])`.
pub static KIND: WindowKind =
    WindowKind { name: "tumble", about: "Windows of one size, end to end, without gaps or overlap.", arguments: &["size"], open };

fn open(parameters: &WindowParameters) -> Result<Shape> {
    let [size] = KIND.intervals(parameters)?;
    Ok(Shape::Sliced(Slices::hopping(size, size, parameters.offset)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;

    fn parameters(sizes: &[i64], offset: i64) -> WindowParameters {
        WindowParameters { kind: "tumble".to_owned(), sizes: sizes.to_vec(), offset }
    }

    #[test]
    fn windows_are_aligned_to_the_offset_on_both_sides_of_the_epoch() {
        for (offset, want) in
            [(0, [0, 0, 10_000, -10_000]), (3_000, [-7_000, 3_000, 3_000, -7_000]), (-17_000, [-7_000, 3_000, 3_000, -7_000])]
        {
            let Shape::Sliced(slices) = open(&parameters(&[10_000], offset)).unwrap() else { panic!("no slices") };
            assert_eq!([0, 9_999, 10_000, -1].map(|t| slices.slice(t)), want.map(|start| (start, start + 10_000)), "{offset}");
        }
    }

    #[test]
    fn sizes_that_make_no_window_are_refused() {
        for (sizes, offset, part) in [
            (vec![10], 0, "1 millisecond"),
            (vec![4_000 * DAY], 0, "10 years"),
            (vec![1_500], 0, "1 millisecond"),
            (vec![1_000, 1_000], 0, "got 2"),
            (vec![1_000], 1, "offset"),
        ] {
            let error = open(&parameters(&sizes, offset)).unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
    }
}
