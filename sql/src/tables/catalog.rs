//! From a name to a table. Invariant: a name means one table; what is found is found by exact name, unquoted names in lower case.
//!
//! ```text
//! t            declared table (a declared lake table: its files)
//! cold.t       history of stream t        warm.t   results
//! late.j  j$late   late rows of job j     dlq.t  t$dlq   rejected records of table t
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use sqlparser::ast::Ident;
use thalweg_engine::error::{Error, ErrorKind};
use thalweg_engine::ids::Name;
use thalweg_engine::locks::{read, write};

use super::definition::{TableDefinition, TableKind};
use super::lake::{LakeCatalog, LakeFiles, LakeTable};
use crate::diagnostics::{Problem, Result, suggestion};

/// Namespaces of the lake that a query may name.
const NAMESPACES: [&str; 4] = ["cold", "dlq", "late", "warm"];

/// The declared tables and the lake.
pub(crate) struct Catalog {
    declared: RwLock<BTreeMap<Name, Arc<TableDefinition>>>,
    lake: Arc<dyn LakeCatalog>,
    lake_root: PathBuf,
}

/// What a name means.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// A stream of the log.
    Stream(Arc<TableDefinition>),
    /// A reference table.
    Reference(Arc<TableDefinition>),
    /// A table of the lake.
    Lake(Arc<LakeTable>),
    /// A query with a name.
    View(Arc<TableDefinition>),
}

impl Catalog {
    /// Without declared tables.
    pub(crate) fn new(lake: Arc<dyn LakeCatalog>, lake_root: PathBuf) -> Self {
        Self { declared: RwLock::default(), lake, lake_root }
    }

    /// A declared table.
    pub(crate) fn declared(&self, name: &str) -> Option<Arc<TableDefinition>> {
        read(&self.declared).get(name).cloned()
    }

    /// All declared tables by name.
    pub(crate) fn all(&self) -> Vec<Arc<TableDefinition>> {
        read(&self.declared).values().cloned().collect()
    }

    /// Adds a table. Errors: `Conflict` if the name is taken.
    pub(crate) fn declare(&self, definition: TableDefinition) -> Result<(), Error> {
        let mut declared = write(&self.declared);
        if let Some(existing) = declared.get(definition.name.as_str()) {
            return Err(conflict(existing, &definition.sql));
        }
        declared.insert(definition.name.clone(), Arc::new(definition));
        Ok(())
    }

    /// Removes a table. Errors: `NotFound`.
    pub(crate) fn undeclare(&self, name: &str) -> Result<(), Error> {
        let removed = write(&self.declared).remove(name);
        removed.map(|_| ()).ok_or_else(|| Error::not_found(format!("table '{name}' is not declared")))
    }

    /// Finds the table of a name in a query.
    pub(crate) fn find(&self, parts: &[Ident]) -> Result<Found> {
        let [.., last] = parts else { return Err(Error::internal("a table name has no parts").into()) };
        let at = parts[0].span.start;
        let names: Vec<String> = parts.iter().map(folded).collect();
        match names.as_slice() {
            [name] => match name.rsplit_once('$') {
                Some((base, namespace @ ("late" | "dlq"))) => self.lake_table(namespace, base, last),
                _ => self.declared_table(name, last),
            },
            [namespace, name] if NAMESPACES.contains(&namespace.as_str()) => self.lake_table(namespace, name, last),
            [namespace, _] => Err(Problem::new(at, format!("namespace '{namespace}' does not exist"))
                .kind(ErrorKind::NotFound)
                .hint(format!("namespaces of the lake are {}", NAMESPACES.join(", ")))),
            _ => Err(Problem::new(at, "a table has at most two names").hint("write table, or namespace.table")),
        }
    }

