//! What any text is put to: split, lint, parse, plan, explain. Invariant: a verdict changes nothing, so that texts do not depend on those
//! before them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema};
use thalweg_engine::error::{Error, ErrorKind, Result};
use thalweg_engine::time::timestamp_type;
use thalweg_sql::lint::lint;
use thalweg_sql::{
    LakeCatalog, LakeFile, LakeFiles, Session, SessionConfig, SettingChange, Settings, Statement, TableDefinition, without_settings,
};

/// Time that a text may take. Limits bound the work for it; a build without optimisation needs seconds for the worst.
const PATIENCE: Duration = Duration::from_secs(30);
/// A file of the lake that does not exist: an error that names it has tried to read it.
const MISSING: &str = "part-never-read.parquet";

/// A session with the tables of the tests.
pub struct Subject {
    session: Session,
    settings: Vec<Settings>,
}

/// One table of the lake.
struct OneTable;

impl LakeCatalog for OneTable {
    fn table(&self, namespace: &str, name: &str) -> Result<Option<LakeFiles>> {
        if (namespace, name) != ("cold", "events") {
            return Ok(None);
        }
        let columns = [("device_id", DataType::Utf8), ("ts", timestamp_type()), ("v", DataType::Float64), ("n", DataType::Int64)];
        let schema = Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
        let file = LakeFile { path: MISSING.into(), date: Some("2026-01-01".to_owned()), bytes: 4_096, rows: 10 };
        Ok(Some(LakeFiles { schema: Arc::new(schema), primary_key: Vec::new(), files: vec![file], version: 1 }))
    }

    fn list(&self) -> Vec<(String, String)> {
        vec![("cold".to_owned(), "events".to_owned())]
    }
}

impl Subject {
    /// With the tables and views that the corpus declares, the first of each name. Errors: none of them can be declared.
    pub fn new(corpus: &[String]) -> Result<Self> {
        let config = SessionConfig {
            connectors: thalweg_connectors::CONNECTORS,
            default_owner: "tests@example.com".to_owned(),
            default_description: "a test".to_owned(),
            lake_root: PathBuf::from("/nonexistent/lake"),
            memory_limit_bytes: 16 << 20,
            spill: None,
        };
        let session = Session::new(config, Arc::new(OneTable))?;
        let plain = Settings::default();
        // Twice, since views come before the tables that they read.
        for text in corpus.iter().chain(corpus) {
            if let Ok(Statement::CreateTable { definition, .. }) = session.prepare(text, &plain) {
                session.declare(*definition)?;
            }
        }
        if session.tables().is_empty() {
            return Err(Error::invalid("the corpus declares no table"));
        }
        let all = [
            ("table.exec.state.ttl", "1 h"),
            ("pipeline.name", "fuzzed"),
            ("table.exec.emit.early-fire.enabled", "true"),
            ("table.exec.emit.early-fire.delay", "5 s"),
        ];
        Ok(Self { session, settings: vec![plain, Settings::new(all)?] })
    }

    /// What is wrong with how a text is treated; `None` if nothing is.
    pub fn fault(&self, text: &str) -> Option<String> {
        let began = Instant::now();
        let found = self.judge(text).err();
        let took = began.elapsed();
        found.or_else(|| (took > PATIENCE).then(|| format!("it took {} s", took.as_secs())))
    }

    fn judge(&self, text: &str) -> std::result::Result<(), String> {
        let _ = (SettingChange::of(text), without_settings(text));
        expected("lint", lint(text))?;
        expected("uses", self.session.uses(text))?;
        let Some(statements) = expected("split", Session::split(text))? else { return Ok(()) };
        for statement in statements {
            for settings in &self.settings {
                self.prepare(&statement.in_place(), settings)?;
            }
        }
        Ok(())
    }

    fn prepare(&self, sql: &str, settings: &Settings) -> std::result::Result<(), String> {
        let Some(statement) = expected("prepare", self.session.prepare(sql, settings).map_err(|e| placed(e, sql)))? else { return Ok(()) };
        match statement {
            Statement::CreateTable { definition, .. } => self.again(&definition),
            Statement::InsertJob { plan, sql: stored, .. } => {
                let shown = (plan.to_string(), plan.fingerprint());
                match self.session.prepare_stored(&stored) {
                    Ok(Statement::InsertJob { plan, .. }) if (plan.to_string(), plan.fingerprint()) == shown => Ok(()),
                    other => Err(format!("a stored job is now {other:?}")),
                }
            }
            Statement::Tail { plan, .. } => {
                let _ = (plan.to_string(), plan.fingerprint());
                Ok(())
            }
            Statement::Batch(query) => {
                let _ = (format!("{query:?}"), query.schema());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What is kept of a table or a view makes the same one again.
    fn again(&self, definition: &TableDefinition) -> std::result::Result<(), String> {
        match self.session.prepare_stored(&definition.sql) {
            Ok(Statement::CreateTable { definition: again, .. }) if format!("{again:?}") == format!("{definition:?}") => Ok(()),
            other => Err(format!("a stored table is now {other:?}, and was {definition:?}")),
        }
    }

    /// Names of what is declared.
    pub fn tables(&self) -> BTreeSet<String> {
        self.session.tables().iter().map(|t| t.name.to_string()).collect()
    }
}

/// The result, if there is one; nothing if the text is refused as it may be.
fn expected<T>(what: &str, result: Result<T>) -> std::result::Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if !matches!(e.kind(), ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Conflict) => {
            Err(format!("{what}: {:?}: {e}", e.kind()))
        }
        Err(e) if e.to_string().contains(MISSING) => Err(format!("{what}: a file was looked for: {e}")),
        Err(_) => Ok(None),
    }
}

/// An error without a place is as good as a fault.
fn placed(error: Error, sql: &str) -> Error {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let place = error.message().split(": ").next().and_then(|place| place.split_once(':'));
    match place {
        Some((line, column)) if digits(line) && digits(column) => error,
        _ => Error::internal(format!("no place in {error:?} for a text of {} bytes", sql.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{corpus, repository};
    use super::*;

    #[test]
    fn the_corpus_itself_has_no_fault_and_most_of_it_is_planned() {
        let corpus = corpus(&repository()).unwrap();
        let subject = Subject::new(&corpus).unwrap();
        assert!(subject.tables().len() > 20, "{:?}", subject.tables());
        let faults: Vec<_> = corpus.iter().filter_map(|text| Some((text, subject.fault(text)?))).collect();
        assert!(faults.is_empty(), "{faults:?}");
        let plain = Settings::default();
        let planned = corpus.iter().filter(|text| matches!(subject.session.prepare(text, &plain), Ok(Statement::Tail { .. }))).count();
        assert!(planned * 4 > corpus.len(), "{planned} of {}", corpus.len());
    }
}
