//! Whether a job may start, and with which state. Invariant: what a job begins with is durable before it runs: its own newest checkpoint,
//! or one numbered 0 that says where it begins; a restart never decides that anew.

use super::adopt::{Relation, Unclaimed, adopt, relate};
use super::attempt::fresh_chain;
use super::graph::Graph;
use super::job::{JobKind, JobSpec, Place};
use super::position;
use super::supervisor::Supervisor;
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::metrics::JobCounters;
use crate::plan::{Fit, JobPlan};
use crate::state::{Checkpoint, CheckpointFiles, PartitionState};
use crate::time::Micros;

/// What somebody who starts a job says of its state.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// The savepoint that it starts from, by name.
    pub savepoint: Option<String>,
    /// What becomes of state that has no place in its plan.
    pub unclaimed: Unclaimed,
}

/// What a job goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// Nothing.
    Nothing,
    /// Its own newest checkpoint.
    Checkpoint {
        /// Its number.
        epoch: Epoch,
        /// What was left behind, a sentence each.
        left: Vec<String>,
        /// Whether the statement is another one now.
        changed: bool,
    },
    /// A savepoint.
    Savepoint {
        /// Its name.
        name: String,
        /// What was left behind, a sentence each.
        left: Vec<String>,
    },
}

enum Source {
    Own(Checkpoint),
    Savepoint(String, Checkpoint),
}

impl Supervisor {
    /// Whether a job may be started: nothing happens. Errors: `Conflict` if one of its name runs, or if there is state that does not fit;
    /// `NotFound` if there is no such savepoint.
    pub fn check(&self, name: &str, sql: &str, plan: &JobPlan, admission: &Admission) -> Result<Resumed> {
        self.check_idle(name)?;
        let Some(source) = self.source(name, admission)? else { return Ok(Resumed::Nothing) };
        let relation = relate((Some(&plan.layout()), &plan.fingerprint(), sql), source.checkpoint(), admission.unclaimed)?;
        if let (Source::Own(own), Relation::Fits(fit)) = (&source, &relation)
            && !own.sinks.is_empty()
            && !keeps_scans(fit, own)
        {
            return Err(Error::conflict(format!("job {name} reads other streams than at checkpoint {}", own.epoch))
                .hint("write the changed query into a new table, and let it start from a savepoint"));
        }
        let left = match relation {
            Relation::Same => Vec::new(),
            Relation::Fits(fit) => fit.differences,
        };
        Ok(match source {
            Source::Own(own) => Resumed::Checkpoint { epoch: own.epoch, left, changed: own.sql != sql },
            Source::Savepoint(name, _) => Resumed::Savepoint { name, left },
        })
    }

    /// The statement that made the newest checkpoint of a job.
    pub fn statement_of(&self, name: &str) -> Result<Option<String>> {
        Ok(self.newest_checkpoint(name)?.filter(|c| !c.sinks.is_empty()).map(|c| c.sql))
    }

    /// Makes durable what the job begins with. Errors: as `check`; `Invalid` if it cannot begin where it was told to; those of
    /// `position::check_kept`.
    pub fn admit(&self, spec: &JobSpec, admission: &Admission) -> Result<()> {
        self.check_idle(&spec.name)?;
        let first = match self.source(&spec.name, admission)? {
            None if position::is_earliest(spec) => return Ok(()),
            None => begin(spec, self.environment.clock.now())?,
            Some(source) => {
                let (from_savepoint, checkpoint) = match source {
                    Source::Own(own) => (false, own),
                    Source::Savepoint(_, savepoint) => (true, savepoint),
                };
                let query = (spec.layout(), spec.fingerprint());
                let relation = relate((query.0.as_ref(), &query.1, &spec.sql), &checkpoint, admission.unclaimed)?;
                let adopted = match relation {
                    Relation::Same if !from_savepoint => return check_offsets(spec, &checkpoint),
                    Relation::Same => checkpoint,
                    Relation::Fits(fit) => adopt(spec, checkpoint, &fit)?,
                };
                match from_savepoint {
                    true => Checkpoint { job: spec.name.clone(), sql: spec.sql.clone(), epoch: 0, sinks: Vec::new(), ..adopted },
                    false => adopted,
                }
            }
        };
        check_offsets(spec, &first)?;
        let directory = self.environment.directory.join(&spec.name);
        CheckpointFiles::open(self.environment.disk.clone(), &directory)?.replace(first.epoch, &first.encode()?)
    }

    /// What a job of this name goes on from.
    fn source(&self, name: &str, admission: &Admission) -> Result<Option<Source>> {
        let own = self.newest_checkpoint(name)?;
        let Some(savepoint) = &admission.savepoint else { return Ok(own.map(Source::Own)) };
        let kept = self.savepoint(savepoint)?;
        match own {
            // The job has not gone on since: its own checkpoint knows its tables too.
            Some(own) if (own.job.as_str(), own.epoch) == (kept.job.as_str(), kept.epoch) => Ok(Some(Source::Own(own))),
            Some(own) if !own.sinks.is_empty() => Err(Error::conflict(format!(
                "job {name} has results of its own up to checkpoint {}, and savepoint '{savepoint}' is another",
                own.epoch
            ))
            .hint("RESET 'execution.state-recovery.path' to go on from there, or write into a new table under a new name")),
            _ => Ok(Some(Source::Savepoint(savepoint.clone(), kept))),
        }
    }
}

/// Errors: `Conflict` if the log has lost what the job would read next; `Corrupt` if it ends before that.
fn check_offsets(spec: &JobSpec, first: &Checkpoint) -> Result<()> {
    spec.places().into_iter().zip(&first.partitions).try_for_each(|(place, state)| position::check_kept(spec, place, state.offset))
}

impl Source {
    fn checkpoint(&self) -> &Checkpoint {
        match self {
            Self::Own(checkpoint) | Self::Savepoint(_, checkpoint) => checkpoint,
        }
    }
}

/// Whether scans are the same in the same order: tables of rejected rows are told by their numbers.
fn keeps_scans(fit: &Fit, own: &Checkpoint) -> bool {
    let before = own.partitions.iter().map(|p| p.scan + 1).max().unwrap_or(0);
    fit.places.len() == before && fit.places.iter().enumerate().all(|(i, s)| *s == Some(i))
}

/// A job at its beginning, before its first record.
fn begin(spec: &JobSpec, now: Micros) -> Result<Checkpoint> {
    let partition = |place: Place| -> Result<PartitionState> {
        let mut chain = fresh_chain(spec, place)?;
        Ok(PartitionState {
            scan: place.scan,
            partition: place.partition,
            offset: position::first(spec, place)?,
            watermark: chain.watermark(),
            counters: JobCounters::default(),
            state: chain.snapshot()?,
        })
    };
    let state = match &spec.kind {
        JobKind::Query { plan, references } => Graph::new(plan, references)?.snapshot()?,
        JobKind::Archive { .. } => Vec::new(),
    };
    Ok(Checkpoint {
        job: spec.name.clone(),
        sql: spec.sql.clone(),
        epoch: 0,
        fingerprint: spec.fingerprint(),
        layout: spec.layout().map(serde_json::to_value).transpose()?,
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        at: now,
        partitions: spec.places().into_iter().map(partition).collect::<Result<_>>()?,
        sinks: Vec::new(),
        references: spec.reference_pins(),
        merged: JobCounters::default(),
        state,
    })
}
