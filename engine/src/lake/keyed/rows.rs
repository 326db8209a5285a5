//! The rows of a table by their keys, in memory. Invariant: what is here is the table's newest version and what was applied since;
//! memory has a bound, and the rows of a bucket come out in the order of their keys, whatever order they came in.
//!
//! A row is two strings of bytes in arrow's row format, its key and the other columns: a changed row is replaced in place, and rows
//! of any types are compared as bytes. The bytes live no longer than the process; on disk there are columns.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, RowParser, Rows, SortField};

use crate::changes::{Changes, RowKind};
use crate::error::{Error, Result};
use crate::lake::keyed::bucket::buckets_of;
use crate::lake::layout::{Key, Layout};
use crate::limits::BATCH_ROWS_MAX;

/// What a row takes beside its bytes: two addresses with their lengths, two pieces of the heap, and its part of the tree.
const ROW_OVERHEAD_BYTES: usize = 96;

type Bytes = Box<[u8]>;

/// The rows of one table.
pub(super) struct KeyedRows {
    columns: SchemaRef,
    key: Key,
    /// Columns that are not part of the key.
    rest: Vec<usize>,
    keys: RowConverter,
    values: RowConverter,
    buckets: Vec<Bucket>,
    bytes_max: usize,
}

#[derive(Default)]
struct Bucket {
    rows: BTreeMap<Bytes, Bytes>,
    bytes: usize,
    changed: bool,
}

impl Bucket {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        match self.rows.get_mut(key) {
            Some(old) if **old == *value => return,
            Some(old) if old.len() == value.len() => old.copy_from_slice(value),
            Some(old) => {
                self.bytes = self.bytes - old.len() + value.len();
                *old = value.into();
            }
            None => {
                self.bytes += key.len() + value.len() + ROW_OVERHEAD_BYTES;
                self.rows.insert(key.into(), value.into());
            }
        }
        self.changed = true;
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, value)) = self.rows.remove_entry(key) {
            self.bytes -= key.len() + value.len() + ROW_OVERHEAD_BYTES;
            self.changed = true;
        }
    }
}

/// Some rows as bytes.
struct Encoded {
    places: Vec<u32>,
    keys: Rows,
    /// `None` if every column is part of the key.
    values: Option<Rows>,
}

impl Encoded {
    fn key(&self, row: usize) -> &[u8] {
        self.keys.row(row).data()
    }

    fn value(&self, row: usize) -> &[u8] {
        self.values.as_ref().map_or(&[], |v| v.row(row).data())
    }
}

impl KeyedRows {
    /// No rows; `bytes_max` bounds those that come. Errors: `Internal` if the layout has no key.
    pub(super) fn new(layout: &Layout, bytes_max: usize) -> Result<Self> {
        let key = layout.key.clone().ok_or_else(|| Error::internal("a table without a primary key has no rows by key"))?;
        let columns = layout.columns.clone();
        let rest: Vec<usize> = (0..columns.fields().len()).filter(|i| !key.columns.contains(i)).collect();
        let field = |&i: &usize| SortField::new(columns.field(i).data_type().clone());
        let keys = RowConverter::new(key.columns.iter().map(field).collect())?;
        let values = RowConverter::new(rest.iter().map(field).collect())?;
        let buckets = (0..key.buckets).map(|_| Bucket::default()).collect();
        Ok(Self { columns, key, rest, keys, values, buckets, bytes_max })
    }

    /// Applies changes in their order; the rows have the table's columns, and no NULL in a key. Errors: `Invalid` if the rows
    /// take too much memory.
    pub(super) fn apply(&mut self, changes: &Changes) -> Result<()> {
        let rows = self.encode(&changes.rows)?;
        for i in 0..changes.len() {
            let (key, kind) = (rows.key(i), changes.kind(i));
            let bucket = &mut self.buckets[rows.places[i] as usize];
            if kind.adds() {
                bucket.put(key, rows.value(i));
                continue;
            }
            // The new form of the same row takes its place at once.
            let next = i + 1;
            let is_replaced = kind == RowKind::UpdateBefore
                && next < changes.len()
                && changes.kind(next) == RowKind::UpdateAfter
                && rows.key(next) == key;
            if !is_replaced {
                bucket.remove(key);
            }
        }
        self.check_bytes()
    }

