//! The catalog: what is in the lake, for people and tools. Invariant: every manifest is generated from the same entries, and
//! only `store` writes them; the truth stays in the Delta logs.

mod entry;
mod manifest;
mod store;

pub use entry::{ColumnEntry, Reference};
pub(super) use store::CatalogStore;
