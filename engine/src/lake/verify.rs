//! Whether the lake is what its logs say. Invariant: verifying changes nothing; each problem is reported with the place where
//! it was found, and one problem does not hide the next.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use deltalake_core::kernel::Action;
use deltalake_core::logstore::get_actions;
use parquet::file::metadata::ParquetMetaDataReader;

use crate::error::{Error, Result};
use crate::lake::directory::Lake;
use crate::lake::snapshot::{TableFile, is_beneath};
use crate::lake::table::LakeTable;
use crate::limits::LAKE_COMMITS_CHECKED;
use crate::time::Micros;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// A commit of the log cannot be parsed.
    CommitDamaged,
    /// A file of the table is gone.
    FileMissing,
    /// A file of the table has another size, or is no Parquet file.
    FileDamaged,
    /// A file holds another number of rows than the log says.
    RowsDiffer,
    /// An old file that no commit names.
    Orphan,
    /// A manifest is missing.
    ManifestMissing,
    /// Nobody answers for the table.
    OwnerMissing,
    /// The table cannot be opened, or not all of it be looked at.
    Unusable,
}

/// One problem.
#[derive(Debug, Clone)]
pub struct Finding {
    /// `cold.telemetry`.
    pub table: String,
    /// What is wrong.
    pub problem: Problem,
    /// Where.
    pub path: PathBuf,
    /// More about it, for a person.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::CommitDamaged => "damaged commit",
            Problem::FileMissing => "missing file",
            Problem::FileDamaged => "damaged file",
            Problem::RowsDiffer => "rows differ",
            Problem::Orphan => "orphan",
            Problem::ManifestMissing => "missing manifest",
            Problem::OwnerMissing => "no owner",
            Problem::Unusable => "damaged table",
        };
        write!(f, "{}: {problem}: {}: {}", self.table, self.path.display(), self.detail)
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Tables looked at.
    pub tables: usize,
    /// Files opened.
    pub files: usize,
    /// Rows in them, by their own footers.
    pub rows: u64,
    /// Problems; empty if the lake is sound.
    pub findings: Vec<Finding>,
}

impl Lake {
    /// Checks logs, files, manifests and descriptions of every table against each other.
    pub fn verify(&self, now: Micros) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        for table in self.tables() {
            report.tables += 1;
            if let Err(e) = verify_table(self, &table, now, &mut report) {
                let (table, path) = (table.full_name(), table.path().to_owned());
                report.findings.push(Finding { table, problem: Problem::Unusable, path, detail: e.message().to_owned() });
            }
        }
        for table in self.damaged() {
            report.tables += 1;
            report.findings.push(Finding {
                table: table.full_name(),
                problem: Problem::Unusable,
                path: table.path.clone(),
                detail: table.error.message().to_owned(),
            });
        }
        Ok(report)
    }
}

fn verify_table(lake: &Lake, table: &LakeTable, now: Micros, report: &mut VerifyReport) -> Result<()> {
    let name = table.full_name();
    let mut found = |problem, path: &Path, detail: String| {
        report.findings.push(Finding { table: name.clone(), problem, path: path.to_owned(), detail });
    };
    let mut damaged = false;
    for path in commits(table.path())? {
        // Its server may have cleaned the log meanwhile.
        if let Err(e) = actions(&path)
            && path.exists()
        {
            damaged = true;
            found(Problem::CommitDamaged, &path, e.message().to_owned());
        }
    }
    let (mut files, mut rows) = (0, 0);
    for file in &table.snapshot()?.files {
        files += 1;
        match file_rows(file) {
            Ok(n) if n == file.rows => rows += n,
            Ok(n) => found(Problem::RowsDiffer, &file.path, format!("the log says {} rows, the file has {n}", file.rows)),
            Err((problem, detail)) => found(problem, &file.path, detail),
        }
    }
    match table.orphans(now, &[]) {
        Ok(orphans) => orphans.iter().for_each(|path| {
            found(
                Problem::Orphan,
                path,
                "no commit names it; leave it to the server, which removes it if no checkpoint does either".to_owned(),
            )
        }),
        Err(e) if damaged => tracing::debug!(error = %e, "orphans cannot be told from others while the log is damaged"),
        Err(e) => return Err(e),
    }
    for path in lake.manifests(table).into_iter().filter(|p| !p.exists()) {
        found(Problem::ManifestMissing, &path, "refresh the catalog".to_owned());
    }
    if table.about().owner.is_empty() {
        found(Problem::OwnerMissing, table.path(), "declare the table again with an owner".to_owned());
    }
    report.files += files;
    report.rows += rows;
    Ok(())
}

fn file_rows(file: &TableFile) -> Result<u64, (Problem, String)> {
    let damaged = |e: String| (Problem::FileDamaged, e);
    if !file.path.exists() {
        return Err((Problem::FileMissing, "the log names it".to_owned()));
    }
    check_ends(&file.path, file.bytes).map_err(|e| damaged(e.message().to_owned()))?;
    let open = File::open(&file.path).map_err(|e| damaged(e.to_string()))?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&open).map_err(|e| damaged(e.to_string()))?;
    Ok(metadata.file_metadata().num_rows() as u64)
}

/// A Parquet file has the size that the log says, and begins and ends as such a file does.
fn check_ends(path: &Path, bytes: u64) -> Result<()> {
    let damaged = |what: String| Error::corrupt(format!("{}: {what}", path.display()));
    let mut file = File::open(path).map_err(|e| damaged(e.to_string()))?;
    let length = file.metadata()?.len();
    if length != bytes || length < 12 {
        return Err(damaged(format!("{length} bytes, the log says {bytes}")));
    }
    let (mut first, mut last) = ([0; 4], [0; 4]);
    file.read_exact(&mut first)?;
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut last)?;
    if &first != b"PAR1" || &last != b"PAR1" {
        return Err(damaged("not a whole Parquet file".to_owned()));
    }
    Ok(())
}

/// Looks at the newest commits of a table before it is used: they were the last to be written when the power went. Errors:
/// `Corrupt` if one cannot be parsed, or a file that it added is not whole.
pub(super) fn check_last_commits(table: &Path) -> Result<()> {
    let hint = "restore the table's directory from a backup";
    let mut removed = HashSet::new();
    for path in commits(table)?.iter().rev().take(LAKE_COMMITS_CHECKED) {
        let actions = actions(path).map_err(|e| e.hint(hint))?;
        removed.extend(actions.iter().filter_map(|a| if let Action::Remove(r) = a { Some(r.path.clone()) } else { None }));
        for add in actions.iter().filter_map(|a| if let Action::Add(add) = a { Some(add) } else { None }) {
            if !removed.contains(&add.path) && is_beneath(&add.path) {
                check_ends(&table.join(&add.path), add.size as u64).map_err(|e| e.hint(hint))?;
            }
        }
    }
    Ok(())
}

/// The commits of a table's log, oldest first.
fn commits(table: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(table.join("_delta_log"))? {
        let path = entry?.path();
        let is_version = |stem: &str| stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit());
        if path.extension().is_some_and(|e| e == "json") && path.file_stem().and_then(|s| s.to_str()).is_some_and(is_version) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn actions(commit: &Path) -> Result<Vec<Action>> {
    let damaged = |what: String| Error::corrupt(format!("commit {}: {what}", commit.display()));
    let bytes = bytes::Bytes::from(std::fs::read(commit).map_err(|e| damaged(e.to_string()))?);
    let actions = get_actions(0, &bytes).map_err(|e| damaged(e.to_string()))?;
    if actions.is_empty() {
        return Err(damaged("it is empty".to_owned()));
    }
    Ok(actions)
}
