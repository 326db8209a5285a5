//! Which small files of a day become one. Invariant: what becomes one fits into memory; however many files come, few are left after each round,
//! and a row is written a few times at most.
//!
//! ```text
//! size class    0       1        2          3           4            5
//! rows of it    < 64    < 512    < 4,096    < 32,768    < 262,144    more
//!               8 files or more of one class ──► one file of a later class, in recent/
//!                                            └─► beyond SEAL_ROWS_MIN or SEAL_BYTES_MIN: one in data/
//! ```
//!
//! Rows make the classes, because those of merged files add up; bytes may shrink, and a file could stay in its class for ever. It can in class 0
//! alone, where it has seven rows more each time.

use crate::lake::layout::Level;
use crate::limits::{RECENT_FILES_MAX, SEAL_BYTES_MAX, SEAL_BYTES_MIN, SEAL_ROWS_MAX, SEAL_ROWS_MIN};

/// Least number of files of one class that are merged; also how many times the rows of a class the next one has.
const CLASS_FILES: usize = 8;
/// Size classes.
const CLASSES: u32 = 6;
/// Least rows of a file in class 1.
const CLASS_ROWS: u64 = 64;

const _: () = assert!((CLASS_FILES - 1) * CLASSES as usize <= RECENT_FILES_MAX, "after a round there are not too many files");
const _: () = assert!(2 * SEAL_BYTES_MIN <= SEAL_BYTES_MAX, "files that do not fit together are enough to be sealed");
const _: () = assert!(2 * SEAL_ROWS_MIN <= SEAL_ROWS_MAX, "files that do not fit together are enough to be sealed");

/// How much is in a file, or in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Its rows.
    pub(super) rows: u64,
    /// Bytes of its values before they were compressed.
    pub(super) bytes: u64,
}

impl Size {
    fn with(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }

    fn fits_into_memory(self) -> bool {
        self.rows <= SEAL_ROWS_MAX && self.bytes <= SEAL_BYTES_MAX
    }

    fn is_enough_to_seal(self) -> bool {
        self.rows > SEAL_ROWS_MIN || self.bytes > SEAL_BYTES_MIN
    }

    fn class(self) -> u32 {
        (self.rows / CLASS_ROWS).checked_ilog(CLASS_FILES as u64).map_or(0, |n| (n + 1).min(CLASSES - 1))
    }
}

/// Files that become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rewrite {
    /// Their places among those of the day.
    pub(super) files: Vec<usize>,
    /// What the one is: merged, or sealed.
    pub(super) level: Level,
}

/// Files that may become one.
#[derive(Debug, Clone)]
struct Group {
    size: Size,
    files: Vec<usize>,
}

/// All files of a day that is to be sealed, as few as fit into memory.
pub(super) fn all(sizes: &[Size]) -> Vec<Rewrite> {
    let sealed = |bin: Vec<Group>| Rewrite { files: bin.into_iter().flat_map(|g| g.files).collect(), level: Level::Sealed };
    pack(singles(sizes)).into_iter().map(sealed).collect()
}

/// Those of a day that lasts which are merged with others of their class, and those that are enough to be sealed; others stay as they are. The
/// files are in the order in which they came.
pub(super) fn alike(sizes: &[Size]) -> Vec<Rewrite> {
    let mut groups = singles(sizes);
    for class in 0..CLASSES {
        let (alike, others): (Vec<Group>, Vec<Group>) =
            groups.into_iter().partition(|g| !g.size.is_enough_to_seal() && g.size.class() == class);
        groups = others;
        if alike.len() < CLASS_FILES {
            groups.extend(alike);
            continue;
        }
        for bin in pack(alike) {
            let size = bin.iter().fold(Size { rows: 0, bytes: 0 }, |size, g| size.with(g.size));
            if bin.len() >= CLASS_FILES || size.is_enough_to_seal() {
                groups.push(Group { size, files: bin.into_iter().flat_map(|g| g.files).collect() });
            } else {
                groups.extend(bin);
            }
        }
    }
    let rewrite = |g: Group| {
        let level = if g.size.is_enough_to_seal() { Level::Sealed } else { Level::Merged };
        (level == Level::Sealed || g.files.len() > 1).then_some(Rewrite { files: g.files, level })
    };
    groups.into_iter().filter_map(rewrite).collect()
}

