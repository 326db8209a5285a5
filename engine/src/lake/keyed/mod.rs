//! Tables with a primary key: of each key the newest row. Invariant: a key lies in one bucket, for as long as the table exists, and
//! a bucket is at most one file; a commit replaces the files of the buckets that changed, whole, and leaves the others.
//!
//! ```text
//! change ─► bucket = hash(key) mod n ─► rows of the bucket in memory, by key
//! prepare(K)   each bucket that changed: all its rows, sorted ─► keyed/e<K>-<app>-b<bucket>.parquet
//! commit(K)    Remove(file of the bucket until now) + Add(new file) + txn(job, K), in one commit
//! start        rows of the newest version ─► memory
//! ```
//!
//! The rows in memory are those of the table's newest version and what was written since: no checkpoint needs to hold them.

mod bucket;
mod rows;
mod sink;

pub(super) use bucket::check_buckets;
pub(super) use sink::KeyedSink;
