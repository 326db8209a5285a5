//! A reference table and its versions. Invariant: versions are in strictly increasing order of `valid_from`, and there is always at
//! least one. The first is valid from the beginning of time until older ones than those that are left were dropped; then nobody knows any
//! more what was valid before it, and no other version takes their place.
//!
//! ```text
//! valid_from   MIN ─────────── 10:00 ─────────────── 12:30 ─────────► newest
//! version       0                1                     2              a row of 11:15 meets version 1
//!               dropped          1                     2              a row of 09:00 meets none: it is rejected
//! ```

use std::sync::{Arc, RwLock};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;

use super::index::Index;
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::limits::{REFERENCE_ROWS_MAX, REFERENCE_VERSIONS_BYTES_MAX, REFERENCE_VERSIONS_MAX, REFERENCE_VERSIONS_MIN};
use crate::locks::{read, write};
use crate::time::Micros;

const _: () = assert!(REFERENCE_ROWS_MAX <= u32::MAX as usize, "rows are numbered with 32 bits");

/// Rows of a version with their index; versions that are equal byte for byte share one.
#[derive(Debug)]
pub struct Content {
    /// SHA-256 of the source's bytes, in hexadecimal.
    pub sha256: String,
    /// The rows, with the declared columns.
    pub rows: RecordBatch,
    index: Index,
    /// What rows and index take of memory.
    bytes: usize,
}

impl Content {
    /// Indexes `rows` by the columns `key`. Errors: `Invalid` if a key is NULL or appears twice, or there are too many rows.
    pub fn new(sha256: String, rows: RecordBatch, key: &[usize]) -> Result<Self> {
        if rows.num_rows() > REFERENCE_ROWS_MAX {
            return Err(Error::invalid(format!("{} rows are more than the {REFERENCE_ROWS_MAX} allowed", rows.num_rows())));
        }
        let columns: Vec<ArrayRef> = key.iter().map(|&i| rows.column(i).clone()).collect();
        for (column, &i) in columns.iter().zip(key) {
            if let Some(row) = (0..column.len()).find(|&r| column.is_null(r)) {
                let name = rows.schema_ref().field(i).name();
                return Err(Error::invalid(format!("row {}: column {name} is part of the primary key, but has no value", row + 1)));
            }
        }
        let index = Index::build(&columns)?.map_err(|(first, second)| {
            let shown: Vec<String> = columns.iter().map(|c| array_value_to_string(c, second as usize).unwrap_or_default()).collect();
            let shown: String = shown.join(", ").chars().take(80).collect();
            Error::invalid(format!("primary key ({shown}) is in row {} and again in row {}", first + 1, second + 1))
        })?;
        let bytes = rows.get_array_memory_size() + index.bytes();
        Ok(Self { sha256, rows, index, bytes })
    }

    /// The row of each key, NULL where there is none; `keys` are in the order of the primary key and of its types. Errors:
    /// `Internal` if they are not.
    pub fn probe(&self, keys: &[ArrayRef]) -> Result<UInt32Array> {
        self.index.probe(keys)
    }
}

/// One version.
#[derive(Debug, Clone)]
pub struct Version {
    /// First instant at which it is valid, in microseconds; `Micros::MIN` for the first that the table had.
    pub valid_from: Micros,
    /// When it was read from its source, in microseconds.
    pub loaded_at: Micros,
    /// Its rows.
    pub content: Arc<Content>,
}

/// A reference table.
#[derive(Debug)]
pub struct ReferenceTable {
    name: Name,
    schema: SchemaRef,
    key: Vec<usize>,
    versions: RwLock<Arc<[Version]>>,
}

