//! What a sink prepared becomes part of its table, once. Invariant: an epoch is committed only if the log holds its predecessor,
//! so that nothing is added twice and nothing is skipped; the files that it removes are there until then.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use deltalake_core::kernel::Action;
use tracing::{info, warn};

use crate::contract::{PreCommit, StagedFile};
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::lake::actions::{add, append, remove, upsert};
use crate::lake::keyed::check_buckets;
use crate::lake::snapshot::is_beneath;
use crate::lake::table::LakeTable;
use crate::time::{MILLISECOND, Micros};

/// Commits for one sink.
pub(super) struct Committer {
    table: Arc<LakeTable>,
    app_id: String,
    /// Newest epoch with something to commit.
    last: Epoch,
    /// What an earlier run staged and never committed may still be there.
    unclean: bool,
}

/// What is to be done with a prepared epoch, given the newest epoch in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// The log holds it.
    Done,
    /// The log holds its predecessor.
    Commit,
    /// The log is ahead: the checkpoint was lost, or restored from a backup.
    Ahead,
    /// The log lacks epochs between: it lost commits, or was restored from a backup.
    Lost,
}

fn decide(prepared: &PreCommit, in_log: Epoch) -> Decision {
    let newest = newest(prepared);
    if in_log == newest {
        Decision::Done
    } else if in_log > newest {
        Decision::Ahead
    } else if in_log == prepared.previous {
        Decision::Commit
    } else if in_log > prepared.previous {
        Decision::Ahead
    } else {
        Decision::Lost
    }
}

/// Newest epoch with something to commit, once this one is done.
fn newest(prepared: &PreCommit) -> Epoch {
    if prepared.is_empty() { prepared.previous } else { prepared.epoch }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    Files,
}

impl Committer {
    /// For the sink that commits as `app_id`.
    pub(super) fn new(table: Arc<LakeTable>, app_id: &str) -> Result<Self> {
        let last = epoch(table.begin().version(app_id)?)?;
        Ok(Self { table, app_id: app_id.to_owned(), last, unclean: true })
    }

    /// The table.
    pub(super) fn table(&self) -> &Arc<LakeTable> {
        &self.table
    }

    /// Whether `epoch` may be prepared. Errors: `Invalid` if it is not after the newest one, `Conflict` if another process has taken the
    /// lake over: its checkpoints must not be replaced by ours.
    pub(super) fn check_epoch(&self, epoch: Epoch) -> Result<()> {
        self.table.environment.check_fence()?;
        if epoch <= self.last {
            return Err(Error::invalid(format!("epoch {epoch} of {} is not after {}", self.app_id, self.last)));
        }
        Ok(())
    }

    /// Begin of the names of an epoch's files, `e00000012-<app>-<checksum of app>-o<fence>`: the same epoch of the same job and owner
    /// has the same name, so that an attempt that never was committed is replaced by the next one, and no owner replaces what another
    /// one's checkpoint names.
    pub(super) fn stem(&self, epoch: Epoch) -> String {
        format!("e{epoch:08}-{}-o{}", self.mark(), self.table.environment.fence())
    }

    /// What the names of all files of this sink have in common.
    fn mark(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let app: String = self.app_id.chars().take(48).map(plain).collect();
        format!("{app}-{:08x}", crc32c::crc32c(self.app_id.as_bytes()))
    }

    /// Names what is durable for an epoch.
    pub(super) fn prepared(
        &mut self,
        epoch: Epoch,
        files: Vec<StagedFile>,
        removes: Vec<String>,
        event_time_max: Option<Micros>,
    ) -> PreCommit {
        let prepared = PreCommit { app_id: self.app_id.clone(), epoch, previous: self.last, files, removes, event_time_max };
        self.last = newest(&prepared);
        prepared
    }

    /// See `Sink::commit`.
    pub(super) fn commit(&mut self, prepared: &PreCommit) -> Result<()> {
        let last = self.last;
        self.settle(prepared, Verify::Nothing)?;
        if self.unclean && !prepared.is_empty() {
            self.unclean = false;
            self.clean(prepared.epoch);
        }
        self.last = last.max(self.last);
        Ok(())
    }

    /// Removes what a run that died left behind; what cannot be removed now can be later.
    fn clean(&self, committed: Epoch) {
        match self.table.remove_uncommitted(&self.mark(), committed) {
            Ok(0) => {}
            Ok(files) => info!(table = self.table.full_name(), files, "files that were never committed are removed"),
            Err(e) => warn!(table = self.table.full_name(), error = %e, "files that were never committed could not be removed"),
        }
    }

    /// See `Sink::recover`.
    pub(super) fn recover(&mut self, prepared: &PreCommit) -> Result<()> {
        self.settle(prepared, Verify::Files)
    }

    /// See `Sink::repeat`.
    pub(super) fn repeat(&mut self, older: &PreCommit) -> Result<()> {
        let in_log = epoch(self.table.begin().version(&self.app_id)?)?;
        match decide(older, in_log) {
            Decision::Commit => self.settle(older, Verify::Files),
            Decision::Done | Decision::Ahead | Decision::Lost => Ok(()),
        }
    }

    /// See `Sink::start`.
    pub(super) fn start(&self) -> Result<()> {
        if self.last != 0 {
            return Err(Error::corrupt(format!(
                "{} holds epoch {} of {}, but there is no checkpoint",
                self.table.full_name(),
                self.last,
                self.app_id
            ))
            .hint("restore the job's checkpoints, or start the job under a new name"));
        }
        Ok(())
    }

