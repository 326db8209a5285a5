//! Tumbling windows. Invariant: a row belongs to exactly one window, `[n·size, (n+1)·size)`, chosen by event time alone.

use super::slices::{Slices, WindowKind};
use crate::error::{Error, Result};
use crate::time::{DAY, MILLISECOND, Micros};

/// `TUMBLE(TABLE t, DESCRIPTOR(ts), size)`.
pub static KIND: WindowKind =
    WindowKind { name: "tumble", about: "Windows of one size, end to end, without gaps or overlap.", arguments: &["size"], open };

fn open(sizes: &[Micros]) -> Result<Slices> {
    let [size] = sizes else {
        return Err(Error::invalid(format!("TUMBLE takes one interval, its size, and got {}", sizes.len())));
    };
    if *size < MILLISECOND || *size > 3_660 * DAY {
        return Err(Error::invalid("the size of a TUMBLE window must lie between 1 millisecond and 10 years"));
    }
    Ok(Slices { width: *size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_to_the_epoch_on_both_sides_of_it() {
        let slices = open(&[10]).unwrap_err();
        assert!(slices.message().contains("1 millisecond"));
        let s = open(&[10_000]).unwrap();
        assert_eq!([s.start(0), s.start(9_999), s.start(10_000), s.start(-1)], [0, 0, 10_000, -10_000]);
        assert_eq!(s.end(10_000), 20_000);
    }
}
