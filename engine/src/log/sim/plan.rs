//! What goes wrong with a simulated disk, and when. Invariant: it depends on the plan and on the operations so far, on nothing
//! else; every operation goes into the trace, by which two runs are told to be the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

/// What is done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Open,
    Read,
    Write,
    Sync,
    SetLen,
    Rename,
    Remove,
    SyncDir,
    List,
    Link,
}

/// What the disk does instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// What it was asked for.
    Do,
    /// Half of it, then fails.
    Cut(io::ErrorKind),
    /// Nothing, and says that it did.
    Nothing,
    /// Forgets what was to be synced, and says that it did not.
    ForgetQuietly,
}

/// A fault at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails: a write is half done, a sync forgets what it was to write.
    Fails,
    /// There is no space for it, if it needs any.
    Full,
    /// The power goes: nothing is done any more.
    PowerOff,
}

/// A seeded bug: what a run has to find. Each stands for something that a log, a disk or a kernel could get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lie {
    /// None.
    #[default]
    None,
    /// Files are never synced.
    NoSync,
    /// Names are never synced.
    NoDirectorySync,
    /// A failed sync is taken for one that worked.
    SyncErrorIgnored,
    /// Records are acknowledged when they are taken, not when they are durable.
    AckBeforeSync,
    /// Damage is not noticed: whatever a checksum covers is right.
    ChecksumsRepaired,
    /// Repeated records are stored again.
    RepeatsStored,
}

impl Lie {
    /// All of them, with their names.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("ack-before-sync", Self::AckBeforeSync),
        ("checksums-repaired", Self::ChecksumsRepaired),
        ("no-directory-sync", Self::NoDirectorySync),
        ("no-sync", Self::NoSync),
        ("repeats-stored", Self::RepeatsStored),
        ("sync-error-ignored", Self::SyncErrorIgnored),
    ];
}

/// The faults to come.
#[derive(Debug, Default)]
pub struct Plan {
    /// How the disk lies all the time.
    pub lie: Lie,
    next: Option<(u64, Fault)>,
    is_off: bool,
    operations: u64,
    trace: DefaultHasher,
}

impl Plan {
    /// `fault` strikes after `after` more operations.
    pub(super) fn arm(&mut self, after: u64, fault: Fault) {
        self.next = Some((self.operations + after, fault));
    }

    /// No fault is to come any more; says whether one was.
    pub(super) fn disarm(&mut self) -> bool {
        self.next.take().is_some()
    }

    /// Whether a fault is to come.
    pub(super) fn is_armed(&self) -> bool {
        self.next.is_some()
    }

    /// Whether the power is off.
    pub(super) fn is_off(&self) -> bool {
        self.is_off
    }

    /// A number that two runs share only if they did the same.
    pub(super) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// An operation on `path`; `amount` tells it from others on the same.
    pub(super) fn step(&mut self, operation: Operation, path: &Path, amount: u64) -> io::Result<Action> {
        (operation, path, amount).hash(&mut self.trace);
        self.operations += 1;
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        let fault = match self.next {
            Some((at, fault)) if at < self.operations => {
                self.next = None;
                Some(fault)
            }
            _ => None,
        };
        match (fault, operation, self.lie) {
            (Some(Fault::PowerOff), ..) => {
                self.is_off = true;
                Err(io::Error::other("the power is off"))
            }
            (Some(Fault::Fails), Operation::Sync, Lie::SyncErrorIgnored) => Ok(Action::ForgetQuietly),
            (Some(Fault::Fails), Operation::Write | Operation::Sync, _) => Ok(Action::Cut(io::ErrorKind::Other)),
            (Some(Fault::Fails), ..) => Err(io::Error::other("injected")),
            (Some(Fault::Full), Operation::Write, _) => Ok(Action::Cut(io::ErrorKind::StorageFull)),
            (_, Operation::Sync, Lie::NoSync) | (_, Operation::SyncDir, Lie::NoDirectorySync) => Ok(Action::Nothing),
            _ => Ok(Action::Do),
        }
    }
}
