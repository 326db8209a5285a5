//! What a job does when its state takes much memory. Invariant: first partitions that are ahead in event time wait for those behind, which
//! is what makes state grow when old records are read; past its bound the job ends for good with its last checkpoint, so that the process
//! goes on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempt::Durable;
use super::budget::Pressure;
use super::graph::{Graph, Part};
use super::job::{JobSpec, Shared};
use crate::error::{Error, Result};
use crate::limits::{STATE_AHEAD_MS_MAX, STATE_JOB_BYTES_MAX};
use crate::state::snapshot::LESS_STATE;
use crate::time::{MILLISECOND, Micros};

const MIB: f64 = 1024.0 * 1024.0;

/// Looks at the state of a job, from the thread where its partitions meet. Errors: `Invalid` if it is past its bound: another try
/// would meet it again.
pub(super) fn look(spec: &JobSpec, shared: &Shared, graph: &Graph, durable: Durable, now: Duration) -> Result<()> {
    shared.gauges.sample(now, shared.consumed());
    shared.gauges.graph_holds(graph.usage());
    let (partitions, meeting) = shared.gauges.usage();
    let bytes = (partitions + meeting).bytes;
    let own = spec.state_memory.unwrap_or(STATE_JOB_BYTES_MAX).min(STATE_JOB_BYTES_MAX);
    let pressure = shared.budget.report(shared.id(), (bytes, durable), own);
    shared.gauges.crowded.store(pressure != Pressure::Low, Ordering::Relaxed);
    let why = match (pressure, durable) {
        (Pressure::Low | Pressure::High, _) => return Ok(()),
        (Pressure::OverOwn(STATE_JOB_BYTES_MAX), _) => format!("that of one job may take {}", size(STATE_JOB_BYTES_MAX)),
        (Pressure::OverOwn(bound), _) => format!("it may take {} ('job.state.memory')", size(bound)),
        (Pressure::OverTotal(bound), Durable::Yes) => {
            format!("all jobs together may take {} (state-memory-bytes), and this is the largest", size(bound))
        }
        (Pressure::OverTotal(bound), Durable::No) => {
            format!("all jobs together may take {} (state-memory-bytes), and live queries end before jobs stop", size(bound))
        }
    };
    let mut parts = graph.parts(spec.layout().unwrap_or_default());
    if partitions.groups > 0 {
        parts.push(Part::of_groups("open windows of the partitions".to_owned(), partitions));
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.usage.bytes));
    let told = |part: &Part| format!("{} {} in {}", part.what, size(part.usage.bytes), part.content);
    let largest: Vec<String> = parts.iter().take(3).map(told).collect();
    let (takes, largest) = (size(bytes), largest.join("; "));
    let message = match durable {
        Durable::Yes => format!("the state of job {} takes {takes}, and {why}; it stopped at its last checkpoint", spec.name),
        Durable::No => format!("the state of this query takes {takes}, and {why}"),
    };
    let hint = match (durable, pressure) {
        (Durable::No, _) => format!("{LESS_STATE}, or stop jobs that are no longer needed"),
        (Durable::Yes, Pressure::OverOwn(STATE_JOB_BYTES_MAX)) => {
            format!("{LESS_STATE}; then give the statement again: it goes on from there")
        }
        (Durable::Yes, _) => {
            format!("{LESS_STATE}, or allow more with SET 'job.state.memory'; then give the statement again: it goes on from there")
        }
    };
    Err(Error::invalid(format!("{message}. The largest of it: {largest}")).hint(hint))
}

fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB)
}

/// Whether a partition at this watermark waits for those behind; `place` is an index into `JobSpec::places`. The one furthest behind never
/// does, and neither do all when one of them is idle: it is carried along.
pub(super) fn is_held_back(shared: &Shared, place: usize, watermark: Micros) -> bool {
    let reached = shared.input_watermarks[place].load(Ordering::Acquire);
    shared.gauges.crowded.load(Ordering::Relaxed)
        && reached > Micros::MIN
        && watermark.saturating_sub(reached) > STATE_AHEAD_MS_MAX.saturating_mul(MILLISECOND)
}
