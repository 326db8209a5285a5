//! The first rows of each group, kept up to date. Invariant: of appended rows no more are held than may leave, because none of them
//! goes; of changing rows all are. A step says once how the rows in sight changed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{Int64Type, UInt64Type};

use super::order::RowOrder;
use crate::changes::{Changes, RowKind};
use crate::error::{Error, Result};
use crate::operators::accumulate::Bag;
use crate::operators::keyed::Keyed;
use crate::operators::reorder::{Reorder, event_times};
use crate::plan;
use crate::state::snapshot;
use crate::time::Micros;

/// A row in the order of its group.
type Row = Arc<[u8]>;

/// Groups, by key.
pub struct Top {
    plan: plan::Rank,
    order: RowOrder,
    /// Holds appended rows until the watermark passes them; none if the input is updating.
    reorder: Option<Reorder>,
    groups: Keyed<Bag>,
    /// Rows in groups.
    rows: u64,
    /// The watermark: the time of changes, which have none of their own.
    now: Micros,
}

/// Rows of a group that are in sight, before and after a step.
struct Seen {
    slot: usize,
    before: Vec<Row>,
    after: Vec<Row>,
}

/// A row that leaves, with its place from 0.
struct Told {
    row: Row,
    place: u64,
    kind: RowKind,
}

impl Top {
    /// For a plan without a window.
    pub fn new(plan: plan::Rank) -> Result<Self> {
        let order = RowOrder::new(&plan.input, &plan.order)?;
        let reorder = plan.time.map(|time| Reorder::new(plan.input.clone(), time)).transpose()?;
        let groups = Keyed::new(plan.partition.iter().map(|&c| plan.input.field(c).data_type().clone()), plan.ttl)?;
        Ok(Self { plan, order, reorder, groups, rows: 0, now: Micros::MIN })
    }

    /// Takes new rows or changes, as planned.
    pub fn push(&mut self, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        match &mut self.reorder {
            Some(_) if changes.kinds.is_some() => Err(Error::internal("changes came where new rows were planned")),
            Some(reorder) => reorder.push(changes.rows),
            None => self.apply(&changes, None, out),
        }
    }

    /// The watermark: applies appended rows up to it, and forgets groups.
    pub fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<()> {
        if let (Some(reorder), Some(time)) = (&mut self.reorder, self.plan.time)
            && let Some(rows) = reorder.release(watermark)?
        {
            self.apply(&Changes::inserts(rows.clone()), Some(event_times(&rows, time)?), out)?;
        }
        self.now = watermark;
        let rows = &mut self.rows;
        self.groups.forget(watermark, |group| *rows -= group.len());
        Ok(())
    }

    /// The last place that may leave.
    fn last(&self) -> u64 {
        self.plan.offset.saturating_add(self.plan.limit)
    }

    fn keys(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.plan.partition.iter().map(|&c| rows.column(c).clone()).collect()
    }

    fn apply(&mut self, changes: &Changes, times: Option<&[Micros]>, out: &mut Vec<Changes>) -> Result<()> {
        let encoded = self.order.encode(&changes.rows)?;
        let slots = self.groups.locate(&self.keys(&changes.rows), changes.len(), || Ok(Bag::default()))?;
        let mut seen: Vec<Seen> = Vec::new();
        // Where in `seen` a group is that changes.
        let mut open: HashMap<usize, usize, RandomState> = HashMap::default();
        for (i, &slot) in slots.iter().enumerate() {
            let (row, adds) = (encoded.row(i), changes.kind(i).adds());
            let now = times.map_or(self.now, |t| t[i]);
            let last = self.groups.at(slot)?.last;
            if self.groups.forgotten(last, now) {
                let forgotten = std::mem::take(&mut self.groups.at(slot)?.state);
                self.rows -= forgotten.len();
                if let Some(place) = open.remove(&slot) {
                    seen[place].after = forgotten.range(self.plan.offset, self.plan.limit);
                }
            }
            let full = times.is_some() && self.groups.at(slot)?.state.len() >= self.last();
            if full && self.groups.at(slot)?.state.last().is_none_or(|last| **last <= *row.data()) {
                continue;
            }
            let (offset, limit) = (self.plan.offset, self.plan.limit);
            let group = self.groups.at(slot)?;
            open.entry(slot).or_insert_with(|| {
                seen.push(Seen { slot, before: group.state.range(offset, limit), after: Vec::new() });
                seen.len() - 1
            });
            group.touch(now);
            if adds {
                group.state.add(row.data());
                if full {
                    group.state.pop_last();
                } else {
                    self.rows += 1;
                }
            } else if group.state.remove(row.data()).is_some() {
                self.rows -= 1;
            } else if self.plan.ttl.is_none() {
                return Err(Error::internal("a row left a group that it was not in"));
            }
        }
        for (slot, place) in open {
            seen[place].after = self.groups.at(slot)?.state.range(self.plan.offset, self.plan.limit);
        }
        self.tell(&seen, out)?;
        for seen in seen {
            if self.groups.at(seen.slot).is_ok_and(|group| group.state.is_empty()) {
                self.groups.remove(seen.slot);
            }
        }
        Ok(())
    }