    /// Commits a prepared epoch unless the log holds it; `verify` first makes sure that its files are what they were.
    fn settle(&mut self, prepared: &PreCommit, verify: Verify) -> Result<()> {
        if prepared.app_id != self.app_id {
            return Err(Error::corrupt(format!("a commit of {} was handed to the sink {}", prepared.app_id, self.app_id)));
        }
        let mut guard = self.table.begin();
        let in_log = epoch(guard.version(&self.app_id)?)?;
        match decide(prepared, in_log) {
            Decision::Done => {}
            Decision::Commit => {
                if verify == Verify::Files {
                    prepared.files.iter().try_for_each(|file| verify_file(self.table.path(), file))?;
                }
                let operation = if self.table.layout.key.is_some() { upsert() } else { append() };
                guard.commit(self.actions(prepared)?, operation, &self.app_id, version(prepared.epoch)?)?;
            }
            Decision::Ahead => {
                return Err(self
                    .mismatch(prepared, in_log, "the lake is ahead of the checkpoint")
                    .hint("the checkpoint was lost or restored from a backup: restore the newest one, or start a new job"));
            }
            Decision::Lost => {
                return Err(self
                    .mismatch(prepared, in_log, "the lake has lost commits that cannot be repeated")
                    .hint("restore the table's directory, or start a new job that reads from the earliest record"));
            }
        }
        self.last = newest(prepared);
        Ok(())
    }

    /// What the log is told. Errors: `Corrupt` if a file would not lie in the table, `Conflict` if one that is to go went already,
    /// or if another job has written the same rows meanwhile.
    fn actions(&self, prepared: &PreCommit) -> Result<Vec<Action>> {
        let table = &self.table;
        let (now, has_key) = (table.environment.now() / MILLISECOND, table.layout.key.is_some());
        let mut actions = Vec::with_capacity(prepared.removes.len() + prepared.files.len());
        // Who only adds need not know what is there.
        if has_key || !prepared.removes.is_empty() {
            let snapshot = table.snapshot()?;
            for path in &prepared.removes {
                let file = snapshot.file(path).ok_or_else(|| {
                    Error::conflict(format!("{path} of {} was replaced by somebody else", table.full_name()))
                        .hint("a table with a primary key is written by one job at a time: start this one under a new name")
                })?;
                actions.push(Action::Remove(remove(file, now)));
            }
            check_buckets(&snapshot, prepared).map_err(|e| e.context(table.full_name()))?;
        }
        for file in &prepared.files {
            let is_placed = is_beneath(&file.path) && file.date.is_none() == has_key && i64::try_from(file.bytes).is_ok();
            if !is_placed {
                return Err(Error::corrupt(format!("staged file {:?} has no place in {}", file.path, table.full_name())));
            }
            actions.push(Action::Add(add(file, now)));
        }
        Ok(actions)
    }

    fn mismatch(&self, prepared: &PreCommit, in_log: Epoch, problem: &str) -> Error {
        let table = self.table.full_name();
        let (epoch, previous) = (prepared.epoch, prepared.previous);
        Error::corrupt(format!("{problem}: {table} holds epoch {in_log} of {}, the checkpoint is {epoch} after {previous}", self.app_id))
    }
}

fn epoch(version: i64) -> Result<Epoch> {
    Epoch::try_from(version).map_err(|_| Error::corrupt(format!("the lake holds a negative epoch {version}")))
}

fn version(epoch: Epoch) -> Result<i64> {
    i64::try_from(epoch).map_err(|_| Error::invalid(format!("epoch {epoch} is too large")))
}

fn verify_file(table: &Path, staged: &StagedFile) -> Result<()> {
    let damaged = |problem: String| {
        Error::corrupt(format!("staged file {} of {}: {problem}", staged.path, table.display()))
            .hint("the checkpoint cannot be committed: start the job again from an older checkpoint")
    };
    if !is_beneath(&staged.path) {
        return Err(damaged("outside of the table".into()));
    }
    let mut file = File::open(table.join(&staged.path)).map_err(|e| damaged(e.to_string()))?;
    let (mut bytes, mut crc32c, mut buffer) = (0u64, 0u32, vec![0; 64 * 1024]);
    loop {
        let n = file.read(&mut buffer).map_err(|e| damaged(e.to_string()))?;
        if n == 0 {
            break;
        }
        bytes += n as u64;
        crc32c = crc32c::crc32c_append(crc32c, &buffer[..n]);
    }
    if (bytes, crc32c) != (staged.bytes, staged.crc32c) {
        return Err(damaged(format!(
            "{bytes} bytes with checksum {crc32c:08x}, prepared were {} with {:08x}",
            staged.bytes, staged.crc32c
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(epoch: Epoch, previous: Epoch, files: usize) -> PreCommit {
        let file = StagedFile { path: "recent/x".into(), date: None, bytes: 0, rows: 0, crc32c: 0, stats: String::new() };
        PreCommit { app_id: "a".into(), epoch, previous, files: vec![file; files], removes: Vec::new(), event_time_max: None }
    }

    #[test]
    fn the_recovery_table() {
        for (epoch, previous, files, in_log, want) in [
            (7, 5, 1, 7, Decision::Done),
            (7, 5, 1, 5, Decision::Commit),
            (7, 5, 1, 4, Decision::Lost),
            (7, 5, 1, 6, Decision::Ahead),
            (7, 5, 1, 8, Decision::Ahead),
            (1, 0, 1, 0, Decision::Commit),
            (7, 5, 0, 5, Decision::Done),
            (7, 5, 0, 7, Decision::Ahead),
            (7, 5, 0, 4, Decision::Lost),
            (7, 0, 0, 0, Decision::Done),
        ] {
            assert_eq!(decide(&prepared(epoch, previous, files), in_log), want, "{epoch} after {previous}, {files} files, log {in_log}");
        }
    }
}
