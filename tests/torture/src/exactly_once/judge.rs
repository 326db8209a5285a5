//! The judgement over a data directory whose engine has ended. Invariant: a pure comparison of what the oracle was told, what the
//! log holds, what the independent reader finds in the lake, and what the checkpoints count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use thalweg_engine::metrics::JobCounters;
use thalweg_engine::state::Checkpoint;

use super::expect::{Expected, Origin, expect};
use super::load::JOBS;
use super::reader::{self, Row, Table, number, text};
use crate::conservation::{checkpoints, difference, read_checkpoint};
use crate::oracle::{self, Event};

/// Problems of one kind that are told.
const SHOWN_MAX: usize = 3;

/// A sink that only adds rows, and the count of its job that says how many. One with a key adds whole buckets, which nothing counts.
struct Adding {
    job: &'static str,
    app: &'static str,
    table: &'static str,
    count: fn(&JobCounters) -> u64,
}

static ADDING: &[Adding] = &[
    Adding { job: "archive.telemetry", app: "archive.telemetry/main", table: "lake/cold/telemetry", count: |c| c.written },
    Adding { job: "archive.telemetry", app: "archive.telemetry/rejects", table: "lake/dlq/telemetry", count: |c| c.rejected },
    Adding { job: "windows", app: "windows/late", table: "lake/late/windows", count: |c| c.late },
    Adding { job: "windows", app: "windows/main", table: "lake/warm/windows", count: |c| c.written },
];

impl Adding {
    /// Whether the table has the rows that a checkpoint counts: those of all commits up to it, and those that it still has to commit.
    fn difference(&self, checkpoint: &Checkpoint, tables: &BTreeMap<String, Table>) -> Option<String> {
        let (none, epoch) = (BTreeMap::new(), checkpoint.epoch.cast_signed());
        let Some(prepared) = checkpoint.sinks.iter().find(|sink| sink.app_id == self.app) else {
            return Some(format!("checkpoint {epoch} of job {} has no sink {}", self.job, self.app));
        };
        let added = tables.get(self.table).and_then(|table| table.added.get(self.app)).unwrap_or(&none);
        let committed: u64 = added.range(..=epoch).map(|(_, rows)| rows).sum();
        let waiting: u64 = if added.contains_key(&epoch) { 0 } else { prepared.files.iter().map(|file| file.rows).sum() };
        let counted = (self.count)(&checkpoint.counters());
        (committed + waiting != counted).then(|| {
            let Self { job, app, .. } = self;
            format!("checkpoint {epoch} of job {job} counts {counted} rows of {app}, {committed} were committed and {waiting} are to be")
        })
    }
}

/// What a judgement looked at.
#[derive(Debug, Default)]
pub struct Judged {
    /// Records in the log.
    pub records: u64,
    /// Rows of results, late rows and rejects.
    pub rows: u64,
    /// Commits of all tables.
    pub commits: u64,
    /// Those of them that merged small files.
    pub merges: u64,
    /// What should not be.
    pub violations: Vec<String>,
}

/// What can be said after a crash, before anything has repaired itself: every table's log is whole, every file that it names is
/// there, the counts of every checkpoint balance, and tables have the rows that they count.
pub fn inspect(data: &Path) -> Vec<String> {
    let (mut violations, mut inspected) = (Vec::new(), BTreeMap::new());
    for directory in tables(data) {
        let name = directory.strip_prefix(data).unwrap_or(&directory).display().to_string();
        match reader::inspect(&directory) {
            Ok(table) => {
                violations.extend(table.problems.iter().map(|problem| format!("{name}: {problem}")));
                inspected.insert(name, table);
            }
            Err(e) => violations.push(e),
        }
    }
    for job in JOBS {
        for path in checkpoints(&data.join("checkpoints").join(job)) {
            match read_checkpoint(&path) {
                Ok(checkpoint) => {
                    violations.extend(difference(job, &checkpoint.counters()));
                    let sinks = ADDING.iter().filter(|sink| sink.job == *job);
                    violations.extend(sinks.filter_map(|sink| sink.difference(&checkpoint, &inspected)));
                }
                Err(e) => violations.push(e),
            }
        }
    }
    violations
}

/// Compares everything, after a clean end.
pub fn judge(data: &Path, journal: &[Event]) -> Result<Judged, String> {
    let contents = oracle::read_machine(&data.join("log"));
    let verdict = oracle::judge(journal, &contents.records, None);
    let mut judged = Judged { violations: contents.problems, ..Judged::default() };
    judged.violations.extend(verdict.violations);
    let expected = expect(&data.join("log"))?;
    judged.records = expected.records.len() as u64;
    let mut read = |name: &str| -> Result<Vec<Row>, String> {
        let Table { rows, commits, merges, problems, .. } = reader::read(&data.join("lake").join(name))?;
        judged.commits += commits;
        judged.merges += merges;
        judged.rows += rows.len() as u64;
        judged.violations.extend(problems.into_iter().map(|problem| format!("{name}: {problem}")));
        Ok(rows)
    };
    let (cold, late, dlq) = (read("cold/telemetry")?, read("late/windows")?, read("dlq/telemetry")?);
    let (windows, totals) = (read("warm/windows")?, read("warm/totals")?);
    judged.violations.extend(inspect(data));
    compare_cold(&cold, &expected, &mut judged.violations);
    compare_origins("late/windows", &late, &expected.late, &mut judged.violations);
    compare_origins("dlq/telemetry", &dlq, &expected.rejected, &mut judged.violations);
    let found = windows.iter().filter_map(|r| Some(((number(r, "window_start")?, text(r, "site")?.to_owned()), sums(r)?)));
    compare_results("warm/windows", found.collect(), windows.len(), &expected.windows, &mut judged.violations);
    let found = totals.iter().filter_map(|r| Some((text(r, "device_id")?.to_owned(), sums(r)?)));
    compare_results("warm/totals", found.collect(), totals.len(), &expected.totals, &mut judged.violations);
    judged.violations.extend(counts(data, &expected)?);
    Ok(judged)
}

