//! Running jobs. Invariant: what a job has done is defined by its checkpoints: offsets, state and sinks move together, and a
//! restart continues from the last one as if nothing had happened.
//!
//! ```text
//! worker (one a scan and partition):  read what all jobs decode once ─► chain.push ─► item ─┐
//! driver (a thread a job):                            barriers, graph, sinks, checkpoint ◄──┘
//! ```

mod apart;
pub mod archive;
mod attempt;
mod bells;
pub mod chain;
mod driver;
mod feeds;
mod graph;
pub mod ingest;
pub mod job;
pub mod query;
pub mod read;
pub mod replay;
mod room;
mod scan;
mod spawn;
pub mod supervisor;
#[cfg(test)]
mod tests;
mod worker;

pub use chain::{Chunk, Target};
pub use job::{JobKind, JobSpec, JobState, JobStatus, Sinks, StartAt};
pub use replay::Replay;
pub use supervisor::{Environment, Supervisor, Tail};
