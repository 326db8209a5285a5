//! Joins of two streams, behind the exchange. One kind a file; keys, stored rows and the pairing are shared.
//!
//! ```text
//! interval   pairs whose event times are near          both in the order of event time; rows are dropped by the watermark
//! window     pairs of the same window                  when the window is complete
//! asof       the newest right row for each left row    in the order of event time; one right row a key is kept
//! regular    pairs whenever they come, a changelog     as they come; rows are forgotten by the watermark, or by age
//! ```
//!
//! The columns of a side that may be padded are nullable in the schema of the output.
//!
//! Invariant: a NULL in a key equals nothing, the filter of a join sees batches of candidate pairs, never one pair at a time, and what
//! leaves at once has a bound.

mod bound;
mod buffer;
mod keys;
mod multiset;
mod pairs;
mod sides;

mod asof;
mod interval;
mod regular;
mod window;

#[cfg(test)]
mod tests;

pub use asof::AsofJoinOperator;
pub use interval::IntervalJoinOperator;
pub use regular::RegularJoinOperator;
pub use window::WindowJoinOperator;