fn sums(row: &Row) -> Option<(i64, i64)> {
    Some((number(row, "n")?, number(row, "total")?))
}

fn compare_cold(rows: &[Row], expected: &Expected, violations: &mut Vec<String>) {
    let origins = expected.records.keys().copied().collect();
    compare_origins("cold/telemetry", rows, &origins, violations);
    let mut different = Vec::new();
    for row in rows {
        let Some(record) = origin(row).and_then(|origin| expected.records.get(&origin)) else { continue };
        let key = record.key.as_ref();
        let same = text(row, "_payload") == Some(&record.payload)
            && text(row, "_device_id") == key.map(|k| k.device.as_str())
            && number(row, "_producer_epoch") == key.map(|k| i64::from(k.epoch))
            && number(row, "_producer_sequence") == key.map(|k| k.sequence.cast_signed())
            && row.contains_key("_reject") != record.readable
            && number(row, "ts") == record.event.map(|(at, _)| at)
            && number(row, "v") == record.event.map(|(_, v)| v);
        if !same {
            different.push(format!("{:?} is {row:?}, logged was {record:?}", record.origin));
        }
    }
    tell("cold/telemetry", "changed", different, violations);
}

fn origin(row: &Row) -> Option<Origin> {
    Some((number(row, "_partition")?, number(row, "_offset")?))
}

/// Rows that carry their record's origin: each that is expected is there once, and no other.
fn compare_origins(table: &str, rows: &[Row], expected: &BTreeSet<Origin>, violations: &mut Vec<String>) {
    let (mut found, mut twice) = (BTreeSet::new(), Vec::new());
    for row in rows {
        match origin(row) {
            Some(origin) if !found.insert(origin) => twice.push(format!("{origin:?}")),
            Some(_) => {}
            None => violations.push(format!("{table}: a row without origin: {row:?}")),
        }
    }
    tell(table, "there twice", twice, violations);
    let shown = |origins: BTreeSet<Origin>| origins.iter().map(|o| format!("{o:?}")).collect();
    tell(table, "missing", shown(expected - &found), violations);
    tell(table, "should not be there", shown(&found - expected), violations);
}

/// Rows of a result by their key.
fn compare_results<K: Ord + std::fmt::Debug>(
    table: &str,
    found: BTreeMap<K, (i64, i64)>,
    rows: usize,
    expected: &BTreeMap<K, (i64, i64)>,
    violations: &mut Vec<String>,
) {
    if found.len() != rows {
        violations.push(format!("{table}: {rows} rows have {} keys", found.len()));
    }
    let keys: BTreeSet<&K> = found.keys().chain(expected.keys()).collect();
    let different = keys.into_iter().filter(|key| found.get(key) != expected.get(key));
    let shown = different.map(|key| format!("{key:?} has {:?}, the log gives {:?}", found.get(key), expected.get(key)));
    tell(table, "wrong", shown.collect(), violations);
}

fn tell(table: &str, what: &str, cases: Vec<String>, violations: &mut Vec<String>) {
    if !cases.is_empty() {
        let shown: Vec<_> = cases.iter().take(SHOWN_MAX).cloned().collect();
        violations.push(format!("{table}: {} {what}: {}", cases.len(), shown.join("; ")));
    }
}

/// What the newest checkpoint of each job counts is what the log gives.
fn counts(data: &Path, expected: &Expected) -> Result<Vec<String>, String> {
    let mut violations = Vec::new();
    let (records, rejected) = (expected.records.len() as u64, expected.rejected.len() as u64);
    for job in JOBS {
        let Some(path) = checkpoints(&data.join("checkpoints").join(job)).pop() else {
            violations.push(format!("job {job} has no checkpoint"));
            continue;
        };
        let found = read_checkpoint(&path)?.counters();
        let late = if *job == "windows" { expected.late.len() as u64 } else { 0 };
        let filtered = if *job == "windows" { expected.unknown } else { 0 };
        let wanted = (records, rejected, late, filtered);
        let counted = (found.consumed, found.rejected, found.late, found.filtered);
        if counted != wanted {
            violations.push(format!("job {job} counts (consumed, rejected, late, filtered) = {counted:?}, the log gives {wanted:?}"));
        }
    }
    Ok(violations)
}

/// Directories of the lake's tables.
fn tables(data: &Path) -> Vec<std::path::PathBuf> {
    let list = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let namespaces = ["cold", "warm", "late", "dlq"].iter().flat_map(|name| list(&data.join("lake").join(name)));
    let mut tables: Vec<_> = namespaces.filter(|path| path.join("_delta_log").join(format!("{:020}.json", 0)).exists()).collect();
    tables.sort();
    tables
}
