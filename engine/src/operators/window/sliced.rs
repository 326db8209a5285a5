//! Windows made of slices, in one partition. Invariant: a row counts exactly in those of its windows that were open under the watermark
//! that stood before it, and is late exactly if there is none. So a pane is known by its slice and by the first window end that its rows
//! count for, and leaves when the watermark passes that end: nothing can be added to it any more.
//!
//! Input columns are those that `WindowInputs` gives: time, keys, then each aggregate's arguments and filter, so that nothing here
//! evaluates an expression.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use serde::{Deserialize, Serialize};

use super::inputs::times;
use super::late::put_aside;
use super::panes::Pane;
use super::slices::Slices;
use crate::batch::Batch;
use crate::contract::{Emission, Operator, Output, Usage};
use crate::error::{Error, Result};
use crate::limits::PANES_OPEN_MAX;
use crate::plan;
use crate::state::snapshot;
use crate::time::{Micros, ahead};

/// Panes of one batch that are looked through for each row.
const FEW_PANES: usize = 16;

/// Aggregates rows into panes and gives their partial results.
pub struct SlicedOperator {
    window: plan::Window,
    slices: Slices,
    unit: Micros,
    /// By first window end and start of the slice.
    panes: BTreeMap<(Micros, Micros), Pane>,
}

#[derive(Serialize, Deserialize)]
struct PaneState {
    start: Micros,
    /// Missing in states of version 0.1: the first window over the slice.
    #[serde(default)]
    from: Option<Micros>,
    rows: u64,
}

/// Where a row goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Into the pane of this first window end and slice.
    Pane(Micros, Micros),
    /// All its windows have closed.
    Late,
    /// It lies between windows.
    Nowhere,
}

impl SlicedOperator {
    /// `unit` is the smallest step of event time in microseconds.
    pub fn new(window: plan::Window, slices: Slices, unit: Micros) -> Self {
        Self { window, slices, unit, panes: BTreeMap::new() }
    }

    /// Rows in panes.
    pub fn open_rows(&self) -> u64 {
        self.panes.values().map(|p| p.rows).sum()
    }

    /// What its panes take of memory.
    pub fn usage(&self) -> Usage {
        self.panes.values().map(Pane::usage).sum()
    }

    fn add(&mut self, key: (Micros, Micros), columns: &[ArrayRef], rows: usize) -> Result<()> {
        let pane = match self.panes.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Pane::new(&self.window)?),
        };
        pane.update(&self.window, columns, rows)
    }

    fn place(&self, start: Micros, ahead: Micros) -> Place {
        match (self.slices.first_end(start, ahead), self.slices.last_end(start)) {
            (Some(end), _) => Place::Pane(end, start),
            (None, Some(_)) => Place::Late,
            (None, None) => Place::Nowhere,
        }
    }

    /// The place that all rows have, if that is easy to see.
    fn one_place(&self, batch: &Batch, times: &[Micros]) -> Option<Place> {
        if batch.watermarks.is_some() {
            return None;
        }
        let (least, greatest) = times.iter().fold((Micros::MAX, Micros::MIN), |(l, g), &t| (l.min(t), g.max(t)));
        let (start, end) = self.slices.slice(least);
        (greatest < end).then(|| self.place(start, Micros::MIN))
    }

    fn places(&self, batch: &Batch, times: &[Micros]) -> Vec<Place> {
        // Rows that lie ahead of the watermark, which nearly all do, have a place that their slice tells.
        let (mut start, mut end) = self.slices.slice(times[0]);
        let mut usual = self.place(start, Micros::MIN);
        let mut places = Vec::with_capacity(times.len());
        for (i, &time) in times.iter().enumerate() {
            if !(start..end).contains(&time) {
                (start, end) = self.slices.slice(time);
                usual = self.place(start, Micros::MIN);
            }
            places.push(match batch.watermarks.as_ref().map(|w| w.value(i)) {
                Some(watermark) if time <= watermark => self.place(start, ahead(watermark, self.unit)),
                _ => usual,
            });
        }
        places
    }
}

/// Rows that go into panes: pane by pane, those of one pane in their own order. If panes are few, rows are put to theirs and not sorted.
fn in_panes(places: &[Place]) -> Vec<u32> {
    let rows = || (0u32..).zip(places).filter(|(_, place)| matches!(place, Place::Pane(..)));
    let mut panes: Vec<(Place, Vec<u32>)> = Vec::new();
    let mut last = 0;
    for (row, &place) in rows() {
        if panes.get(last).is_none_or(|(pane, _)| *pane != place) {
            last = panes.iter().position(|(pane, _)| *pane == place).unwrap_or(panes.len());
            if last == FEW_PANES {
                let mut order: Vec<u32> = rows().map(|(row, _)| row).collect();
                order.sort_by_key(|&row| places[row as usize]);
                return order;
            }
            if last == panes.len() {
                panes.push((place, Vec::new()));
            }
        }
        panes[last].1.push(row);
    }
    panes.sort_by_key(|(place, _)| *place);
    panes.into_iter().flat_map(|(_, rows)| rows).collect()
}

