//! Decoded batches of one partition, for all who read it. Invariant: a batch is decoded by one reader with the columns of all, and
//! waited for by those who are at its beginning; nobody waits without bound for somebody who is behind.
//!
//! ```text
//! offsets  ──── 100 ───────── 180 ───────── 260 ──────►     batches are kept by their first offset
//!               [   kept      ][   coming    ]              until all who are near have taken them, or room is short
//!               ▲ B at 120     ▲ A decodes this
//!               takes the rest of the first batch; from 180 on both go together
//! ```
//!
//! Who catches up and is ahead of others waits for them, but no longer than `WAIT_DECODES` says: what it saves is decoding once more. For an
//! archive, which has much to write, nobody waits: if it falls behind, it reads for itself until it is near again. It does so as well while
//! it keeps up: it takes more at a time than those whose results are waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::batch::Records;
use crate::contract::Decoded;
use crate::ids::Offset;
use crate::limits::{SHARED_ROWS_BEHIND_MAX, SHARED_WAIT_MS_MAX};
use crate::locks::lock;

/// How many times as long as decoding takes those who are ahead wait for the others. With one, a job that works three times as long on a batch
/// as others falls behind until it decodes for itself.
const WAIT_DECODES: u32 = 2;

/// Records and what they are decoded to.
pub(super) struct Shared {
    pub(super) records: Arc<Records>,
    pub(super) decoded: Decoded,
    /// Columns of `decoded`, ascending.
    pub(super) columns: Arc<[usize]>,
}

/// What a reader is to do.
pub(super) enum Turn {
    /// Take this.
    Take(Arc<Shared>),
    /// Read for itself.
    Alone,
    /// Read with these columns, and give.
    Lead(Arc<[usize]>),
}

/// Whether a reader has much before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is near the end of the log: it waits for nobody.
    Live,
    /// It reads what has been there for a while.
    CatchingUp,
}

/// Whether others wait for a reader that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// A little.
    Awaited,
    /// Never.
    Background,
}

/// See the module.
pub(super) struct Ring {
    bytes_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    slots: BTreeMap<Offset, Slot>,
    bytes: usize,
    seats: Vec<Seat>,
    next_id: u64,
    /// Readers that sleep.
    waiting: usize,
    /// Time that the last batch took to decode.
    took: Duration,
}

/// A reader.
struct Seat {
    id: u64,
    /// What it reads next.
    at: Offset,
    columns: Vec<usize>,
    company: Company,
    /// It was waited for in vain and has not moved since.
    stuck: bool,
    /// What it would have taken was let go, and it is not near again.
    lost: bool,
}

