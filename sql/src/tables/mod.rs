//! Tables: what is declared, what lies in the lake, and how names find them. Invariant: a query reads only tables that were
//! found here.

mod catalog;
mod columns;
mod declare;
mod definition;
mod describe;
mod infer;
mod lake;
mod like;
mod marker;
mod options;
pub(crate) mod startup;
mod uses;

pub(crate) use catalog::{Catalog, Found, conflict, what};
pub(crate) use columns::Compiled;
pub(crate) use declare::{connector, declare, option_place, table_name};
pub use definition::{Classification, StreamInput, TableDefinition, TableKind, Tier};
pub(crate) use describe::{describe_columns, describe_declared, describe_lake, list};
pub(crate) use infer::{Origin, inferred, of_schema};
pub use infer::{Sample, SampleFormat, StreamSampler};
pub(crate) use lake::{LAKE_URL, LakeTable};
pub use lake::{LakeCatalog, LakeFile, LakeFiles};
pub(crate) use like::merged;
pub(crate) use marker::Marker;
pub(crate) use options::{Defaults, stream_of};
pub(crate) use uses::{named_tables, written_tables};
