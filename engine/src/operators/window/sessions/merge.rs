//! Sessions of all partitions. Invariant: sessions of a key that overlap or touch are one, merged in the order of their first rows, then of
//! their partitions; it is given away once no partition can add to it: each has passed its end, and none has an open session that
//! reaches into it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::compute::{filter, is_not_null, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, UInt32Type, UInt64Type};
use arrow::row::{RowConverter, SortField};

use super::keys::LiveKeys;
use super::states::{Place, States};
use crate::contract::Usage;
use crate::error::{Error, Result};
use crate::ids::Partition;
use crate::limits::SESSIONS_OPEN_MAX;
use crate::operators::compact::compact;
use crate::operators::window::accumulators::Accumulators;
use crate::operators::window::merge::Closed;
use crate::plan;
use crate::state::snapshot;
use crate::time::{Micros, ahead};

/// Number of the key, time of the first row, partition: no two sessions share it.
type Name = (usize, Micros, Partition);

/// What a tree takes beside its entries, in terms of them: nodes are two thirds full.
const TREE_FACTOR: usize = 2;

/// A session of one partition.
#[derive(Debug, Clone)]
struct Part {
    name: Name,
    /// Time of the last row; `None` while it is open.
    last: Option<Micros>,
    rows: u64,
    /// Where the state is; `None` while it is open.
    place: Option<Place>,
}

/// Collects the sessions of partitions and gives whole ones.
pub struct SessionMerge {
    window: plan::Window,
    gap: Micros,
    unit: Micros,
    keys: LiveKeys,
    /// `None` is free.
    parts: Vec<Option<Part>>,
    free: Vec<u32>,
    by_name: BTreeMap<Name, u32>,
    /// Ends of closed parts: when to look at them.
    queue: BinaryHeap<Reverse<(Micros, u32)>>,
    states: States,
    accumulators: Accumulators,
    open_rows: u64,
}

/// Sessions to give away.
#[derive(Default)]
struct Whole {
    starts: Vec<Micros>,
    ends: Vec<Micros>,
    keys: Vec<usize>,
    /// What they are made of, in the order in which it is merged, and the session of each.
    parts: Vec<Part>,
    groups: Vec<usize>,
}

impl SessionMerge {
    /// `gap` and `unit`, the smallest step of event time, are microseconds.
    pub fn new(window: plan::Window, gap: Micros, unit: Micros) -> Result<Self> {
        Ok(Self {
            gap,
            unit,
            keys: LiveKeys::new(&window)?,
            parts: Vec::new(),
            free: Vec::new(),
            by_name: BTreeMap::new(),
            queue: BinaryHeap::new(),
            states: States::new(&window.partial_schema().fields()[window.keys.len()..]),
            accumulators: Accumulators::new(&window)?,
            open_rows: 0,
            window,
        })
    }

    /// What it takes of memory.
    pub fn usage(&self) -> Usage {
        let names = self.by_name.len() * (size_of::<Name>() + size_of::<u32>()) * TREE_FACTOR;
        let parts = self.parts.capacity() * size_of::<Option<Part>>() + self.queue.capacity() * size_of::<(Micros, u32)>();
        let bytes = self.keys.bytes() + names + parts + self.states.bytes() + self.accumulators.bytes();
        Usage { bytes: bytes as u64, groups: self.by_name.len() as u64 }
    }

    /// Takes what a partition tells: see `Emission::Sessions`.
    pub fn add(&mut self, partition: Partition, opened: &RecordBatch, closed: &RecordBatch) -> Result<()> {
        let mut numbers = Vec::new();
        self.keys.intern(&opened.columns()[1..], opened.num_rows(), &mut numbers)?;
        for (&key, &first) in numbers.iter().zip(opened.column(0).as_primitive::<Int64Type>().values()) {
            self.insert(Part { name: (key, first, partition), last: None, rows: 0, place: None });
        }
        let (keys, states) = closed.columns()[3..].split_at(self.window.keys.len());
        self.keys.intern(keys, closed.num_rows(), &mut numbers)?;
        let [first, last] = [0, 1].map(|c| closed.column(c).as_primitive::<Int64Type>());
        let rows = closed.column(2).as_primitive::<UInt64Type>();
        let part = |i: usize, key: usize| Part {
            name: (key, first.value(i), partition),
            last: Some(last.value(i)),
            rows: rows.value(i),
            place: None,
        };
        let owners = numbers.iter().enumerate().map(|(i, &key)| self.insert(part(i, key))).collect();
        self.store(states.to_vec(), owners)?;
        if self.by_name.len() > SESSIONS_OPEN_MAX {
            return Err(Error::invalid(format!("more than {SESSIONS_OPEN_MAX} sessions wait for other partitions"))
                .hint("a partition that is far behind keeps the sessions of all others waiting"));
        }
        Ok(())
    }

