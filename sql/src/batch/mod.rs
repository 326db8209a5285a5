//! Queries over tables of the lake. Invariant: a query reads files of the lake and nothing else, and holds no more memory than
//! it is given.

mod query;
mod sandbox;
mod store;

pub(crate) use query::batch;
pub use query::{BatchQuery, BatchStream};
pub(crate) use sandbox::Sandbox;
