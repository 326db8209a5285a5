//! The sink of a job that adds rows. Invariant: every row of an epoch becomes visible with the others of it, once.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::contract::{PreCommit, Sink};
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::lake::schema::check_rows;
use crate::lake::settle::Committer;
use crate::lake::table::LakeTable;
use crate::lake::writer::TableWriter;

/// Adds the rows of one job, or of one part of it, to one table.
pub(super) struct AppendSink {
    committer: Committer,
    writer: TableWriter,
}

impl AppendSink {
    pub(super) fn new(table: Arc<LakeTable>, app_id: &str) -> Result<Self> {
        let writer = TableWriter::new(table.environment.clone(), table.layout.clone());
        Ok(Self { committer: Committer::new(table, app_id)?, writer })
    }
}

impl Sink for AppendSink {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let table = self.committer.table();
        check_rows(table.columns(), rows).map_err(|e: Error| e.context(table.full_name()))?;
        self.writer.write(rows)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<PreCommit> {
        self.committer.check_epoch(epoch)?;
        let event_time_max = self.writer.event_time_max();
        let mut files = Vec::new();
        if !self.writer.is_empty() {
            files = self.writer.finish(self.committer.table(), &self.committer.stem(epoch))?;
        }
        Ok(self.committer.prepared(epoch, files, Vec::new(), event_time_max))
    }

    fn commit(&mut self, prepared: &PreCommit) -> Result<()> {
        self.committer.commit(prepared)
    }

    fn recover(&mut self, prepared: &PreCommit) -> Result<()> {
        self.committer.recover(prepared)
    }

    fn repeat(&mut self, older: &PreCommit) -> Result<()> {
        self.committer.repeat(older)
    }

    fn start(&mut self) -> Result<()> {
        self.committer.start()
    }
}