    /// Puts a part in, instead of the news that it is open.
    fn insert(&mut self, part: Part) -> u32 {
        let (name, end) = (part.name, part.last.map(|last| last.saturating_add(self.gap)));
        self.open_rows += part.rows;
        let known = self.by_name.get(&name).copied().or_else(|| {
            self.keys.hold(name.0);
            self.free.pop()
        });
        let at = known.unwrap_or(self.parts.len() as u32);
        if at as usize == self.parts.len() {
            self.parts.push(Some(part))
        } else {
            self.parts[at as usize] = Some(part)
        }
        self.by_name.insert(name, at);
        self.queue.extend(end.map(|end| Reverse((end, at))));
        at
    }

    fn store(&mut self, states: Vec<ArrayRef>, owners: Vec<u32>) -> Result<()> {
        let parts = &mut self.parts;
        let mut tell = |owner: u32, place: Place| {
            if let Some(part) = &mut parts[owner as usize] {
                part.place = Some(place);
            }
        };
        self.states.put(states, owners, &mut tell);
        self.states.tidy(&mut tell)
    }

    /// Sessions that are over at `watermark`, which every partition has reached, in the order of their ends, starts and keys.
    pub fn close(&mut self, watermark: Micros) -> Result<Option<Closed>> {
        let ahead = ahead(watermark, self.unit);
        let mut whole = Whole::default();
        while let Some(&Reverse((end, at))) = self.queue.peek().filter(|Reverse((end, _))| *end < ahead) {
            self.queue.pop();
            if let Some(part) = &self.parts[at as usize]
                && part.last.is_some_and(|last| last.saturating_add(self.gap) == end)
            {
                self.take_first(part.name.0, ahead, &mut whole);
            }
        }
        if whole.starts.is_empty() {
            return Ok(None);
        }
        let closed = self.finish(&whole)?;
        for part in &whole.parts {
            part.place.into_iter().for_each(|place| self.states.release(place));
            self.keys.release(part.name.0);
        }
        if let Some(renumbered) = self.keys.forget()? {
            self.parts.iter_mut().flatten().for_each(|part| part.name.0 = renumbered[part.name.0]);
            self.by_name = std::mem::take(&mut self.by_name).into_iter().map(|((k, f, p), at)| ((renumbered[k], f, p), at)).collect();
        }
        Ok(Some(closed))
    }

    /// Takes out the first session of the key, if it is over. Sessions are looked at in the order of their ends, so that one that is
    /// over is the first of its key: those before it are gone, or are open and reach beyond its end.
    fn take_first(&mut self, key: usize, ahead: Micros, whole: &mut Whole) {
        let (mut chain, mut end) = (Vec::new(), None);
        for (&(_, first, _), &at) in self.by_name.range((key, Micros::MIN, 0)..=(key, Micros::MAX, Partition::MAX)) {
            if end.is_some_and(|end| first > end) {
                break;
            }
            // While a session is open in its partition, what it reaches into has to wait.
            let Some(last) = self.parts[at as usize].as_ref().and_then(|p| p.last) else { return };
            end = end.max(Some(last.saturating_add(self.gap)));
            chain.push(at);
        }
        let Some(end) = end.filter(|&end| end < ahead) else { return };
        let session = whole.starts.len();
        for (i, &at) in chain.iter().enumerate() {
            let Some(part) = self.parts[at as usize].take() else { continue };
            if i == 0 {
                whole.starts.push(part.name.1);
                whole.ends.push(end);
                whole.keys.push(key);
            }
            self.by_name.remove(&part.name);
            self.free.push(at);
            self.open_rows -= part.rows;
            whole.groups.push(session);
            whole.parts.push(part);
        }
    }

