//! T15: random stream queries against batch queries over the same rows. Invariant: each round is a case of its own seed, which alone
//! repeats it; `tests/differ/` says what a case is.

use std::collections::BTreeMap;
use std::time::Instant;

use thalweg_differ::bugs::Bug;
use thalweg_differ::campaign::{Examples, NOT_JUDGED_PERCENT_MAX, REFUSED_PERCENT_MAX, count_of, run as run_cases};

use crate::harness::{Canary, Report, Settings, Test};

/// Reasons that are listed.
const REASONS_SHOWN: usize = 12;

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
        Canary { name: "late-kept", about: "rows that are late count", count: 400 },
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
    report
        .notes
        .push(format!("{} rows, {} late ones left out, {} empty results, {speed:.0} queries/s", found.rows, found.late, found.empty));
    report
        .notes
        .push(found.shapes.iter().map(|(shape, (cases, empty))| format!("{shape} {cases} ({empty} empty)")).collect::<Vec<_>>().join(", "));
    report.notes.push(format!("{} refused ({percent:.2} %)", found.refusals()));
    report.notes.extend(reasons("refused", &found.refused));
    let unjudged = found.not_judged_percent();
    report.notes.push(format!("{} not judged, because the oracle fails ({unjudged:.2} %)", count_of(&found.not_judged)));
    report.notes.extend(reasons("not judged", &found.not_judged));
    // A few queries say nothing about a share.
    if percent >= REFUSED_PERCENT_MAX && found.cases >= 100 {
        report.violations.push(format!("{percent:.2} % of the queries are refused, {REFUSED_PERCENT_MAX} % at most may be"));
    }
    if unjudged >= NOT_JUDGED_PERCENT_MAX && found.cases >= 1_000 {
        report.violations.push(format!("{unjudged:.2} % of the queries are not judged, {NOT_JUDGED_PERCENT_MAX} % at most may be"));
    }
    Ok(report)
}

/// The most frequent reasons, each with an example.
fn reasons<'a>(what: &'a str, all: &'a BTreeMap<String, Examples>) -> impl Iterator<Item = String> + 'a {
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_by_key(|(_, examples)| std::cmp::Reverse(examples.count));
    let line = move |(why, Examples { count, seed, query }): (&String, &Examples)| format!("  {count} {what}: {why}; seed {seed}: {query}");
    sorted.into_iter().take(REASONS_SHOWN).map(line)
}
