//! The lake as a stranger reads it: the Delta log line by line, and the Parquet files that it names. Invariant: nothing in here
//! comes from the engine or from its library; whatever the log says is checked against what lies on the disk.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

/// One row, by column; a column that is NULL is left out.
pub type Row = HashMap<String, Cell>;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// A whole number, or microseconds.
    Number(i64),
    /// A text.
    Text(String),
    /// Anything else, as it is shown.
    Other(String),
}

/// What a table holds.
#[derive(Debug, Default)]
pub struct Table {
    /// All rows.
    pub rows: Vec<Row>,
    /// Newest version that the log holds for each application.
    pub applications: BTreeMap<String, i64>,
    /// Rows that each application has added, by its version.
    pub added: BTreeMap<String, BTreeMap<i64, u64>>,
    /// Commits.
    pub commits: u64,
    /// Those of them that add merged files.
    pub merges: u64,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}

/// A file that is in the table.
struct Live {
    bytes: u64,
    rows: Option<u64>,
}

/// Reads the table in `directory`. Errors: it is none.
pub fn read(directory: &Path) -> Result<Table, String> {
    let (mut table, files) = replay(directory)?;
    for (path, live) in files {
        match read_file(&directory.join(&path), &live) {
            Ok(rows) => table.rows.extend(rows),
            Err(e) => table.problems.push(format!("{path}: {e}")),
        }
    }
    Ok(table)
}

/// What the log alone says; no file of rows is opened, but each must be there in its size.
pub fn inspect(directory: &Path) -> Result<Table, String> {
    let (mut table, files) = replay(directory)?;
    for (path, live) in files {
        match std::fs::metadata(directory.join(&path)) {
            Ok(file) if file.len() == live.bytes => {}
            Ok(file) => table.problems.push(format!("{path}: {} bytes, the log says {}", file.len(), live.bytes)),
            Err(e) => table.problems.push(format!("{path}: {e}")),
        }
    }
    Ok(table)
}

fn replay(directory: &Path) -> Result<(Table, BTreeMap<String, Live>), String> {
    let log = directory.join("_delta_log");
    let entries = std::fs::read_dir(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let number = |path: &Path| path.extension().is_some_and(|e| e == "json").then(|| path.file_stem()?.to_str()?.parse::<u64>().ok())?;
    let mut commits: Vec<u64> = entries.flatten().filter_map(|entry| number(&entry.path())).collect();
    commits.sort_unstable();
    let (mut table, mut files) = (Table { commits: commits.len() as u64, ..Table::default() }, BTreeMap::new());
    for (expected, commit) in (0..).zip(commits) {
        if commit != expected {
            table.problems.push(format!("commit {expected} is missing, the next is {commit}"));
            break;
        }
        let path = log.join(format!("{commit:020}.json"));
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        if text.trim().is_empty() {
            table.problems.push(format!("commit {commit} is empty"));
        }
        let mut actions = Vec::new();
        for line in text.lines() {
            match serde_json::from_str::<Value>(line) {
                Ok(action) => actions.push(action),
                Err(e) => table.problems.push(format!("commit {commit} cannot be read: {e}")),
            }
        }
        let rows = actions.iter().filter_map(|action| rows_of(&action["add"])).sum();
        table.merges += u64::from(actions.iter().any(|action| action["add"]["path"].as_str().is_some_and(is_merged)));
        actions.iter().for_each(|action| apply((commit, rows), action, &mut table, &mut files));
    }
    Ok((table, files))
}

/// Rows of a file that is added, as its statistics have it.
fn rows_of(add: &Value) -> Option<u64> {
    let stats: Value = serde_json::from_str(add["stats"].as_str()?).ok()?;
    stats["numRecords"].as_u64()
}

/// Whether a file is made of small ones, and may be replaced again.
fn is_merged(path: &str) -> bool {
    path.strip_prefix("recent/").and_then(|below| below.rsplit('/').next()).is_some_and(|name| name.starts_with('m'))
}

/// An action of a commit that adds so many rows.
fn apply((commit, rows): (u64, u64), action: &Value, table: &mut Table, files: &mut BTreeMap<String, Live>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(add) = action.get("add") {
        let live = Live { bytes: add["size"].as_u64().unwrap_or(0), rows: rows_of(add) };
        let path = text(&add["path"]);
        if files.insert(path.clone(), live).is_some() {
            table.problems.push(format!("commit {commit} adds {path}, which is there already"));
        }
    } else if let Some(remove) = action.get("remove") {
        let path = text(&remove["path"]);
        if files.remove(&path).is_none() {
            table.problems.push(format!("commit {commit} removes {path}, which is not there"));
        }
    } else if let Some(transaction) = action.get("txn") {
        let (application, version) = (text(&transaction["appId"]), transaction["version"].as_i64().unwrap_or(i64::MIN));
        table.added.entry(application.clone()).or_default().insert(version, rows);
        if let Some(before) = table.applications.insert(application.clone(), version).filter(|before| *before >= version) {
            table.problems.push(format!("commit {commit} is {version} of {application}, which was at {before}"));
        }
    }
}

fn read_file(path: &Path, live: &Live) -> Result<Vec<Row>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let bytes = file.metadata().map_err(|e| e.to_string())?.len();
    if bytes != live.bytes {
        return Err(format!("{bytes} bytes, the log says {}", live.bytes));
    }
    let reader = SerializedFileReader::new(file).map_err(|e| e.to_string())?;
    let mut rows = Vec::new();
    for row in reader.get_row_iter(None).map_err(|e| e.to_string())? {
        rows.push(row.map_err(|e| e.to_string())?.into_columns().into_iter().filter_map(cell).collect());
    }
    match live.rows {
        Some(said) if said != rows.len() as u64 => Err(format!("{} rows, the log says {said}", rows.len())),
        _ => Ok(rows),
    }
}

