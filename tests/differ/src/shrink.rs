//! Fewer rows with the same fault. Invariant: what is left still differs, and in the same way of running if a simpler one does not.

use crate::case::Case;
use crate::data::Entry;
use crate::judge::{Judge, Verdict};
use crate::way::Way;

/// Runs that are spent on one case.
const RUNS_MAX: usize = 200;

/// The rows of a case that are left, and the way in which they still differ.
pub fn shrink(judge: &mut Judge, case: &Case) -> (Vec<Entry>, Way) {
    let mut runs = 0;
    let mut differs = |entries: &[Entry], way: &Way| {
        runs += 1;
        (runs <= RUNS_MAX && matches!(judge.judge_rows(case, entries, way), Verdict::Differs(_)), runs > RUNS_MAX)
    };
    let straight = Way::straight();
    let way = if differs(&case.entries, &straight).0 { straight } else { case.way.clone() };
    let mut entries = case.entries.clone();
    let mut part = entries.len().div_ceil(2);
    while part > 0 {
        let mut from = 0;
        while from < entries.len() {
            let to = (from + part).min(entries.len());
            let fewer: Vec<Entry> = entries[..from].iter().chain(&entries[to..]).cloned().collect();
            match differs(&fewer, &way) {
                (true, _) => entries = fewer,
                (false, true) => return (entries, way),
                (false, false) => from = to,
            }
        }
        part /= 2;
    }
    (entries, way)
}
