//! One run of a job, from its last checkpoint. Invariant: a run either continues exactly where the last checkpoint stood, or
//! refuses to start and says why.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::adopt::{Relation, Unclaimed, relate};
use super::archive::ArchiveChain;
use super::chain::Chain;
use super::driver::{Begin, Driver};
use super::graph::Graph;
use super::job::{JobKind, JobSpec, JobState, Place, Shared, Sinks};
use super::position;
use super::query::QueryChain;
use super::room;
use super::spawn::caught;
use super::supervisor::{Environment, SharedStreams};
use super::worker::{Idle, Worker};
use crate::contract::CheckpointStore;
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset};
use crate::metrics::JobCounters;
use crate::state::{Checkpoint, CheckpointFiles};
use crate::time::{MILLISECOND, Micros};

/// Runs `spec` until it is asked to stop or fails. `durable` jobs keep checkpoints. Errors: those of the run; `Internal` if it panics.
pub fn run(spec: &JobSpec, shared: &Arc<Shared>, environment: &Environment, streams: &SharedStreams, durable: Durable) -> Result<()> {
    let ended = caught(|| run_once(spec, shared, environment, streams, durable));
    shared.exit.store(true, Ordering::Release);
    shared.gauges.end();
    shared.budget.forget(shared.id());
    ended
}

fn run_once(spec: &JobSpec, shared: &Arc<Shared>, environment: &Environment, streams: &SharedStreams, durable: Durable) -> Result<()> {
    let (store, kept, checkpoint) = match durable {
        Durable::No => (None, Kept::default(), None),
        Durable::Yes => {
            let directory = environment.directory.join(&spec.name);
            let store = CheckpointFiles::open(environment.disk.clone(), &directory)?;
            let checkpoint = store.load()?.map(|(_, bytes)| Checkpoint::decode(&bytes)).transpose()?;
            let older = checkpoint.as_ref().map_or(Ok(Vec::new()), |c| store.older(c.epoch))?;
            let kept = Kept { newest: store.newest()?, older };
            (Some(Box::new(store) as Box<dyn CheckpointStore>), kept, checkpoint)
        }
    };
    let places = spec.places();
    if durable == Durable::Yes {
        let offsets = hold_log(spec, &places, checkpoint.as_ref());
        room::check(spec, environment, &offsets)?;
    }
    let mut sinks = (spec.sinks)()?;
    settle_sinks(spec, &mut sinks, &kept.older, checkpoint.as_ref()).map_err(|e| fallen_back(e, kept.newest, checkpoint.as_ref()))?;
    shared.exit.store(false, Ordering::Release);
    // Before anything is read, so that nothing comes unheard.
    let listening = spec.logs.iter().map(|log| streams.bells.listen(log, shared.bell_rope()).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    let epoch = checkpoint.as_ref().map_or(0, |c| c.epoch);
    shared.epoch_asked.store(epoch, Ordering::Release);
    // How far event time had come in the run before is not how far it has come in this one.
    shared.input_watermarks.iter().for_each(|reached| reached.store(Micros::MIN, Ordering::Release));
    let worker = |(index, &place): (usize, &Place)| {
        let (chain, position) = open_partition(spec, place, index, checkpoint.as_ref())?;
        let scan = &spec.scans()[place.scan];
        let at = (place.partition, position);
        let reader = streams.scans.reader(&spec.logs[place.scan], scan, at, spec.company(), &environment.clock)?;
        let worker = Worker {
            place,
            index,
            reader,
            chain,
            position,
            shared: shared.clone(),
            clock: environment.clock.clone(),
            idle_timeout: Duration::from_millis(u64::try_from(scan.idle_timeout / MILLISECOND).unwrap_or(0)),
            epoch,
            seen: position,
            listening: listening[place.scan].clone(),
            heard: environment.clock.monotonic(),
            timed: environment.clock.monotonic(),
            rest: spec.rest(),
            idle: Idle::No,
        };
        worker.publish();
        Ok(worker)
    };
    let workers = places.iter().enumerate().map(worker).collect::<Result<Vec<_>>>()?;
    let begin = begin(spec, checkpoint.as_ref(), workers)?;
    shared.committed(epoch, checkpoint.as_ref().map(|c| c.at), checkpoint.as_ref().map(Checkpoint::counters).unwrap_or_default());
    shared.merged(&begin.counters());
    shared.gauges.begin();
    shared.set_life(JobState::Running);
    // It may be as large as all state of the job, which the job has now.
    drop((kept, checkpoint));
    Driver::new((spec, shared), environment, store, sinks, begin).run()
}

/// Checkpoints beside the one that a run continues from.
#[derive(Default)]
struct Kept {
    /// Number of the newest, whole or not.
    newest: Option<Epoch>,
    /// Whole ones before it, oldest first, without state.
    older: Vec<Checkpoint>,
}

/// Whether a job keeps checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// It survives restarts.
    Yes,
    /// It ends with those who watch it.
    No,
}

