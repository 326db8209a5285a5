//! The thread of a partition that writes its groups. Invariant: one group after the other; a group is published only when
//! all its frames before are durable. Whatever goes wrong, by an error or by a panic, ends in a failed partition, except a
//! full disk: then the group stays, nothing new is taken, and writing is tried again.

use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits::{DISK_CHECK_BYTES, DISK_CHECK_INTERVAL_MS, DISK_FREE_BYTES_MIN, DISK_FULL_RETRY_MS};

use super::appender::{Appender, Failure, Place, is_full};
use super::group::Group;
use super::partition::{Gate, Partition};
use super::producer_snapshot::Snapshot;

/// Starts the thread; `snapshot_due` says whether the producers are to be written down at once.
pub(super) fn spawn(partition: Arc<Partition>, appender: Appender, place: &Place, snapshot_due: bool) -> Result<JoinHandle<()>> {
    let space = Space { place: place.clone(), written: 0, checked: None };
    let writer = Writer { space, partition: partition.clone(), appender, snapshot_due, snapshot: None };
    let name = format!("log {}", partition.label);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            let _guard = PanicGuard(partition);
            writer.run();
        })
        .map_err(|e| Error::from(e).context("start a writer thread of the log"))
}

/// Fails the partition if its writer panics.
struct PanicGuard(Arc<Partition>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the writer thread panicked");
        }
    }
}

struct Writer {
    partition: Arc<Partition>,
    appender: Appender,
    space: Space,
    /// A segment has begun: the producers are to be written down.
    snapshot_due: bool,
    /// The producers, to be written once their records are durable.
    snapshot: Option<Snapshot>,
}

/// What there is to do.
enum Work {
    Group,
    Snapshot,
    Roll,
    Stop,
}

impl Writer {
    fn run(mut self) {
        let mut group = Group::default();
        loop {
            let done = match self.next_work(&mut group) {
                Ok(Work::Group) => self.write_group(&mut group),
                Ok(Work::Snapshot) => Ok(()),
                Ok(Work::Roll) => self.roll(),
                Ok(Work::Stop) => break,
                Err(e) => Err(e.to_string()),
            };
            if let Err(reason) = done.and_then(|()| self.write_snapshot()) {
                self.partition.fail(&reason);
                return;
            }
        }
        match self.appender.close() {
            Ok(()) => {}
            Err(Failure::Full(e)) => tracing::warn!(log = %self.partition.label, "no closing mark was written: {e}"),
            Err(Failure::Fatal(reason)) => self.partition.fail(&reason),
        }
    }

    /// Waits for work; a group of records is swapped into `group`.
    fn next_work(&mut self, group: &mut Group) -> Result<Work> {
        assert!(group.is_empty());
        let mut intake = self.partition.intake()?;
        loop {
            if intake.gate == Gate::DiskFull || self.space.is_due(&self.partition) {
                let enough = self.space.is_enough(&self.partition);
                match (&intake.gate, enough) {
                    (Gate::DiskFull, true) => intake.gate = Gate::Open,
                    (Gate::Open, false) => {
                        tracing::warn!(log = %self.partition.label, "disk is nearly full; nothing more is taken");
                        intake.gate = Gate::DiskFull;
                    }
                    _ => {}
                }
            }
            if std::mem::take(&mut self.snapshot_due) {
                self.snapshot = Some(Snapshot::new(intake.next, &intake.producers));
            }
            if !intake.group.is_empty() {
                std::mem::swap(group, &mut intake.group);
                return Ok(Work::Group);
            }
            if self.snapshot.is_some() {
                return Ok(Work::Snapshot);
            }
            match intake.gate {
                Gate::Closed | Gate::Failed(_) => return Ok(Work::Stop),
                Gate::Open | Gate::DiskFull => {}
            }
            if std::mem::take(&mut intake.roll) {
                return Ok(Work::Roll);
            }
            let poisoned = || Error::internal("a thread panicked while it appended");
            intake.writer_waits = true;
            intake = if intake.gate == Gate::DiskFull {
                let pause = Duration::from_millis(DISK_FULL_RETRY_MS);
                self.partition.work.wait_timeout(intake, pause).map_err(|_| poisoned())?.0
            } else {
                self.partition.work.wait(intake).map_err(|_| poisoned())?
            };
            intake.writer_waits = false;
        }
    }

    /// Makes a group durable, frame by frame.
    fn write_group(&mut self, group: &mut Group) -> Result<(), String> {
        for at in 0..group.len() {
            let (draft, bytes) = group.frame(at);
            loop {
                let (partition, due) = (&self.partition, &mut self.snapshot_due);
                let mut opened = |segment| {
                    partition.add_segment(segment);
                    *due = true;
                };
                match self.appender.append(draft, bytes, &mut opened) {
                    Ok(()) => break,
                    Err(Failure::Fatal(reason)) => return Err(reason),
                    Err(Failure::Full(e)) => self.wait_for_space(&e)?,
                }
            }
            self.partition.publish(draft.base + u64::from(draft.count));
            self.space.written += bytes.len() as u64;
        }
        group.clear();
        Ok(())
    }

    /// Writes the producers down, if they are to be. A full disk is no failure: the next segment tries again.
    fn write_snapshot(&mut self) -> Result<(), String> {
        let Some(snapshot) = self.snapshot.take() else { return Ok(()) };
        assert_eq!(snapshot.offset, self.appender.next(), "everything that was taken has been written");
        let Place { disk, dir, .. } = &self.space.place;
        match snapshot.write(&**disk, dir, &self.appender.segment()) {
            Err(e) if is_full(&e) => tracing::warn!(log = %self.partition.label, "producers were not written down: {e}"),
            Err(e) => return Err(format!("write the producers of {}: {e}", dir.display())),
            Ok(()) => {}
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), String> {
        let partition = &self.partition;
        match self.appender.roll(&mut |segment| partition.add_segment(segment)) {
            Ok(()) | Err(Failure::Full(_)) => Ok(()),
            Err(Failure::Fatal(reason)) => Err(reason),
        }
    }

    /// Refuses new records for a moment. The group that did not fit stays: its offsets were handed out. Errors: nobody waits
    /// for space any more.
    fn wait_for_space(&self, e: &std::io::Error) -> Result<(), String> {
        let mut intake = self.partition.intake().map_err(|e| e.to_string())?;
        match intake.gate {
            Gate::Closed | Gate::Failed(_) => return Err("closed while the disk was full".to_owned()),
            Gate::DiskFull => {}
            Gate::Open => {
                tracing::warn!(log = %self.partition.label, "nothing more is taken until there is space: {e}");
                intake.gate = Gate::DiskFull;
            }
        }
        let pause = Duration::from_millis(DISK_FULL_RETRY_MS);
        drop(self.partition.work.wait_timeout(intake, pause).unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// Watches free space without asking for it at each group.
struct Space {
    place: Place,
    written: u64,
    checked: Option<Duration>,
}

impl Space {
    fn is_due(&self, partition: &Partition) -> bool {
        let interval = Duration::from_millis(DISK_CHECK_INTERVAL_MS);
        let now = partition.clock.monotonic();
        self.written >= DISK_CHECK_BYTES || self.checked.is_none_or(|at| now.saturating_sub(at) >= interval)
    }

    /// Whether there is enough; a file system that does not say has enough until a write fails.
    fn is_enough(&mut self, partition: &Partition) -> bool {
        self.written = 0;
        self.checked = Some(partition.clock.monotonic());
        self.place.disk.free_bytes(&self.place.dir).map_or(true, |free| free >= DISK_FREE_BYTES_MIN)
    }
}
