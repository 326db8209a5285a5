//! Every bound of the system, in one place. Invariant: no queue, buffer or retry is without a name here, and the relations
//! between them are checked when the crate is compiled.

/// Longest payload of one record, in bytes. Longer is refused before it is stored.
pub const RECORD_PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Longest topic of one record, in bytes.
pub const RECORD_TOPIC_BYTES_MAX: usize = 512;
/// Longest frame of the log, in bytes: one group commit of one partition.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes that may wait in one partition for the next group commit; beyond, `append` answers `Unavailable`.
pub const APPEND_PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Size at which a segment is sealed, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Most partitions of one stream.
pub const PARTITIONS_MAX: u32 = 256;
/// Free bytes of the log's disk below which ingestion is refused.
pub const DISK_FREE_BYTES_MIN: u64 = 32 * 1024 * 1024;

/// Rows a cursor hands out at most in one batch.
pub const BATCH_ROWS_MAX: usize = 16 * 1024;
/// Bytes a cursor reads at most for one batch.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages between a partition's chain and the job's merge stage.
pub const CHAIN_QUEUE_MAX: usize = 8;
/// Groups one pane of one partition may hold.
pub const PANE_GROUPS_MAX: usize = 4_000_000;
/// Panes that may be open at once in one partition.
pub const PANES_OPEN_MAX: usize = 10_000;
/// Rows of one version of a reference table.
pub const REFERENCE_ROWS_MAX: usize = 10_000_000;
/// Versions of one reference table that are kept.
pub const REFERENCE_VERSIONS_MAX: usize = 64;

/// Rows ahead of their receive time by more than this are rejected, in milliseconds.
pub const FUTURE_TOLERANCE_MS_DEFAULT: i64 = 300_000;
/// A partition without records for this long no longer holds the watermark back, in milliseconds.
pub const IDLE_TIMEOUT_MS_DEFAULT: i64 = 5_000;
/// Time between checkpoints, in milliseconds.
pub const CHECKPOINT_INTERVAL_MS_DEFAULT: u64 = 10_000;
/// Checkpoints of one job that are kept.
pub const CHECKPOINTS_KEPT: usize = 3;
/// Live results kept for one slow reader of a job's output, in batches; the oldest are dropped and counted.
pub const LIVE_BATCHES_MAX: usize = 256;

/// Small files of one table that trigger a seal into `data/`.
pub const RECENT_FILES_MAX: usize = 48;
/// Rows of one Parquet row group.
pub const ROW_GROUP_ROWS: usize = 1024 * 1024;

const _: () = assert!(RECORD_PAYLOAD_BYTES_MAX * 4 <= FRAME_BYTES_MAX, "a frame holds several records of the largest size");
const _: () = assert!(FRAME_BYTES_MAX < APPEND_PENDING_BYTES_MAX, "a full frame can wait while another fills");
const _: () = assert!((FRAME_BYTES_MAX as u64) * 4 <= SEGMENT_BYTES_DEFAULT, "a segment holds several frames of the largest size");
const _: () = assert!(FRAME_BYTES_MAX <= BATCH_BYTES_MAX, "a cursor can always read a whole frame");
const _: () = assert!(CHECKPOINTS_KEPT >= 2, "a damaged checkpoint has a predecessor to fall back on");
