//! Aggregates over rows that may leave again.
//!
//! ```text
//! rows never leave        accumulator, or its state where merging that does not give the same bits
//! rows may leave          accumulator, if it takes rows back without a trace; otherwise the values, aggregated anew
//! DISTINCT                a bag of values before it
//! ```
//!
//! Invariant: a result is a function of the rows and their order, to the last bit: neither batches nor a snapshot in between show.

mod bag;
mod call;
mod total;
mod trial;

#[cfg(test)]
mod tests;

pub use bag::Bag;
pub use call::{Call, Inputs, Leaving};
pub use total::Total;
