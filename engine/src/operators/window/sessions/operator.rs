//! The sessions of one partition. Invariant: a row is late exactly if it lies at or behind the watermark that stood before it; every
//! other is in one session. Input columns are those that `WindowInputs` gives.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, UInt64Type};

use super::fragments::{Fragments, Passed};
use super::keys::LiveKeys;
use super::states::{Place, States};
use crate::batch::Batch;
use crate::contract::{Emission, Operator, Output, Usage};
use crate::error::{Error, Result};
use crate::limits::SESSIONS_OPEN_MAX;
use crate::operators::compact::compact;
use crate::operators::window::accumulators::Accumulators;
use crate::operators::window::inputs::times;
use crate::operators::window::late::put_aside;
use crate::plan;
use crate::state::snapshot;
use crate::time::{Micros, ahead};

/// Aggregates rows into sessions and gives them away when they are over.
pub struct SessionOperator {
    window: plan::Window,
    unit: Micros,
    keys: LiveKeys,
    fragments: Fragments,
    states: States,
    accumulators: Accumulators,
    open_rows: u64,
    /// Of `Emission::Sessions`.
    opened: SchemaRef,
    closed: SchemaRef,
}

impl SessionOperator {
    /// `gap` and `unit`, the smallest step of event time, are microseconds.
    pub fn new(window: plan::Window, gap: Micros, unit: Micros) -> Result<Self> {
        let closed = super::schema(&window, None);
        let opened: Vec<usize> = std::iter::once(0).chain(3..3 + window.keys.len()).collect();
        Ok(Self {
            unit,
            keys: LiveKeys::new(&window)?,
            fragments: Fragments::new(gap),
            states: States::new(&window.partial_schema().fields()[window.keys.len()..]),
            accumulators: Accumulators::new(&window)?,
            open_rows: 0,
            opened: Arc::new(closed.project(&opened)?),
            closed,
            window,
        })
    }

    /// Rows in sessions that are open.
    pub fn open_rows(&self) -> u64 {
        self.open_rows
    }

    /// What it takes of memory.
    pub fn usage(&self) -> Usage {
        let bytes = self.keys.bytes() + self.fragments.bytes() + self.states.bytes() + self.accumulators.bytes();
        Usage { bytes: bytes as u64, groups: self.fragments.len() as u64 }
    }

    /// Finds the fragment of each row: the group of each row, and the fragments of the groups, those with a state and those that are new.
    fn group(&mut self, times: &[Micros], keys: &[ArrayRef]) -> Result<(Vec<usize>, Vec<u32>, Vec<u32>)> {
        let mut groups = Vec::new();
        self.keys.intern(keys, times.len(), &mut groups)?;
        self.fragments.grow(self.keys.len());
        let mut touched: Vec<u32> = Vec::new();
        for (group, &time) in groups.iter_mut().zip(times) {
            let key = *group;
            let (fragment, new) = self.fragments.extend(key, time);
            if new {
                self.keys.hold(key);
            }
            let number = &mut self.fragments.get_mut(fragment).group;
            *group = *number.get_or_insert(touched.len() as u32) as usize;
            if *group == touched.len() {
                touched.push(fragment);
            }
        }
        // Those with a state come first: accumulators take a number of groups to mean that each of them has been seen.
        let (stored, new): (Vec<u32>, Vec<u32>) = touched.iter().partition(|&&f| self.fragments.get(f).place.is_some());
        let mut renumbered = vec![0; touched.len()];
        for (group, &fragment) in stored.iter().chain(&new).enumerate() {
            if let Some(before) = self.fragments.get_mut(fragment).group.take() {
                renumbered[before as usize] = group;
            }
        }
        groups.iter_mut().for_each(|group| *group = renumbered[*group]);
        if self.fragments.len() > SESSIONS_OPEN_MAX {
            return Err(Error::invalid(format!("more than {SESSIONS_OPEN_MAX} sessions are open in one partition"))
                .hint("a shorter gap or watermark delay, or fewer distinct keys, keep fewer of them open"));
        }
        Ok((groups, stored, new))
    }

