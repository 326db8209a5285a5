//! The regular join: a changelog of all pairs of the rows so far, as Flink's `StreamingJoinOperator` and
//! `StreamingSemiAntiJoinOperator` write it. Invariant: what leaves folds to the batch join of what came, row by row, as long as
//! nothing was forgotten. Where both sides have event times, a pair is at most the lifetime apart, and it folds to the batch join of
//! all rows, whatever was forgotten and however the sides were interleaved.
//!
//! A row of an outer side counts its matches: it leaves padded when it has none, the padded row is taken back when the first comes,
//! and comes again when the last goes. A left row of a semi or anti join counts in the same way.
//!
//! ```text
//! rows of one input ─► candidates: rows of the other side with the same key ─► filter ─► row by row: changes, own state, counts
//! ```
//!
//! A row with an event time is forgotten when the watermark has passed that by the lifetime: whatever comes later is further away. Other
//! rows are forgotten by the watermark at which they came, which depends on how records were read.
//!
//! Forgetting says nothing, and counts stay as they are. A row that is taken back and is not known, because it was forgotten, still
//! takes back its pairs with the rows that are. The watermark goes through: a pair leaves when the second of its rows comes, which it has
//! not passed; what else leaves has no event time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_arrays;
use arrow::row::Rows;
use hashbrown::HashMap;

use super::bound::Bound;
use super::keys::JoinKeys;
use super::multiset::{BESIDE, Multiset};
use super::pairs::{Condition, left_alone, outer};
use super::sides;
use crate::batch::FailedRow;
use crate::changes::{Changes, RowKind};
use crate::contract::Stateful;
use crate::error::Result;
use crate::limits::BATCH_ROWS_MAX;
use crate::operators::compact::compact;
use crate::operators::reorder::event_times;
use crate::plan::{self, JoinKind};
use crate::time::Micros;

/// Joins all rows of equal keys.
pub struct RegularJoinOperator {
    plan: plan::RegularJoin,
    condition: Option<Condition>,
    keys: JoinKeys,
    sides: [Multiset; 2],
    failed: Vec<FailedRow>,
    pub(super) bound: Bound,
    /// The watermark; rows that came before the first one count from there.
    now: Micros,
}

/// Rows that were pushed, in the forms in which they are needed.
struct Pushed<'a> {
    input: usize,
    changes: &'a Changes,
    /// Numbers of their keys, held for those that are added.
    keys: Vec<Option<u32>>,
    rows: Rows,
    /// Event times, if both sides have them.
    times: Option<&'a [Micros]>,
}

/// A row that was pushed and a row of the other side that may match it.
struct Candidate {
    row: u32,
    entry: u32,
    /// Of the entry among those that were found.
    place: u32,
}

/// Changes that leave: rows that were pushed, and places among the entries that were found; none is NULLs.
#[derive(Default)]
struct Leaving {
    kinds: Vec<RowKind>,
    own: Vec<Option<u32>>,
    other: Vec<Option<u32>>,
    /// How many there are, those included that are more than `most` and were left out.
    noted: u64,
    most: u64,
}

impl Leaving {
    fn push(&mut self, kind: RowKind, own: Option<u32>, other: Option<u32>, times: u64) {
        self.noted = self.noted.saturating_add(times);
        if self.noted > self.most {
            return;
        }
        for _ in 0..times {
            self.kinds.push(kind);
            self.own.push(own);
            self.other.push(other);
        }
    }
}

impl RegularJoinOperator {
    /// An operator for `plan`. Errors: `Internal` if a column cannot be compared.
    pub fn new(plan: plan::RegularJoin) -> Result<Self> {
        let timed = plan.times.is_some();
        Ok(Self {
            condition: plan.filter.clone().map(|f| Condition::new(f, &plan.left, &plan.right)),
            keys: JoinKeys::new(&plan.left, &plan.right)?,
            sides: [Multiset::new(plan.left.schema.clone(), timed)?, Multiset::new(plan.right.schema.clone(), timed)?],
            failed: Vec::new(),
            bound: Bound::new(&plan.schema),
            now: Micros::MIN,
            plan,
        })
    }

    /// Candidates of the rows from `from` on, until they are many; the entries that they name, each once; the first row that is left.
    fn candidates(&self, pushed: &Pushed<'_>, from: usize) -> (Vec<Candidate>, Vec<u32>, usize) {
        let (mut candidates, mut entries) = (Vec::new(), Vec::new());
        let mut places: HashMap<u32, u32> = HashMap::new();
        let mut row = from;
        while row < pushed.changes.len() && candidates.len() < BATCH_ROWS_MAX {
            let others = pushed.keys[row].map(|key| self.sides[1 - pushed.input].of_key(key));
            for entry in others.into_iter().flatten().filter(|&entry| self.is_near(pushed, row, entry)) {
                let place = *places.entry(entry).or_insert_with(|| {
                    entries.push(entry);
                    entries.len() as u32 - 1
                });
                candidates.push(Candidate { row: row as u32, entry, place });
            }
            row += 1;
        }
        (candidates, entries, row)
    }

