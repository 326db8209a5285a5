//! The frame of each row. Invariant: frames begin and end no earlier than the one before, so that all of them take one pass.

use crate::plan::Frame;
use crate::time::Micros;

/// Frames of rows of one partition, one after another.
pub struct Frames<'a> {
    frame: Frame,
    /// Times of all rows in sight, in order.
    times: &'a [Micros],
    /// The next row.
    row: usize,
    start: usize,
    end: usize,
}

impl<'a> Frames<'a> {
    /// The frames of the rows from `first` on.
    pub fn new(frame: Frame, times: &'a [Micros], first: usize) -> Self {
        Self { frame, times, row: first, start: 0, end: first }
    }
}

impl Iterator for Frames<'_> {
    /// Where a frame begins, and where it has ended.
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let time = *self.times.get(self.row)?;
        match self.frame {
            Frame::Rows(None) | Frame::Range(None) => {}
            Frame::Rows(Some(rows)) => self.start = self.row.saturating_sub(usize::try_from(rows).unwrap_or(usize::MAX)),
            Frame::Range(Some(sight)) => {
                while self.times[self.start] < time.saturating_sub(sight) {
                    self.start += 1;
                }
            }
        }
        self.row += 1;
        self.end = self.end.max(self.row);
        if matches!(self.frame, Frame::Range(_)) {
            while self.times.get(self.end) == Some(&time) {
                self.end += 1;
            }
        }
        Some((self.start, self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_sql() {
        let times = [10, 10, 12, 20, 20, 21];
        let frames = |frame, first| Frames::new(frame, &times, first).collect::<Vec<_>>();
        assert_eq!(frames(Frame::Rows(Some(1)), 2), [(1, 3), (2, 4), (3, 5), (4, 6)]);
        assert_eq!(frames(Frame::Rows(Some(0)), 4), [(4, 5), (5, 6)]);
        assert_eq!(frames(Frame::Rows(None), 3), [(0, 4), (0, 5), (0, 6)]);
        assert_eq!(frames(Frame::Range(Some(8)), 0), [(0, 2), (0, 2), (0, 3), (2, 5), (2, 5), (3, 6)]);
        assert_eq!(frames(Frame::Range(Some(0)), 3), [(3, 5), (3, 5), (5, 6)]);
        assert_eq!(frames(Frame::Range(None), 2), [(0, 3), (0, 5), (0, 5), (0, 6)]);
    }
}
