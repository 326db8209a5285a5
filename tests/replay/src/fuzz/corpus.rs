//! The statements of the tests, to begin with. Invariant: the corpus is sorted and holds each text once, so that it depends on the files
//! alone.

use std::path::{Path, PathBuf};

use thalweg_engine::error::{Error, Result};

/// Where the repository was when this was compiled.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every statement of the SQL files below `tests/` of a repository. Errors: there are none.
pub fn corpus(repository: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for folder in ["tests/nexmark", "tests/sql"] {
        gather(&repository.join(folder), &mut texts)?;
    }
    texts.sort();
    texts.dedup();
    if texts.is_empty() { Err(Error::not_found(format!("there is no SQL in the tests of {}", repository.display()))) } else { Ok(texts) }
}

fn gather(directory: &Path, texts: &mut Vec<String>) -> Result<()> {
    let context = |e: std::io::Error| Error::from(e).context(directory.display());
    for entry in std::fs::read_dir(directory).map_err(context)? {
        let path = entry.map_err(context)?.path();
        let extension = path.extension().and_then(|e| e.to_str());
        match extension {
            _ if path.is_dir() => gather(&path, texts)?,
            Some("sql") => texts.push(std::fs::read_to_string(&path).map_err(context)?),
            Some("slt") => texts.extend(statements(&std::fs::read_to_string(&path).map_err(context)?)),
            _ => {}
        }
    }
    Ok(())
}

/// The statements and queries of a file for sqllogictest.
fn statements(file: &str) -> Vec<String> {
    let mut found = Vec::new();
    for record in file.split("\n\n") {
        let mut lines = record.lines().skip_while(|l| l.is_empty() || l.starts_with('#'));
        let Some(head) = lines.next() else { continue };
        if !head.starts_with("statement") && !head.starts_with("query") {
            continue;
        }
        let sql: Vec<&str> = lines.take_while(|l| *l != "----").collect();
        let is_sql = sql.first().is_some_and(|l| !["FEED ", "FILE ", "WAYS "].iter().any(|word| l.starts_with(word)));
        if is_sql {
            found.push(sql.join("\n"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_taken_and_their_results_are_not() {
        let file = "# words\n\nstatement ok\nCREATE TABLE t\n  (a INT)\n\nquery T\nSELECT 1\n----\n1\n\nstatement ok\nFEED t\na {}\n";
        assert_eq!(statements(file), ["CREATE TABLE t\n  (a INT)", "SELECT 1"]);
        assert!(corpus(&repository()).unwrap().len() > 300);
    }
}
