//! From primary key to row. Invariant: keys are unique and have no NULL; a key with a NULL in it is never found.
//!
//! ```text
//! one STRING key    views   [len|up to 12 bytes] compared as one 128-bit number, longer ones byte by byte
//! anything else     rows    all key columns of a row encoded into comparable bytes, a whole batch at a time
//! ```
//!
//! The seeds of the hash are fixed, so that the same data gives the same table on every run.

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashTable;

use crate::error::{Error, Result};

/// Longest string that a view holds itself, in bytes.
const INLINE_BYTES_MAX: u32 = 12;

/// An index over the key columns of one version.
#[derive(Debug)]
pub(super) struct Index {
    hasher: RandomState,
    table: HashTable<u32>,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Text(StringViewArray),
    Encoded { converter: RowConverter, rows: Rows, types: Vec<DataType> },
}

impl Index {
    /// Indexes rows by their key columns, which have the same length and no NULLs; `Err` holds two rows with the same key.
    /// Errors: `Invalid` if a type cannot be a key.
    pub(super) fn build(columns: &[ArrayRef]) -> Result<std::result::Result<Self, (u32, u32)>> {
        let hasher = RandomState::with_seeds(0x7468_616c, 0x7765_672d, 0x7265_6665, 0x7265_6e63);
        let keys = match columns {
            [only] if *only.data_type() == DataType::Utf8View => Keys::Text(only.as_string_view().clone()),
            _ => {
                let types: Vec<DataType> = columns.iter().map(|c| c.data_type().clone()).collect();
                let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())
                    .map_err(|e| Error::invalid(format!("primary key: {e}")))?;
                let rows = converter.convert_columns(columns)?;
                Keys::Encoded { converter, rows, types }
            }
        };
        let rows = columns.first().map_or(0, |c| c.len()) as u32;
        let mut index = Self { hasher, table: HashTable::with_capacity(rows as usize), keys };
        for row in 0..rows {
            if let Some(earlier) = index.insert(row) {
                return Ok(Err((earlier, row)));
            }
        }
        Ok(Ok(index))
    }

    /// What it takes of memory beside the columns that it was built from, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let keys = match &self.keys {
            // Shares its buffers with the column.
            Keys::Text(_) => 0,
            Keys::Encoded { converter, rows, .. } => converter.size() + rows.size(),
        };
        self.table.allocation_size() + keys
    }

    /// Adds a row; returns the row that has its key already.
    fn insert(&mut self, row: u32) -> Option<u32> {
        let (hasher, table, keys) = (&self.hasher, &mut self.table, &self.keys);
        let hash_of = |row: u32| match keys {
            Keys::Text(array) => hash_text(hasher, array, row as usize),
            Keys::Encoded { rows, .. } => hasher.hash_one(rows.row(row as usize).data()),
        };
        let hash = hash_of(row);
        let earlier = match keys {
            Keys::Text(array) => table.find(hash, |&other| same_text(array, other as usize, array, row as usize)),
            Keys::Encoded { rows, .. } => table.find(hash, |&other| rows.row(other as usize) == rows.row(row as usize)),
        };
        if let Some(&earlier) = earlier {
            return Some(earlier);
        }
        table.insert_unique(hash, row, |&other| hash_of(other));
        None
    }

    /// The row of each key, NULL where there is none. Errors: `Internal` if the columns are not of the key's types.
    pub(super) fn probe(&self, columns: &[ArrayRef]) -> Result<UInt32Array> {
        match &self.keys {
            Keys::Text(keys) => {
                let [only] = columns else { return Err(wrong_types(columns)) };
                let probe = only.as_string_view_opt().ok_or_else(|| wrong_types(columns))?;
                Ok(self.probe_text(keys, probe))
            }
            Keys::Encoded { converter, rows, types } => {
                if !columns.iter().map(|c| c.data_type()).eq(types) {
                    return Err(wrong_types(columns));
                }
                let probe = converter.convert_columns(columns)?;
                let nulls = columns.iter().fold(None, |nulls, c| NullBuffer::union(nulls.as_ref(), c.logical_nulls().as_ref()));
                Ok(found(probe.num_rows(), nulls.as_ref(), |i| {
                    let key = probe.row(i);
                    self.table.find(self.hasher.hash_one(key.data()), |&row| rows.row(row as usize) == key).copied()
                }))
            }
        }
    }

    fn probe_text(&self, keys: &StringViewArray, probe: &StringViewArray) -> UInt32Array {
        // Rows of one device tend to follow one another: a key held in its view that equals the one before needs no search.
        let mut last: Option<(u128, Option<u32>)> = None;
        found(probe.len(), probe.nulls(), |i| {
            let view = probe.views()[i];
            match last {
                Some((key, row)) if key == view => row,
                _ => {
                    let row = self.table.find(hash_text(&self.hasher, probe, i), |&row| same_text(keys, row as usize, probe, i)).copied();
                    last = (view as u32 <= INLINE_BYTES_MAX).then_some((view, row));
                    row
                }
            }
        })
    }
}

