//! T15: random stream queries against batch queries over the same rows. Invariant: each round is a case of its own seed, which alone
//! repeats it; `tests/differ/` says what a case is.

use std::time::Instant;

use thalweg_differ::bugs::Bug;
use thalweg_differ::campaign::{REFUSED_PERCENT_MAX, Refused, run as run_cases};

use crate::harness::{Canary, Report, Settings, Test};

/// Refusals that are listed.
const REFUSALS_SHOWN: usize = 12;

/// The test. Its short form has a fixed seed and is a test of its own crate.
pub static TEST: Test = Test {
    name: "sql",
    about: "random stream queries over shuffled rows, cut and restarted anyhow, against batch queries over the same rows",
    unit: "queries",
    count: 10_000,
    gate: None,
    needs: &[],
    canaries: &[
        Canary { name: "edge-shifted", about: "a row on the edge of two windows counts to the earlier one", count: 400 },
        Canary { name: "null-is-zero", about: "numbers that are NULL count as 0", count: 400 },
        Canary { name: "old-rows-kept", about: "rows that are taken back stay", count: 400 },
        Canary { name: "record-lost", about: "one record is lost", count: 400 },
        Canary { name: "record-repeated", about: "one record is fed twice", count: 400 },
        Canary { name: "state-forgotten", about: "state is lost in a restart", count: 400 },
    ],
    run,
};

fn run(settings: &Settings) -> Result<Report, String> {
    let bug = match &settings.bug {
        None => None,
        Some(name) => Some(Bug::named(name).ok_or(format!("there is no bug {name}"))?),
    };
    let start = Instant::now();
    let found = run_cases(settings.count, settings.seed, bug)?;
    let mut report = Report { runs: found.cases, violations: found.differences.clone(), notes: Vec::new() };
    let (speed, percent) = (found.cases as f64 / start.elapsed().as_secs_f64(), found.refused_percent());
    report.notes.push(format!("{} rows, {} empty results, {speed:.0} queries/s", found.rows, found.empty));
    report
        .notes
        .push(found.shapes.iter().map(|(shape, (cases, empty))| format!("{shape} {cases} ({empty} empty)")).collect::<Vec<_>>().join(", "));
    report.notes.push(format!("{} refused ({percent:.2} %)", found.refusals()));
    let mut refused: Vec<_> = found.refused.iter().collect();
    refused.sort_by_key(|(_, refused)| std::cmp::Reverse(refused.count));
    for (why, Refused { count, seed, query }) in refused.into_iter().take(REFUSALS_SHOWN) {
        report.notes.push(format!("  {count} refused: {why}; seed {seed}: {query}"));
    }
    // A few queries say nothing about a share.
    if percent >= REFUSED_PERCENT_MAX && found.cases >= 100 {
        report.violations.push(format!("{percent:.2} % of the queries are refused, {REFUSED_PERCENT_MAX} % at most may be"));
    }
    Ok(report)
}
