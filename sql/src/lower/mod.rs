//! From a bound query to a plan. Invariant: every node of DataFusion's plan is taken apart completely; what is left over is an
//! error, never dropped.
//!
//! ```text
//! bound query ─ planner ─► logical plan ─ check ─► coerced ─ shape ─► scan, joins, filter, aggregate, having, projection
//!                                                                        │        │       │          │        │
//!                              engine::plan::JobPlan:                   scan   lookup   filter    window   project
//! ```

mod aggregate;
mod check;
mod columns;
mod job;
mod lookup;
mod output;
mod planner;
mod precision;
pub(crate) mod reject;
mod row;
mod shape;
mod size;
mod window;

pub(crate) use job::{explain, job};
pub(crate) use planner::{Planner, TimestampTypes};
