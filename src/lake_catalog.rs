//! The lake as SQL sees it. Invariant: a query gets one version of a table, named file by file.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use thalweg_engine::error::{ErrorKind, Result};
use thalweg_engine::lake::Lake;
use thalweg_sql::{LakeCatalog, LakeFile, LakeFiles};

/// A lake that is shared with sinks and maintenance.
pub struct SharedLake(pub Arc<Lake>);

impl LakeCatalog for SharedLake {
    fn table(&self, namespace: &str, name: &str) -> Result<Option<LakeFiles>> {
        let table = match self.0.table(namespace, name) {
            Ok(table) => table,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let snapshot = table.snapshot()?;
        let columns: Vec<FieldRef> = snapshot.schema.fields().iter().filter(|f| f.name() != "date").cloned().collect();
        let file =
            |f: &thalweg_engine::lake::TableFile| LakeFile { path: f.path.clone(), date: f.date.clone(), bytes: f.bytes, rows: f.rows };
        Ok(Some(LakeFiles {
            schema: Arc::new(Schema::new(columns)),
            primary_key: table.primary_key(),
            files: snapshot.files.iter().map(file).collect(),
            version: i64::try_from(snapshot.version).unwrap_or(i64::MAX),
        }))
    }

    fn list(&self) -> Vec<(String, String)> {
        self.0.tables().iter().map(|t| (t.namespace().as_str().to_owned(), t.name().as_str().to_owned())).collect()
    }
}
