//! Many cases. Invariant: which cases are run does not depend on how many threads run them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bugs::Bug;
use crate::case::Case;
use crate::judge::{Difference, Judge, Verdict, told};
use crate::shrink::shrink;
use crate::tables::TABLES;
use crate::values::shown;

/// Rows of each side that a report shows.
const ROWS_SHOWN: usize = 5;
/// Rows that are fed and shown, if there are no more.
const FED_SHOWN: usize = 12;
/// Of a hundred queries at most so many may be refused.
pub const REFUSED_PERCENT_MAX: f64 = 2.0;
/// Of a hundred queries the oracle may fail at most at so many.
pub const NOT_JUDGED_PERCENT_MAX: f64 = 0.5;

/// What cases gave.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that were run.
    pub cases: u64,
    /// Rows of their results.
    pub rows: u64,
    /// Cases whose result is empty.
    pub empty: u64,
    /// Of each shape, cases, and those whose result is empty.
    pub shapes: BTreeMap<&'static str, (u64, u64)>,
    /// Rows that came too late, and were left out as they should be.
    pub late: u64,
    /// Queries that were refused: why, and which.
    pub refused: BTreeMap<String, Examples>,
    /// Cases at which the oracle failed: why, and which.
    pub not_judged: BTreeMap<String, Examples>,
    /// Cases that differ, each with all that it takes to repeat it.
    pub differences: Vec<String>,
}

/// Queries of which the same is to be said.
#[derive(Debug, Default)]
pub struct Examples {
    /// How many.
    pub count: u64,
    /// Seed of one.
    pub seed: u64,
    /// That one.
    pub query: String,
}

/// How many queries there are, whatever the reason.
pub fn count_of(all: &BTreeMap<String, Examples>) -> u64 {
    all.values().map(|examples| examples.count).sum()
}

impl Report {
    /// How many queries were refused.
    pub fn refusals(&self) -> u64 {
        count_of(&self.refused)
    }

    /// Of a hundred cases, at how many the oracle failed.
    pub fn not_judged_percent(&self) -> f64 {
        count_of(&self.not_judged) as f64 * 100.0 / self.cases.max(1) as f64
    }

    /// How many of a hundred.
    pub fn refused_percent(&self) -> f64 {
        self.refusals() as f64 * 100.0 / self.cases.max(1) as f64
    }
}

/// Runs `count` cases from `seed` on; with a bug, until it is found.
pub fn run(count: u64, seed: u64, bug: Option<Bug>) -> Result<Report, String> {
    let (next, report) = (AtomicU64::new(0), Mutex::new(Report::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || -> Result<(), String> {
        let mut judge = Judge::new(bug)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let is_found = bug.is_some() && report.lock().is_ok_and(|r| !r.differences.is_empty());
            if number >= count || is_found {
                return Ok(());
            }
            let case = Case::new(seed.wrapping_add(number), bug);
            let verdict = judge.judge(&case);
            let told = match &verdict {
                Verdict::Differs(difference) if bug.is_none() => Some(explain(&mut judge, &case, difference)),
                Verdict::Differs(_) => Some(format!("seed {} ({}) differs", case.seed, case.query.shape)),
                _ => None,
            };
            let Ok(mut report) = report.lock() else { return Ok(()) };
            report.cases += 1;
            let shape = report.shapes.entry(case.query.shape).or_default();
            *shape = (shape.0 + 1, shape.1 + u64::from(matches!(verdict, Verdict::Same { rows: 0, .. })));
            let one = || Examples { count: 0, seed: case.seed, query: case.query.stream.clone() };
            match verdict {
                Verdict::Same { rows, late } => {
                    report.rows += rows as u64;
                    report.late += late as u64;
                    report.empty += u64::from(rows == 0);
                }
                Verdict::Refused(why) => report.refused.entry(why).or_insert_with(one).count += 1,
                Verdict::NotJudged(why) => report.not_judged.entry(why).or_insert_with(one).count += 1,
                Verdict::Differs(_) => report.differences.extend(told),
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| "a worker panicked".to_owned())?)
    })?;
    report.into_inner().map_err(|e| e.to_string())
}

/// All that somebody who repeats a case needs.
fn explain(judge: &mut Judge, case: &Case, difference: &Difference) -> String {
    let mut lines = vec![
        format!("seed {}: the stream and the oracle differ ({})", case.seed, case.query.shape),
        format!("  stream: {}", case.query.stream),
        format!("  batch:  {}", case.query.batch),
        format!("  run in {}", case.way),
    ];
    lines.extend(sides(difference));
    let (entries, way) = shrink(judge, case);
    lines.push(format!("  {} of {} rows do, in {way}", entries.len(), case.entries.len()));
    if entries.len() <= FED_SHOWN {
        let fed = entries.iter().map(|e| match &e.values {
            Some(values) => format!("    {} ({}): {}", TABLES[e.table].name, e.device, shown(values)),
            None => format!("    {} ({}): a record that cannot be used", TABLES[e.table].name, e.device),
        });
        lines.extend(fed);
        if let Verdict::Differs(difference) = judge.judge_rows(case, &entries, &way) {
            lines.extend(sides(&difference));
        }
    }
    lines.push(format!("  repeat: cargo xtask torture sql --rounds 1 --seed {}", case.seed));
    lines.join("\n")
}

fn sides(difference: &Difference) -> Vec<String> {
    match difference {
        Difference::Failed(what) => vec![format!("  {what}")],
        Difference::Rows(stream, oracle) => {
            let side = |name: &str, rows: &[_]| -> Vec<String> {
                told(rows, ROWS_SHOWN).into_iter().map(|line| format!("    only {name}: {line}")).collect()
            };
            [side("the stream", stream), side("the oracle", oracle)].concat()
        }
    }
}
