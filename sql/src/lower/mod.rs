//! From a bound query to a plan. Invariant: every node of DataFusion's plan is taken apart completely; what is left over is an
//! error, never dropped.
//!
//! ```text
//! bound query ─ planner ─► logical plan ─ check ─► coerced ─ optimize ─► lowering, node by node ─► engine::plan::JobPlan
//! ```

mod aggregate;
mod bounds;
mod check;
mod comparisons;
mod computed;
mod early;
mod grouping;
mod job;
mod join;
mod literals;
mod lookup;
mod lowering;
mod map_keys;
mod markers;
mod optimize;
mod output;
mod over;
mod planner;
mod precision;
mod project;
mod rank;
pub(crate) mod reject;
mod rel;
mod scan;
mod size;
mod unnest;
mod window;

pub(crate) use computed::computed;
pub(crate) use job::{JobQuery, columns, explain, job};
pub(crate) use map_keys::MapKeys;
pub(crate) use planner::{Planner, TimestampTypes};