    fn declared_table(&self, name: &str, at: &Ident) -> Result<Found> {
        let Some(definition) = self.declared(name) else { return Err(self.unknown(name, at)) };
        match &definition.kind {
            TableKind::Log { .. } | TableKind::Source { .. } => Ok(Found::Stream(definition)),
            TableKind::Reference { .. } => Ok(Found::Reference(definition)),
            TableKind::View { .. } => Ok(Found::View(definition)),
            TableKind::Lake { tier, .. } => {
                let files = self.lake.table(tier.as_str(), name).map_err(|e| Problem::from(e).or_at(at.span.start))?;
                let empty = || {
                    let (schema, primary_key) = (definition.schema(), definition.primary_key.clone());
                    LakeFiles { schema, primary_key, files: Vec::new(), version: 0 }
                };
                self.readable(&files.unwrap_or_else(empty), at)
            }
        }
    }

    fn lake_table(&self, namespace: &str, name: &str, at: &Ident) -> Result<Found> {
        let files = self.lake.table(namespace, name).map_err(|e| Problem::from(e).or_at(at.span.start))?;
        if let Some(files) = files {
            return self.readable(&files, at);
        }
        let stream = self.declared(name).and_then(|d| d.input().map(|i| i.stream.clone()));
        let names = self.lake_names();
        let beside = names.iter().filter(|n| n.split_once('.').is_some_and(|(found, _)| found == namespace));
        let near = suggestion(&format!("{namespace}.{name}"), beside.map(String::as_str));
        let hint = near.unwrap_or_else(|| match (namespace, stream) {
            ("cold", Some(stream)) if stream.as_str() != name => format!("the archive has the name of the stream: cold.{stream}"),
            ("cold" | "dlq", _) => "it is made by CREATE TABLE over the stream; SHOW TABLES lists all".to_owned(),
            ("late", _) => format!("it is made with the job: INSERT INTO {name} SELECT …; SHOW TABLES lists all"),
            _ => "SHOW TABLES lists all".to_owned(),
        });
        Err(Problem::new(at.span.start, format!("table '{namespace}.{name}' does not exist")).kind(ErrorKind::NotFound).hint(hint))
    }

    /// Tables of the lake, and those that are declared but have no data yet.
    fn lake_names(&self) -> Vec<String> {
        let declared = self.all().into_iter().filter_map(|d| match &d.kind {
            TableKind::Lake { tier, .. } => Some(format!("{}.{}", tier.as_str(), d.name)),
            _ => None,
        });
        self.lake.list().into_iter().map(|(namespace, name)| format!("{namespace}.{name}")).chain(declared).collect()
    }

    fn readable(&self, files: &LakeFiles, at: &Ident) -> Result<Found> {
        let table = LakeTable::new(&self.lake_root, files).map_err(|e| Problem::from(e).or_at(at.span.start))?;
        Ok(Found::Lake(Arc::new(table)))
    }

    /// The error for a name that is not declared, with the nearest that is, or its place in the lake.
    pub(crate) fn unknown(&self, name: &str, at: &Ident) -> Problem {
        let in_lake = self.lake.list();
        let hint = match in_lake.iter().find(|(_, table)| table == name) {
            Some((namespace, table)) => format!("did you mean {namespace}.{table}?"),
            None => {
                let declared = self.all();
                suggestion(name, declared.iter().map(|d| d.name.as_str())).unwrap_or_else(|| "SHOW TABLES lists all".to_owned())
            }
        };
        Problem::new(at.span.start, format!("table '{name}' does not exist")).kind(ErrorKind::NotFound).hint(hint)
    }
}

/// The error for a name that is taken by `existing`.
pub(crate) fn conflict(existing: &TableDefinition, sql: &str) -> Error {
    let what = what(existing);
    let hint = if existing.sql == sql.trim() {
        "it was declared with the same text; nothing is to be done".to_owned()
    } else {
        let word = what.to_uppercase();
        format!("DROP {word} it first, choose another name, or write CREATE {word} IF NOT EXISTS")
    };
    Error::conflict(format!("{what} '{}' exists already", existing.name)).hint(hint)
}

/// What a declared name is, in a word.
pub(crate) fn what(definition: &TableDefinition) -> &'static str {
    if definition.is_view() { "view" } else { "table" }
}

/// Unquoted names are lower-cased: names of tables are lower case.
pub(super) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}
