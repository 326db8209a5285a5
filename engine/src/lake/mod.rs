//! The lake: Delta tables on local disk that anybody's tools can read. Invariant: a row is in the lake if, and only if, a commit
//! of its table's Delta log names its file, and both are durable before anybody is told.
//!
//! ```text
//! <lake>/<namespace>/<table>/                    cold/telemetry, warm/site_10s, late/site_10s, dlq/telemetry
//!    _delta_log/                                 the truth: which files are rows
//!    recent/date=2026-01-02/e00000012-…-s0.parquet   small, minutes old; read through the log only
//!    recent/date=2026-01-02/m00000007-…-s0.parquet   merged from those of a day that lasts; replaced again, read through the log only
//!    data/date=2026-01-01/e00000003-…-s0.parquet     sealed: sorted, never rewritten; a plain glob reads it right
//!    keyed/e00000012-…-b03.parquet                   instead of both, with a primary key: a bucket of its rows, see `keyed`
//!    _meta/table.json                            what the table is
//! <lake>/<namespace>/datapackage.json
//! <lake>/_catalog/catalog.json  references.json
//! <lake>/_scratch/  _lock  _fence                 files in the making; one process owns the lake, the latest that opened it
//!
//! What a commit is, for the sink of one job at epoch K:
//!
//!   write(rows)   ─► Parquet in _scratch/                     nobody sees it
//!   prepare(K)    ─► fsync, rename into recent/date=…/, fsync the directory   durable, not in the log: nobody sees it
//!   (the job's checkpoint K is stored, with the names, sizes and checksums of these files)
//!   commit(K)     ─► _delta_log/<n>.json = Add(files) + txn(job, K): fsync, link if absent, fsync the directory
//!
//! After a crash the version v that the log holds for the job decides (`settle::decide`):
//!   v = K         done
//!   v = previous  files verified, committed again
//!   else          stop: the lake is ahead of the checkpoint, or has lost commits
//!
//! Before it prepares, commits, seals or removes, an owner looks whether a later one has raised the fence (`environment`). It is in the
//! names of what an owner writes, so that none replaces another one's files.
//!
//! A seal is one commit Remove(recent/*) + Add(data/*) that changes no data, with txn(maint/<table>, n). So is a merge, whose Add is in recent/.
//! ```

// from the disk upwards
mod durable;
mod environment;
mod failure;
mod store;

// what a table is
mod about;
mod envelope;
mod layout;
mod schema;
mod snapshot;
mod table;

// how rows get in, and where they end up
mod actions;
mod commit;
mod compact;
mod encode;
mod file;
mod keyed;
mod merge;
mod relax;
mod settle;
mod sink;
mod source;
mod sweep;
mod writer;

// all tables together
mod catalog;
mod directory;
mod verify;

pub use about::{About, Classification, Kind, Namespace, Tier};
pub use catalog::{ColumnEntry, Reference};
pub use compact::{CompactedDay, SealScope};
pub use directory::{DamagedTable, Lake, MaintenanceReport};
pub use envelope::{cold_rows, cold_schema, dlq_rows, dlq_schema, failed_rows, late_rows, late_schema};
pub use snapshot::{TableFile, TableSnapshot};
pub use table::{LakeTable, TableSpec};
pub use verify::{Finding, Problem, VerifyReport};

#[cfg(test)]
mod tests;
