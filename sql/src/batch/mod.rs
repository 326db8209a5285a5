//! Queries over tables of the lake. Invariant: a query reads files of the lake and nothing else, and all of them together hold
//! no more memory and disk than they are given.

mod query;
mod sandbox;
mod store;

pub(crate) use query::batch;
pub use query::{BatchQuery, BatchStream};
pub(crate) use sandbox::Sandbox;
