//! Of the rows with the same key, the newest. Invariant: the result after each step has one row a key, the one that came last of those
//! that are in: when it goes, the one before it comes back. A step says of a key once how its row changed, or nothing.
//!
//! A sink with a primary key needs this before it if the rows of a query are not told apart by that key: then a row that goes, or that
//! moves from one key to another, would take away the row of somebody else. Flink calls it a `SinkUpsertMaterializer`.

use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{Int64Type, UInt64Type};
use arrow::row::{RowConverter, SortField};
use hashbrown::HashSet;

use super::keyed::Keyed;
use crate::changes::{Changes, RowKind};
use crate::contract::Stateful;
use crate::error::{Error, Result};
use crate::plan;
use crate::state::snapshot;
use crate::time::Micros;

/// A whole row in arrow's row format.
type Row = Arc<[u8]>;

/// Keeps the rows of each key in the order in which they came.
pub struct UpsertOperator {
    plan: plan::Upsert,
    converter: RowConverter,
    keys: Keyed<Vec<Row>>,
    /// Rows of all keys.
    rows: u64,
    /// The watermark: the time of changes, which have none of their own.
    now: Micros,
}

impl UpsertOperator {
    /// An operator for `plan`. Errors: `Internal` if rows cannot be compared.
    pub fn new(plan: plan::Upsert) -> Result<Self> {
        let converter = RowConverter::new(plan.schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect())?;
        let keys = Keyed::new(plan.key.iter().map(|&c| plan.schema.field(c).data_type().clone()), plan.ttl)?;
        Ok(Self { plan, converter, keys, rows: 0, now: Micros::MIN })
    }

    fn locate(&mut self, rows: &RecordBatch) -> Result<Vec<usize>> {
        let keys: Vec<ArrayRef> = self.plan.key.iter().map(|&c| rows.column(c).clone()).collect();
        self.keys.locate(&keys, rows.num_rows(), || Ok(Vec::new()))
    }

    /// Puts a row in, or takes the newest one like it out.
    fn apply(&mut self, slot: usize, row: &[u8], kind: RowKind) -> Result<()> {
        let rows = &mut self.keys.at(slot)?.state;
        if kind.adds() {
            rows.push(row.into());
            self.rows += 1;
        } else if let Some(place) = rows.iter().rposition(|r| **r == *row) {
            rows.remove(place);
            self.rows -= 1;
        } else if self.plan.ttl.is_none() {
            return Err(Error::internal("a row left a key that it was not of"));
        }
        Ok(())
    }

    /// How the rows of keys differ from what they were before.
    fn tell(&self, before: &[(Option<Row>, Option<Row>)], out: &mut Vec<Changes>) -> Result<()> {
        let (mut rows, mut kinds): (Vec<&[u8]>, Vec<RowKind>) = (Vec::new(), Vec::new());
        for change in before {
            let (old, new) = match change {
                (Some(old), Some(new)) if old == new => continue,
                (Some(old), Some(new)) => (Some((old, RowKind::UpdateBefore)), Some((new, RowKind::UpdateAfter))),
                (old, new) => (old.as_ref().map(|r| (r, RowKind::Delete)), new.as_ref().map(|r| (r, RowKind::Insert))),
            };
            for (row, kind) in old.into_iter().chain(new) {
                rows.push(row);
                kinds.push(kind);
            }
        }
        if !rows.is_empty() {
            out.push(Changes::new(self.decode_rows(&rows)?, kinds));
        }
        Ok(())
    }

    fn decode_rows(&self, rows: &[&[u8]]) -> Result<RecordBatch> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.iter().map(|row| parser.parse(row)))?;
        Ok(RecordBatch::try_new(self.plan.schema.clone(), columns)?)
    }
}

impl Stateful for UpsertOperator {
    fn push(&mut self, _input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        let encoded = self.converter.convert_columns(changes.rows.columns())?;
        let slots = self.locate(&changes.rows)?;
        let (mut seen, mut before) = (HashSet::with_hasher(RandomState::with_seeds(1, 2, 3, 4)), Vec::new());
        for (i, &slot) in slots.iter().enumerate() {
            let last = self.keys.at(slot)?.last;
            if self.keys.forgotten(last, self.now) {
                self.rows -= std::mem::take(&mut self.keys.at(slot)?.state).len() as u64;
            }
            let held = self.keys.at(slot)?;
            held.touch(self.now);
            if seen.insert(slot) {
                before.push((slot, held.state.last().cloned()));
            }
            self.apply(slot, encoded.row(i).data(), changes.kind(i))?;
        }
        let mut told = Vec::with_capacity(before.len());
        for (slot, old) in before {
            let new = self.keys.at(slot)?.state.last().cloned();
            if new.is_none() {
                self.keys.remove(slot);
            }
            told.push((old, new));
        }
        self.tell(&told, out)
    }

    fn advance(&mut self, watermark: Micros, _out: &mut Vec<Changes>) -> Result<Micros> {
        self.now = watermark;
        let rows = &mut self.rows;
        self.keys.forget(watermark, |gone| *rows -= gone.len() as u64);
        Ok(watermark)
    }

    fn held(&self) -> u64 {
        self.rows
    }

    fn keys(&self) -> Option<u64> {
        Some(self.keys.len() as u64)
    }

    /// The watermark and the rows, those of a key in their order; how many each key has, and when they changed last.
    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let (mut sizes, mut last, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for slot in self.keys.sorted() {
            let held = self.keys.at(slot)?;
            sizes.push(held.state.len() as u64);
            last.push(held.last);
            rows.extend(held.state.iter().cloned());
        }
        let rows = self.decode_rows(&rows.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        let keys: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(sizes)), Arc::new(Int64Array::from(last))];
        snapshot::put_part(bytes, |bytes| snapshot::encode(bytes, &self.now, &self.plan.schema, &[rows]))?;
        snapshot::put_part(bytes, |bytes| snapshot::encode_columns(bytes, keys))
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let damaged = || Error::corrupt("state of an upsert does not fit its plan");
        let [rows, keys] = snapshot::unpack(state)?;
        let (now, batches) = snapshot::decode::<Micros>(rows)?;
        let keys = snapshot::decode_columns(keys)?;
        let ([rows], [sizes, last]) = (batches.as_slice(), keys.as_slice()) else { return Err(damaged()) };
        let sizes = sizes.as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?.values();
        let last = last.as_primitive_opt::<Int64Type>().ok_or_else(damaged)?.values();
        let count = sizes.iter().try_fold(0, |sum: u64, &size| sum.checked_add(size));
        if rows.schema().fields().len() != self.plan.schema.fields().len() || count != Some(rows.num_rows() as u64) {
            return Err(damaged());
        }
        let encoded = self.converter.convert_columns(rows.columns())?;
        let slots = self.locate(rows)?;
        let lasts = sizes.iter().zip(last).flat_map(|(&size, &last)| std::iter::repeat_n(last, size as usize));
        for (i, last) in lasts.enumerate() {
            let held = self.keys.at(slots[i])?;
            held.last = last;
            held.state.push(encoded.row(i).data().into());
        }
        (self.now, self.rows) = (now, rows.num_rows() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
