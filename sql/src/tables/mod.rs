//! Tables: what is declared, what lies in the lake, and how names find them. Invariant: a query reads only tables that were
//! found here.

mod catalog;
mod declare;
mod definition;
mod describe;
mod lake;
mod marker;
mod options;

pub(crate) use catalog::{Catalog, Found, conflict};
pub(crate) use declare::{declare, table_name};
pub use definition::{Classification, StreamInput, TableDefinition, TableKind, Tier};
pub(crate) use describe::{describe_declared, describe_lake};
pub(crate) use lake::{LAKE_URL, LakeTable};
pub use lake::{LakeCatalog, LakeFile, LakeFiles};
pub(crate) use marker::Marker;
pub(crate) use options::Defaults;
