//! Slices: the pieces of event time between two places where a window begins or ends. Invariant: every time lies in exactly one slice,
//! and a window is made of whole slices, so that rows are aggregated once a slice, however many windows it is in.
//!
//! ```text
//! HOP(slide 4, size 6)       |0   |4   |8   |12        at most two slices a slide: one up to where an older window ends, one after it
//! slices                     [ ][ ][ ][ ][ ][ ]
//! windows                    [.....]   [.....]
//!                                 [.....]
//! ```

use crate::error::{Error, Result};
use crate::limits::WINDOWS_PER_ROW_MAX;
use crate::time::Micros;

/// Slices and windows of one window definition. A window is known by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slices {
    growth: Growth,
    size: Micros,
    offset: Micros,
    /// Distance of two ends of windows.
    every: Micros,
    /// In each `every`, a slice ends after this much; 0 if it is one slice.
    cut: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// Windows of one size, one every slide.
    Fixed,
    /// Windows that begin together and end one step after the other, up to the size.
    Cumulative,
}

impl Slices {
    /// A window of `size` every `slide`; all in microseconds, the offset of any sign. Errors: a row would be in too many windows.
    pub fn hopping(slide: Micros, size: Micros, offset: Micros) -> Result<Self> {
        bounded(size, slide)?;
        Ok(Self { growth: Growth::Fixed, size, offset: offset.rem_euclid(slide), every: slide, cut: size % slide })
    }

    /// Windows of `step`, twice `step` and so on up to `size`, then anew. Errors: a row would be in too many windows.
    pub fn cumulative(step: Micros, size: Micros, offset: Micros) -> Result<Self> {
        bounded(size, step)?;
        Ok(Self { growth: Growth::Cumulative, size, offset: offset.rem_euclid(size), every: step, cut: 0 })
    }

    /// Start (inclusive) and end (exclusive) of the slice that `time` lies in.
    pub fn slice(&self, time: Micros) -> (Micros, Micros) {
        let base = floor(time, self.every, self.offset);
        if self.cut == 0 {
            (base, base.saturating_add(self.every))
        } else if time.saturating_sub(base) < self.cut {
            (base, base.saturating_add(self.cut))
        } else {
            (base.saturating_add(self.cut), base.saturating_add(self.every))
        }
    }

    /// The first end, behind `ahead`, of the windows over the slice that starts at `start`; `None` if there is none, because all of
    /// them are over or because it lies between windows (`last_end` tells). `ahead` is `time::ahead` of the watermark.
    pub fn first_end(&self, start: Micros, ahead: Micros) -> Option<Micros> {
        let anchor = match self.growth {
            Growth::Fixed => self.offset.saturating_add(self.size),
            Growth::Cumulative => self.offset,
        };
        let end = floor(start.max(ahead), self.every, anchor).saturating_add(self.every);
        self.last_end(start).filter(|&last| end <= last).map(|_| end)
    }

    /// The last end of the windows over the slice that starts at `start`; `None` if it lies between windows.
    pub fn last_end(&self, start: Micros) -> Option<Micros> {
        let begin = match self.growth {
            Growth::Fixed => floor(start, self.every, self.offset),
            Growth::Cumulative => floor(start, self.size, self.offset),
        };
        Some(begin.saturating_add(self.size)).filter(|&end| end > start)
    }

    /// The end of the window that ends next after the one that ends at `end`.
    pub fn next_end(&self, end: Micros) -> Micros {
        end.saturating_add(self.every)
    }

    /// Start of the window that ends at `end`.
    pub fn window_start(&self, end: Micros) -> Micros {
        match self.growth {
            Growth::Fixed => end.saturating_sub(self.size),
            Growth::Cumulative => floor(end.saturating_sub(1), self.size, self.offset),
        }
    }

    /// Stands for the slices that have the same windows still to come, once the first window over each of them has closed. It lies in
    /// those windows.
    pub fn representative(&self, start: Micros) -> Micros {
        match self.growth {
            Growth::Fixed => start,
            Growth::Cumulative => floor(start, self.size, self.offset),
        }
    }

    /// How many windows a row lies in at most.
    pub fn windows_per_row(&self) -> i64 {
        self.size / self.every + i64::from(self.cut > 0)
    }
}

/// The last `anchor + n * step` that is not after `time`.
fn floor(time: Micros, step: Micros, anchor: Micros) -> Micros {
    time.saturating_sub(time.saturating_sub(anchor).rem_euclid(step))
}

fn bounded(size: Micros, every: Micros) -> Result<()> {
    if size / every > WINDOWS_PER_ROW_MAX {
        return Err(Error::invalid(format!("a row would lie in more than {WINDOWS_PER_ROW_MAX} windows"))
            .hint("let windows begin or end less often, or make them shorter"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All windows over `time`, counted out.
    fn windows(growth: Growth, every: i64, size: i64, offset: i64, time: i64) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        let near = (time - offset) / if growth == Growth::Fixed { every } else { size };
        for n in near - 65..near + 2 {
            match growth {
                Growth::Fixed => found.push((offset + n * every, offset + n * every + size)),
                Growth::Cumulative => found.extend((1..=size / every).map(|k| (offset + n * size, offset + n * size + k * every))),
            }
        }
        found.retain(|&(start, end)| (start..end).contains(&time));
        found.sort_by_key(|w| w.1);
        found
    }

    proptest! {
        #[test]
        fn windows_are_those_that_are_counted_out(
            every in 1i64..40, size in 1i64..60, offset in -300i64..300, time in -500i64..500, ahead in -600i64..700, fixed: bool,
        ) {
            let (growth, size) = if fixed { (Growth::Fixed, size) } else { (Growth::Cumulative, every * (size / every).max(1)) };
            let slices = if fixed { Slices::hopping(every, size, offset) } else { Slices::cumulative(every, size, offset) }.unwrap();
            let (start, end) = slices.slice(time);
            prop_assert!((start..end).contains(&time));
            let want = windows(growth, every, size, offset, time);
            for other in start..end {
                prop_assert_eq!(slices.slice(other), (start, end));
                prop_assert_eq!(&windows(growth, every, size, offset, other), &want);
            }
            let (mut got, mut next) = (Vec::new(), slices.first_end(start, i64::MIN));
            while let Some(end) = next {
                got.push((slices.window_start(end), end));
                next = Some(slices.next_end(end)).filter(|&e| e <= slices.last_end(start).unwrap());
            }
            prop_assert!(got.len() as i64 <= slices.windows_per_row());
            prop_assert_eq!(&got, &want);
            prop_assert_eq!(slices.last_end(start), want.last().map(|w| w.1));
            prop_assert_eq!(slices.first_end(start, ahead), want.iter().map(|w| w.1).find(|&e| e > ahead));
            let representative = slices.representative(start);
            prop_assert!(want.iter().all(|w| (w.0..w.1).contains(&representative)));
        }
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for slices in [Slices::hopping(4, 6, 3).unwrap(), Slices::cumulative(3, 9, 1).unwrap()] {
            for time in [i64::MIN, i64::MIN + 5, i64::MAX - 5, i64::MAX] {
                let (start, _) = slices.slice(time);
                slices.first_end(start, time);
                slices.window_start(start);
            }
            assert_eq!(slices.first_end(0, i64::MAX), None);
        }
    }

    #[test]
    fn a_row_in_too_many_windows_is_refused() {
        assert!(Slices::hopping(1, WINDOWS_PER_ROW_MAX + 1, 0).unwrap_err().message().contains("windows"));
        assert!(Slices::cumulative(1, WINDOWS_PER_ROW_MAX, 0).is_ok());
    }
}
