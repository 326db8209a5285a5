//! One data set of the catalog. Invariant: an entry says what its table's newest commit says, and nothing from elsewhere.

use std::path::Path;

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ids::Name;
use crate::lake::about::{About, Kind};
use crate::lake::schema::{DATE, sql_name};
use crate::lake::table::LakeTable;
use crate::time::{self, Micros};

/// A column as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnEntry {
    /// Its name.
    pub name: String,
    /// Its SQL type, such as `DOUBLE`.
    #[serde(rename = "type")]
    pub sql_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// A data set that others are joined with; it lies outside of the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Name of the reference table.
    pub name: Name,
    /// File or address that it is loaded from.
    pub path: String,
    /// Its columns.
    pub columns: Vec<ColumnEntry>,
    /// Rows of the version in use.
    pub rows: u64,
    /// SHA-256 of the version in use, in hexadecimal.
    pub sha256: String,
    /// When that version was loaded, in microseconds.
    pub loaded_at: Micros,
    /// What people should know of it.
    pub about: About,
}

/// How new the rows are.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Freshness {
    /// Newest event time.
    pub(super) event_time_max: Option<String>,
    /// When the newest version was committed or loaded.
    pub(super) committed_at: String,
}

/// How to read a table with tools that people have.
#[derive(Debug, Clone, Serialize)]
pub(super) struct HowToRead {
    deltalake: String,
    polars: String,
    duckdb: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pyarrow: Option<String>,
}

/// One data set.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) about: About,
    pub(super) schema: Vec<ColumnEntry>,
    /// Columns by which rows replace each other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) primary_key: Vec<String>,
    pub(super) partitioning: Vec<String>,
    pub(super) freshness: Freshness,
    pub(super) rows: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) how_to_read: Option<HowToRead>,
}

impl Entry {
    /// The entry of a table at its newest version.
    pub(super) fn of_table(table: &LakeTable) -> Result<Self> {
        let snapshot = table.snapshot()?;
        let (namespace, name) = (table.namespace().as_str(), table.name());
        let (primary_key, mut partitioning) = (table.primary_key(), Vec::new());
        if primary_key.is_empty() {
            partitioning.push(DATE.to_owned());
        }
        Ok(Self {
            name: name.to_string(),
            namespace: namespace.to_owned(),
            path: format!("{namespace}/{name}"),
            about: table.about(),
            schema: columns(&snapshot.schema),
            how_to_read: Some(how_to_read(table.path(), &partitioning)),
            primary_key,
            partitioning,
            freshness: Freshness {
                event_time_max: snapshot.event_time_max.map(time::format),
                committed_at: time::format(snapshot.committed_at),
            },
            rows: snapshot.rows,
            bytes: Some(snapshot.bytes),
            delta_version: Some(snapshot.version),
            sha256: None,
        })
    }

    /// The entry of a reference data set.
    pub(super) fn of_reference(reference: &Reference) -> Self {
        Self {
            name: reference.name.to_string(),
            namespace: "reference".to_owned(),
            path: reference.path.clone(),
            about: About { kind: Kind::Reference, ..reference.about.clone() },
            schema: reference.columns.clone(),
            primary_key: Vec::new(),
            partitioning: Vec::new(),
            freshness: Freshness { event_time_max: None, committed_at: time::format(reference.loaded_at) },
            rows: reference.rows,
            bytes: None,
            delta_version: None,
            sha256: Some(reference.sha256.clone()),
            how_to_read: None,
        }
    }
}

fn columns(schema: &Schema) -> Vec<ColumnEntry> {
    let column = |f: &arrow::datatypes::FieldRef| ColumnEntry {
        name: f.name().clone(),
        sql_type: sql_name(f.data_type()).unwrap_or_else(|| "STRING".to_owned()),
        nullable: f.is_nullable(),
    };
    schema.fields().iter().map(column).collect()
}

fn how_to_read(table: &Path, partitioning: &[String]) -> HowToRead {
    // Rust's quoting of control characters and quotes is valid Python.
    let path = format!("{:?}", table.display().to_string());
    HowToRead {
        deltalake: format!("from deltalake import DeltaTable; DeltaTable({path}).to_pyarrow_table()"),
        polars: format!("import polars as pl; pl.scan_delta({path}).collect()"),
        duckdb: format!(
            "import duckdb; from deltalake import DeltaTable; files = DeltaTable({path}).file_uris(); \
             duckdb.read_parquet(files{})",
            if partitioning.is_empty() { "" } else { ", hive_partitioning=True, union_by_name=True" }
        ),
        // Without partitions no file is ever final, and only the log knows which are the table's.
        pyarrow: (!partitioning.is_empty()).then(|| {
            format!(
                "import pyarrow.dataset as ds; \
                 ds.dataset({path} + '/data', format='parquet', partitioning='hive').to_table()  \
                 # sealed files only: the newest hours are missing, at first all"
            )
        }),
    }
}
