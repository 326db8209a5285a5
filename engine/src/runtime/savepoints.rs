//! Savepoints of jobs. Invariant: a savepoint is a whole checkpoint that no job removes; while it is there, the log keeps what a job that
//! starts from it would read, and everything if nobody can tell what that is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::job::{ARCHIVE, JobStatus};
use super::supervisor::Supervisor;
use crate::contract::LogStore;
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::plan::StateLayout;
use crate::state::{Checkpoint, Savepoint, SavepointFiles};

/// Beside the directories of jobs, whose names begin otherwise.
pub(super) const DIRECTORY: &str = "_savepoints";

/// The logs of all streams.
pub type LogsByName = BTreeMap<Name, Arc<dyn LogStore>>;

impl Supervisor {
    fn savepoint_files(&self) -> SavepointFiles {
        SavepointFiles::new(self.environment.disk.clone(), &self.environment.directory.join(DIRECTORY))
    }

    /// A savepoint in full. Errors: `NotFound`, `Corrupt`.
    pub(super) fn savepoint(&self, name: &str) -> Result<Checkpoint> {
        self.savepoint_files().load(name)
    }

    /// Ends a job after a last checkpoint, which becomes a savepoint; without a name it gets that of the job and the number of the
    /// checkpoint. Errors: `NotFound` if there is no such job, `Conflict` if there is a savepoint of this name: then the job goes on.
    pub fn stop_with_savepoint(&self, job: &str, name: Option<&str>, logs: &LogsByName) -> Result<(JobStatus, Savepoint)> {
        self.status(job)?;
        let files = self.savepoint_files();
        if let Some(name) = name {
            files.check_free(name)?;
        }
        let status = self.end(job, true)?;
        let checkpoint = self.newest_checkpoint(job)?.ok_or_else(|| {
            Error::conflict(format!("job {job} has stopped without any checkpoint"))
                .hint("give its statement again, and look at its problem")
        })?;
        let own = format!("{job}-{}", checkpoint.epoch);
        let savepoint = match files.save(name.unwrap_or(&own), &checkpoint) {
            // It was stopped with a savepoint before, and has not gone on.
            Err(e) if name.is_none() && files.load(&own).is_ok_and(|kept| kept == checkpoint) => {
                self.savepoints()?.into_iter().find(|s| s.name == own).ok_or(e)?
            }
            saved => saved?,
        };
        pin(&savepoint.name, &checkpoint, logs);
        Ok((status, savepoint))
    }

    /// All savepoints that can be read, by name.
    pub fn savepoints(&self) -> Result<Vec<Savepoint>> {
        Ok(self.savepoint_files().all()?.into_iter().filter_map(|(_, kept)| Some(kept.ok()?.0)).collect())
    }

    /// Removes a savepoint; the log keeps nothing for it any more. Errors: `NotFound`.
    pub fn drop_savepoint(&self, name: &str, logs: &LogsByName) -> Result<()> {
        self.savepoint_files().remove(name)?;
        let pin = pin_name(name);
        logs.values().for_each(|log| log.unpin(&pin));
        self.change_problems(|all| {
            all.remove(&pin);
        });
        Ok(())
    }

    /// Lets the log keep what savepoints need, at the start of a process. One that cannot be read is a problem, and keeps everything.
    pub fn pin_savepoints(&self, logs: &LogsByName) -> Result<()> {
        for (name, kept) in self.savepoint_files().all()? {
            match kept {
                Ok((_, checkpoint)) => pin(&name, &checkpoint, logs),
                Err(error) => {
                    let everything = logs.values().flat_map(|log| (0..log.partitions()).map(move |partition| (log, partition)));
                    everything.for_each(|(log, partition)| log.pin(&pin_name(&name), partition, 0));
                    let problem = error
                        .context(format!("savepoint '{name}' cannot be read, and the log keeps everything for it"))
                        .hint(format!("restore it from a backup and start again, or DROP SAVEPOINT '{name}'"));
                    tracing::error!("{problem}");
                    self.change_problems(|all| {
                        all.insert(pin_name(&name), problem.to_string());
                    });
                }
            }
        }
        Ok(())
    }
}

fn pin_name(savepoint: &str) -> String {
    format!("savepoint {savepoint}")
}

/// Streams by number of the scan. The checkpoint of an archive names its stream in the fingerprint.
pub(super) fn streams(checkpoint: &Checkpoint) -> Vec<Name> {
    if let Some(stream) = checkpoint.fingerprint.strip_prefix(ARCHIVE) {
        return Name::new(stream).into_iter().collect();
    }
    let layout = checkpoint.layout.clone().and_then(|l| serde_json::from_value::<StateLayout>(l).ok()).unwrap_or_default();
    layout.scans.iter().filter_map(|scan| Name::new(&scan.stream).ok()).collect()
}

fn pin(savepoint: &str, checkpoint: &Checkpoint, logs: &LogsByName) {
    let streams = streams(checkpoint);
    for state in &checkpoint.partitions {
        let Some(stream) = streams.get(state.scan) else { continue };
        match logs.get(stream) {
            Some(log) => {
                // A stream that is scanned twice is kept for the scan that is behind.
                let again = checkpoint.partitions.iter().filter(|p| p.partition == state.partition && streams.get(p.scan) == Some(stream));
                let offset = again.map(|p| p.offset).min().unwrap_or(state.offset);
                log.pin(&pin_name(savepoint), state.partition, offset);
            }
            None => tracing::warn!(savepoint, %stream, "a savepoint's stream is not there"),
        }
    }
}
