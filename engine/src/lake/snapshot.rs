//! What a table holds at one version. Invariant: every file of a snapshot lies beneath its table, whatever the log says: a path
//! that would leave it is refused, not followed.

use std::path::{Component, Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use deltalake_core::table::state::DeltaTableState;

use crate::error::{Error, Result};
use crate::lake::layout::{Layout, Level};
use crate::lake::schema::DATE;
use crate::time::{self, DAY, MILLISECOND, Micros};

/// One Parquet file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Where it is.
    pub path: PathBuf,
    /// The same, relative to the table, with `/`.
    pub relative: String,
    /// Partition value, `2026-01-02`; not stored inside the file. None in a table with a primary key.
    pub date: Option<String>,
    /// Size in bytes.
    pub bytes: u64,
    /// Rows inside.
    pub rows: u64,
    /// When it was written, in microseconds.
    pub written_at: Micros,
    /// Newest event time inside, in microseconds, if the table has a time column.
    pub event_time_max: Option<Micros>,
}

impl TableFile {
    /// Whether the file is sorted and final; the others are small and wait to be sealed, or hold a bucket of a table with a
    /// primary key.
    pub fn is_sealed(&self) -> bool {
        Path::new(&self.relative).starts_with(Level::Sealed.directory())
    }
}

/// A table at one version: its files are readable for the history of the lake, an hour by default, after they were replaced.
#[derive(Debug, Clone)]
pub struct TableSnapshot {
    /// Version of the Delta log.
    pub version: u64,
    /// Columns in the engine's types, the partition `date` last if there is one.
    pub schema: SchemaRef,
    /// Its files, sorted by path.
    pub files: Vec<TableFile>,
    /// Rows of all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Newest event time of all rows, in microseconds.
    pub event_time_max: Option<Micros>,
    /// When the version was committed, in microseconds.
    pub committed_at: Micros,
}

impl TableSnapshot {
    /// Reads the files out of the log's state. Errors: `Corrupt` if the log names a file outside of the table, or uses features
    /// that this lake never writes.
    pub(super) fn read(state: &DeltaTableState, table: &Path, schema: SchemaRef, layout: &Layout, committed_at: Micros) -> Result<Self> {
        let mut files = Vec::new();
        for batch in state.add_actions_batches(true)? {
            read_files(&batch, table, layout, &mut files)?;
        }
        files.sort_by(|a, b| a.relative.cmp(&b.relative));
        Ok(Self {
            version: state.version(),
            schema,
            rows: files.iter().map(|f| f.rows).sum(),
            bytes: files.iter().map(|f| f.bytes).sum(),
            event_time_max: files.iter().filter_map(|f| f.event_time_max).max(),
            files,
            committed_at,
        })
    }

    /// The file at a path relative to the table.
    pub(super) fn file(&self, relative: &str) -> Option<&TableFile> {
        self.files.binary_search_by(|f| f.relative.as_str().cmp(relative)).ok().map(|i| &self.files[i])
    }
}

fn read_files(batch: &RecordBatch, table: &Path, layout: &Layout, files: &mut Vec<TableFile>) -> Result<()> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| Error::corrupt(format!("the log of {} has no '{name}' of its files", table.display())))
    };
    if batch.schema().fields().iter().any(|f| f.name().starts_with("deletion_vector")) {
        return Err(Error::corrupt(format!("table {} uses deletion vectors, which this lake does not read", table.display())));
    }
    let paths = arrow::compute::cast(column("path")?, &DataType::Utf8View)?;
    let (paths, sizes, rows) = (paths.as_string_view(), column("size_bytes")?, column("num_records")?);
    let (sizes, rows) = (sizes.as_primitive::<Int64Type>(), rows.as_primitive::<Int64Type>());
    let written = column("modification_time")?.as_primitive::<Int64Type>();
    let dates = match layout.key {
        None => Some(column(&format!("partition.{DATE}"))?.as_primitive::<Date32Type>()),
        Some(_) => None,
    };
    let times = layout.time.and_then(|i| batch.column_by_name(&format!("max.{}", layout.columns.field(i).name())));
    let times = times.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    for i in 0..batch.num_rows() {
        let relative = paths.value(i);
        if !is_beneath(relative) {
            return Err(Error::corrupt(format!("the log of {} names a file outside of the table: {relative:?}", table.display()))
                .hint("the table was not written by this lake: restore it from a backup"));
        }
        files.push(TableFile {
            path: table.join(relative),
            relative: relative.to_owned(),
            date: dates.filter(|d| d.is_valid(i)).map(|d| time::date(i64::from(d.value(i)) * DAY)),
            bytes: sizes.value(i) as u64,
            rows: rows.value(i) as u64,
            written_at: written.value(i) * MILLISECOND,
            event_time_max: times.filter(|t| t.is_valid(i)).map(|t| t.value(i)),
        });
    }
    Ok(())
}

/// Whether a path of the log stays inside its table: relative, only plain names, nothing encoded.
pub(super) fn is_beneath(path: &str) -> bool {
    let plain = !path.is_empty() && !path.contains(['%', ':', '\\', '\0']);
    plain && Path::new(path).components().all(|c| matches!(c, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_table_are_seen() {
        for bad in ["/etc/passwd", "../x", "recent/../../x", "file:///etc/passwd", "s3://b/k", "%2e%2e/x", "a\\b", "a\0", "", "./x"] {
            assert!(!is_beneath(bad), "{bad:?}");
        }
        assert!(is_beneath("recent/date=2026-01-02/e1-s0.parquet"));
    }
}
