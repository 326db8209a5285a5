//! The judgement of one variant. Invariant: whatever is served is compared, also where damage was told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use thalweg_engine::log::sim::SimDisk;

use super::KEPT_MAX;
use super::base::{Base, add, disk_of, open, read_all, stream};
use super::variants::Variant;

/// What must come out; see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// No problem, and exactly the records below this offset.
    Torn(u64),
    /// A problem, or all records.
    Noticed,
    /// A problem, or all records, or exactly those below this offset.
    NoticedOrTorn(u64),
}

/// What came out of many variants.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Variants whose damage was told.
    pub detected: u64,
    /// Variants of which all records were there.
    pub harmless: u64,
    /// Variants whose tail was cut off.
    pub torn: u64,
    /// What should not be.
    pub violations: Vec<String>,
}

impl Findings {
    /// Adds those of another thread.
    pub fn add(&mut self, other: Self) {
        self.detected += other.detected;
        self.harmless += other.harmless;
        self.torn += other.torn;
        self.violations.extend(other.violations);
    }
}

/// Opens and reads a variant, and judges what came out.
pub fn judge(base: &Base, variant: &Variant, findings: &mut Findings) {
    let disk = match disk_of(&variant.files(base)) {
        Ok(disk) => disk,
        Err(e) => return blame(findings, base, variant, e),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| match open(&disk) {
        Ok(logs) => read_all(&logs),
        Err(e) => (vec![e], Vec::new()),
    }));
    let Ok((problems, records)) = outcome else {
        return blame(findings, base, variant, "opening or reading panicked".to_owned());
    };
    if let Some(at) = differs(base, &records) {
        return blame(findings, base, variant, format!("a record that is served at place {at} differs, problems: {problems:?}"));
    }
    let (all, count) = (records.len() == base.records.len(), records.len() as u64);
    let quiet = problems.is_empty();
    match variant.law {
        Law::Torn(end) if !quiet => blame(findings, base, variant, format!("a legal tail at offset {end} is refused: {}", problems[0])),
        Law::Torn(end) if count != end => blame(findings, base, variant, format!("{count} records are there instead of {end}")),
        Law::Noticed if quiet && !all => blame(findings, base, variant, format!("only {count} records are there, and nothing is said")),
        Law::NoticedOrTorn(end) if quiet && !all && count != end => {
            blame(findings, base, variant, format!("{count} records are there instead of {end}, and nothing is said"));
        }
        Law::Torn(end) => {
            if let Err(e) = goes_on(&disk, end) {
                blame(findings, base, variant, format!("it does not go on: {e}"));
            }
        }
        _ => {}
    }
    match (quiet, all) {
        (false, _) => findings.detected += 1,
        (true, true) => findings.harmless += 1,
        (true, false) => findings.torn += 1,
    }
}

fn blame(findings: &mut Findings, base: &Base, variant: &Variant, what: String) {
    if findings.violations.len() < KEPT_MAX {
        findings.violations.push(format!("{} log, {}: {what}", base.name, variant.what));
    }
}

/// The first record served that is not the one that was stored there. Records are served from the oldest on.
fn differs(base: &Base, records: &[Vec<u8>]) -> Option<usize> {
    (0..records.len()).find(|at| base.records.get(*at) != Some(&records[*at]))
}

/// A recovered log takes a record at its end, and the next start finds everything without repairing anything.
fn goes_on(disk: &SimDisk, end: u64) -> Result<(), String> {
    let logs = open(disk)?;
    let offset = add(&*stream(&logs)?, 1000 + end, b"more")?;
    if offset != end {
        return Err(format!("the next record has offset {offset} instead of {end}"));
    }
    logs.close();
    drop(logs);
    let (problems, records) = read_all(&*open(disk)?);
    if problems.is_empty() && records.len() as u64 == end + 1 {
        return Ok(());
    }
    Err(format!("{} records instead of {} at the next start: {problems:?}", records.len(), end + 1))
}
