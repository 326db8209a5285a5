//! What every test is: a name, what it needs, its canaries, and a function from settings to what it found. Invariant: a zero
//! is printed with its upper bound, and a canary that is not found is a failure.

use std::fmt;
use std::time::Instant;

use crate::machine::Need;

const SHOWN_MAX: usize = 8;

/// One test.
#[derive(Debug)]
pub struct Test {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What one run of it is called, in plural.
    pub unit: &'static str,
    /// Runs by default; `u64::MAX` for all there are.
    pub count: u64,
    /// Runs in the gate; `None` if it is too long for it.
    pub gate: Option<u64>,
    /// What it cannot do without.
    pub needs: &'static [Need],
    /// Seeded bugs that it must find.
    pub canaries: &'static [Canary],
    /// The test.
    pub run: fn(&Settings) -> Result<Report, String>,
}

/// A seeded bug.
#[derive(Debug)]
pub struct Canary {
    /// Its name.
    pub name: &'static str,
    /// What is wrong.
    pub about: &'static str,
    /// Runs within which it must be found.
    pub count: u64,
}

/// What a test is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Runs.
    pub count: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Seeded bug.
    pub bug: Option<String>,
}

impl Settings {
    /// Whether this bug was seeded.
    pub fn has(&self, bug: &str) -> bool {
        self.bug.as_deref() == Some(bug)
    }
}

/// What a test found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Runs that were judged.
    pub runs: u64,
    /// What should not be, a line each.
    pub violations: Vec<String>,
    /// What else is worth knowing, a line each.
    pub notes: Vec<String>,
}

impl Report {
    /// Adds violations, each with where it was seen.
    pub fn blame(&mut self, place: impl fmt::Display, violations: impl IntoIterator<Item = String>) {
        self.violations.extend(violations.into_iter().map(|violation| format!("{place}: {violation}")));
    }
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was found; or a canary was.
    Passed,
    /// Something was found; or a canary was not; or the test could not be run to its end.
    Failed,
    /// The machine cannot do it.
    Skipped,
}

/// Runs a test and prints what came out; the last line has the figure.
pub fn run(test: &Test, settings: &Settings) -> Outcome {
    let seed = settings.seed;
    if let Some(why) = test.needs.iter().find_map(|need| need.missing()) {
        println!("{}: SKIPPED: {why}", test.name);
        return Outcome::Skipped;
    }
    println!("{}: {}; seed {seed}", test.name, test.about);
    let start = Instant::now();
    let report = match (test.run)(settings) {
        Ok(report) => report,
        Err(e) => {
            println!("{}: FAILED: could not be run: {e}; seed {seed}", test.name);
            return Outcome::Failed;
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    report.notes.iter().for_each(|note| println!("{}: {note}", test.name));
    let (runs, unit) = (report.runs, test.unit);
    if report.violations.is_empty() && runs > 0 {
        let percent = 300.0 / runs as f64;
        println!("{}: 0 in {runs} {unit}: fewer than 3/{runs} at 95 % ({percent:.2} %); {seconds:.1} s", test.name);
        return Outcome::Passed;
    }
    show(&report.violations);
    println!("{}: FAILED: {} violations in {runs} {unit}; seed {seed}; {seconds:.1} s", test.name, report.violations.len());
    Outcome::Failed
}

/// Runs a test with each of its canaries; prints one line for each and a last one with the count. Returns how many were
/// found, and how many there are; `None` if the machine cannot do it.
pub fn run_canaries(test: &Test, seed: u64) -> Option<(u64, u64)> {
    if let Some(why) = test.needs.iter().find_map(|need| need.missing()) {
        println!("{}: canaries SKIPPED: {why}", test.name);
        return None;
    }
    let mut caught = 0;
    for canary in test.canaries {
        let start = Instant::now();
        let found = (test.run)(&Settings { count: canary.count, seed, bug: Some(canary.name.to_owned()) });
        let seconds = start.elapsed().as_secs_f64();
        match found {
            Ok(report) if !report.violations.is_empty() => {
                caught += 1;
                let lost = report.violations.iter().find(|violation| violation.contains("acknowledged and lost"));
                let shown = lost.unwrap_or(&report.violations[0]);
                println!("{}: canary {} caught in {} {}, {seconds:.1} s: {shown}", test.name, canary.name, report.runs, test.unit);
            }
            Ok(report) => println!("{}: canary {} ({}) NOT caught in {} {}", test.name, canary.name, canary.about, report.runs, test.unit),
            Err(e) => println!("{}: canary {} could not be run: {e}", test.name, canary.name),
        }
    }
    let all = test.canaries.len() as u64;
    let names: Vec<_> = test.canaries.iter().map(|canary| canary.name).collect();
    println!("{}: canaries caught {caught} of {all}: {}", test.name, names.join(", "));
    Some((caught, all))
}

fn show(violations: &[String]) {
    violations.iter().take(SHOWN_MAX).for_each(|violation| println!("  {violation}"));
    if violations.len() > SHOWN_MAX {
        println!("  and {} more", violations.len() - SHOWN_MAX);
    }
}