    /// Whether a row that was pushed and an entry of the other side are no further apart than rows live.
    fn is_near(&self, pushed: &Pushed<'_>, row: usize, entry: u32) -> bool {
        let Some(times) = pushed.times else { return true };
        times[row].saturating_sub(self.sides[1 - pushed.input].came(entry)).saturating_abs() <= self.plan.ttl
    }

    /// The candidates for which the condition is true.
    fn judge(&mut self, pushed: &Pushed<'_>, others: &[ArrayRef], mut candidates: Vec<Candidate>) -> Result<Vec<Candidate>> {
        let Some(condition) = &self.condition else { return Ok(candidates) };
        let mut truths = Vec::new();
        for part in candidates.chunks(BATCH_ROWS_MAX) {
            let own = UInt32Array::from_iter_values(part.iter().map(|c| c.row));
            let other = UInt32Array::from_iter_values(part.iter().map(|c| c.place));
            let own = take_arrays(pushed.changes.rows.columns(), &own, None)?;
            let other = take_arrays(others, &other, None)?;
            let (left, right) = if pushed.input == 0 { (own, other) } else { (other, own) };
            let judged = condition.evaluate([left, right].concat())?;
            let before = self.failed.len();
            // A pair that is taken back failed when it came.
            let comes = |place: usize| pushed.changes.kind(part[place].row as usize).adds();
            self.failed.extend(judged.failed_rows().zip(&judged.failed).filter(|(_, (place, _))| comes(*place)).map(|(row, _)| row));
            self.bound.add_failed(part.len(), self.failed.len() - before)?;
            truths.push(judged.truth);
        }
        let mut truths = truths.iter().flatten();
        candidates.retain(|_| truths.next() == Some(true));
        Ok(candidates)
    }

    /// Takes one row: notes what leaves, and changes the state.
    fn take(&mut self, pushed: &Pushed<'_>, row: usize, matched: &[Candidate], leaving: &mut Leaving) {
        let Pushed { input, keys, rows, times, .. } = pushed;
        let came = times.map_or(self.now, |times| times[row]);
        let count = matched.iter().map(|m| self.sides[1 - input].count(m.entry)).sum();
        let kind = pushed.changes.kind(row);
        if left_alone(self.plan.kind) {
            self.note_left_rows(*input, (kind, row as u32), matched, leaving);
        } else {
            self.note_pairs(*input, (kind, row as u32), matched, leaving);
        }
        let released = if kind.adds() {
            keys[row].filter(|&key| !self.sides[*input].add(rows.row(row).data(), key, count, came))
        } else {
            self.sides[*input].remove(rows.row(row).data())
        };
        released.into_iter().for_each(|key| self.keys.release(key));
    }

    /// What leaves of an inner or outer join.
    fn note_pairs(&mut self, input: usize, (kind, row): (RowKind, u32), matched: &[Candidate], leaving: &mut Leaving) {
        let outer = outer(self.plan.kind);
        let (own_outer, other_outer, others) = (outer[input], outer[1 - input], &mut self.sides[1 - input]);
        let plain = if kind.adds() { RowKind::Insert } else { RowKind::Delete };
        if matched.is_empty() && own_outer {
            leaving.push(plain, Some(row), None, 1);
        }
        if other_outer && kind.adds() {
            for &Candidate { entry, place, .. } in matched {
                if *others.matches(entry) == 0 {
                    leaving.push(RowKind::Delete, None, Some(place), others.count(entry));
                }
                *others.matches(entry) += 1;
            }
        }
        let of_pairs = if own_outer || other_outer && kind.adds() { plain } else { kind };
        for &Candidate { entry, place, .. } in matched {
            leaving.push(of_pairs, Some(row), Some(place), others.count(entry));
        }
        if other_outer && !kind.adds() {
            for &Candidate { entry, place, .. } in matched {
                if *others.matches(entry) == 1 {
                    leaving.push(RowKind::Insert, None, Some(place), others.count(entry));
                }
                *others.matches(entry) = others.matches(entry).saturating_sub(1);
            }
        }
    }

