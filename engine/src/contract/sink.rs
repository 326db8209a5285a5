//! Law of `Sink`: `write` may be repeated after a crash, because nothing written is visible. `prepare(epoch)` makes all that
//! was written since the last one durable but keeps it invisible, and names it in a `PreCommit` that can be stored.
//! `commit` makes it visible at once and whole, and doing it again changes nothing. After a restart `recover` gets the
//! stored `PreCommit` and decides between "done already", "commit again" and "stop, this does not fit".

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::ids::Epoch;

/// A file that is durable but not yet part of its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedFile {
    /// Path relative to the table's directory, with `/`.
    pub path: String,
    /// Partition value `date`, if the table is partitioned.
    pub date: Option<String>,
    /// Size in bytes.
    pub bytes: u64,
    /// Rows inside.
    pub rows: u64,
    /// CRC-32C of the whole file.
    pub crc32c: u32,
    /// Statistics as the table format wants them (JSON).
    pub stats: String,
}

/// What a sink prepared for one epoch: plain data, part of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreCommit {
    /// Which sink: unique within the lake.
    pub app_id: String,
    /// Epoch that it belongs to.
    pub epoch: Epoch,
    /// Newest earlier epoch in which this sink had something to commit; 0 if none.
    pub previous: Epoch,
    /// Files to add.
    pub files: Vec<StagedFile>,
    /// Paths of the table's files, relative to its directory, that go in the same commit: those that `files` replace, and those
    /// whose rows are all gone. Checkpoints from before there were any do not say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<String>,
    /// Newest event time written so far, in microseconds, for the catalog's freshness.
    pub event_time_max: Option<i64>,
}

impl PreCommit {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.removes.is_empty()
    }
}

/// Where results go for good. Called from one thread.
pub trait Sink: Send {
    /// Takes new rows. They stay invisible.
    fn write(&mut self, rows: &RecordBatch) -> Result<()>;

    /// Takes changes of a result. They stay invisible. A sink with a key keeps, of each key, the newest row. Errors: `Internal`
    /// if the sink takes new rows only and gets others.
    fn change(&mut self, changes: &Changes) -> Result<()> {
        match changes.kinds {
            None => self.write(&changes.rows),
            Some(_) => Err(Error::internal("changes of rows came to a sink that only takes new ones")),
        }
    }

    /// Makes the rows since the last `prepare` durable and names them.
    fn prepare(&mut self, epoch: Epoch) -> Result<PreCommit>;

    /// Makes prepared rows visible. Idempotent. Errors: `Conflict` if another owner took over (fatal, never retried).
    fn commit(&mut self, prepared: &PreCommit) -> Result<()>;

    /// After a restart, with the newest stored `PreCommit`: commits it if that had not happened. Errors: `Corrupt` if what is
    /// stored in the sink does not fit (it is ahead of the checkpoint, or has lost commits that cannot be repeated).
    fn recover(&mut self, prepared: &PreCommit) -> Result<()>;

    /// After a restart and before `recover`, with each older `PreCommit` that is still stored, oldest first: commits it if exactly
    /// its predecessor is in the sink, and else does nothing. So commits that the sink has lost come back.
    fn repeat(&mut self, _older: &PreCommit) -> Result<()> {
        Ok(())
    }

    /// Before the first commit of this sink: there is no checkpoint, or only number 0, which says where the job begins, or the sink was
    /// added to a job that has some. It must be empty for this app id. Errors: `Corrupt` if it is not.
    fn start(&mut self) -> Result<()>;
}