    /// Stores the states of the accumulators, those of `owners`.
    fn store(&mut self, owners: Vec<u32>) -> Result<()> {
        let states = self.accumulators.state()?;
        let (fragments, store) = (&mut self.fragments, &mut self.states);
        owners.iter().filter_map(|&f| fragments.get_mut(f).place.take()).for_each(|place| store.release(place));
        store.put(states, owners, |owner, place| fragments.get_mut(owner).place = Some(place));
        store.tidy(|owner, place| fragments.get_mut(owner).place = Some(place))
    }

    /// Merges the states of fragments into the accumulators, each into its group.
    fn merge(&mut self, fragments: &[(u32, usize)], total: usize) -> Result<()> {
        let places: Vec<Place> = fragments.iter().filter_map(|&(f, _)| self.fragments.get(f).place).collect();
        let groups: Vec<usize> = fragments.iter().map(|f| f.1).collect();
        self.accumulators.merge(&self.window, &self.states.get(&places)?, &groups, total)
    }

    /// Merges the states of fragments that are complete into those before them.
    fn fold(&mut self, folds: &[(u32, u32)]) -> Result<()> {
        if folds.is_empty() {
            return Ok(());
        }
        let mut into: Vec<u32> = folds.iter().map(|f| f.0).collect();
        into.sort_unstable();
        into.dedup();
        let group = |fragment: u32| into.partition_point(|&f| f < fragment);
        let own = into.iter().map(|&f| (f, group(f)));
        let all: Vec<(u32, usize)> = own.chain(folds.iter().map(|&(into, from)| (from, group(into)))).collect();
        self.merge(&all, into.len())?;
        self.store(into)?;
        folds.iter().for_each(|&(_, from)| self.forget(from));
        Ok(())
    }

    fn forget(&mut self, fragment: u32) {
        let left = self.fragments.get_mut(fragment);
        if let Some(place) = left.place.take() {
            self.states.release(place);
        }
        self.keys.release(left.key);
        self.fragments.forget(fragment);
    }

