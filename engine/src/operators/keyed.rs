//! State by key. Invariant: equal keys (NULL equals NULL) share a slot while they have one; a slot is given up when event time has
//! gone on by more than the time to live since it was last touched, and what a row finds never depends on when that is done.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

use ahash::RandomState;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;

use super::keys::canonical;
use crate::error::{Error, Result};
use crate::limits::STATE_KEYS_MAX;
use crate::time::Micros;

/// Slots of state, found by key.
pub struct Keyed<S> {
    /// None without key columns: then there is one key.
    converter: Option<RowConverter>,
    hasher: RandomState,
    table: HashTable<usize>,
    slots: Vec<Option<Slot<S>>>,
    free: Vec<usize>,
    ttl: Option<Micros>,
    /// Each slot once, with a time at or before it was last touched.
    queue: BTreeSet<(Micros, usize)>,
}

/// State of one key.
pub struct Slot<S> {
    hash: u64,
    key: Box<[u8]>,
    queued: Micros,
    /// Event time at which it was last touched; `Micros::MIN` before the first watermark.
    pub last: Micros,
    /// The state.
    pub state: S,
}

impl<S> Slot<S> {
    /// A row of this time came. A late one does not let its key live shorter.
    pub fn touch(&mut self, time: Micros) {
        self.last = self.last.max(time);
    }
}

impl<S> Keyed<S> {
    /// For keys of these types; `None` keeps slots for ever. Errors: `Internal` if keys of a type cannot be compared.
    pub fn new(types: impl IntoIterator<Item = DataType>, ttl: Option<Micros>) -> Result<Self> {
        let fields: Vec<SortField> = types.into_iter().map(SortField::new).collect();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        let hasher = RandomState::with_seeds(0x7468_616c, 0x7765_6720, 0x736c_6f74, 1);
        Ok(Self { converter, hasher, table: HashTable::new(), slots: Vec::new(), free: Vec::new(), ttl, queue: BTreeSet::new() })
    }

    /// The slot of each of `rows` keys; those without one get it, with state from `fresh`.
    pub fn locate(&mut self, keys: &[ArrayRef], rows: usize, mut fresh: impl FnMut() -> Result<S>) -> Result<Vec<usize>> {
        match &self.converter {
            None if rows == 0 => Ok(Vec::new()),
            None => Ok(vec![self.slot(b"", &mut fresh)?; rows]),
            Some(converter) => converter.convert_columns(&canonical(keys))?.iter().map(|key| self.slot(key.data(), &mut fresh)).collect(),
        }
    }

