//! Reference tables: small tables, held in memory, that streams are joined with. Invariant: a version never changes once it
//! can be seen; a row of a given time meets the same version after a restart, because every version's bytes are kept. One whose
//! version was dropped meets no other instead.
//!
//! ```text
//! source file ─► load (CSV, JSON → columns) ─► index (primary key → row) ─► Version, valid from … on
//!      └── refresh: changed? ─► store: <dir>/<sha256>.csv + versions.json ──► ReferenceTable: versions in order of time
//! ```

mod index;
mod load;
mod store;
mod table;

pub use load::{FORMATS, ReferenceFormat};
pub use store::{ReferenceDefinition, ReferenceStore, Refreshed};
pub use table::{Content, ReferenceTable, Version, version_at};
