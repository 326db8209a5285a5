//! Columns that may be NULL from now on, though they could not be when their table was made, and columns that late rows and rejects did not
//! have then. Invariant: every row that is there stays as valid as it was, with NULL in new columns, and nothing else about the table changes.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::kernel::{Action, MetadataExt, StructField, StructType};
use deltalake_core::protocol::DeltaOperation;

use crate::error::{Error, Result};
use crate::lake::about::Namespace;
use crate::lake::schema;
use crate::lake::table::LakeTable;
use crate::locks::lock;

impl LakeTable {
    /// The table with the columns `wanted`, if they differ from its own only in that some may be NULL, or are new where no user declares
    /// them; `None` if there is nothing to change, or if they differ otherwise. Sinks of the table as it was must not be in use. Errors: the
    /// log cannot be written.
    pub(super) fn relaxed(self: &Arc<Self>, wanted: &Schema) -> Result<Option<Arc<Self>>> {
        let columns = &self.layout.columns;
        let grows = matches!(self.namespace(), Namespace::Late | Namespace::Dlq);
        let is_new = |f: &FieldRef| grows && f.is_nullable() && columns.index_of(f.name()).is_err();
        let known = Schema::new(wanted.fields().iter().filter(|&f| !is_new(f)).cloned().collect::<Vec<FieldRef>>());
        if schema::difference(columns, wanted).is_none() || schema::difference(&nullable(columns), &nullable(&known)).is_some() {
            return Ok(None);
        }
        let pairs = || columns.fields().iter().zip(known.fields());
        if pairs().any(|(own, wanted)| own.is_nullable() && !wanted.is_nullable()) {
            return Ok(None);
        }
        let freed: Vec<&str> =
            pairs().filter(|(own, wanted)| own.is_nullable() != wanted.is_nullable()).map(|(own, _)| own.name().as_str()).collect();
        if self.layout.key_names().iter().any(|key| freed.contains(&key.as_str())) {
            return Ok(None);
        }
        // No seal may be under way: what it has written and not committed would be taken for what a crash left.
        let mut is_replaced = lock(&self.maintenance);
        let stored = self.state().delta.schema();
        let mut fields: Vec<StructField> = stored
            .fields()
            .map(|field| StructField { nullable: field.nullable || freed.contains(&field.name().as_str()), ..field.clone() })
            .collect();
        // The history names one kind of change; the schema beside it says all.
        let column = fields.iter().find(|f| freed.contains(&f.name().as_str())).cloned();
        let new: Vec<(usize, StructField)> =
            schema::to_delta(wanted)?.into_iter().enumerate().filter(|(i, _)| is_new(&wanted.fields()[*i])).collect();
        new.iter().for_each(|(i, field)| fields.insert(*i, field.clone()));
        let new: Vec<StructField> = new.into_iter().map(|(_, field)| field).collect();
        let names = freed.iter().copied().chain(new.iter().map(|f| f.name().as_str())).collect::<Vec<_>>().join(", ");
        let operation = match column {
            Some(column) => DeltaOperation::DropColumnNotNull { column },
            None => DeltaOperation::AddColumn { fields: new },
        };
        let fields = StructType::try_new(fields).map_err(|e| Error::internal(e.to_string()))?;
        let metadata = self.state().delta.metadata().clone().with_schema(&fields).map_err(DeltaTableError::from)?;
        self.begin().write(vec![Action::Metadata(metadata)], operation, CommitProperties::default())?;
        tracing::info!(table = self.full_name(), columns = names, "columns may be NULL now");
        let table = Self::open(&self.environment, self.namespace(), self.name().clone())?;
        *is_replaced = true;
        Ok(Some(table))
    }
}

fn nullable(columns: &Schema) -> Schema {
    Schema::new(columns.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>())
}
