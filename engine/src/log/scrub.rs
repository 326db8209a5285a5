//! Reading sealed segments again, slowly, so that damage is found before somebody needs the records. Invariant: every byte of
//! every sealed segment is read in each round, whatever a disk does not give back; what is damaged is reported until it is repaired,
//! and nothing is changed. Whoever asks for what was found never waits for the disk.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex};

use crate::ids::{Name, Offset, Partition};
use crate::locks::lock;

use super::inspect::{self, Problem};
use super::live::Segment;
use super::store::Log;

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes read and found whole, or damaged, or not to be read.
    pub bytes: u64,
    /// Segments read.
    pub segments: u64,
    /// Rounds that reached the end.
    pub rounds: u64,
}

/// Where a segment stands in the order of scrubbing.
type Place = (Name, Partition, Offset);

/// Goes round and round over all streams.
#[derive(Debug, Default)]
pub(super) struct Scrubber {
    /// Held while segments are read.
    round: Mutex<Round>,
    /// Held for a moment only.
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Round {
    /// The segment read last.
    at: Option<Place>,
    /// Bytes that may be read now.
    credit: u64,
}

#[derive(Debug, Default)]
struct Found {
    /// What is damaged, by segment.
    damaged: BTreeMap<Place, String>,
    sums: Scrubbed,
}

impl Scrubber {
    /// Reads on with `bytes` more to spend. A segment larger than what there is to spend waits until there is enough.
    pub(super) fn go_on(&self, logs: &[Arc<Log>], bytes: u64) {
        let mut round = lock(&self.round);
        round.credit = round.credit.saturating_add(bytes);
        let all = sealed(logs);
        let from = round.at.clone().map_or(Unbounded, Excluded);
        for (place, (log, segment)) in all.range((from, Unbounded)) {
            let cost = segment.bytes();
            if cost > round.credit {
                return;
            }
            round.credit -= cost;
            // A bad sector must not keep the segments after it from being read.
            let problems = inspect::verify_file(log.disk(), &segment.path, &segment.header)
                .unwrap_or_else(|e| vec![inspect::unreadable(&segment.path, segment.header.base..segment.end(), &e)]);
            lock(&self.found).report(place, cost, &problems);
            round.at = Some(place.clone());
        }
        // The end of a round: nothing is saved up for the next, and damage that retention took away is forgotten.
        let ended = round.at.take().is_some();
        round.credit = 0;
        let mut found = lock(&self.found);
        found.sums.rounds += u64::from(ended);
        found.damaged.retain(|place, _| all.contains_key(place));
    }

    /// What is damaged, a sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        lock(&self.found).damaged.values().cloned().collect()
    }

    /// How many segments are damaged.
    pub(super) fn damaged(&self) -> u64 {
        lock(&self.found).damaged.len() as u64
    }

    /// Sums since the start.
    pub(super) fn sums(&self) -> Scrubbed {
        lock(&self.found).sums
    }
}

impl Found {
    fn report(&mut self, place: &Place, bytes: u64, problems: &[Problem]) {
        self.sums.bytes += bytes;
        self.sums.segments += 1;
        let Some(first) = problems.first() else {
            self.damaged.remove(place);
            return;
        };
        let (stream, partition, _) = place;
        let (file, Problem { byte, offsets, what, .. }) = (first.file.display(), first);
        let text = format!("log {stream}/{partition}: {file}: {what} at byte {byte}; offsets {} to {}", offsets.start, offsets.end);
        if self.damaged.insert(place.clone(), text.clone()).is_none() {
            tracing::error!("{text}: damaged on disk; see `thalweg log repair`");
        }
    }
}

/// Every sealed segment, in the order of scrubbing.
fn sealed(logs: &[Arc<Log>]) -> BTreeMap<Place, (&Log, Arc<Segment>)> {
    let places = |log: &Arc<Log>| {
        let stream = log.stream().clone();
        log.sealed().into_iter().map(move |(partition, segment)| ((stream.clone(), partition, segment.header.base), segment))
    };
    logs.iter().flat_map(|log| places(log).map(|(place, segment)| (place, (&**log, segment)))).collect()
}