fn singles(sizes: &[Size]) -> Vec<Group> {
    sizes.iter().enumerate().map(|(i, &size)| Group { size, files: vec![i] }).collect()
}

/// Cuts groups, in their order, where more would not fit into memory together.
fn pack(groups: Vec<Group>) -> Vec<Vec<Group>> {
    let mut bins: Vec<(Size, Vec<Group>)> = Vec::new();
    for group in groups {
        match bins.last_mut() {
            Some((size, bin)) if size.with(group.size).fits_into_memory() => {
                *size = size.with(group.size);
                bin.push(group);
            }
            _ => bins.push((group.size, vec![group])),
        }
    }
    bins.into_iter().map(|(_, bin)| bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(rows: &[u64]) -> Vec<Size> {
        rows.iter().map(|&rows| Size { rows, bytes: 100 * rows }).collect()
    }

    /// Small files of a day, each with how often its rows were written since they came.
    #[derive(Default)]
    struct Day {
        recent: Vec<(Size, u32)>,
        sealed: Vec<(Size, u32)>,
        /// Rows that came.
        came: u64,
    }

    impl Day {
        fn come(&mut self, files: impl IntoIterator<Item = Size>) {
            for size in files {
                self.came += size.rows;
                self.recent.push((size, 0));
            }
        }

        /// Does what is decided. Bytes of merged files become fewer by `shrink`.
        fn round(&mut self, shrink: u64) {
            if self.recent.len() <= RECENT_FILES_MAX {
                return;
            }
            let sizes: Vec<Size> = self.recent.iter().map(|(size, _)| *size).collect();
            let mut gone = vec![false; sizes.len()];
            let mut merged = Vec::new();
            for rewrite in alike(&sizes) {
                let old: Vec<(Size, u32)> = rewrite.files.iter().map(|&i| self.recent[i]).collect();
                for &i in &rewrite.files {
                    assert!(!std::mem::replace(&mut gone[i], true), "a file is in two");
                }
                let size = old.iter().fold(Size { rows: 0, bytes: 0 }, |size, old| size.with(old.0));
                assert!(size.fits_into_memory());
                assert_eq!(rewrite.level == Level::Sealed, size.is_enough_to_seal());
                let new = (Size { bytes: size.bytes / shrink, ..size }, old.iter().map(|old| old.1).max().unwrap() + 1);
                if rewrite.level == Level::Sealed { self.sealed.push(new) } else { merged.push(new) }
            }
            let mut gone = gone.into_iter();
            self.recent.retain(|_| !gone.next().unwrap());
            self.recent.extend(merged);
            assert!(self.recent.len() <= (CLASS_FILES - 1) * CLASSES as usize, "{} files are left", self.recent.len());
            let left: Vec<Size> = self.recent.iter().map(|(size, _)| *size).collect();
            assert!(alike(&left).is_empty(), "a round leaves nothing to do");
            let rows: u64 = self.recent.iter().chain(&self.sealed).map(|(size, _)| size.rows).sum();
            assert_eq!(rows, self.came);
        }

        /// How often the rows that were written most often were.
        fn most(&self) -> u32 {
            self.recent.iter().chain(&self.sealed).map(|(_, times)| *times).max().unwrap_or(0)
        }
    }

    #[test]
    fn classes_are_eight_times_as_large_as_those_before() {
        let class = |rows| Size { rows, bytes: 0 }.class();
        let bounds = [64, 512, 4_096, 32_768, 262_144];
        assert_eq!(bounds.map(|rows| (class(rows - 1), class(rows))), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
        assert_eq!((class(0), class(u64::MAX)), (0, 5));
    }

    #[test]
    fn files_of_one_class_become_one_and_the_others_stay() {
        let merged = |files: &[usize]| Rewrite { files: files.to_vec(), level: Level::Merged };
        assert_eq!(alike(&[]), []);
        assert_eq!(alike(&sizes(&[1; 7])), []);
        assert_eq!(alike(&sizes(&[1; 8])), [merged(&[0, 1, 2, 3, 4, 5, 6, 7])]);
        assert_eq!(alike(&sizes(&[5_000, 1, 2, 3, 600, 4, 5, 6, 7, 8])), [merged(&[1, 2, 3, 5, 6, 7, 8, 9])]);
        // What eight of them become is one of eight of the next class: written once.
        let mut two_classes = vec![100; 7];
        two_classes.extend([10; 8]);
        assert_eq!(alike(&sizes(&two_classes)), [merged(&(0..15).collect::<Vec<_>>())]);
    }

    #[test]
    fn what_is_enough_is_sealed_and_no_more_than_fits() {
        let sealed = |files: &[usize]| Rewrite { files: files.to_vec(), level: Level::Sealed };
        let whole = |rows, bytes| Size { rows, bytes };
        assert_eq!(alike(&[whole(SEAL_ROWS_MIN, 1), whole(1, SEAL_BYTES_MIN)]), []);
        assert_eq!(alike(&[whole(SEAL_ROWS_MIN + 1, 1), whole(1, SEAL_BYTES_MIN + 1)]), [sealed(&[0]), sealed(&[1])]);
        // Six of these fit together by their rows, and two are too few to be merged.
        let eight = vec![whole(300_000, 1); 8];
        assert_eq!(alike(&eight), [sealed(&[0, 1, 2, 3, 4, 5])]);
        // Wide rows: by their bytes.
        let eight = vec![whole(10, SEAL_BYTES_MAX / 5); 8];
        assert_eq!(alike(&eight), [sealed(&[0, 1, 2, 3, 4]), sealed(&[5, 6, 7])]);
        assert_eq!(all(&eight), [sealed(&[0, 1, 2, 3, 4]), sealed(&[5, 6, 7])]);
        assert_eq!(all(&sizes(&[1, 1_000, 1])), [sealed(&[0, 1, 2])]);
    }

    #[test]
    fn a_day_of_commits_has_few_files_and_writes_rows_a_few_times() {
        // Files in a minute, rows of one, and what is bounded: sealed files, how often a row is written.
        for (files, rows, sealed_max, times_max) in
            [(60, 1, 0, 5), (60, 100, 8, 4), (60, 50_000, 2_200, 2), (6, 1, 0, 4), (6, 500_000, 2_200, 1), (1, 1, 0, 4)]
        {
            let mut day = Day::default();
            for _ in 0..24 * 60 {
                day.come(sizes(&vec![rows; files]));
                day.round(1);
            }
            assert!(day.sealed.len() <= sealed_max, "{files} files of {rows} rows a minute: {} are sealed", day.sealed.len());
            assert!(day.most() <= times_max, "{files} files of {rows} rows a minute: {} times", day.most());
            assert!(day.recent.len() <= RECENT_FILES_MAX);
            assert!(day.sealed.iter().all(|(size, _)| size.is_enough_to_seal()));
        }
    }

    #[test]
    fn files_of_any_size_are_bounded_and_written_a_few_times() {
        // At most nine times until class 0 is left, once more into each class after the next, and sealed.
        let most = 9 + (CLASSES - 2) + 1;
        let mut random = 1u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for history in 0..40 {
            let (mut day, shrink) = (Day::default(), 1 + history % 4);
            for _ in 0..200 {
                let (bits, width) = (1 + below(20), [1, 20, 2_000, 100_000][below(4) as usize]);
                let files: Vec<Size> = (0..below(130))
                    .map(|_| 1 + below(1 << bits))
                    .map(|rows| Size { rows, bytes: (rows * width).min(SEAL_BYTES_MAX / 4) })
                    .collect();
                day.come(files);
                day.round(shrink);
            }
            assert!(day.most() <= most, "history {history}: {} times", day.most());
        }
    }
}