    /// What leaves of a semi or anti join.
    fn note_left_rows(&mut self, input: usize, (kind, row): (RowKind, u32), matched: &[Candidate], leaving: &mut Leaving) {
        let semi = self.plan.kind == JoinKind::LeftSemi;
        if input == 0 {
            if matched.is_empty() != semi {
                leaving.push(kind, Some(row), None, 1);
            }
            return;
        }
        let lefts = &mut self.sides[0];
        let (turns_at, of_lefts) = match kind.adds() {
            true => (0, if semi { kind } else { RowKind::Delete }),
            false => (1, if semi { kind } else { RowKind::Insert }),
        };
        for &Candidate { entry, place, .. } in matched {
            if *lefts.matches(entry) == turns_at {
                leaving.push(of_lefts, None, Some(place), lefts.count(entry));
            }
            let matches = lefts.matches(entry);
            *matches = if kind.adds() { *matches + 1 } else { matches.saturating_sub(1) };
        }
    }

    /// The changes that leave. Texts of the other side were decoded for them: of few rows they do not hold those of all.
    fn output(&mut self, pushed: &Pushed<'_>, others: &[ArrayRef], leaving: Leaving) -> Result<Changes> {
        let own = take_arrays(pushed.changes.rows.columns(), &UInt32Array::from(leaving.own), None)?;
        let other = take_arrays(others, &UInt32Array::from(leaving.other), None)?;
        let (left, right) = if pushed.input == 0 { (own, other) } else { (other, own) };
        let columns = if left_alone(self.plan.kind) { left } else { [left, right].concat() };
        let rows = compact(&RecordBatch::try_new(self.plan.schema.clone(), columns)?)?;
        let (left, right) = rows.columns().split_at(self.plan.left.schema.fields().len());
        self.bound.add_texts(if pushed.input == 0 { right } else { left })?;
        Ok(Changes::new(rows, leaving.kinds))
    }
}

impl Stateful for RegularJoinOperator {
    fn push(&mut self, input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        self.bound.begin();
        let (keys, rows) = (self.keys.encode(input, &changes.rows)?, self.sides[input].encode(&changes.rows)?);
        // Nothing takes the number of a key that is no longer held before all rows are through.
        let number = |row| if changes.kind(row).adds() { self.keys.hold(&keys, row) } else { self.keys.find(&keys, row) };
        let keys = (0..changes.len()).map(number).collect();
        let times = self.plan.times.map(|times| event_times(&changes.rows, times[input])).transpose()?;
        let pushed = Pushed { input, changes: &changes, keys, rows, times };
        let mut from = 0;
        while from < changes.len() {
            let (candidates, entries, to) = self.candidates(&pushed, from);
            let others = self.sides[1 - input].decode(&entries)?;
            let pairs = self.judge(&pushed, &others, candidates)?;
            let (mut pairs, mut leaving) = (pairs.as_slice(), Leaving { most: self.bound.rows_left(), ..Leaving::default() });
            for row in from..to {
                let (matched, rest) = pairs.split_at(pairs.iter().take_while(|p| p.row as usize == row).count());
                let noted = leaving.noted;
                self.take(&pushed, row, matched, &mut leaving);
                self.bound.add(leaving.noted - noted)?;
                pairs = rest;
            }
            if !leaving.kinds.is_empty() {
                out.push(self.output(&pushed, &others, leaving)?);
            }
            from = to;
        }
        Ok(())
    }

    fn advance(&mut self, watermark: Micros, _out: &mut Vec<Changes>) -> Result<Micros> {
        if watermark == Micros::MIN {
            return Ok(watermark);
        }
        if self.now == Micros::MIN && self.plan.times.is_none() {
            self.sides.iter_mut().for_each(|side| side.renew(watermark));
        }
        self.now = watermark;
        for side in &mut self.sides {
            side.forget(watermark.saturating_sub(self.plan.ttl)).into_iter().for_each(|key| self.keys.release(key));
        }
        Ok(watermark)
    }

    fn failed(&mut self) -> Vec<FailedRow> {
        std::mem::take(&mut self.failed)
    }

    fn held(&self) -> u64 {
        self.sides.iter().map(Multiset::rows).sum()
    }

    fn keys(&self) -> Option<u64> {
        Some(self.keys.held())
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let batches = [self.sides[0].snapshot()?, self.sides[1].snapshot()?];
        sides::encode(bytes, &self.now, [&self.plan.left.schema, &self.plan.right.schema], BESIDE, batches)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let (now, batches) = sides::decode(state, [&self.plan.left.schema, &self.plan.right.schema], BESIDE)?;
        self.now = now;
        for (input, batches) in batches.into_iter().enumerate() {
            for (rows, mut beside) in batches {
                if let Some(times) = self.plan.times {
                    // An earlier version wrote the watermark at which they came.
                    beside[2] = Arc::new(Int64Array::from(event_times(&rows, times[input])?.to_vec()));
                }
                let keys = self.keys.encode(input, &rows)?;
                self.sides[input].restore(&rows, &beside, |row| self.keys.hold(&keys, row))?;
            }
        }
        Ok(())
    }
}
