//! The steps of a job, one operator a file: those of a partition's chain, and those behind the exchange. Invariant: an operator never
//! awaits, reads a clock or knows its neighbours; what it gives depends only on the rows it was given, never on how they were cut
//! into batches.

pub(crate) mod accumulate;
pub(crate) mod compact;
pub(crate) mod compute;
pub(crate) mod filter;
pub(crate) mod group;
pub(crate) mod join;
pub(crate) mod keyed;
pub(crate) mod keys;
pub(crate) mod late;
pub(crate) mod lookup;
pub(crate) mod over;
pub(crate) mod project;
pub(crate) mod rank;
pub(crate) mod reorder;
pub(crate) mod salvage;
mod shards;
mod stage;
pub(crate) mod stages;
mod step;
pub(crate) mod union;
pub(crate) mod unnest;
pub(crate) mod upsert;
pub(crate) mod watermark;
pub mod window;

#[cfg(test)]
mod support;

pub use stage::open_stage;
pub use step::open_step;