fn cell((name, field): (String, Field)) -> Option<(String, Cell)> {
    let cell = match field {
        Field::Null => return None,
        Field::Int(n) => Cell::Number(n.into()),
        Field::Long(n) | Field::TimestampMicros(n) => Cell::Number(n),
        Field::TimestampMillis(n) => Cell::Number(n * 1000),
        Field::Str(text) => Cell::Text(text),
        other => Cell::Other(other.to_string()),
    };
    Some((name, cell))
}

/// A whole number of a row.
pub fn number(row: &Row, column: &str) -> Option<i64> {
    match row.get(column) {
        Some(Cell::Number(n)) => Some(*n),
        _ => None,
    }
}

/// A text of a row.
pub fn text<'a>(row: &'a Row, column: &str) -> Option<&'a str> {
    match row.get(column) {
        Some(Cell::Text(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_files_are_told_from_those_of_sinks_and_seals() {
        assert!(is_merged("recent/date=2026-01-02/m00000012-o7-s0.parquet"));
        for other in ["recent/date=2026-01-02/e00000012-m-00c0ffee-o7-s0.parquet", "data/date=2026-01-02/e00000012-o7-s0.parquet", "m1"] {
            assert!(!is_merged(other), "{other}");
        }
    }

    #[test]
    fn what_a_log_may_not_say_is_a_problem() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("_delta_log");
        std::fs::create_dir(&log).unwrap();
        let write = |n: u64, text: &str| std::fs::write(log.join(format!("{n:020}.json")), text).unwrap();
        let txn = |v: i64| format!(r#"{{"txn":{{"appId":"j","version":{v}}}}}"#);
        std::fs::write(temp.path().join("a"), "x").unwrap();
        let add = r#"{"add":{"path":"a","size":1,"stats":"{\"numRecords\":4}"}}"#;
        write(0, &format!("{}\n{add}", txn(2)));
        write(1, &txn(3));
        assert!(inspect(temp.path()).unwrap().problems.is_empty());
        assert_eq!(inspect(temp.path()).unwrap().added["j"], BTreeMap::from([(2, 4), (3, 0)]));
        assert_eq!(inspect(temp.path()).unwrap().applications, BTreeMap::from([("j".to_owned(), 3)]));
        write(2, &format!("{add}\n{}\n{}", txn(3), r#"{"remove":{"path":"b"}}"#));
        write(3, "");
        write(5, add);
        assert_eq!(inspect(temp.path()).unwrap().merges, 0);
        let problems = inspect(temp.path()).unwrap().problems;
        let wanted = ["adds a, which", "is 3 of j", "removes b", "3 is empty", "4 is missing"];
        assert_eq!(problems.len(), wanted.len(), "{problems:?}");
        assert!(problems.iter().zip(wanted).all(|(problem, part)| problem.contains(part)), "{problems:?}");
        assert!(read(temp.path()).unwrap().problems.len() > wanted.len(), "this is no Parquet file");
    }
}
