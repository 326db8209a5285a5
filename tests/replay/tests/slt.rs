//! SQL as data: every `.slt` file below `tests/sql`, but for those of the whole server, over rows in memory. Invariant checked: each query
//! gives the rows of the file, and the same ones in every way that it is run. With `UPDATE_FIXTURES` set, what comes out is written.
//!
//! Files in a folder `reference` are chapters of docs/sql.md: there the first row of each result is the names of its columns.

use std::io::Write;
use std::path::{Path, PathBuf};

use sqllogictest::{Runner, default_column_validator, default_normalizer, default_validator};
use thalweg_replay::Database;

/// Files that need the whole server.
const SERVER: &str = "server";
/// Chapters of the reference.
const REFERENCE: &str = "reference";
/// There are at least so many queries, and statements that must fail.
const CASES_MIN: usize = 250;

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("tests/sql can be read") {
        let path = entry.expect("tests/sql can be read").path();
        if path.is_dir() && !path.ends_with(SERVER) {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "slt") {
            found.push(path);
        }
    }
    found.sort();
}

#[test]
fn every_query_gives_its_rows_in_every_way() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql"), &mut found);
    // Batch queries start tasks.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut failures = Vec::new();
    let mut cases = 0;
    for path in &found {
        let text = std::fs::read_to_string(path).expect("a file");
        cases += text.lines().filter(|l| l.starts_with("query ") || l.starts_with("statement error")).count();
        let named = path.parent().is_some_and(|folder| folder.ends_with(REFERENCE));
        let mut runner = Runner::new(|| async move { Database::new().map(|d| if named { d.with_names() } else { d }) });
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            let updated = runner.update_test_file(path, "  ", default_validator, default_normalizer, default_column_validator);
            runtime.block_on(updated).expect("a file that can be written");
            continue;
        }
        if let Err(error) = runtime.block_on(runner.run_file_async(path)) {
            failures.push(format!("{}: {}", path.display(), error.display(false)));
        }
    }
    assert!(failures.is_empty(), "{} of {} files fail:\n{}", failures.len(), found.len(), failures.join("\n\n"));
    // Past the test runner, which shows what is printed only of tests that fail.
    let _ = writeln!(std::io::stderr(), "{cases} cases of SQL in {} files", found.len());
    assert!(cases >= CASES_MIN, "only {cases} cases");
}
