//! The oracle: DataFusion over all rows at once. Invariant: it knows nothing of streams, time or windows; a query says all of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::Runtime;

use crate::tables::{REFERENCE, REFERENCE_ROWS, TABLES};
use crate::values::{Row, rows};

/// Runs batch queries.
pub struct Oracle {
    context: SessionContext,
    runtime: Runtime,
}

impl Oracle {
    /// With the reference table alone.
    pub fn new() -> Result<Self> {
        let mut config = SessionConfig::new().with_target_partitions(1);
        // As the stream's dialect has it.
        config.options_mut().sql_parser.default_null_ordering = "nulls_min".to_owned();
        let context = SessionContext::new_with_config(config);
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(DataFusionError::IoError)?;
        let column = |of: fn(&(&'static str, &'static str, Option<f64>)) -> &'static str| -> ArrayRef {
            Arc::new(REFERENCE_ROWS.iter().map(|r| Some(of(r))).collect::<StringArray>())
        };
        let thresholds: ArrayRef = Arc::new(REFERENCE_ROWS.iter().map(|r| r.2).collect::<Float64Array>());
        let reference = [("k", column(|r| r.0), false), ("site", column(|r| r.1), true), ("threshold", thresholds, true)];
        let reference = RecordBatch::try_from_iter_with_nullable(reference)?;
        context.register_table(REFERENCE, Arc::new(MemTable::try_new(reference.schema(), vec![vec![reference]])?))?;
        Ok(Self { context, runtime })
    }

    /// Puts rows into the tables, in the order of `TABLES`.
    pub fn fill(&self, tables: Vec<RecordBatch>) -> Result<()> {
        for (table, rows) in TABLES.iter().zip(tables) {
            self.context.deregister_table(table.name)?;
            self.context.register_table(table.name, Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?))?;
        }
        Ok(())
    }

    /// The rows of a query.
    pub fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        let batches = self.runtime.block_on(async { self.context.sql(sql).await?.collect().await })?;
        let rows = batches.iter().map(rows).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(rows.concat())
    }
}
