//! The inert description of a job, handed over by `sql`. Invariant: a plan is complete: running it needs no name lookup
//! except streams and reference tables, and no decision. What persists of a job is its SQL text, never this.
//!
//! ```text
//! a partition:  scan ─► stages… ─► window (partial)          exchange: window (final) ─► steps… ─► outputs
//! ```

mod display;
mod fingerprint;
mod fit;
mod job;
mod keys;
mod layout;
mod lineage;
mod node;
mod stateful;
mod steps;
mod sums;
mod twins;

pub use fit::Fit;
pub use job::{From, Input, JobPlan, Lateness, OutputPlan, Step, StepKind, WindowSource};
pub use keys::StepKey;
pub use layout::{ScanPart, StateLayout, StatePart};
pub use node::{
    AccumulatorFactory, Aggregate, Assign, Column, ColumnSource, Computed, Lookup, LookupKind, Metadata, Project, RowTime, Scan, Stage,
    StartAt, Unnest, Window, WindowParameters,
};
pub use stateful::{
    AsofJoin, Frame, Group, IntervalJoin, JoinKind, JoinSide, Over, OverCall, OverFunction, Rank, RegularJoin, RetractableAggregate,
    RetractableFactory, SortKey, Told, Upsert, WindowJoin,
};
pub use sums::{as_float_sums, float_sum, float_sums, widened};
