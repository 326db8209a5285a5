//! Reading sealed segments again, slowly, so that damage is found before somebody needs the records. Invariant: every byte of
//! every sealed segment is read in each round; what is damaged is reported until it is repaired, and nothing is changed.

use std::collections::BTreeMap;
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
        loop {
            let Some((place, segment, log)) = self.next(logs) else {
                self.end_round(logs);
                return Ok(());
            };
            let cost = segment.bytes();
            if cost > self.credit {
                return Ok(());
            }
            self.credit -= cost;
            self.sums.bytes += cost;
            self.sums.segments += 1;
            let problems = inspect::verify_file(log.disk(), &segment.path, &segment.header)?;
            self.report(&place, &problems);
            self.at = Some(place);
        }
    }

    /// What is damaged, a sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        self.damaged.values().cloned().collect()
    }

    fn next<'a>(&self, logs: &'a [Arc<Log>]) -> Option<(Place, Arc<Segment>, &'a Log)> {
        let all = logs.iter().flat_map(|log| {
            let sealed = log.sealed().into_iter();
            sealed.map(move |(partition, segment)| ((log.stream().clone(), partition, segment.header.base), segment, &**log))
        });
        all.filter(|(place, ..)| self.at.as_ref().is_none_or(|at| place > at)).min_by(|a, b| a.0.cmp(&b.0))
    }

    /// Begins anew, without saving up for the next round, and forgets damage that retention took away.
    fn end_round(&mut self, logs: &[Arc<Log>]) {
        if self.at.take().is_some() {
            self.sums.rounds += 1;
        }
        self.credit = 0;
        let there = |(name, partition, base): &Place| {
            let log = logs.iter().find(|log| log.stream() == name);
            log.is_some_and(|log| log.sealed().iter().any(|(p, s)| p == partition && s.header.base == *base))
        };
        self.damaged.retain(|place, _| there(place));
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
