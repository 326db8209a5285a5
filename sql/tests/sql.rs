//! SQL from its text to plans and results. Invariant: expected texts are fixtures, compared letter by letter; run with
//! `UPDATE_FIXTURES=1` to write them anew, then read what changed.

#[path = "sql/batch.rs"]
mod batch;
#[path = "sql/computed.rs"]
mod computed;
#[path = "sql/ddl.rs"]
mod ddl;
#[path = "sql/evaluate.rs"]
mod evaluate;
#[path = "sql/explain.rs"]
mod explain;
#[path = "sql/fuzz.rs"]
mod fuzz;
#[path = "sql/layouts.rs"]
mod layouts;
#[path = "sql/like.rs"]
mod like;
#[path = "sql/lint.rs"]
mod lint;
#[path = "sql/refusals.rs"]
mod refusals;
#[path = "sql/refusals_ddl.rs"]
mod refusals_ddl;
#[path = "sql/sets.rs"]
mod sets;
#[path = "sql/support.rs"]
mod support;
#[path = "sql/views.rs"]
mod views;
