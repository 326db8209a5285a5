//! The rows of one side of a regular join: a multiset, by key and by age. Invariant: equal rows are one entry with a count; entries
//! are ordered by the newest of their rows, within a key as well as all together, so that the order survives a snapshot. They are
//! forgotten by event time if rows have one, otherwise in that order.
//!
//! ```text
//! table   row ─► entry                 by key   first … last of each key            by age   first … last of all, the oldest first
//! entry   row in arrow's row format, key, count, matches, its event time or the watermark that stood when its newest row came, two
//!         places in lists
//! due     entries by event time, if rows have one
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, UInt64Type};
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use hashbrown::HashTable;

use super::sides;
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS_MAX;
use crate::time::Micros;

/// No entry.
const NONE: u32 = u32::MAX;
/// The two kinds of lists that an entry is in.
const BY_KEY: usize = 0;
const BY_AGE: usize = 1;

/// Columns of the state beside a row.
pub const BESIDE: sides::Beside<'static> = &[("rows", DataType::UInt64), ("matches", DataType::UInt64), ("came", DataType::Int64)];

/// Rows with their counts.
pub struct Multiset {
    schema: SchemaRef,
    converter: RowConverter,
    parser: RowParser,
    hasher: RandomState,
    table: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// By the number of the key.
    keys: Vec<List>,
    ages: List,
    timed: bool,
    due: BTreeSet<(Micros, u32)>,
    rows: u64,
}

/// Equal rows.
struct Entry {
    hash: u64,
    row: Box<[u8]>,
    key: u32,
    rows: u64,
    matches: u64,
    came: Micros,
    links: [Link; 2],
}

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };

impl Multiset {
    /// For rows of `schema`; `timed` says whether equal rows have one event time. Errors: `Internal` if a column cannot be compared.
    pub fn new(schema: SchemaRef, timed: bool) -> Result<Self> {
        let converter = RowConverter::new(schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect())?;
        Ok(Self {
            schema,
            parser: converter.parser(),
            converter,
            hasher: RandomState::with_seeds(0x7468_616c, 0x7765_6720, 0x726f_7773, 1),
            table: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            keys: Vec::new(),
            ages: EMPTY,
            timed,
            due: BTreeSet::new(),
            rows: 0,
        })
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows in the form in which they are kept.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Rows> {
        Ok(self.converter.convert_columns(rows.columns())?)
    }

    /// The columns of entries.
    pub fn decode(&self, entries: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.converter.convert_rows(entries.iter().map(|&e| self.parser.parse(&self.entries[e as usize].row)))?)
    }

    /// The entries of a key, the oldest first.
    pub fn of_key(&self, key: u32) -> impl Iterator<Item = u32> {
        self.list(self.keys.get(key as usize).copied().unwrap_or(EMPTY), BY_KEY)
    }

    /// How many rows an entry stands for.
    pub fn count(&self, entry: u32) -> u64 {
        self.entries[entry as usize].rows
    }

    /// How many rows of the other side match those of an entry, as far as they are counted.
    pub fn matches(&mut self, entry: u32) -> &mut u64 {
        &mut self.entries[entry as usize].matches
    }

    /// The event time of an entry, or when its newest row came.
    pub fn came(&self, entry: u32) -> Micros {
        self.entries[entry as usize].came
    }

    /// Adds a row with its event time, or the watermark at which it comes. Whether there was none like it: then the key is held for it.
    pub fn add(&mut self, row: &[u8], key: u32, matches: u64, came: Micros) -> bool {
        self.rows += 1;
        let hash = self.hasher.hash_one(row);
        let found = self.find(hash, row);
        let entry = match found {
            Some(entry) => {
                self.unlink(entry, BY_KEY);
                self.unlink(entry, BY_AGE);
                entry
            }
            None => self.insert(hash, row, key),
        };
        let known = &mut self.entries[entry as usize];
        (known.rows, known.matches, known.came) = (known.rows + 1, matches, came);
        if self.timed {
            self.due.insert((came, entry));
        }
        self.link(entry, BY_KEY);
        self.link(entry, BY_AGE);
        found.is_none()
    }

    /// Takes a row away, if it is there. The key that is no longer held for it.
    pub fn remove(&mut self, row: &[u8]) -> Option<u32> {
        let entry = self.find(self.hasher.hash_one(row), row)?;
        self.rows -= 1;
        self.entries[entry as usize].rows -= 1;
        (self.entries[entry as usize].rows == 0).then(|| self.drop_entry(entry))
    }

    /// Drops the rows whose time, or that of their newest equal, is `limit` or before. The keys that are no longer held for them.
    pub fn forget(&mut self, limit: Micros) -> Vec<u32> {
        let mut keys = Vec::new();
        while let Some(entry) = self.oldest().filter(|&e| self.came(e) <= limit) {
            self.rows -= self.count(entry);
            keys.push(self.drop_entry(entry));
        }
        keys
    }

