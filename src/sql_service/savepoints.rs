//! Stopping a job with a savepoint, starting from one, forgetting jobs. Invariant: who stops a job loses nothing: its statement is listed,
//! its checkpoints are kept, and the log keeps what it has not read, until somebody drops it.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_engine::contract::LogStore;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::runtime::{JobState, Resumed};
use thalweg_sql::SavepointWanted;

use super::jobs::check_may_end;
use super::{Engine, lock};
use crate::statements::StoredKind;

impl Engine {
    /// The logs of all streams that can be opened.
    pub(super) fn logs_by_name(&self) -> BTreeMap<Name, Arc<dyn LogStore>> {
        let log = |stream: Name| {
            let log: Arc<dyn LogStore> = self.parts.logs.stream(&stream).ok()?;
            Some((stream, log))
        };
        self.parts.logs.streams().into_iter().filter_map(log).collect()
    }

    /// `STOP JOB … WITH SAVEPOINT`.
    pub(super) fn stop_with_savepoint(&self, job: &str, wanted: &SavepointWanted) -> Result<String> {
        check_may_end(job)?;
        let name = match wanted {
            SavepointWanted::Named(name) => Some(name.as_str()),
            SavepointWanted::No | SavepointWanted::Yes => None,
        };
        let stopped = self.parts.supervisor.stop_with_savepoint(job, name, &self.logs_by_name());
        // Also if it could not be saved, or had failed before: a restart must not run what has stopped.
        if self.parts.supervisor.status(job).is_ok_and(|s| matches!(s.life, JobState::Stopped | JobState::Failed(_))) {
            lock(&self.statements).stop(job)?;
        }
        let savepoint = stopped?.1;
        let name = savepoint.name;
        Ok(format!(
            "job {job} is stopped; its last checkpoint, {}, is kept as savepoint '{name}' until DROP SAVEPOINT '{name}'. The same statement \
             resumes there; SET 'execution.state-recovery.path' = '{name}' lets another job start from it",
            savepoint.epoch
        ))
    }

    /// `DROP JOB`.
    pub(super) fn drop_job(&self, job: &str) -> Result<String> {
        check_may_end(job)?;
        let stored = lock(&self.statements).all().iter().find(|s| s.kind == StoredKind::Job && s.name == job).cloned();
        let stored = stored.ok_or_else(|| Error::not_found(format!("there is no job {job}")).hint("SHOW JOBS lists them"))?;
        if !stored.stopped {
            return Err(Error::conflict(format!("job {job} is not stopped")).hint(format!("STOP JOB {job} first")));
        }
        lock(&self.statements).remove(StoredKind::Job, job)?;
        self.parts.supervisor.forget(job);
        Ok(format!("job {job} is forgotten; the log keeps nothing for it any more, its results and checkpoints stay"))
    }

    /// `DROP SAVEPOINT`.
    pub(super) fn drop_savepoint(&self, name: &str) -> Result<String> {
        self.parts.supervisor.drop_savepoint(name, &self.logs_by_name())?;
        Ok(format!("savepoint '{name}' is removed"))
    }
}

/// What a job that was started goes on from, to be put behind the message.
pub(super) fn told(resumed: &Resumed) -> String {
    let left = |left: &[String]| if left.is_empty() { String::new() } else { format!("; state is left behind: {}", left.join("; ")) };
    match resumed {
        Resumed::Nothing => String::new(),
        Resumed::Checkpoint { epoch: 0, left: behind, .. } => format!(" from where it began{}", left(behind)),
        Resumed::Checkpoint { epoch, left: behind, changed: false } => format!(", from checkpoint {epoch}{}", left(behind)),
        Resumed::Checkpoint { epoch, left: behind, changed: true } => {
            format!(" with a changed statement and the state of checkpoint {epoch}{}", left(behind))
        }
        Resumed::Savepoint { name, left: behind } => format!(" with the state of savepoint '{name}'{}", left(behind)),
    }
}
