//! The steps of a job, one operator a file: those of a partition's chain, and those behind the exchange. Invariant: an operator never
//! awaits, reads a clock or knows its neighbours; what it gives depends only on the rows it was given, never on how they were cut
//! into batches.

pub mod accumulate;
pub mod compact;
pub mod compute;
pub mod filter;
pub mod group;
pub mod join;
pub mod keyed;
pub mod keys;
pub mod late;
pub mod lookup;
pub mod over;
pub mod project;
pub mod rank;
pub mod reorder;
pub mod salvage;
mod shards;
mod stage;
pub mod stages;
mod step;
pub mod union;
pub mod unnest;
pub mod upsert;
pub mod watermark;
pub mod window;

#[cfg(test)]
mod support;

pub use stage::open_stage;
pub use step::open_step;
