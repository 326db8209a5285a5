//! Running jobs. Invariant: what a job has done is defined by its checkpoints: offsets, state and sinks move together, and a
//! restart continues from the last one as if nothing had happened.
//!
//! ```text
//! worker (one a scan and partition):  read what all jobs decode once ─► chain.push ─► item ─┐
//! driver (a thread a job):                            barriers, graph, sinks, checkpoint ◄──┘
//! ```

mod admission;
mod adopt;
mod apart;
mod archive;
mod attempt;
mod bells;
mod budget;
mod chain;
mod driver;
mod feeds;
mod floors;
mod gauges;
mod graph;
pub mod ingest;
pub mod job;
mod position;
mod pressure;
pub mod query;
pub mod read;
mod replay;
mod room;
mod savepoints;
mod scan;
mod spawn;
mod status;
mod supervisor;
#[cfg(test)]
mod tests;
mod worker;

pub use crate::plan::StartAt;
pub use admission::{Admission, Resumed};
pub use adopt::Unclaimed;
pub use budget::Budget;
pub use chain::{Chunk, Target};
pub use floors::floors;
pub use job::{JobKind, JobSpec, JobState, JobStatus, Sinks};
pub use replay::Replay;
pub use supervisor::{Environment, Supervisor, Tail};