/// Collects one search a row; rows that are NULL are not searched.
fn found(rows: usize, nulls: Option<&NullBuffer>, mut search: impl FnMut(usize) -> Option<u32>) -> UInt32Array {
    let mut indices = vec![0; rows];
    let mut misses = 0;
    let hits = BooleanBuffer::collect_bool(rows, |i| {
        let hit = if nulls.is_some_and(|n| n.is_null(i)) { None } else { search(i) };
        match hit {
            Some(row) => indices[i] = row,
            None => misses += 1,
        }
        hit.is_some()
    });
    UInt32Array::new(ScalarBuffer::from(indices), (misses > 0).then(|| NullBuffer::new(hits)))
}

#[inline]
fn hash_text(hasher: &RandomState, array: &StringViewArray, row: usize) -> u64 {
    let view = array.views()[row];
    if view as u32 <= INLINE_BYTES_MAX { hasher.hash_one(view) } else { hasher.hash_one(array.value(row).as_bytes()) }
}

#[inline]
fn same_text(a: &StringViewArray, i: usize, b: &StringViewArray, k: usize) -> bool {
    let (x, y) = (a.views()[i], b.views()[k]);
    // Length and the first four bytes lie in the lower half of both kinds of view.
    if x as u64 != y as u64 {
        return false;
    }
    if x as u32 <= INLINE_BYTES_MAX { x == y } else { a.value(i) == b.value(k) }
}

#[cold]
fn wrong_types(columns: &[ArrayRef]) -> Error {
    let types: Vec<String> = columns.iter().map(|c| c.data_type().to_string()).collect();
    Error::internal(format!("keys of types [{}] do not fit the primary key", types.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use proptest::prelude::*;

    use super::*;

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<StringViewArray>())
    }

    #[test]
    fn a_key_that_appears_twice_is_reported_with_both_rows() {
        let long = "a key that is longer than a view";
        assert_eq!(Index::build(&[texts(&[Some("a"), Some(long), Some("b"), Some(long)])]).unwrap().unwrap_err(), (1, 3));
    }

    #[test]
    fn keys_of_several_columns_are_found_and_nulls_never() {
        let columns = [texts(&[Some("a"), Some("a"), Some("b")]), Arc::new(Int64Array::from(vec![1, 2, 1])) as ArrayRef];
        let index = Index::build(&columns).unwrap().unwrap();
        let probe = [
            texts(&[Some("b"), Some("a"), None, Some("a"), Some("c")]),
            Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(1), None, Some(1)])) as ArrayRef,
        ];
        assert_eq!(index.probe(&probe).unwrap(), UInt32Array::from(vec![Some(2), Some(1), None, None, None]));
        assert!(index.probe(&probe[..1]).is_err());
    }

    proptest! {
        #[test]
        fn text_keys_agree_with_a_search(
            keys in proptest::collection::hash_set("[ab]{0,3}|[ab]{11,16}", 1..40),
            probes in proptest::collection::vec(proptest::option::of("[ab]{0,3}|[ab]{11,16}"), 0..80),
        ) {
            let mut keys: Vec<String> = keys.into_iter().collect();
            keys.sort();
            let index = Index::build(&[texts(&keys.iter().map(|k| Some(k.as_str())).collect::<Vec<_>>())]).unwrap().unwrap();
            let got = index.probe(&[texts(&probes.iter().map(Option::as_deref).collect::<Vec<_>>())]).unwrap();
            let wanted: UInt32Array = probes.iter().map(|p| p.as_ref().and_then(|p| keys.iter().position(|k| k == p)).map(|i| i as u32)).collect();
            prop_assert_eq!(got, wanted);
        }
    }
}