    /// Takes the rows of a bucket's file. Errors: `Corrupt` if a key belongs to another bucket or comes twice, `Invalid` if the
    /// rows take too much memory.
    pub(super) fn load(&mut self, bucket: u32, rows: &[RecordBatch]) -> Result<()> {
        let mut pairs: Vec<(Bytes, Bytes)> = Vec::new();
        for batch in rows {
            let rows = self.encode(batch)?;
            if rows.places.iter().any(|&place| place != bucket) {
                return Err(Error::corrupt(format!("a key of another bucket lies in bucket {bucket}")));
            }
            pairs.extend((0..batch.num_rows()).map(|i| (rows.key(i).into(), rows.value(i).into())));
        }
        let n = pairs.len();
        let into = &mut self.buckets[bucket as usize];
        into.bytes = pairs.iter().map(|(k, v)| k.len() + v.len() + ROW_OVERHEAD_BYTES).sum();
        into.rows = pairs.into_iter().collect();
        if into.rows.len() != n {
            return Err(Error::corrupt(format!("a key is in bucket {bucket} twice")));
        }
        self.check_bytes()
    }

    /// Buckets with rows that changed since `written`, in ascending order.
    pub(super) fn changed(&self) -> Vec<u32> {
        (0u32..).zip(&self.buckets).filter(|(_, b)| b.changed).map(|(i, _)| i).collect()
    }

    /// Every bucket is on disk as it is here.
    pub(super) fn written(&mut self) {
        self.buckets.iter_mut().for_each(|b| b.changed = false);
    }

    /// The rows of a bucket in the order of their keys; `take` gets them piece by piece, and is not called if there are none.
    pub(super) fn read(&self, bucket: u32, mut take: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        let (keys, values) = (self.keys.parser(), self.values.parser());
        let mut rows = self.buckets[bucket as usize].rows.iter();
        loop {
            let piece: Vec<(&Bytes, &Bytes)> = rows.by_ref().take(BATCH_ROWS_MAX).collect();
            if piece.is_empty() {
                return Ok(());
            }
            take(&self.decode(&piece, &keys, &values)?)?;
        }
    }

    /// Whether a bucket has no rows.
    pub(super) fn is_empty(&self, bucket: u32) -> bool {
        self.buckets[bucket as usize].rows.is_empty()
    }

    fn encode(&self, rows: &RecordBatch) -> Result<Encoded> {
        let columns = |indices: &[usize]| -> Vec<ArrayRef> { indices.iter().map(|&i| rows.column(i).clone()).collect() };
        let keys = columns(&self.key.columns);
        let places = buckets_of(&keys, rows.num_rows(), self.key.buckets)?;
        let values = if self.rest.is_empty() { None } else { Some(self.values.convert_columns(&columns(&self.rest))?) };
        Ok(Encoded { places, keys: self.keys.convert_columns(&keys)?, values })
    }

    fn decode(&self, rows: &[(&Bytes, &Bytes)], keys: &RowParser, values: &RowParser) -> Result<RecordBatch> {
        let key_columns = self.keys.convert_rows(rows.iter().map(|(key, _)| keys.parse(key)))?;
        let value_columns = self.values.convert_rows(rows.iter().map(|(_, value)| values.parse(value)))?;
        let mut columns: Vec<(usize, ArrayRef)> = self.key.columns.iter().copied().zip(key_columns).collect();
        columns.extend(self.rest.iter().copied().zip(value_columns));
        columns.sort_by_key(|(i, _)| *i);
        Ok(RecordBatch::try_new(self.columns.clone(), columns.into_iter().map(|(_, column)| column).collect())?)
    }

    fn check_bytes(&self) -> Result<()> {
        if self.buckets.iter().map(|b| b.bytes).sum::<usize>() > self.bytes_max {
            let rows: usize = self.buckets.iter().map(|b| b.rows.len()).sum();
            return Err(Error::invalid(format!(
                "the rows of a table with a primary key take more than {} MiB of memory: there are {rows}",
                self.bytes_max >> 20
            ))
            .hint("keep fewer keys or columns, or leave the PRIMARY KEY out and append"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