    fn finish(&mut self, whole: &Whole) -> Result<Closed> {
        let places: Vec<Place> = whole.parts.iter().filter_map(|p| p.place).collect();
        self.accumulators.merge(&self.window, &self.states.get(&places)?, &whole.groups, whole.starts.len())?;
        let times = [&whole.starts, &whole.ends];
        let [start, end] = times.map(|t| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(t.clone()).with_timezone("UTC")) });
        let keys = self.keys.select(&whole.keys)?;
        let by: Vec<ArrayRef> = [end.clone(), start.clone()].into_iter().chain(keys.iter().cloned()).collect();
        let rows = RowConverter::new(by.iter().map(|c| SortField::new(c.data_type().clone())).collect())?.convert_columns(&by)?;
        let mut order: Vec<u32> = (0..whole.starts.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| rows.row(a as usize).cmp(&rows.row(b as usize)));
        let windows = order.chunk_by(|&a, &b| whole.ends[a as usize] == whole.ends[b as usize]).count() as u64;
        let columns = [start, end].into_iter().chain(keys).chain(self.accumulators.evaluate()?).collect();
        let result = take_record_batch(&RecordBatch::try_new(self.window.schema(), columns)?, &UInt32Array::from(order))?;
        Ok(Closed { result, rows: whole.parts.iter().map(|p| p.rows).sum(), windows })
    }

    /// Rows in sessions that wait.
    pub fn open_rows(&self) -> u64 {
        self.open_rows
    }

    fn snapshot_schema(&self) -> SchemaRef {
        super::schema(&self.window, Some(Field::new("partition", DataType::UInt32, false)))
    }

    /// Appends its state to `bytes`.
    pub fn snapshot_into(&self, bytes: &mut Vec<u8>) -> Result<()> {
        let parts: Vec<&Part> = self.by_name.values().filter_map(|&at| self.parts[at as usize].as_ref()).collect();
        let keys: Vec<usize> = parts.iter().map(|p| p.name.0).collect();
        let places: Vec<Place> = parts.iter().filter_map(|p| p.place).collect();
        // Open ones have a NULL for each state.
        let rows: UInt32Array = parts.iter().scan(0, |next, p| Some(p.place.map(|_| std::mem::replace(next, *next + 1)))).collect();
        let state = |column: ArrayRef| match places.is_empty() {
            true => Ok(new_null_array(column.data_type(), parts.len())),
            false => take(&column, &rows, None),
        };
        let states = self.states.get(&places)?.into_iter().map(state).collect::<std::result::Result<Vec<_>, _>>()?;
        let lead: [ArrayRef; 4] = [
            Arc::new(Int64Array::from_iter_values(parts.iter().map(|p| p.name.1))),
            Arc::new(parts.iter().map(|p| p.last).collect::<Int64Array>()),
            Arc::new(UInt64Array::from_iter_values(parts.iter().map(|p| p.rows))),
            Arc::new(UInt32Array::from_iter_values(parts.iter().map(|p| p.name.2))),
        ];
        let columns = lead.into_iter().chain(self.keys.select(&keys)?).chain(states).collect();
        let batch = compact(&RecordBatch::try_new(self.snapshot_schema(), columns)?)?;
        snapshot::encode(bytes, &(), &self.snapshot_schema(), &[batch])
    }

    /// Takes over state from `snapshot_into`.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        let ((), batches) = snapshot::decode(state)?;
        let schema = self.snapshot_schema();
        for batch in batches {
            let batch = plan::widened(batch, &schema)?;
            if batch.schema() != schema {
                return Err(Error::corrupt("session state has other columns than its window"));
            }
            let (keys, states) = batch.columns()[4..].split_at(self.window.keys.len());
            let mut numbers = Vec::new();
            self.keys.intern(keys, batch.num_rows(), &mut numbers)?;
            let [first, last] = [0, 1].map(|c| batch.column(c).as_primitive::<Int64Type>());
            let (rows, partition) = (batch.column(2).as_primitive::<UInt64Type>(), batch.column(3).as_primitive::<UInt32Type>());
            let mut owners = Vec::new();
            for (i, &key) in numbers.iter().enumerate() {
                let last = last.is_valid(i).then(|| last.value(i));
                let at = self.insert(Part { name: (key, first.value(i), partition.value(i)), last, rows: rows.value(i), place: None });
                owners.extend(last.map(|_| at));
            }
            let closed = is_not_null(last)?;
            let states = states.iter().map(|s| filter(s, &closed)).collect::<std::result::Result<Vec<_>, _>>()?;
            self.store(states, owners)?;
        }
        Ok(())
    }
}
