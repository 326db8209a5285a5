//! The thread of a partition that writes its groups. Invariant: one group after the other; a group is published only when
//! all its frames before are durable. Whatever goes wrong, by an error or by a panic, ends in a failed partition, except a
//! full disk: then the group stays, nothing new is taken, and writing is tried again.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits::DISK_FULL_RETRY_MS;
use crate::parallel;

use super::appender::{Appender, Failure, Place};
use super::group::Group;
use super::handoff::{Next, Poisoned};
use super::pace::Pace;
use super::partition::{Gate, Intake, Partition, panicked};
use super::producer_snapshot::Snapshot;
use super::space::{Level, Space};

/// Starts the thread; `snapshot_due` says whether the producers are to be written down at once.
pub(super) fn spawn(partition: Arc<Partition>, appender: Appender, place: &Place, snapshot_due: bool) -> Result<JoinHandle<()>> {
    let writer = Writer::new(partition.clone(), appender, place, snapshot_due);
    let name = format!("log {}", partition.label);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            let _guard = PanicGuard(partition);
            // The pause between groups is a few times of what it would oversleep.
            parallel::wake_in_time();
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

/// Writes the groups of one partition.
pub(super) struct Writer {
    partition: Arc<Partition>,
    appender: Appender,
    space: Space,
    pace: Pace,
    /// A segment has begun: the producers are to be written down.
    snapshot_due: bool,
    /// That met a full disk just now: a group or a pause comes before the next attempt.
    snapshot_rests: bool,
    /// The producers, to be written once their records are durable.
    snapshot: Option<Snapshot>,
    /// Between two attempts to write on a full disk.
    pause: Duration,
}

/// What there is to do.
enum Work {
    Group,
    Snapshot,
    Roll,
    Stop,
    /// Somebody else found that the disk cannot be trusted any more.
    Fail(Arc<str>),
}

impl Writer {
    /// A writer that nobody runs yet.
    pub(super) fn new(partition: Arc<Partition>, appender: Appender, place: &Place, snapshot_due: bool) -> Self {
        let (space, pace, pause) = (Space::new(place.clone()), Pace::default(), Duration::from_millis(DISK_FULL_RETRY_MS));
        Self { partition, appender, space, pace, snapshot_due, snapshot_rests: false, snapshot: None, pause }
    }

    /// Does everything there is to do, then returns; for a simulation that has no thread. Errors: the partition failed.
    pub(super) fn drain(&mut self) -> Result<(), String> {
        if let Some(reason) = self.partition.failure() {
            return Err(reason.to_string());
        }
        self.pause = Duration::ZERO;
        let (partition, mut group) = (self.partition.clone(), Group::default());
        loop {
            let work = partition.handoff.give(|intake| self.work(intake, &mut group)).map_err(|Poisoned| panicked().to_string());
            let done = match work {
                Ok(None | Some(Work::Stop)) => return Ok(()),
                Ok(Some(work)) => self.do_work(&work, &mut group),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = done {
                self.partition.fail(&reason);
                return Err(reason);
            }
        }
    }

    fn run(mut self) {
        let mut group = Group::default();
        loop {
            let done = match self.next_work(&mut group) {
                Ok(Work::Stop) => break,
                Ok(work) => self.do_work_evenly(&work, &mut group),
                Err(e) => Err(e.to_string()),
            };
            if let Err(reason) = done {
                self.partition.fail(&reason);
                return;
            }
        }
        self.finish();
    }

    /// Does something, and takes at least as long for it as groups are to be apart; what is taken meanwhile is the next group.
    fn do_work_evenly(&mut self, work: &Work, group: &mut Group) -> Result<(), String> {
        let begun = self.partition.clock.monotonic();
        self.do_work(work, group)?;
        let taken = self.partition.clock.monotonic().saturating_sub(begun);
        std::thread::sleep(self.pace.distance(begun).saturating_sub(taken));
        self.pace.note(begun, self.partition.clock.monotonic());
        Ok(())
    }

    /// Leaves the partition as a clean end does.
    pub(super) fn finish(&mut self) {
        if let Some(ahead) = &self.space.place.ahead {
            ahead.close();
        }
        match self.appender.close() {
            Ok(()) => {}
            Err(Failure::Full(e)) => tracing::warn!(log = %self.partition.label, "no closing mark was written: {e}"),
            Err(Failure::Fatal(reason)) => self.partition.fail(&reason),
        }
    }

    fn do_work(&mut self, work: &Work, group: &mut Group) -> Result<(), String> {
        match work {
            Work::Group => self.write_group(group)?,
            Work::Roll => self.roll()?,
            Work::Snapshot | Work::Stop => {}
            Work::Fail(reason) => return Err(reason.to_string()),
        }
        self.write_snapshot()
    }

    /// Waits for work; a group of records is swapped into `group`.
    fn next_work(&mut self, group: &mut Group) -> Result<Work> {
        assert!(group.is_empty());
        let partition = self.partition.clone();
        let work = partition.handoff.take(|intake| match self.work(intake, group) {
            Some(work) => Next::Do(work),
            None if intake.gate == Gate::DiskFull || self.snapshot_due => Next::WaitFor(self.pause),
            None => Next::Wait,
        });
        work.map_err(|Poisoned| panicked())
    }

    /// What there is to do now; a group of records is swapped into `group`.
    fn work(&mut self, intake: &mut Intake, group: &mut Group) -> Option<Work> {
        if let Gate::Failed(reason) = &intake.gate {
            return Some(Work::Fail(reason.clone()));
        }
        if intake.gate == Gate::DiskFull || self.space.is_due(&*self.partition.clock) {
            let level = self.space.look(&*self.partition.clock);
            self.partition.set_scarce(level != Level::Enough);
            if let Some(ahead) = &self.space.place.ahead {
                ahead.set_scarce(level != Level::Enough);
            }
            match (&intake.gate, level) {
                (Gate::DiskFull, Level::Enough | Level::Scarce) => {
                    tracing::info!(log = %self.partition.label, "there is space again; records are taken");
                    intake.gate = Gate::Open;
                }
                (Gate::Open, Level::Full) => {
                    tracing::warn!(log = %self.partition.label, "disk is nearly full; nothing more is taken");
                    intake.gate = Gate::DiskFull;
                }
                _ => {}
            }
        }
        let rests = std::mem::take(&mut self.snapshot_rests) || intake.gate == Gate::DiskFull;
        if self.snapshot_due && !rests {
            self.snapshot_due = false;
            self.snapshot = Some(Snapshot::new(intake.next, &intake.producers));
        }
        if !intake.group.is_empty() {
            std::mem::swap(group, &mut intake.group);
            return Some(Work::Group);
        }
        if self.snapshot.is_some() {
            return Some(Work::Snapshot);
        }
        match intake.gate {
            Gate::Closed | Gate::Failed(_) => return Some(Work::Stop),
            Gate::Open | Gate::DiskFull => {}
        }
        if std::mem::take(&mut intake.roll) {
            return Some(Work::Roll);
        }
        intake.group.rest();
        group.rest();
        None
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
                match self.appender.append(draft, bytes, partition.clock.monotonic(), &mut opened) {
                    Ok(()) => break,
                    Err(Failure::Fatal(reason)) => return Err(reason),
                    Err(Failure::Full(e)) => self.wait_for_space(&e)?,
                }
            }
            self.partition.publish(draft.base + u64::from(draft.count));
            self.appender.look_ahead();
            self.space.written += bytes.len() as u64;
        }
        self.partition.pending.release(&mut group.reserved);
        group.clear();
        Ok(())
    }

    /// Writes the producers down, if they are to be. A full disk is no failure: it is tried again.
    fn write_snapshot(&mut self) -> Result<(), String> {
        let Some(snapshot) = self.snapshot.take() else { return Ok(()) };
        assert_eq!(snapshot.offset, self.appender.next(), "everything that was taken has been written");
        let Place { disk, dir, .. } = &self.space.place;
        match snapshot.write(&**disk, dir, &self.appender.segment()) {
            Err(Failure::Full(e)) => {
                tracing::warn!(log = %self.partition.label, "producers were not written down: {e}");
                (self.snapshot_due, self.snapshot_rests) = (true, true);
            }
            Err(Failure::Fatal(reason)) => return Err(format!("the producers were not written down: {reason}")),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Retention may delete the segment that ends here: what its devices sent last must not be known from it alone.
    fn roll(&mut self) -> Result<(), String> {
        let (partition, due) = (&self.partition, &mut self.snapshot_due);
        let mut opened = |segment| {
            partition.add_segment(segment);
            *due = true;
        };
        match self.appender.roll(&mut opened) {
            Ok(()) | Err(Failure::Full(_)) => Ok(()),
            Err(Failure::Fatal(reason)) => Err(reason),
        }
    }

    /// Refuses new records for a moment. The group that did not fit stays: its offsets were handed out. Errors: nobody waits
    /// for space any more.
    fn wait_for_space(&self, e: &std::io::Error) -> Result<(), String> {
        let paused = self.partition.handoff.pause(self.pause, |intake| match intake.gate {
            Gate::Closed | Gate::Failed(_) => Err("closed while the disk was full".to_owned()),
            Gate::DiskFull => Ok(()),
            Gate::Open => {
                tracing::warn!(log = %self.partition.label, "nothing more is taken until there is space: {e}");
                intake.gate = Gate::DiskFull;
                Ok(())
            }
        });
        paused.map_err(|Poisoned| panicked().to_string())?
    }
}