impl ReferenceTable {
    /// A table with its versions; `key` are the indexes of the primary key's columns. Errors: `Invalid` if there is no version or they
    /// are not in order.
    pub fn new(name: Name, schema: SchemaRef, key: Vec<usize>, versions: Vec<Version>) -> Result<Self> {
        if versions.is_empty() {
            return Err(Error::invalid(format!("reference table {name} has no version")));
        }
        if !versions.is_sorted_by(|a, b| a.valid_from < b.valid_from) {
            return Err(Error::invalid(format!("versions of reference table {name} are not in the order of their times")));
        }
        Ok(Self { name, schema, key, versions: RwLock::new(versions.into()) })
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Indexes of the primary key's columns, in the key's order.
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// The versions as they are now, at least one; later changes do not show in it.
    pub fn versions(&self) -> Arc<[Version]> {
        read(&self.versions).clone()
    }

    /// Replaces the versions: a new one was added, and those beyond the limit dropped.
    pub(super) fn set(&self, versions: Vec<Version>) {
        assert!(!versions.is_empty() && versions.is_sorted_by(|a, b| a.valid_from < b.valid_from));
        *write(&self.versions) = versions.into();
    }
}

/// Adds a version that is valid from `now` on, or just after the newest if the clock went back; the first of all is valid from the
/// beginning of time. Drops the oldest beyond the limits.
pub(super) fn appended(versions: &[Version], now: Micros, content: Arc<Content>) -> Vec<Version> {
    let valid_from = versions.last().map_or(Micros::MIN, |last| now.max(last.valid_from.saturating_add(1)));
    let mut all = versions.to_vec();
    all.push(Version { valid_from, loaded_at: now, content });
    all.drain(..all.len() - kept(&all, REFERENCE_VERSIONS_BYTES_MAX));
    all
}

/// How many of the newest of these versions are within the limits: some always are, more if they take at most `bytes_max` together. What
/// several share counts once.
pub(super) fn kept(versions: &[Version], bytes_max: usize) -> usize {
    let mut bytes = 0;
    for (kept, place) in (0..versions.len()).rev().enumerate() {
        let content = &versions[place].content;
        if !versions[place + 1..].iter().any(|newer| Arc::ptr_eq(&newer.content, content)) {
            bytes += content.bytes;
        }
        if kept >= REFERENCE_VERSIONS_MAX || kept >= REFERENCE_VERSIONS_MIN && bytes > bytes_max {
            return kept;
        }
    }
    versions.len()
}

/// The version valid at `time`; the first if it lies before all of them.
pub fn version_at(versions: &[Version], time: Micros) -> usize {
    versions.partition_point(|v| v.valid_from <= time).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn content(keys: &[Option<&str>]) -> Result<Arc<Content>> {
        let schema = Arc::new(Schema::new(vec![Field::new("device_id", DataType::Utf8View, true)]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(keys.iter().copied().collect::<StringViewArray>())]).unwrap();
        Content::new("00".into(), rows, &[0]).map(Arc::new)
    }

    #[test]
    fn a_time_meets_the_version_valid_then() {
        let c = content(&[Some("a")]).unwrap();
        let mut versions = appended(&[], 500, c.clone());
        versions = appended(&versions, 1000, c.clone());
        versions = appended(&versions, 900, c);
        let from: Vec<Micros> = versions.iter().map(|v| v.valid_from).collect();
        assert_eq!(from, [Micros::MIN, 1000, 1001], "a clock that goes back does not reorder versions");
        let at = |t| version_at(&versions, t);
        assert_eq!([at(Micros::MIN), at(999), at(1000), at(1001), at(Micros::MAX)], [0, 0, 1, 2, 2]);
    }

    #[test]
    fn versions_beyond_the_limit_are_dropped_from_the_past() {
        let c = content(&[Some("a")]).unwrap();
        let mut versions = Vec::new();
        for now in 0..REFERENCE_VERSIONS_MAX as i64 + 5 {
            versions = appended(&versions, now, c.clone());
        }
        assert_eq!(versions.len(), REFERENCE_VERSIONS_MAX);
        assert_eq!((versions[0].valid_from, versions[1].valid_from), (5, 6), "what was valid before is not known any more");
    }

    #[test]
    fn versions_are_kept_while_their_bytes_fit_and_the_newest_always() {
        let of = |names: &[&str]| {
            let contents: Vec<Arc<Content>> = names.iter().map(|n| content(&[Some(*n)]).unwrap()).collect();
            contents.into_iter().enumerate().fold(Vec::new(), |versions, (now, c)| appended(&versions, now as i64, c))
        };
        let versions = of(&["a", "b", "c", "d"]);
        let bytes = versions[0].content.bytes;
        assert!(bytes > 0 && versions.iter().all(|v| v.content.bytes == bytes));
        assert_eq!([0, 2 * bytes, 3 * bytes - 1, 3 * bytes, 4 * bytes].map(|max| kept(&versions, max)), [2, 2, 2, 3, 4]);
        let shared: Vec<Version> = versions.iter().map(|v| Version { content: versions[0].content.clone(), ..v.clone() }).collect();
        assert_eq!(kept(&shared, bytes), 4, "what versions share counts once");
        assert_eq!(kept(&versions[..1], 0), 1);
    }

    #[test]
    fn a_broken_key_is_refused_with_its_place() {
        let message = |keys: &[Option<&str>]| content(keys).unwrap_err().message().to_owned();
        assert_eq!(message(&[Some("a"), Some("b"), Some("a")]), "primary key (a) is in row 1 and again in row 3");
        assert_eq!(message(&[Some("a"), None]), "row 2: column device_id is part of the primary key, but has no value");
    }
}
