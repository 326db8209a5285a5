//! Tables of the lake for batch queries. Invariant: a query reads exactly the files of one version of the table, and only
//! files below the root of the lake.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use thalweg_engine::error::{Error, Result};

/// Where the lake's files are, for DataFusion: the only address that its readers know.
pub(crate) const LAKE_URL: &str = "lake://lake";
/// Column that the lake adds to each table without a primary key.
const DATE_COLUMN: &str = "date";

/// A data file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeFile {
    /// Where it is: below the root of the lake, or relative to it.
    pub path: PathBuf,
    /// Value of the partition column `date`, as `2026-01-02`.
    pub date: Option<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
}

/// One version of a table of the lake.
#[derive(Debug, Clone)]
pub struct LakeFiles {
    /// Columns, without `date`.
    pub schema: SchemaRef,
    /// Names of the columns of its primary key; empty if it has none. A table that has one is not partitioned and has no column
    /// `date`.
    pub primary_key: Vec<String>,
    /// The files that make up the version.
    pub files: Vec<LakeFile>,
    /// Which version.
    pub version: i64,
}

/// What there is in the lake; implemented where the lake is known.
pub trait LakeCatalog: Send + Sync {
    /// The newest version of a table; `None` if there is no such table.
    fn table(&self, namespace: &str, name: &str) -> Result<Option<LakeFiles>>;

    /// Namespaces and names of all tables.
    fn list(&self) -> Vec<(String, String)>;
}

/// A version of a table, ready to be read.
#[derive(Debug)]
pub(crate) struct LakeTable {
    schema: TableSchema,
    primary_key: Vec<String>,
    files: Vec<PartitionedFile>,
}

impl LakeTable {
    /// Errors: a file lies outside the lake, or its date is none.
    pub(crate) fn new(root: &Path, table: &LakeFiles) -> Result<Self> {
        let date = Arc::new(Field::new(DATE_COLUMN, DataType::Date32, true));
        let partitions = if table.primary_key.is_empty() { vec![date] } else { Vec::new() };
        let file = |f: &LakeFile| {
            let mut file = partitioned(root, f)?;
            file.partition_values.truncate(partitions.len());
            Ok(file)
        };
        let files = table.files.iter().map(file).collect::<Result<_>>()?;
        let schema = TableSchema::builder(readable(&table.schema)).with_table_partition_cols(partitions).build();
        Ok(Self { schema, primary_key: table.primary_key.clone(), files })
    }

    /// Names of the columns of its primary key; empty if it has none.
    pub(crate) fn primary_key(&self) -> &[String] {
        &self.primary_key
    }

    /// Columns, `date` last if there is one.
    pub(crate) fn schema(&self) -> &SchemaRef {
        self.schema.table_schema()
    }
}

/// Text is read as views, which saves copying it.
fn readable(schema: &Schema) -> SchemaRef {
    let field = |f: &FieldRef| match f.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => Arc::new(f.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => f.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn partitioned(root: &Path, file: &LakeFile) -> Result<PartitionedFile> {
    let outside = || Error::corrupt(format!("file {} is not below the lake", file.path.display()));
    let relative = if file.path.is_absolute() { file.path.strip_prefix(root).map_err(|_| outside())? } else { &file.path };
    let mut parts = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(outside)?),
            _ => return Err(outside()),
        }
    }
    let date = match &file.date {
        None => ScalarValue::Date32(None),
        Some(text) => ScalarValue::try_from_string(text.clone(), &DataType::Date32)
            .map_err(|_| Error::corrupt(format!("file {}: {text:?} is not a date", file.path.display())))?,
    };
    Ok(PartitionedFile::new(parts.join("/"), file.bytes).with_partition_values(vec![date]))
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema().project(columns)?),
                None => self.schema().clone(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let source = Arc::new(ParquetSource::new(self.schema.clone()));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(LAKE_URL)?, source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_outside_the_lake_are_refused() {
        let file = |path: &str| LakeFile { path: path.into(), date: None, bytes: 1, rows: 1 };
        let root = Path::new("/var/lake");
        for bad in ["/etc/passwd", "../secret", "warm/../../secret", "/var/lake2/x", "/var/lake/../x"] {
            assert!(partitioned(root, &file(bad)).is_err(), "{bad}");
        }
        for good in ["warm/t/data/date=2026-01-01/a.parquet", "/var/lake/warm/t/data/date=2026-01-01/a.parquet"] {
            let got = partitioned(root, &file(good)).unwrap().object_meta.location.to_string();
            assert_eq!(got, "warm/t/data/date=2026-01-01/a.parquet");
        }
    }
}