    /// The entry to be forgotten first.
    fn oldest(&self) -> Option<u32> {
        if self.timed { self.due.first().map(|&(_, entry)| entry) } else { Some(self.ages.first).filter(|&e| e != NONE) }
    }

    /// Says that all rows came at `now`. They have no event time.
    pub fn renew(&mut self, now: Micros) {
        self.entries.iter_mut().for_each(|e| e.came = now);
    }

    /// All entries, the oldest first, as rows and columns of the state.
    pub fn snapshot(&self) -> Result<sides::Batches> {
        let all: Vec<u32> = self.list(self.ages, BY_AGE).collect();
        let batch = |entries: &[u32]| {
            let rows = RecordBatch::try_new(self.schema.clone(), self.decode(entries)?)?;
            let values = || entries.iter().map(|&e| &self.entries[e as usize]);
            let beside: Vec<ArrayRef> = vec![
                Arc::new(UInt64Array::from_iter_values(values().map(|e| e.rows))),
                Arc::new(UInt64Array::from_iter_values(values().map(|e| e.matches))),
                Arc::new(Int64Array::from_iter_values(values().map(|e| e.came))),
            ];
            Ok((rows, beside))
        };
        all.chunks(BATCH_ROWS_MAX).map(batch).collect()
    }

    /// Takes over a batch of `snapshot`; `key` holds and gives the key of a row. Errors: `Corrupt`.
    pub fn restore(&mut self, rows: &RecordBatch, beside: &[ArrayRef], mut key: impl FnMut(usize) -> Option<u32>) -> Result<()> {
        let (counts, matches) = (beside[0].as_primitive::<UInt64Type>(), beside[1].as_primitive::<UInt64Type>());
        let came = beside[2].as_primitive::<Int64Type>();
        let wrong = || Error::corrupt("the state of a join has a row without a key, without a count, or twice");
        for (i, row) in self.encode(rows)?.iter().enumerate() {
            let (Some(key), Some(more)) = (key(i), counts.value(i).checked_sub(1)) else { return Err(wrong()) };
            if !self.add(row.data(), key, matches.value(i), came.value(i)) {
                return Err(wrong());
            }
            self.entries[self.ages.last as usize].rows += more;
            self.rows += more;
        }
        Ok(())
    }

    fn find(&self, hash: u64, row: &[u8]) -> Option<u32> {
        self.table.find(hash, |&e| *self.entries[e as usize].row == *row).copied()
    }

    fn insert(&mut self, hash: u64, row: &[u8], key: u32) -> u32 {
        let nowhere = Link { before: NONE, after: NONE };
        let new = Entry { hash, row: row.into(), key, rows: 0, matches: 0, came: 0, links: [nowhere; 2] };
        let entry = match self.free.pop() {
            Some(entry) => {
                self.entries[entry as usize] = new;
                entry
            }
            None => {
                self.entries.push(new);
                self.entries.len() as u32 - 1
            }
        };
        self.table.insert_unique(hash, entry, |&e| self.entries[e as usize].hash);
        if self.keys.len() <= key as usize {
            self.keys.resize(key as usize + 1, EMPTY);
        }
        entry
    }

    /// Gives up an entry: its key.
    fn drop_entry(&mut self, entry: u32) -> u32 {
        self.unlink(entry, BY_KEY);
        self.unlink(entry, BY_AGE);
        self.due.remove(&(self.came(entry), entry));
        if let Ok(found) = self.table.find_entry(self.entries[entry as usize].hash, |&e| e == entry) {
            found.remove();
        }
        self.entries[entry as usize].row = Box::default();
        self.free.push(entry);
        self.entries[entry as usize].key
    }

    fn list(&self, list: List, kind: usize) -> impl Iterator<Item = u32> {
        let some = |entry: u32| Some(entry).filter(|&e| e != NONE);
        std::iter::successors(some(list.first), move |&e| some(self.entries[e as usize].links[kind].after))
    }

    fn list_of(&mut self, entry: u32, kind: usize) -> &mut List {
        if kind == BY_KEY { &mut self.keys[self.entries[entry as usize].key as usize] } else { &mut self.ages }
    }

    /// Puts an entry at the end of its list.
    fn link(&mut self, entry: u32, kind: usize) {
        let list = self.list_of(entry, kind);
        let before = std::mem::replace(&mut list.last, entry);
        match before {
            NONE => list.first = entry,
            before => self.entries[before as usize].links[kind].after = entry,
        }
        self.entries[entry as usize].links[kind] = Link { before, after: NONE };
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, entry: u32, kind: usize) {
        let Link { before, after } = self.entries[entry as usize].links[kind];
        match before {
            NONE => self.list_of(entry, kind).first = after,
            before => self.entries[before as usize].links[kind].after = after,
        }
        match after {
            NONE => self.list_of(entry, kind).last = before,
            after => self.entries[after as usize].links[kind].before = before,
        }
    }
}
