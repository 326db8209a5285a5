//! The short form: some hundred cases of a fixed seed, and every seeded bug. Invariant checked: both sides give the same rows, few queries
//! are refused, and no bug goes unnoticed.

use std::io::Write;

use thalweg_differ::bugs::Bug;
use thalweg_differ::campaign::{REFUSED_PERCENT_MAX, run};

/// The first case.
const SEED: u64 = 1;
/// Cases.
const CASES: u64 = 300;
/// Seeds of cases that once differed, or at which the oracle once failed.
const FOUND: &[u64] = &[3_475_450_072, 3_475_456_709];
/// Cases in which a bug must be found.
const CASES_OF_A_BUG: u64 = 400;

#[test]
fn streams_and_batches_give_the_same_rows() {
    let report = run(CASES, SEED, None).expect("both sides can be set up");
    assert!(report.differences.is_empty(), "{}", report.differences.join("\n\n"));
    // Past the test runner, which shows what is printed only of tests that fail.
    let (cases, rows, refused) = (report.cases, report.rows, report.refusals());
    let _ = writeln!(std::io::stderr(), "{cases} random queries, {rows} rows, {refused} refused, no difference");
    assert!(report.not_judged_percent() <= 1.0, "{:#?}", report.not_judged);
    assert!(report.late > 0, "no row is late");
    assert!(report.refused_percent() < REFUSED_PERCENT_MAX, "{:#?}", report.refused);
    assert!(report.empty * 5 < report.cases * 2, "{} of {} results are empty", report.empty, report.cases);
}

#[test]
fn what_once_differed_does_so_no_more() {
    for &seed in FOUND {
        let report = run(1, seed, None).expect("both sides can be set up");
        assert!(report.differences.is_empty(), "{}", report.differences.join("\n\n"));
        assert_eq!((report.refusals(), report.not_judged.len()), (0, 0), "seed {seed} is not judged");
    }
}

#[test]
fn every_seeded_bug_is_found() {
    for (name, bug, about) in Bug::ALL {
        let report = run(CASES_OF_A_BUG, SEED, Some(*bug)).expect("both sides can be set up");
        assert!(!report.differences.is_empty(), "{name} ({about}) was not found in {} cases", report.cases);
    }
}
