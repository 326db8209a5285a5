//! What a job does when its state takes much memory. Invariant: first partitions that are ahead in event time wait for those behind, which
//! is what makes state grow when old records are read; past its bound the job ends for good with its last checkpoint, so that the process
//! goes on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::budget::Pressure;
use super::graph::Graph;
use super::job::{JobSpec, Shared};
use crate::contract::Usage;
use crate::error::{Error, Result};
use crate::limits::STATE_AHEAD_MS_MAX;
use crate::time::{MILLISECOND, Micros};

const MIB: f64 = 1024.0 * 1024.0;

/// Looks at the state of a job, from the thread where its partitions meet. Errors: `Invalid` if it is past its bound: another try
/// would meet it again.
pub(super) fn look(spec: &JobSpec, shared: &Shared, graph: &Graph, now: Duration) -> Result<()> {
    shared.gauges.sample(now, shared.consumed());
    shared.gauges.graph_holds(graph.usage());
    let (partitions, meeting) = shared.gauges.usage();
    let bytes = (partitions + meeting).bytes;
    let pressure = shared.budget.report(shared.id(), bytes, spec.state_memory);
    shared.gauges.crowded.store(pressure != Pressure::Low, Ordering::Relaxed);
    match pressure {
        Pressure::Low | Pressure::High => Ok(()),
        Pressure::OverOwn(bound) => {
            Err(over(spec, graph, (partitions, meeting), &format!("it may take {} ('job.state.memory')", size(bound))))
        }
        Pressure::OverTotal(bound) => {
            let why = format!("all jobs together may take {} (state-memory-bytes), and this is the largest", size(bound));
            Err(over(spec, graph, (partitions, meeting), &why))
        }
    }
}

fn over(spec: &JobSpec, graph: &Graph, (partitions, meeting): (Usage, Usage), why: &str) -> Error {
    let mut parts = Vec::new();
    if partitions.groups > 0 {
        parts.push((partitions, "open windows of the partitions".to_owned()));
    }
    parts.extend(graph.usages(spec.layout().unwrap_or_default()));
    parts.sort_by_key(|(usage, _)| std::cmp::Reverse(usage.bytes));
    let told = |(usage, what): &(Usage, String)| format!("{what} {} in {} groups", size(usage.bytes), usage.groups);
    let largest: Vec<String> = parts.iter().take(3).map(told).collect();
    Error::invalid(format!(
        "the state of job {} takes {}, and {why}; it stopped at its last checkpoint. The largest of it: {}",
        spec.name,
        size((partitions + meeting).bytes),
        largest.join("; ")
    ))
    .hint(
        "group by fewer keys, make windows shorter, let joins and groups forget ('table.exec.state.ttl'), or allow more with \
         SET 'job.state.memory'; then give the statement again: it goes on from there",
    )
}

fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB)
}

/// Whether a partition at this watermark waits for those behind. The one furthest behind never does, and neither do all when one of them
/// is idle: it is carried along.
pub(super) fn is_held_back(shared: &Shared, watermark: Micros) -> bool {
    let reached = shared.input_watermark.load(Ordering::Acquire);
    shared.gauges.crowded.load(Ordering::Relaxed)
        && reached > Micros::MIN
        && watermark.saturating_sub(reached) > STATE_AHEAD_MS_MAX.saturating_mul(MILLISECOND)
}
