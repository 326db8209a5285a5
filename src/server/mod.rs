//! The HTTP server. Invariant: every route is in `ROUTES` with who may call it, and nothing is answered before the guard has
//! checked that; what is not in the list does not exist.
//!
//! ```text
//! listener ─► routes ─► guard ─► one handler a route ─► services (traits: the server does not know what is behind them)
//!  deadlines   ROUTES    who      devices telemetry sql jobs tokens system metrics
//! ```

pub mod listener;
pub mod routes;
pub mod services;

mod body;
mod devices;
mod error;
mod extract;
mod guard;
mod jobs;
mod metrics;
mod rows;
mod sql;
mod stall;
mod system;
mod telemetry;
mod tokens;

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

pub use listener::{Deadlines, serve};
pub use routes::{Access, ROUTES, Route, router};
pub use services::{
    Accepted, Health, Ingest, JobService, JobState, JobView, LogFigures, Rows, RowsEnd, ServerState, SqlOutcome, SqlService, SystemView,
    Telemetry,
};
