//! The steps of a partition's chain, one operator a file. Invariant: an operator never awaits, reads a clock or knows its
//! neighbours; what it gives depends only on the rows it was given, never on how they were cut into batches.

pub mod filter;
pub mod keys;
pub mod lookup;
pub mod project;
pub mod watermark;
pub mod window;
