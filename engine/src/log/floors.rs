//! How far readers have come in each partition, as their checkpoints say. Invariant: what a reader has read had been durable, so a log that
//! ends before it is damaged: the offsets up to there are never given to other records.

use std::collections::BTreeMap;

use crate::ids::{Name, Offset, Partition};

/// The reader of a partition that has come furthest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// The offset that it would read next.
    pub offset: Offset,
    /// Who it is, for messages: `job hot`.
    pub reader: String,
}

/// The furthest readers of all partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors(BTreeMap<(Name, Partition), Floor>);

impl Floors {
    /// Adds a reader; one that is behind another changes nothing.
    pub fn add(&mut self, stream: &Name, partition: Partition, floor: Floor) {
        let known = self.0.entry((stream.clone(), partition)).or_insert_with(|| floor.clone());
        if known.offset < floor.offset {
            *known = floor;
        }
    }

    /// The furthest reader of a partition.
    pub fn of(&self, stream: &Name, partition: Partition) -> Option<&Floor> {
        self.0.get(&(stream.clone(), partition))
    }
}
