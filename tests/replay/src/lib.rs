//! Stream queries over rows in memory. Invariant: a query is run in several ways (partitions, batches, restarts from its state), and all
//! must give the same rows.

mod database;
mod rows;
mod run;

pub use database::{Database, Fed};
pub use rows::{folded, shown};
pub use run::{WAYS, Way, run};
