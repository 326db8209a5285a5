//! Rows as answers. Invariant: a live answer ends its query when its reader goes away, and a reader who is too slow is told how
//! much it missed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use futures::{StreamExt, stream};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::lake::LakeTable;
use thalweg_engine::runtime::{JobState, JobStatus, Tail};
use thalweg_sql::{BatchQuery, TableDefinition, TableKind};
use tokio::sync::broadcast::error::RecvError;

use crate::server::{Rows, RowsEnd, SqlOutcome};

/// The result of a query over the lake.
pub(super) async fn batch(query: BatchQuery) -> Result<SqlOutcome> {
    let (schema, stream) = query.execute().await?;
    Ok(SqlOutcome::Rows(Rows { schema, stream: stream.boxed(), end: RowsEnd::Finite }))
}

/// Rows that are there.
pub(super) fn finite(rows: RecordBatch) -> SqlOutcome {
    SqlOutcome::Rows(Rows { schema: rows.schema(), stream: stream::iter([Ok(rows)]).boxed(), end: RowsEnd::Finite })
}

/// Rows as they come.
pub(super) fn live(schema: SchemaRef, tail: Tail) -> SqlOutcome {
    let next = |mut tail: Tail| async move {
        match tail.results.recv().await {
            Ok(rows) => Some((Ok(rows), tail)),
            Err(RecvError::Lagged(missed)) => {
                let error = Error::unavailable(format!("the reader is too slow: {missed} batches were dropped"));
                Some((Err(error.hint("read faster, or let an INSERT job write a table")), tail))
            }
            Err(RecvError::Closed) => match tail.status().life {
                JobState::Failed(why) => Some((Err(Error::internal(why)), tail)),
                _ => None,
            },
        }
    };
    SqlOutcome::Rows(Rows { schema, stream: stream::unfold(tail, next).boxed(), end: RowsEnd::Live })
}

/// `SHOW JOBS`.
pub(super) fn jobs(list: &[JobStatus]) -> Result<SqlOutcome> {
    let text = |f: &dyn Fn(&JobStatus) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(list.iter().map(f))) };
    let number = |f: &dyn Fn(&JobStatus) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(list.iter().map(|s| i64::try_from(f(s)).unwrap_or(i64::MAX))))
    };
    let watermark = TimestampMicrosecondArray::from_iter(list.iter().map(|s| s.watermark)).with_timezone("UTC");
    let state = |s: &JobStatus| match &s.life {
        JobState::Starting => "starting".to_owned(),
        JobState::Running => "running".to_owned(),
        JobState::Restarting(why) => format!("restarting: {why}"),
        JobState::Stopped => "stopped".to_owned(),
        JobState::Failed(why) => format!("failed: {why}"),
    };
    Ok(finite(RecordBatch::try_from_iter([
        ("job", text(&|s| s.name.clone())),
        ("state", text(&state)),
        ("watermark", Arc::new(watermark) as ArrayRef),
        ("epoch", number(&|s| s.epoch)),
        ("lag", number(&|s| s.lag)),
        ("consumed", number(&|s| s.counters.consumed)),
        ("filtered", number(&|s| s.counters.filtered)),
        ("late", number(&|s| s.counters.late)),
        ("rejected", number(&|s| s.counters.rejected)),
        ("windows", number(&|s| s.counters.windows)),
        ("written", number(&|s| s.counters.written)),
        ("statement", text(&|s| s.sql.clone())),
    ])?))
}

/// `SHOW TABLES`.
pub(super) fn tables(declared: &[Arc<TableDefinition>], lake: &[Arc<LakeTable>]) -> Result<SqlOutcome> {
    let about = |d: &TableDefinition| match &d.kind {
        TableKind::Log { input } => ("log", format!("stream {}", input.stream)),
        TableKind::Source { connector, input, .. } => ("source", format!("{} into stream {}", connector.name, input.stream)),
        TableKind::Reference { path, .. } => ("reference", path.clone()),
        TableKind::Lake { description, .. } => ("lake", description.clone()),
    };
    let (mut names, mut kinds, mut abouts) = (Vec::new(), Vec::new(), Vec::new());
    for definition in declared {
        let (kind, text) = about(definition);
        names.push(definition.name.to_string());
        kinds.push(kind);
        abouts.push(text);
    }
    for table in lake {
        names.push(table.full_name());
        kinds.push("lake");
        abouts.push(table.about().description);
    }
    Ok(finite(RecordBatch::try_from_iter([
        ("table", Arc::new(StringArray::from(names)) as ArrayRef),
        ("kind", Arc::new(StringArray::from(kinds))),
        ("about", Arc::new(StringArray::from(abouts))),
    ])?))
}
