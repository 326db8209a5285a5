//! Stream queries over rows in memory. Invariant: a query is run in several ways (partitions, batches, restarts from its state), and all
//! must give the same rows.

mod database;
mod feed;
pub mod fuzz;
pub mod nexmark;
mod rows;
mod run;

pub use database::{Database, Fed, Prepared};
pub use feed::Feed;
pub use rows::{difference, folded, shown};
pub use run::{Before, Piece, Ran, WAYS, Way, partition_of, run, run_pieces};