impl Operator for SlicedOperator {
    fn push(&mut self, batch: Batch, out: &mut Output) -> Result<Option<Batch>> {
        let columns = batch.rows.columns();
        let times = times(&columns[0])?;
        let rows = times.len();
        if rows == 0 {
            return Ok(None);
        }
        if let Some(Place::Pane(from, start)) = self.one_place(&batch, times) {
            out.counters.aggregated += rows as u64;
            self.add((from, start), &columns[1..], rows)?;
            return Ok(None);
        }
        let places = self.places(&batch, times);
        let late: Vec<u32> = (0..rows as u32).filter(|&i| places[i as usize] == Place::Late).collect();
        put_aside(&batch, 0, &late, out)?;
        // Rows of one pane next to each other, in their order: then each pane gets a slice of every column.
        let order = in_panes(&places);
        out.counters.aggregated += order.len() as u64;
        out.counters.filtered += (rows - late.len() - order.len()) as u64;
        let indices = UInt32Array::from(order);
        let sorted = columns[1..].iter().map(|c| take(c, &indices, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        let mut at = 0;
        for run in indices.values().chunk_by(|&a, &b| places[a as usize] == places[b as usize]) {
            if let Place::Pane(from, start) = places[run[0] as usize] {
                let part: Vec<ArrayRef> = sorted.iter().map(|c| c.slice(at, run.len())).collect();
                self.add((from, start), &part, run.len())?;
            }
            at += run.len();
        }
        Ok(None)
    }

    fn advance(&mut self, watermark: Micros, out: &mut Output) -> Result<()> {
        let ahead = ahead(watermark, self.unit);
        while let Some(entry) = self.panes.first_entry() {
            let (from, start) = *entry.key();
            if from > ahead {
                break;
            }
            let mut pane = entry.remove();
            let partial = pane.take_partial(&self.window)?;
            out.emissions.push(Emission::Pane { start, from, partial, rows: pane.rows });
        }
        // Not while rows come: a batch may go through any number of windows that are over behind it.
        if self.panes.len() > PANES_OPEN_MAX {
            return Err(Error::invalid(format!("more than {PANES_OPEN_MAX} pieces of windows are open in one partition"))
                .hint("a shorter watermark delay or longer windows keep fewer of them open"));
        }
        Ok(())
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let heads: Vec<PaneState> =
            self.panes.iter().map(|(&(from, start), p)| PaneState { start, from: Some(from), rows: p.rows }).collect();
        let partials = self.panes.values_mut().map(|p| p.partial(&self.window)).collect::<Result<Vec<_>>>()?;
        snapshot::encode(bytes, &heads, &self.window.partial_schema(), &partials)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let (heads, partials) = snapshot::decode::<Vec<PaneState>>(state)?;
        if heads.len() != partials.len() {
            return Err(Error::corrupt(format!("window state has {} panes and {} batches", heads.len(), partials.len())));
        }
        for (head, partial) in heads.iter().zip(&partials) {
            let from = head.from.or_else(|| self.slices.first_end(head.start, Micros::MIN));
            let from = from.ok_or_else(|| Error::corrupt("window state has a pane that no window is over"))?;
            let mut pane = Pane::new(&self.window)?;
            pane.merge(&self.window, partial, head.rows)?;
            self.panes.insert((from, head.start), pane);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_of_few_panes_and_of_many_stand_in_the_same_order(
            rows in prop::collection::vec((0..60_i64, 0..10_u8), 0..200), panes in 1..60_i64,
        ) {
            let place = |(slice, kind): (i64, u8)| match kind {
                0 => Place::Late,
                1 => Place::Nowhere,
                _ => Place::Pane(slice % panes / 2, slice % panes),
            };
            let places: Vec<Place> = rows.into_iter().map(place).collect();
            let mut want: Vec<u32> = (0..places.len() as u32).filter(|&i| matches!(places[i as usize], Place::Pane(..))).collect();
            want.sort_by_key(|&i| places[i as usize]);
            prop_assert_eq!(in_panes(&places), want);
        }
    }
}
