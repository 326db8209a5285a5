//! The sink of a job: rows of one epoch become visible at once, exactly once. Invariant: an epoch is committed only if the log
//! holds its predecessor, so that nothing is added twice and nothing is skipped.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake_core::kernel::{Action, Add};

use crate::contract::{PreCommit, Sink, StagedFile};
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::lake::commit::append;
use crate::lake::layout::Level;
use crate::lake::schema::check_rows;
use crate::lake::snapshot::{is_beneath, partition_values};
use crate::lake::table::LakeTable;
use crate::lake::writer::TableWriter;
use crate::time::MILLISECOND;

/// Writes the rows of one job, or of one part of it, to one table.
pub(super) struct LakeSink {
    table: Arc<LakeTable>,
    app_id: String,
    writer: TableWriter,
    /// Newest epoch with rows.
    last: Epoch,
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
    let newest = if prepared.files.is_empty() { prepared.previous } else { prepared.epoch };
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

impl LakeSink {
    pub(super) fn new(table: Arc<LakeTable>, app_id: &str) -> Result<Self> {
        let last = epoch(table.begin().version(app_id)?)?;
        let writer = TableWriter::new(table.environment.clone(), table.layout.clone(), Level::Recent);
        Ok(Self { table, app_id: app_id.to_owned(), writer, last })
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
                let now = self.table.environment.now() / MILLISECOND;
                let actions = prepared.files.iter().map(|file| add(file, now)).collect::<Result<Vec<_>>>()?;
                guard.commit(actions, append(), &self.app_id, version(prepared.epoch)?)?;
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
        self.last = if prepared.files.is_empty() { prepared.previous } else { prepared.epoch };
        Ok(())
    }

    fn mismatch(&self, prepared: &PreCommit, in_log: Epoch, problem: &str) -> Error {
        let table = self.table.full_name();
        let (epoch, previous) = (prepared.epoch, prepared.previous);
        Error::corrupt(format!("{problem}: {table} holds epoch {in_log} of {}, the checkpoint is {epoch} after {previous}", self.app_id))
    }

    /// `e00000012-<app>-<checksum of app>`: the same epoch of the same job has the same name, so that an attempt that never
    /// was committed is replaced by the next one.
    fn stem(&self, epoch: Epoch) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let app: String = self.app_id.chars().take(48).map(plain).collect();
        format!("e{epoch:08}-{app}-{:08x}", crc32c::crc32c(self.app_id.as_bytes()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    Files,
}

impl Sink for LakeSink {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let context = |e: Error| e.context(self.table.full_name());
        check_rows(self.table.columns(), rows).map_err(context)?;
        self.writer.write(rows)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<PreCommit> {
        if epoch <= self.last {
            return Err(Error::invalid(format!("epoch {epoch} of {} is not after {}", self.app_id, self.last)));
        }
        let (previous, event_time_max) = (self.last, self.writer.event_time_max());
        let mut files = Vec::new();
        if !self.writer.is_empty() {
            files = self.writer.finish(&self.table, &self.stem(epoch), 0)?;
            self.last = epoch;
        }
        Ok(PreCommit { app_id: self.app_id.clone(), epoch, previous, files, event_time_max })
    }

    fn commit(&mut self, prepared: &PreCommit) -> Result<()> {
        let last = self.last;
        self.settle(prepared, Verify::Nothing)?;
        self.last = last.max(self.last);
        Ok(())
    }

    fn recover(&mut self, prepared: &PreCommit) -> Result<()> {
        self.settle(prepared, Verify::Files)
    }

    fn start(&mut self) -> Result<()> {
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
}

fn epoch(version: i64) -> Result<Epoch> {
    Epoch::try_from(version).map_err(|_| Error::corrupt(format!("the lake holds a negative epoch {version}")))
}

fn version(epoch: Epoch) -> Result<i64> {
    i64::try_from(epoch).map_err(|_| Error::invalid(format!("epoch {epoch} is too large")))
}

/// The log's action for a staged file. Errors: `Corrupt` if the file would not lie in the table.
fn add(file: &StagedFile, now_ms: i64) -> Result<Action> {
    let date = file.date.as_deref().filter(|_| is_beneath(&file.path));
    let date = date.ok_or_else(|| Error::corrupt(format!("staged file {:?} has no place in its table", file.path)))?;
    let size = i64::try_from(file.bytes).map_err(|_| Error::corrupt(format!("staged file {:?} is too large", file.path)))?;
    Ok(Action::Add(Add {
        path: file.path.clone(),
        partition_values: partition_values(date),
        size,
        modification_time: now_ms,
        data_change: true,
        stats: Some(file.stats.clone()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }))
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
        PreCommit { app_id: "a".into(), epoch, previous, files: vec![file; files], event_time_max: None }
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
