//! Reading sealed segments again, slowly, so that damage is found before somebody needs the records. Invariant: every byte of
//! every sealed segment is read in each round; what is damaged is reported until it is repaired, and nothing is changed.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use crate::error::Result;
use crate::ids::{Name, Offset, Partition};

use super::inspect::{self, Problem};
use super::live::Segment;
use super::store::Log;

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes read and found whole, or damaged.
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
    /// The segment read last.
    at: Option<Place>,
    /// Bytes that may be read now.
    credit: u64,
    /// What is damaged, by segment.
    damaged: BTreeMap<Place, String>,
    /// Sums since the start.
    pub(super) sums: Scrubbed,
}

impl Scrubber {
    /// Reads on with `bytes` more to spend. A segment larger than what there is to spend waits until there is enough.
    pub(super) fn go_on(&mut self, logs: &[Arc<Log>], bytes: u64) -> Result<()> {
        self.credit = self.credit.saturating_add(bytes);
        let all = sealed(logs);
        let from = self.at.as_ref().map(|at| (Excluded(at.clone()), Unbounded));
        for (place, (log, segment)) in all.range(from.unwrap_or((Unbounded, Unbounded))) {
            let cost = segment.bytes();
            if cost > self.credit {
                return Ok(());
            }
            self.credit -= cost;
            self.sums.bytes += cost;
            self.sums.segments += 1;
            let problems = inspect::verify_file(log.disk(), &segment.path, &segment.header)?;
            self.report(place, &problems);
            self.at = Some(place.clone());
        }
        // The end of a round: nothing is saved up for the next, and damage that retention took away is forgotten.
        self.sums.rounds += u64::from(self.at.take().is_some());
        self.credit = 0;
        self.damaged.retain(|place, _| all.contains_key(place));
        Ok(())
    }

    /// What is damaged, a sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        self.damaged.values().cloned().collect()
    }

    fn report(&mut self, place: &Place, problems: &[Problem]) {
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
