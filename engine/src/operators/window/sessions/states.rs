//! States of many sessions as columns. Invariant: a place that was given out holds its state until it is released, and the columns
//! are at most a few times as large as the states in them.
//!
//! ```text
//! chunk 0:  [s][-][s][-][-][s]     put by one batch; - is released
//! chunk 1:  [s][s]                 more than CHUNKS_MAX of them: the small ones are written together into one
//! ```
//!
//! Accumulators keep states too, but give away all or none of them. So a batch takes the states that it touches out of here, and
//! puts them back: its cost does not grow with the sessions that it does not touch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::compute::interleave;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::error::Result;
use crate::operators::compact::compact;

const CHUNKS_MAX: usize = 16;
/// Chunks whose states are no more than this many times those of all smaller ones are written together with them.
const GROWTH: usize = 2;
/// Released rows may be so many more than three times those that are not.
const DEAD_MAX: usize = 64 * 1024;
const NOBODY: u32 = u32::MAX;

/// Where a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    chunk: u32,
    row: u32,
}

/// The store.
pub struct States {
    schema: SchemaRef,
    chunks: Vec<Chunk>,
}

struct Chunk {
    states: Vec<ArrayRef>,
    owners: Vec<u32>,
    live: usize,
}

impl States {
    /// Of states with these columns.
    pub fn new(fields: &[FieldRef]) -> Self {
        Self { schema: Arc::new(Schema::new(fields.to_vec())), chunks: Vec::new() }
    }

    /// Stores the states of `owners`, one a row; tells each where it is.
    pub fn put(&mut self, states: Vec<ArrayRef>, owners: Vec<u32>, mut tell: impl FnMut(u32, Place)) {
        if owners.is_empty() {
            return;
        }
        let at = self.chunks.iter().position(|c| c.live == 0).unwrap_or(self.chunks.len());
        for (row, &owner) in owners.iter().enumerate() {
            tell(owner, Place { chunk: at as u32, row: row as u32 });
        }
        let chunk = Chunk { states, live: owners.len(), owners };
        if at == self.chunks.len() { self.chunks.push(chunk) } else { self.chunks[at] = chunk }
    }

    /// The states in these places, in their order.
    pub fn get(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        let places: Vec<(usize, usize)> = places.iter().map(|p| (p.chunk as usize, p.row as usize)).collect();
        self.gather(&places)
    }

    /// Memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        let of = |c: &Chunk| c.states.iter().map(|s| s.get_array_memory_size()).sum::<usize>() + c.owners.capacity() * size_of::<u32>();
        self.chunks.iter().map(of).sum()
    }

    /// A state is no longer needed.
    pub fn release(&mut self, place: Place) {
        let chunk = &mut self.chunks[place.chunk as usize];
        chunk.owners[place.row as usize] = NOBODY;
        chunk.live -= 1;
        if chunk.live == 0 {
            *chunk = Chunk {
                states: self.schema.fields().iter().map(|f| new_empty_array(f.data_type())).collect(),
                owners: Vec::new(),
                live: 0,
            };
        }
    }

    /// Writes small chunks together if there are many, and all of them if little of them is still needed; tells owners where their
    /// states are now.
    pub fn tidy(&mut self, tell: impl FnMut(u32, Place)) -> Result<()> {
        let mut used: Vec<usize> = (0..self.chunks.len()).filter(|&c| self.chunks[c].live > 0).collect();
        let (rows, live) = self.chunks.iter().fold((0, 0), |(rows, live), c| (rows + c.owners.len(), live + c.live));
        let all = rows > 4 * live + DEAD_MAX;
        if used.len() <= CHUNKS_MAX && !all {
            return Ok(());
        }
        used.sort_by_key(|&c| self.chunks[c].live);
        let mut states = 0;
        let small = used.iter().enumerate().take_while(|&(i, &c)| {
            let live = self.chunks[c].live;
            let taken = all || i < 2 || live <= GROWTH * states;
            states += live;
            taken
        });
        let places: Vec<(usize, usize)> = small
            .flat_map(|(_, &c)| self.chunks[c].owners.iter().enumerate().filter(|(_, o)| **o != NOBODY).map(move |(row, _)| (c, row)))
            .collect();
        let owners: Vec<u32> = places.iter().map(|&(c, row)| self.chunks[c].owners[row]).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(owners.len()));
        let together = RecordBatch::try_new_with_options(self.schema.clone(), self.gather(&places)?, &options)?;
        for &(chunk, row) in &places {
            self.release(Place { chunk: chunk as u32, row: row as u32 });
        }
        self.put(compact(&together)?.columns().to_vec(), owners, tell);
        Ok(())
    }

    fn gather(&self, places: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
        let column = |i: usize, field: &FieldRef| -> Result<ArrayRef> {
            if places.is_empty() {
                return Ok(new_empty_array(field.data_type()));
            }
            let chunks: Vec<&dyn Array> = self.chunks.iter().map(|c| c.states[i].as_ref()).collect();
            Ok(interleave(&chunks, places)?)
        };
        self.schema.fields().iter().enumerate().map(|(i, f)| column(i, f)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{AsArray, Int64Array, StringViewArray};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_is_found_until_it_is_released(
            steps in prop::collection::vec((1usize..40, prop::collection::vec(any::<prop::sample::Index>(), 0..40)), 1..120),
        ) {
            let fields = [("n", DataType::Int64), ("t", DataType::Utf8View)].map(|(n, t)| Arc::new(Field::new(n, t, true)));
            let (mut states, mut places, mut next) = (States::new(&fields), BTreeMap::<u32, Place>::new(), 0u32);
            for (count, released) in steps {
                let owners: Vec<u32> = (next..next + count as u32).collect();
                next += count as u32;
                let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(owners.iter().map(|&o| i64::from(o))));
                let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(owners.iter().map(|o| format!("the text of owner {o}"))));
                states.put(vec![numbers, texts], owners, |owner, place| { places.insert(owner, place); });
                for index in released {
                    let owners: Vec<u32> = places.keys().copied().collect();
                    if !owners.is_empty() {
                        let place = places.remove(index.get(&owners)).unwrap();
                        states.release(place);
                    }
                }
                states.tidy(|owner, place| { places.insert(owner, place); }).unwrap();
                prop_assert!(states.chunks.iter().filter(|c| c.live > 0).count() <= CHUNKS_MAX);
                prop_assert_eq!(states.chunks.iter().map(|c| c.live).sum::<usize>(), places.len());
                let got = states.get(&places.values().copied().collect::<Vec<_>>()).unwrap();
                let want: Vec<i64> = places.keys().map(|&o| i64::from(o)).collect();
                prop_assert_eq!(got[0].as_primitive::<Int64Type>().values().to_vec(), want);
                let texts: Vec<String> = got[1].as_string_view().iter().map(|t| t.unwrap().to_owned()).collect();
                prop_assert_eq!(texts, places.keys().map(|o| format!("the text of owner {o}")).collect::<Vec<_>>());
            }
        }
    }
}