    fn slot(&mut self, key: &[u8], fresh: &mut impl FnMut() -> Result<S>) -> Result<usize> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
        let slots = &self.slots;
        if let Some(&slot) = self.table.find(hash, |&s| slots[s].as_ref().is_some_and(|s| *s.key == *key)) {
            return Ok(slot);
        }
        if self.table.len() >= STATE_KEYS_MAX {
            return Err(Error::invalid(format!("a step holds state of {STATE_KEYS_MAX} keys"))
                .hint("let it forget keys sooner, or group by fewer distinct values"));
        }
        let new = Slot { hash, key: key.into(), queued: Micros::MIN, last: Micros::MIN, state: fresh()? };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(new);
                slot
            }
            None => {
                self.slots.push(Some(new));
                self.slots.len() - 1
            }
        };
        if self.ttl.is_some() {
            self.queue.insert((Micros::MIN, slot));
        }
        let slots = &self.slots;
        self.table.insert_unique(hash, slot, |&s| slots[s].as_ref().map_or(0, |s| s.hash));
        Ok(slot)
    }

    /// A slot that `locate` gave and that was not removed since.
    pub fn at(&mut self, slot: usize) -> Result<&mut Slot<S>> {
        self.slots.get_mut(slot).and_then(Option::as_mut).ok_or_else(|| Error::internal("state of a key vanished"))
    }

    /// Whether what was last touched at `last` is forgotten at `now`.
    pub fn forgotten(&self, last: Micros, now: Micros) -> bool {
        last > Micros::MIN && self.ttl.is_some_and(|ttl| now > last.saturating_add(ttl))
    }

    /// Gives a slot up.
    pub fn remove(&mut self, slot: usize) -> Option<S> {
        let gone = self.slots.get_mut(slot)?.take()?;
        self.queue.remove(&(gone.queued, slot));
        if let Ok(entry) = self.table.find_entry(gone.hash, |&s| s == slot) {
            entry.remove();
        }
        self.free.push(slot);
        Some(gone.state)
    }

    /// Gives up all that is forgotten for every row after `watermark`; `gone` sees the states.
    pub fn forget(&mut self, watermark: Micros, mut gone: impl FnMut(S)) {
        let Some(ttl) = self.ttl else { return };
        while let Some(&(queued, slot)) = self.queue.first() {
            if queued.saturating_add(ttl) > watermark {
                break;
            }
            self.queue.pop_first();
            let Some(held) = self.slots[slot].as_mut() else { continue };
            if held.last == Micros::MIN {
                held.last = watermark;
            }
            if held.last > queued {
                held.queued = held.last;
                self.queue.insert((held.last, slot));
            } else if let Some(state) = self.remove(slot) {
                gone(state);
            }
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Every slot in the order of keys, which is the same however they came.
    pub fn sorted(&self) -> Vec<usize> {
        let keyed = self.slots.iter().enumerate().filter_map(|(slot, held)| Some((&*held.as_ref()?.key, slot)));
        let mut slots: Vec<(&[u8], usize)> = keyed.collect();
        slots.sort_unstable();
        slots.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Key columns of `slots`; none without key columns.
    pub fn columns(&self, slots: &[usize]) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        let keys = slots.iter().filter_map(|&s| self.slots[s].as_ref());
        Ok(converter.convert_rows(keys.map(|s| parser.parse(&s.key)))?)
    }
}

/// Rows of one slot, next to each other.
pub struct Runs {
    /// Rows in the order of slots, those of one slot in their own order.
    pub order: UInt32Array,
    /// Slots, with where their rows lie in `order`.
    pub runs: Vec<(usize, Range<usize>)>,
}

impl Runs {
    /// Puts together the rows of each slot; `slots` has that of each row.
    pub fn new(slots: &[usize]) -> Self {
        let mut order: Vec<u32> = (0..slots.len() as u32).collect();
        if !slots.is_sorted() {
            order.sort_by_key(|&i| slots[i as usize]);
        }
        let mut runs = Vec::new();
        let mut from = 0;
        for run in order.chunk_by(|&a, &b| slots[a as usize] == slots[b as usize]) {
            runs.push((slots[run[0] as usize], from..from + run.len()));
            from += run.len();
        }
        Self { order: UInt32Array::from(order), runs }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn keys(keys: &[i64]) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(keys.to_vec()))]
    }

    /// Touches `key` at `time` and says how often it was touched.
    fn touch(keyed: &mut Keyed<u32>, key: i64, time: Micros) -> u32 {
        let slot = keyed.locate(&keys(&[key]), 1, || Ok(0)).unwrap()[0];
        let last = keyed.at(slot).unwrap().last;
        if keyed.forgotten(last, time) {
            keyed.at(slot).unwrap().state = 0;
        }
        let held = keyed.at(slot).unwrap();
        held.touch(time);
        held.state += 1;
        held.state
    }

    #[test]
    fn a_key_is_forgotten_when_it_was_not_touched_for_longer_than_it_lives() {
        for (forget_at, time, want) in [(Micros::MIN, 20, 3), (10, 20, 3), (19, 20, 3), (Micros::MIN, 21, 1), (19, 21, 1), (20, 21, 1)] {
            let mut keyed = Keyed::new([DataType::Int64], Some(10)).unwrap();
            assert_eq!((touch(&mut keyed, 1, 5), touch(&mut keyed, 2, 7), touch(&mut keyed, 1, 10)), (1, 1, 2));
            keyed.forget(forget_at, drop);
            assert_eq!((touch(&mut keyed, 1, time), touch(&mut keyed, 2, time)), (want, 1), "forgotten at {forget_at}");
        }
    }

    #[test]
    fn a_late_row_does_not_let_a_key_live_shorter() {
        let mut keyed = Keyed::new([DataType::Int64], Some(10)).unwrap();
        assert_eq!((touch(&mut keyed, 1, 20), touch(&mut keyed, 1, 8)), (1, 2));
        keyed.forget(29, drop);
        assert_eq!((keyed.len(), touch(&mut keyed, 1, 30)), (1, 3));
    }

    #[test]
    fn slots_are_used_again_and_keys_come_back_in_order() {
        let mut keyed = Keyed::new([DataType::Int64], Some(10)).unwrap();
        for round in 0..50 {
            touch(&mut keyed, round, round * 5);
            let mut gone = 0;
            keyed.forget(round * 5, |_| gone += 1);
            assert_eq!(gone, u32::from(round >= 2), "round {round}");
            assert!(keyed.slots.len() <= 3 && keyed.queue.len() == keyed.len());
        }
        let slots = keyed.sorted();
        assert_eq!(keyed.columns(&slots).unwrap()[0].as_primitive::<Int64Type>().values(), &[48, 49]);
        assert_eq!(keyed.remove(slots[0]), Some(1));
        assert_eq!((keyed.len(), keyed.remove(slots[0])), (1, None));
    }

    #[test]
    fn what_was_touched_before_the_first_watermark_lives_from_it_on() {
        let mut keyed = Keyed::new([], Some(10)).unwrap();
        assert_eq!((keyed.locate(&[], 0, || Ok(())).unwrap().len(), keyed.len()), (0, 0));
        assert_eq!(keyed.locate(&[], 3, || Ok(())).unwrap(), [0, 0, 0]);
        keyed.forget(100, drop);
        assert_eq!((keyed.len(), keyed.at(0).unwrap().last), (1, 100));
        keyed.forget(109, drop);
        assert_eq!(keyed.len(), 1);
        keyed.forget(110, drop);
        assert_eq!(keyed.len(), 0);
    }

    #[test]
    fn rows_of_a_slot_lie_together_in_their_order() {
        let runs = Runs::new(&[3, 0, 3, 1, 0]);
        assert_eq!(runs.order.values(), &[1, 4, 3, 0, 2]);
        assert_eq!(runs.runs, [(0, 0..2), (1, 2..3), (3, 3..5)]);
    }
}
