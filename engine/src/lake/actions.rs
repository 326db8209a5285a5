//! Files in the words of the Delta log. Invariant: what is added and removed lies in its table and says truly whether rows changed.

use std::collections::HashMap;

use deltalake_core::kernel::{Add, Remove};
use deltalake_core::protocol::{DeltaOperation, SaveMode};

use crate::contract::StagedFile;
use crate::lake::schema::DATE;
use crate::lake::snapshot::TableFile;

/// New rows of a job.
pub(super) fn append() -> DeltaOperation {
    DeltaOperation::Write { mode: SaveMode::Append, partition_by: Some(vec![DATE.to_owned()]), predicate: None }
}

/// Rows of a job that replace those of their keys. Without a predicate it counts as having read the whole table: nobody else may
/// have changed a row meanwhile.
pub(super) fn upsert() -> DeltaOperation {
    DeltaOperation::Merge {
        predicate: None,
        merge_predicate: None,
        matched_predicates: Vec::new(),
        not_matched_predicates: Vec::new(),
        not_matched_by_source_predicates: Vec::new(),
    }
}

/// Makes a staged file part of its table.
pub(super) fn add(file: &StagedFile, now_ms: i64) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: partition_values(file.date.as_deref()),
        size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
        modification_time: now_ms,
        data_change: true,
        stats: Some(file.stats.clone()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

/// Ends a file's part in its table; the bytes stay for those who read an older version.
pub(super) fn remove(file: &TableFile, now_ms: i64) -> Remove {
    Remove {
        path: file.relative.clone(),
        data_change: true,
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(partition_values(file.date.as_deref())),
        size: Some(i64::try_from(file.bytes).unwrap_or(i64::MAX)),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
    }
}

fn partition_values(date: Option<&str>) -> HashMap<String, Option<String>> {
    date.map(|date| (DATE.to_owned(), Some(date.to_owned()))).into_iter().collect()
}
