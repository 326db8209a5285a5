//! Columns that may be NULL from now on, though they could not be when their table was made. Invariant: every row that is there stays as
//! valid as it was, and nothing else about the table changes.

use std::sync::{Arc, PoisonError};

use arrow::datatypes::Schema;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::kernel::{Action, MetadataExt, StructField, StructType};
use deltalake_core::protocol::DeltaOperation;

use crate::error::{Error, Result};
use crate::lake::schema;
use crate::lake::table::LakeTable;

impl LakeTable {
    /// The table with the columns `wanted`, if they differ from its own only in that some may be NULL; `None` if there is nothing to
    /// change, or if they differ otherwise. Sinks of the table as it was must not be in use. Errors: the log cannot be written.
    pub(super) fn relaxed(self: &Arc<Self>, wanted: &Schema) -> Result<Option<Arc<Self>>> {
        let columns = &self.layout.columns;
        if schema::difference(columns, wanted).is_none() || schema::difference(&nullable(columns), &nullable(wanted)).is_some() {
            return Ok(None);
        }
        let pairs = || columns.fields().iter().zip(wanted.fields());
        if pairs().any(|(own, wanted)| own.is_nullable() && !wanted.is_nullable()) {
            return Ok(None);
        }
        let freed: Vec<&str> =
            pairs().filter(|(own, wanted)| own.is_nullable() != wanted.is_nullable()).map(|(own, _)| own.name().as_str()).collect();
        if self.layout.key_names().iter().any(|key| freed.contains(&key.as_str())) {
            return Ok(None);
        }
        // No seal may be under way: what it has written and not committed would be taken for what a crash left.
        let mut is_replaced = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.state().delta.schema();
        let fields: Vec<StructField> = stored
            .fields()
            .map(|field| StructField { nullable: field.nullable || freed.contains(&field.name().as_str()), ..field.clone() })
            .collect();
        let Some(column) = fields.iter().find(|f| freed.contains(&f.name().as_str())).cloned() else { return Ok(None) };
        let fields = StructType::try_new(fields).map_err(|e| Error::internal(e.to_string()))?;
        let metadata = self.state().delta.metadata().clone().with_schema(&fields).map_err(DeltaTableError::from)?;
        // The history names one column; the schema beside it says all.
        let operation = DeltaOperation::DropColumnNotNull { column };
        self.begin().write(vec![Action::Metadata(metadata)], operation, CommitProperties::default())?;
        tracing::info!(table = self.full_name(), columns = freed.join(", "), "columns may be NULL now");
        let table = Self::open(&self.environment, self.namespace(), self.name().clone())?;
        *is_replaced = true;
        Ok(Some(table))
    }
}

fn nullable(columns: &Schema) -> Schema {
    Schema::new(columns.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>())
}