enum Slot {
    /// Somebody decodes it, with these columns.
    Coming(Arc<[usize]>),
    Here(Arc<Shared>),
}

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        let state = State { slots: BTreeMap::new(), bytes: 0, seats: Vec::new(), next_id: 0, waiting: 0, took: Duration::ZERO };
        Self { bytes_max, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A reader of these columns comes; returns its number.
    pub(super) fn join(&self, at: Offset, columns: &[usize], company: Company) -> u64 {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.seats.push(Seat { id, at, columns: columns.to_vec(), company, stuck: false, lost: false });
        id
    }

    /// A reader goes.
    pub(super) fn leave(&self, id: u64) {
        let mut state = self.lock();
        state.seats.retain(|s| s.id != id);
        state.release();
        self.wake(&state);
    }

    /// What the reader `id` is to do for the batch at `from`, of which it wants `columns`. After `Lead` it owes a call of `give`.
    pub(super) fn turn(&self, id: u64, from: Offset, columns: &[usize], progress: Progress) -> Turn {
        let mut state = self.lock();
        state.move_to(id, from);
        self.wake(&state);
        if progress == Progress::Live && state.lets_go(id) {
            return Turn::Alone;
        }
        let mut waited = progress == Progress::Live;
        loop {
            if state.seats.len() <= 1 {
                return Turn::Alone;
            }
            match state.covering(from) {
                Some(Slot::Here(shared)) if includes(&shared.columns, columns) => {
                    let shared = shared.clone();
                    state.found(id);
                    state.move_to(id, shared.records.end());
                    self.wake(&state);
                    return Turn::Take(shared);
                }
                Some(Slot::Coming(coming)) if includes(coming, columns) => state = self.sleep(state),
                // It was begun before this reader came.
                Some(_) => return Turn::Alone,
                None if state.followers(id, from).next().is_none() => return Turn::Alone,
                None if !waited => {
                    waited = true;
                    state = self.wait_for_others(state, id, from);
                }
                None => {
                    state.found(id);
                    let columns = state.united(id, from, columns);
                    state.slots.insert(from, Slot::Coming(columns.clone()));
                    return Turn::Lead(columns);
                }
            }
        }
    }

    /// The end of what was led at `from`: the batch and the time that it took, or nothing.
    pub(super) fn give(&self, id: u64, from: Offset, shared: Option<(Arc<Shared>, Duration)>) {
        let mut state = self.lock();
        state.slots.remove(&from);
        if let Some((shared, took)) = shared {
            state.took = took;
            state.bytes += bytes(&shared);
            state.move_to(id, shared.records.end());
            state.slots.insert(from, Slot::Here(shared));
            state.make_room(self.bytes_max, from);
            state.release();
        }
        self.wake(&state);
    }

    /// The reader `id` has read for itself up to `at`.
    pub(super) fn passed(&self, id: u64, at: Offset) {
        let mut state = self.lock();
        state.move_to(id, at);
        self.wake(&state);
    }

    /// Lets those who are a little behind come near, so that they need not decode the same once more.
    fn wait_for_others<'a>(&'a self, mut state: MutexGuard<'a, State>, id: u64, from: Offset) -> MutexGuard<'a, State> {
        let patience = (WAIT_DECODES * state.took).min(Duration::from_millis(SHARED_WAIT_MS_MAX));
        state.waiting += 1;
        let bytes_max = self.bytes_max;
        let waited = self.changed.wait_timeout_while(state, patience, |s| s.holding_back(id, from, bytes_max).next().is_some());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        let stuck: Vec<usize> = state.holding_back(id, from, bytes_max).collect();
        for seat in stuck {
            state.seats[seat].stuck = true;
        }
        state
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    fn wake(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Seat {
    /// Whether it is at `from`, or so little behind that it will be soon.
    fn is_near(&self, from: Offset) -> bool {
        self.at <= from && from - self.at <= SHARED_ROWS_BEHIND_MAX
    }
}

impl State {
    fn move_to(&mut self, id: u64, at: Offset) {
        if let Some(seat) = self.seats.iter_mut().find(|s| s.id == id) {
            (seat.at, seat.stuck) = (at, false);
        }
        self.release();
    }

    /// Nothing is kept any more for a reader that is not waited for; false if it is.
    fn lets_go(&mut self, id: u64) -> bool {
        let Some(seat) = self.seats.iter_mut().find(|s| s.id == id && s.company == Company::Background) else { return false };
        seat.lost = true;
        self.release();
        true
    }

    /// What is or will be there for a reader at `from`. Where a batch that is coming ends is not known yet.
    fn covering(&self, from: Offset) -> Option<&Slot> {
        let (&start, slot) = self.slots.range(..=from).next_back()?;
        let covers = match slot {
            Slot::Here(shared) => from < shared.records.end(),
            Slot::Coming(_) => start == from,
        };
        covers.then_some(slot)
    }

    /// The reader `id` is where others are.
    fn found(&mut self, id: u64) {
        if let Some(seat) = self.seats.iter_mut().find(|s| s.id == id) {
            seat.lost = false;
        }
    }

    /// Other readers who will come to `from` soon.
    fn followers(&self, id: u64, from: Offset) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(move |s| s.id != id && !s.lost && s.is_near(from))
    }

    /// `columns` and those of the followers, ascending.
    fn united(&self, id: u64, from: Offset, columns: &[usize]) -> Arc<[usize]> {
        let mut all = columns.to_vec();
        all.extend(self.followers(id, from).flat_map(|s| s.columns.iter().copied()));
        all.sort_unstable();
        all.dedup();
        all.into()
    }

    /// Readers behind `from` who would have to decode for themselves if nobody waited for them.
    fn holding_back(&self, id: u64, from: Offset, bytes_max: usize) -> impl Iterator<Item = usize> {
        let full = self.bytes >= bytes_max;
        let holds = move |s: &Seat| {
            let awaited = s.id != id && s.company == Company::Awaited && !s.stuck && s.at < from && s.is_near(from);
            awaited && (full || self.covering(s.at).is_none())
        };
        (0..self.seats.len()).filter(move |&i| holds(&self.seats[i]))
    }

    /// Lets go of the first batches that nobody who is near has still to take.
    fn release(&mut self) {
        while let Some(first) = self.slots.first_entry() {
            let Slot::Here(shared) = first.get() else { return };
            let (start, end) = (*first.key(), shared.records.end());
            if self.seats.iter().any(|s| s.at < end && !s.lost && (s.at >= start || s.is_near(start))) {
                return;
            }
            self.bytes -= bytes(shared);
            first.remove();
        }
    }

    /// Lets go of the oldest batches, but not of that at `newest`.
    fn make_room(&mut self, bytes_max: usize, newest: Offset) {
        while self.bytes > bytes_max {
            let oldest = self.slots.iter().find_map(|(&start, slot)| match slot {
                Slot::Here(shared) if start != newest => Some((start, shared.records.end(), bytes(shared))),
                _ => None,
            });
            let Some((start, end, freed)) = oldest else { return };
            self.slots.remove(&start);
            self.bytes -= freed;
            for seat in self.seats.iter_mut().filter(|s| s.company == Company::Background && s.at < end) {
                seat.lost = true;
            }
        }
    }
}

/// Whether all of `wanted` is among `columns`; both ascend.
fn includes(columns: &[usize], wanted: &[usize]) -> bool {
    wanted.iter().all(|w| columns.binary_search(w).is_ok())
}

/// About what a batch takes: its strings are views into the records.
fn bytes(shared: &Shared) -> usize {
    let records = shared.records.bytes.len() + std::mem::size_of_val(shared.records.entries.as_slice());
    let width = std::mem::size_of::<u128>();
    records + (shared.columns.len() + 1) * shared.decoded.rows.num_rows() * width
}
