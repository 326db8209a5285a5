//! State of an earlier plan becomes that of a later one. Invariant: each part that keeps state gets the state of a part that is equal to
//! it, or the job is refused with what differs; only when asked to does a job leave state behind, and then it says how much.

use super::attempt::fresh_chain;
use super::graph::Graph;
use super::job::{JobKind, JobSpec, Place};
use super::position;
use crate::error::{Error, Result};
use crate::metrics::JobCounters;
use crate::plan::{Fit, StateLayout};
use crate::state::snapshot::{join_states, split_states};
use crate::state::{Checkpoint, PartitionState};
use crate::time::Micros;

/// What is to be done with state that has no place in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unclaimed {
    /// The job does not start.
    #[default]
    Refuse,
    /// It is left behind; what is new begins empty.
    Ignore,
}

/// How the state of a checkpoint relates to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// It is that of the plan, part by part in the same order.
    Same,
    /// It has to be put in another order, or parts of it are left behind.
    Fits(Fit),
}

/// Compares the layout, fingerprint and text of a query with a checkpoint. Errors: `Conflict` with what differs, unless that may be
/// ignored.
pub fn relate(
    (layout, fingerprint, sql): (Option<&StateLayout>, &str, &str),
    checkpoint: &Checkpoint,
    unclaimed: Unclaimed,
) -> Result<Relation> {
    let whose = || format!("the state of job {} at checkpoint {}", checkpoint.job, checkpoint.epoch);
    let older = checkpoint.layout.as_ref().map(|l| serde_json::from_value::<StateLayout>(l.clone())).transpose()?;
    let (Some(layout), Some(older)) = (layout, older) else {
        // An archive, or a checkpoint of a version that told plans apart as a whole.
        return match checkpoint.fingerprint == fingerprint {
            true => Ok(Relation::Same),
            false => Err(Error::conflict(format!("{} belongs to another query", whose())).hint("write the changed query into a new table")),
        };
    };
    // Equal parts are told apart by the rows that they stand over; the same text has them in the same order.
    let is_told_apart = layout.rows == older.rows || checkpoint.sql == sql;
    if is_told_apart && (&layout.scans, &layout.windows, &layout.steps) == (&older.scans, &older.windows, &older.steps) {
        return Ok(Relation::Same);
    }
    let fit = layout.fit(&older);
    let fit = if is_told_apart { fit } else { fit.without_twins(layout, &older) };
    if fit.differences.is_empty() || unclaimed == Unclaimed::Ignore {
        return Ok(Relation::Fits(fit));
    }
    Err(Error::conflict(format!("{} does not fit the query: {}", whose(), fit.differences.join("; "))).hint(
        "write the changed query into a new table, or leave that state behind: \
         SET 'execution.state-recovery.ignore-unclaimed-state' = 'true'",
    ))
}

/// The checkpoint as `spec` would have taken it. Its sinks and its number stay.
pub fn adopt(spec: &JobSpec, checkpoint: Checkpoint, fit: &Fit) -> Result<Checkpoint> {
    let JobKind::Query { plan, references } = &spec.kind else { return Ok(checkpoint) };
    let older = checkpoint.layout.clone().ok_or_else(|| Error::internal("a checkpoint without a layout has no parts"))?;
    let older: StateLayout = serde_json::from_value(older)?;
    let partitions = spec.places().into_iter().map(|place| partition(spec, place, &checkpoint, &older, fit)).collect::<Result<Vec<_>>>()?;
    let mut graph = Graph::new(plan, references)?;
    let fresh = graph.snapshot()?;
    let fresh = split_states(&fresh, fit.windows.len() + fit.steps.len())?;
    let kept = split_states(&checkpoint.state, older.windows.len() + older.steps.len())?;
    let windows = fit.windows.iter().copied();
    let steps = fit.steps.iter().map(|step| step.map(|s| older.windows.len() + s));
    let states: Vec<&[u8]> = windows.chain(steps).zip(fresh).map(|(old, fresh)| old.map_or(fresh, |old| kept[old])).collect();
    let state = join_states(&states)?;
    let layout = Some(serde_json::to_value(plan.layout())?);
    let mut adopted = Checkpoint { partitions, state, layout, fingerprint: spec.fingerprint(), sql: spec.sql.clone(), ..checkpoint };
    settle_counts(spec, &mut adopted)?;
    Ok(adopted)
}

fn partition(spec: &JobSpec, place: Place, checkpoint: &Checkpoint, older: &StateLayout, fit: &Fit) -> Result<PartitionState> {
    let JobKind::Query { plan, .. } = &spec.kind else { return Err(Error::internal("only queries change")) };
    let layout = plan.layout();
    let own: Vec<Option<usize>> = layout.windows.iter().zip(&fit.windows).filter(|((s, _), _)| *s == place.scan).map(|(_, m)| *m).collect();
    let fresh = fresh_chain(spec, place)?.snapshot()?;
    let fresh = split_states(&fresh, own.len())?;
    let begun = |offset, counters| -> Result<PartitionState> {
        let state = join_states(&fresh)?;
        Ok(PartitionState { scan: place.scan, partition: place.partition, offset, watermark: Micros::MIN, counters, state })
    };
    let Some(scan) = fit.places.get(place.scan).copied().flatten() else {
        return begun(position::first(spec, place)?, JobCounters::default());
    };
    let stood = checkpoint.partitions.iter().find(|p| p.scan == scan && p.partition == place.partition);
    let stood = stood.ok_or_else(|| Error::corrupt(format!("checkpoint {} has no partition {}", checkpoint.epoch, place.partition)))?;
    if fit.scans.get(place.scan).copied().flatten().is_none() {
        // Its times were others: what was closed and what was late by them is another matter now.
        return begun(stood.offset, stood.counters.clone());
    }
    let of_scan: Vec<usize> = (0..older.windows.len()).filter(|&w| older.windows[w].0 == scan).collect();
    let kept = split_states(&stood.state, of_scan.len())?;
    let stood_at = |old: usize| of_scan.iter().position(|&w| w == old);
    let states: Vec<&[u8]> = own.iter().zip(fresh).map(|(old, fresh)| old.and_then(stood_at).map_or(fresh, |at| kept[at])).collect();
    Ok(PartitionState { scan: place.scan, state: join_states(&states)?, ..stood.clone() })
}

/// Rows of state that is left behind have left the job: their windows will not close any more.
fn settle_counts(spec: &JobSpec, adopted: &mut Checkpoint) -> Result<()> {
    let JobKind::Query { plan, references } = &spec.kind else { return Ok(()) };
    for (place, state) in spec.places().into_iter().zip(&mut adopted.partitions) {
        let mut chain = fresh_chain(spec, place)?;
        chain.restore(state.watermark, state.counters.clone(), &state.state)?;
        state.counters = chain.counters();
    }
    let mut graph = Graph::new(plan, references)?;
    graph.restore(&adopted.state)?;
    (adopted.merged.open, adopted.merged.held) = (graph.open_rows(), graph.held());
    let behind = adopted.counters().window_balance();
    if behind != 0 {
        tracing::warn!(job = %spec.name, rows = %behind, "state is left behind, as it was asked for");
        let emitted = i128::from(adopted.merged.emitted).saturating_add(behind).max(0);
        adopted.merged.emitted = u64::try_from(emitted).unwrap_or(u64::MAX);
    }
    Ok(())
}