    fn tell(&self, seen: &[Seen], out: &mut Vec<Changes>) -> Result<()> {
        let mut told = Vec::new();
        for Seen { before, after, .. } in seen {
            match (self.plan.place, self.plan.limit) {
                (true, _) | (false, 1) => by_place(before, after, &mut told),
                (false, _) => by_row(before, after, &mut told),
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        let mut columns = self.order.decode(told.iter().map(|t| t.row.as_ref()))?;
        if self.plan.place {
            let places = told.iter().map(|t| (self.plan.offset + t.place) as i64 + 1);
            columns.push(Arc::new(Int64Array::from_iter_values(places)));
        }
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        out.push(Changes::new(rows, told.iter().map(|t| t.kind).collect()));
        Ok(())
    }

    /// Rows that it holds.
    pub fn held(&self) -> u64 {
        self.rows + self.reorder.as_ref().map_or(0, Reorder::len) as u64
    }

    /// Groups.
    pub fn keys_held(&self) -> u64 {
        self.groups.len() as u64
    }

    /// Appends its state: the watermark and rows that wait; rows of groups; how often each is there; how many different ones each
    /// group has, and when it changed last.
    pub fn encode(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let waiting = match &mut self.reorder {
            Some(reorder) => reorder.snapshot()?,
            None => RecordBatch::new_empty(self.plan.input.clone()),
        };
        let (mut sizes, mut last, mut counts, mut rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for slot in self.groups.sorted() {
            let group = self.groups.at(slot)?;
            last.push(group.last);
            let before = rows.len();
            for (row, count) in group.state.counts() {
                rows.push(row.clone());
                counts.push(count);
            }
            sizes.push((rows.len() - before) as u64);
        }
        let rows = RecordBatch::try_new(self.plan.input.clone(), self.order.decode(rows.iter().map(AsRef::as_ref))?)?;
        let groups: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(sizes)), Arc::new(Int64Array::from(last))];
        snapshot::put_part(bytes, |bytes| snapshot::encode(bytes, &self.now, &self.plan.input, &[waiting, rows]))?;
        snapshot::put_part(bytes, |bytes| snapshot::encode_columns(bytes, vec![Arc::new(UInt64Array::from(counts))]))?;
        snapshot::put_part(bytes, |bytes| snapshot::encode_columns(bytes, groups))
    }

    /// Takes over state from `encode`.
    pub fn decode(&mut self, state: &[u8]) -> Result<()> {
        let damaged = || Error::corrupt("state of a ranking does not fit its plan");
        let [rows, counts, groups] = snapshot::unpack(state)?;
        let (now, batches) = snapshot::decode::<Micros>(rows)?;
        let (counts, groups) = (snapshot::decode_columns(counts)?, snapshot::decode_columns(groups)?);
        let ([waiting, rows], [counts], [sizes, last]) = (batches.as_slice(), counts.as_slice(), groups.as_slice()) else {
            return Err(damaged());
        };
        let counts = counts.as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?.values();
        let sizes = sizes.as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?.values();
        let last = last.as_primitive_opt::<Int64Type>().ok_or_else(damaged)?.values();
        let fits = rows.schema().fields().len() == self.plan.input.fields().len() && counts.len() == rows.num_rows();
        if !fits || sizes.iter().try_fold(0, |sum: u64, &size| sum.checked_add(size)) != Some(rows.num_rows() as u64) {
            return Err(damaged());
        }
        self.now = now;
        if let Some(reorder) = &mut self.reorder {
            reorder.restore(waiting.clone())?;
        }
        let encoded = self.order.encode(rows)?;
        let slots = self.groups.locate(&self.keys(rows), rows.num_rows(), || Ok(Bag::default()))?;
        let mut from = 0;
        for (&size, &last) in sizes.iter().zip(last) {
            let rows: Range<usize> = from..from + size as usize;
            from = rows.end;
            for row in rows {
                let group = self.groups.at(slots[row])?;
                group.last = last;
                group.state.put(encoded.row(row).data(), counts[row]);
                self.rows += counts[row];
            }
        }
        Ok(())
    }
}

/// Places whose rows changed.
fn by_place(before: &[Row], after: &[Row], told: &mut Vec<Told>) {
    for place in 0..before.len().max(after.len()) {
        let mut tell = |row: &Row, kind| told.push(Told { row: row.clone(), place: place as u64, kind });
        match (before.get(place), after.get(place)) {
            (Some(old), Some(new)) if old != new => {
                tell(old, RowKind::UpdateBefore);
                tell(new, RowKind::UpdateAfter);
            }
            (Some(old), None) => tell(old, RowKind::Delete),
            (None, Some(new)) => tell(new, RowKind::Insert),
            _ => {}
        }
    }
}

/// Rows that went, then rows that came; both lists are in order.
fn by_row(before: &[Row], after: &[Row], told: &mut Vec<Told>) {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    let mut came = Vec::new();
    loop {
        let (row, kind) = match (old.peek(), new.peek()) {
            (Some(o), Some(n)) if o == n => {
                old.next();
                new.next();
                continue;
            }
            (Some(o), n) if n.is_none_or(|n| o < n) => (old.next(), RowKind::Delete),
            (_, Some(_)) => (new.next(), RowKind::Insert),
            (_, None) => break,
        };
        let told = if kind == RowKind::Delete { &mut *told } else { &mut came };
        told.extend(row.map(|row| Told { row: row.clone(), place: 0, kind }));
    }
    told.append(&mut came);
}