    /// Sessions that are over: times, number of rows, keys, states.
    fn take_closed(&mut self, passed: &Passed) -> Result<RecordBatch> {
        let sessions = passed.ends.len();
        let mut groups: Vec<(u32, usize)> = Vec::with_capacity(passed.closed.len());
        let (mut first, mut last, mut rows, mut keys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut begin = 0;
        for (session, &end) in passed.ends.iter().enumerate() {
            let fragments = &passed.closed[begin..end];
            groups.extend(fragments.iter().map(|&f| (f, session)));
            let get = |f: u32| self.fragments.get(f);
            first.push(get(fragments[0]).first);
            last.push(get(fragments[fragments.len() - 1]).last);
            rows.push(fragments.iter().map(|&f| get(f).rows).sum::<u64>());
            keys.push(get(fragments[0]).key);
            begin = end;
        }
        let states = if groups.len() == sessions {
            let places: Vec<Place> = groups.iter().filter_map(|&(f, _)| self.fragments.get(f).place).collect();
            self.states.get(&places)?
        } else {
            self.merge(&groups, sessions)?;
            self.accumulators.state()?
        };
        self.open_rows -= rows.iter().sum::<u64>();
        let lead: [ArrayRef; 3] = [Arc::new(Int64Array::from(first)), Arc::new(Int64Array::from(last)), Arc::new(UInt64Array::from(rows))];
        let columns = lead.into_iter().chain(self.keys.select(&keys)?).chain(states).collect();
        passed.closed.iter().for_each(|&f| self.forget(f));
        compact(&RecordBatch::try_new(self.closed.clone(), columns)?)
    }

    /// Sessions that have begun: time of the first row, keys.
    fn tell_begun(&self, begun: &[u32]) -> Result<RecordBatch> {
        let first: ArrayRef = Arc::new(Int64Array::from_iter_values(begun.iter().map(|&f| self.fragments.get(f).first)));
        let keys: Vec<usize> = begun.iter().map(|&f| self.fragments.get(f).key).collect();
        let columns = std::iter::once(first).chain(self.keys.select(&keys)?).collect();
        Ok(RecordBatch::try_new(self.opened.clone(), columns)?)
    }

    fn snapshot_schema(&self) -> SchemaRef {
        super::schema(&self.window, Some(Field::new("begun", DataType::Boolean, false)))
    }
}

impl Operator for SessionOperator {
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let mut columns = batch.rows.columns().to_vec();
        if let Some(watermarks) = &batch.watermarks {
            let times = times(&columns[0])?;
            let (kept, late): (Vec<u32>, Vec<u32>) =
                (0..times.len() as u32).partition(|&i| times[i as usize] > watermarks.value(i as usize));
            if !late.is_empty() {
                put_aside(&batch, 0, &late, out)?;
                let kept = UInt32Array::from(kept);
                columns = columns.iter().map(|c| take(c, &kept, None)).collect::<std::result::Result<_, _>>()?;
            }
        }
        let times = times(&columns[0])?;
        if times.is_empty() {
            return Ok(None);
        }
        out.counters.aggregated += times.len() as u64;
        self.open_rows += times.len() as u64;
        let (keys, inputs) = columns[1..].split_at(self.window.keys.len());
        let (groups, mut touched, new) = self.group(times, keys)?;
        if !touched.is_empty() {
            let stored: Vec<(u32, usize)> = touched.iter().enumerate().map(|(group, &f)| (f, group)).collect();
            self.merge(&stored, touched.len())?;
        }
        touched.extend(new);
        self.accumulators.update(&self.window, inputs, &groups, touched.len())?;
        self.store(touched)?;
        Ok(None)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Output) -> Result<()> {
        let passed = self.fragments.pass(ahead(watermark, self.unit));
        self.fold(&passed.folds)?;
        if passed.begun.is_empty() && passed.closed.is_empty() {
            return Ok(());
        }
        let opened = self.tell_begun(&passed.begun)?;
        let closed = self.take_closed(&passed)?;
        if let Some(renumbered) = self.keys.forget()? {
            self.fragments.renumber(&renumbered, self.keys.len());
        }
        out.emissions.push(Emission::Sessions { opened, closed });
        Ok(())
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let mut order: Vec<u32> = self.fragments.each().collect();
        order.sort_unstable_by_key(|&f| (self.fragments.get(f).key, self.fragments.get(f).first));
        let each = || order.iter().map(|&f| self.fragments.get(f));
        let keys: Vec<usize> = each().map(|f| f.key).collect();
        let places: Vec<Place> = each().filter_map(|f| f.place).collect();
        let lead: [ArrayRef; 4] = [
            Arc::new(Int64Array::from_iter_values(each().map(|f| f.first))),
            Arc::new(Int64Array::from_iter_values(each().map(|f| f.last))),
            Arc::new(UInt64Array::from_iter_values(each().map(|f| f.rows))),
            Arc::new(BooleanArray::from_iter(each().map(|f| Some(f.begun)))),
        ];
        let columns = lead.into_iter().chain(self.keys.select(&keys)?).chain(self.states.get(&places)?).collect();
        let fragments = compact(&RecordBatch::try_new(self.snapshot_schema(), columns)?)?;
        snapshot::encode(bytes, &(), &self.snapshot_schema(), &[fragments])
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let ((), batches) = snapshot::decode(state)?;
        let schema = self.snapshot_schema();
        for batch in batches {
            let batch = plan::widened(batch, &schema)?;
            if batch.schema() != schema {
                return Err(Error::corrupt("session state has other columns than its window"));
            }
            let (lead, rest) = batch.columns().split_at(4);
            let (keys, states) = rest.split_at(self.window.keys.len());
            let (first, last) = (lead[0].as_primitive::<Int64Type>(), lead[1].as_primitive::<Int64Type>());
            let (rows, begun) = (lead[2].as_primitive::<UInt64Type>(), lead[3].as_boolean());
            let (mut numbers, mut owners) = (Vec::new(), Vec::new());
            self.keys.intern(keys, batch.num_rows(), &mut numbers)?;
            self.fragments.grow(self.keys.len());
            for (i, &key) in numbers.iter().enumerate() {
                self.keys.hold(key);
                owners.push(self.fragments.restore(key, (first.value(i), last.value(i)), rows.value(i), begun.value(i)));
                self.open_rows += rows.value(i);
            }
            let fragments = &mut self.fragments;
            self.states.put(states.to_vec(), owners, |owner, place| fragments.get_mut(owner).place = Some(place));
        }
        Ok(())
    }
}
