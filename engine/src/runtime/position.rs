//! Where a job begins, or goes on. Invariant: without a checkpoint it begins exactly where it was told to, or says that it cannot; what
//! retention has removed is never passed over in silence.

use std::ops::Range;

use super::job::{JobKind, JobSpec, Place};
use crate::contract::LogStore;
use crate::error::{Error, Result};
use crate::ids::{Offset, Partition};
use crate::plan::StartAt;
use crate::time::{self, Micros};

/// Where it was told to begin with a scan.
pub(super) fn start(spec: &JobSpec, scan: usize) -> &StartAt {
    match &spec.kind {
        JobKind::Query { plan, .. } => plan.scans.get(scan).and_then(|s| s.start.as_ref()).unwrap_or(&spec.start),
        // An archive keeps everything.
        JobKind::Archive { .. } => &spec.start,
    }
}

/// Whether every partition begins with its oldest record: then there is nothing to remember.
pub(super) fn is_earliest(spec: &JobSpec) -> bool {
    (0..spec.scans().len()).all(|scan| *start(spec, scan) == StartAt::Earliest)
}

/// The first offset of a partition. Errors: `Invalid` if it is not there.
pub(super) fn first(spec: &JobSpec, place: Place) -> Result<Offset> {
    let log = &*spec.logs[place.scan];
    let bounds = log.bounds(place.partition);
    let stream = || spec.scans().get(place.scan).map_or_else(String::new, |s| s.stream.to_string());
    match start(spec, place.scan) {
        StartAt::Earliest => Ok(bounds.start),
        StartAt::Latest => Ok(bounds.end),
        StartAt::Time(time) => at_time(log, place.partition, *time).map_err(|e| e.context(format!("stream {}", stream()))),
        StartAt::Offsets(offsets) => {
            if let Some(beyond) = offsets.keys().find(|&&p| p >= log.partitions()) {
                return Err(Error::invalid(format!("stream {} has no partition {beyond}", stream()))
                    .hint(format!("its partitions are 0 to {}", log.partitions().saturating_sub(1))));
            }
            match offsets.get(&place.partition) {
                None => Ok(bounds.start),
                Some(offset) if bounds.contains(offset) || *offset == bounds.end => Ok(*offset),
                Some(offset) => Err(Error::invalid(format!(
                    "offset {offset} of partition {} of stream {} is not there: the log holds {} to {}",
                    place.partition,
                    stream(),
                    bounds.start,
                    bounds.end
                ))
                .hint("begin at an offset that is kept, or at 'earliest-offset'")),
            }
        }
    }
}

/// Errors: `Conflict` if retention has removed what a job that stood at `offset` would read next; `Corrupt` if the log ends before
/// `offset`: what comes there next would be passed over.
pub(super) fn check_kept(spec: &JobSpec, place: Place, offset: Offset) -> Result<()> {
    let log = &*spec.logs[place.scan];
    let Range { start, end } = log.bounds(place.partition);
    let stream = spec.scans().get(place.scan).map_or("", |s| s.stream.as_str());
    if offset > end {
        return Err(beyond(spec, (log, place.partition, stream), offset));
    }
    if offset >= start {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "retention has removed offsets {offset} to {} of partition {} of stream {stream} before job {} read them",
        start - 1,
        place.partition,
        spec.name
    ))
    .hint(
        "begin without its state: give the job another name, SET 'pipeline.name' = '…', and another table to write into; or restore the \
         log from a backup",
    ))
}

/// The error for a job that stood at `offset`, behind the end of the log.
fn beyond(spec: &JobSpec, (log, partition, stream): (&dyn LogStore, Partition, &str), offset: Offset) -> Error {
    // Damage explains it: the log serves what lies before.
    if let Some(reason) = log.progress(partition).borrow().failed.clone() {
        return Error::corrupt(format!(
            "partition {partition} of stream {stream} is damaged, and job {} stood behind the damage: {reason}",
            spec.name
        ))
        .hint("`thalweg log repair` shows the damage; restore the file from a backup, or accept the loss");
    }
    let bounds = log.bounds(partition);
    Error::corrupt(format!(
        "job {} stood at offset {offset} of partition {partition} of stream {stream}, but the log holds {} to {}",
        spec.name, bounds.start, bounds.end
    ))
    .hint(
        "the log and the checkpoints do not belong together: restore both from the same backup; or begin without its state: give the job \
         another name, SET 'pipeline.name' = '…', and another table to write into",
    )
}

fn at_time(log: &dyn LogStore, partition: Partition, time: Micros) -> Result<Offset> {
    let offset = log.offset_at(partition, time)?;
    let start = log.bounds(partition).start;
    if offset > start || start == 0 {
        return Ok(offset);
    }
    // Records before the oldest are gone; unless that came before the time, they may have been meant.
    let oldest = log.read(partition, start)?.and_then(|records| records.entries.first().map(|e| e.received));
    match oldest {
        Some(oldest) if oldest > time => Err(Error::invalid(format!(
            "records received from {} on were asked for, but partition {partition} is only kept from {} on",
            time::format(time),
            time::format(oldest)
        ))
        .hint("begin at a later time, or at 'earliest-offset'")),
        _ => Ok(offset),
    }
}