/// Keeps what the job has not read, also if it cannot run now: because a table of its is damaged, for example; everything, as long as
/// nobody knows its checkpoint. Returns from where.
pub(super) fn hold_log(spec: &JobSpec, places: &[Place], checkpoint: Option<&Checkpoint>) -> Vec<Offset> {
    let hold = |(index, &place): (usize, &Place)| {
        let offset = checkpoint.and_then(|c| c.partitions.get(index)).map_or(0, |s| s.offset);
        spec.pin(place, offset);
        offset
    };
    places.iter().enumerate().map(hold).collect()
}

fn settle_sinks(spec: &JobSpec, sinks: &mut Sinks, older: &[Checkpoint], checkpoint: Option<&Checkpoint>) -> Result<()> {
    let Some(checkpoint) = checkpoint else {
        return sinks.each().try_for_each(|sink| sink.start());
    };
    // A changed query was admitted with its state in order; a difference now is one of tables or of the program.
    let query = (spec.layout(), spec.fingerprint());
    if relate((query.0.as_ref(), &query.1, &spec.sql), checkpoint, Unclaimed::Refuse)? != Relation::Same {
        return Err(Error::conflict(format!(
            "the state of job {} at checkpoint {} has its parts in another order",
            spec.name, checkpoint.epoch
        ))
        .hint("STOP JOB, and give its statement again"));
    }
    spec.check_references(checkpoint)?;
    if checkpoint.epoch == 0 {
        return sinks.each().try_for_each(|sink| sink.start());
    }
    // Main sinks come first; a statement set may have got more of them.
    let (main, beside) = (sinks.main.len(), usize::from(sinks.late.is_some()) + sinks.rejects.len());
    let known = checkpoint.sinks.len().checked_sub(beside).filter(|known| *known <= main);
    let known = known.ok_or_else(|| Error::corrupt("a checkpoint knows other sinks than its job has"))?;
    let place = |index: usize| if index < main { (index < known).then_some(index) } else { Some(index - main + known) };
    for (index, sink) in sinks.each().enumerate() {
        let lost = older.iter().filter(|o| o.fingerprint == checkpoint.fingerprint).filter_map(|o| o.sinks.get(place(index)?));
        if let Err(error) = lost.into_iter().try_for_each(|prepared| sink.repeat(prepared)) {
            tracing::warn!(job = %spec.name, %error, "a commit that the lake has lost cannot be repeated");
        }
    }
    for (index, sink) in sinks.each().enumerate() {
        match place(index).and_then(|at| checkpoint.sinks.get(at)) {
            Some(p) => sink.recover(p).map_err(|e| e.context(format!("job {}, checkpoint {}", spec.name, checkpoint.epoch)))?,
            None => sink.start()?,
        }
    }
    Ok(())
}

/// The chain of a partition, without state.
pub(super) fn fresh_chain(spec: &JobSpec, place: Place) -> Result<Box<dyn Chain>> {
    Ok(match &spec.kind {
        JobKind::Query { plan, references } => Box::new(QueryChain::new(&spec.name, plan, place.scan, references)?),
        JobKind::Archive { scan } => Box::new(ArchiveChain::new(scan)?),
    })
}

/// An older checkpoint than the newest fits only a lake that the newest had not reached: what it committed cannot be told apart from
/// what would be computed again.
fn fallen_back(error: Error, newest: Option<Epoch>, checkpoint: Option<&Checkpoint>) -> Error {
    match (newest, checkpoint) {
        (Some(newest), Some(taken)) if newest > taken.epoch => error
            .context(format!("checkpoint {newest} and its copy are damaged, and the one before does not do"))
            .hint(format!("restore {newest:020}.checkpoint from a backup, or write into a new table")),
        _ => error,
    }
}

/// `index` is that of `place` among all partitions of the job.
fn open_partition(spec: &JobSpec, place: Place, index: usize, checkpoint: Option<&Checkpoint>) -> Result<(Box<dyn Chain>, Offset)> {
    let Place { scan, partition } = place;
    let mut chain = fresh_chain(spec, place)?;
    let Some(checkpoint) = checkpoint else {
        return Ok((chain, position::first(spec, place)?));
    };
    let stream = &spec.scans()[scan].stream;
    let state = checkpoint.partitions.get(index).filter(|s| s.scan == scan && s.partition == partition);
    let state =
        state.ok_or_else(|| Error::corrupt(format!("checkpoint {} has no partition {partition} of stream {stream}", checkpoint.epoch)))?;
    position::check_kept(spec, place, state.offset)?;
    chain.restore(state.watermark, state.counters.clone(), &state.state)?;
    Ok((chain, state.offset))
}

fn begin(spec: &JobSpec, checkpoint: Option<&Checkpoint>, workers: Vec<Worker>) -> Result<Begin> {
    let mut graph = match &spec.kind {
        JobKind::Query { plan, references } => Graph::new(plan, references)?,
        JobKind::Archive { .. } => Graph::default(),
    };
    if let Some(checkpoint) = checkpoint {
        graph.restore(&checkpoint.state)?;
    }
    Ok(Begin {
        epoch: checkpoint.map_or(0, |c| c.epoch),
        merged: checkpoint.map_or_else(JobCounters::default, |c| JobCounters { open: 0, held: 0, ..c.merged.clone() }),
        graph,
        workers,
    })
}
