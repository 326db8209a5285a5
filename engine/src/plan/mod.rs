//! The inert description of a job, handed over by `sql`. Invariant: a plan is complete: running it needs no name lookup
//! except streams and reference tables, and no decision. What persists of a job is its SQL text, never this.
//!
//! ```text
//! a partition:  scan ─► before… ─► window (partial)          merged: window (final) ─► after… ─► output
//! ```

mod display;
mod node;
mod stateful;

pub use node::{
    AccumulatorFactory, Aggregate, Column, ColumnSource, JobPlan, Lookup, LookupKind, Metadata, Project, RowTime, Scan, Stage, Window,
    WindowParameters,
};
pub use stateful::{
    AsofJoin, Frame, Group, IntervalJoin, JoinKind, JoinSide, Over, OverCall, OverFunction, Rank, RegularJoin, RetractableAggregate,
    RetractableFactory, SortKey, WindowJoin,
};
