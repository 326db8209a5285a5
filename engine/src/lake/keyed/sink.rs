//! The sink of a job that changes rows by their keys. Invariant: after a commit the table shows of each key the newest row that
//! was written, and no key that was deleted; no other sink writes the table meanwhile.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::changes::Changes;
use crate::contract::{PreCommit, Sink, StagedFile};
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::lake::file::OpenFile;
use crate::lake::keyed::bucket;
use crate::lake::keyed::rows::KeyedRows;
use crate::lake::layout::Level;
use crate::lake::schema::check_rows;
use crate::lake::settle::Committer;
use crate::lake::source::Source;
use crate::lake::table::LakeTable;
use crate::limits::LAKE_KEYED_BYTES_MAX;
use crate::locks::lock;
use crate::time::Micros;

/// Keeps the rows of one table by their keys.
pub(in crate::lake) struct KeyedSink {
    committer: Committer,
    /// Read from the table when they are first needed.
    state: Option<State>,
    event_time_max: Option<Micros>,
    /// Keeps other jobs away while it lives.
    _claim: Arc<String>,
}

struct State {
    rows: KeyedRows,
    /// File of each bucket, those included that are prepared and not yet committed.
    files: Vec<Option<String>>,
}

impl State {
    /// The rows of the newest version. Errors: `Corrupt` if its files are not buckets, each with its own keys.
    fn load(table: &LakeTable) -> Result<Self> {
        let mut rows = KeyedRows::new(&table.layout, LAKE_KEYED_BYTES_MAX)?;
        let buckets = table.layout.key.as_ref().map_or(0, |k| k.buckets as usize);
        let mut files: Vec<Option<String>> = vec![None; buckets];
        for file in &table.snapshot()?.files {
            let context = |e: Error| e.context(format!("lake file {}", file.path.display()));
            let bucket = bucket::of_path(&file.relative).filter(|&b| files.get(b as usize).is_some_and(Option::is_none));
            let bucket = bucket.ok_or_else(|| context(Error::corrupt("it is not the only file of a bucket")))?;
            let batches = Source::open(&table.layout, file)?.read()?;
            rows.load(bucket, &batches).map_err(context)?;
            files[bucket as usize] = Some(file.relative.clone());
        }
        Ok(Self { rows, files })
    }

    /// Writes each bucket that changed as a new file. Gives these and the files that they replace.
    fn stage(&mut self, table: &LakeTable, stem: &str) -> Result<(Vec<StagedFile>, Vec<String>)> {
        let (mut staged, mut removes) = (Vec::new(), Vec::new());
        for bucket in self.rows.changed() {
            let file = &mut self.files[bucket as usize];
            removes.extend(file.take());
            if !self.rows.is_empty(bucket) {
                let mut open = OpenFile::create(&table.environment, &table.layout, Level::Bucket)?;
                self.rows.read(bucket, |rows| open.write(rows))?;
                let done = open.finish(&table.layout)?.publish(table, bucket::path(stem, bucket), None)?;
                *file = Some(done.path.clone());
                staged.push(done);
            }
        }
        self.rows.written();
        Ok((staged, removes))
    }
}

impl KeyedSink {
    /// Errors: `Conflict` if another job writes the table.
    pub(in crate::lake) fn new(table: Arc<LakeTable>, app_id: &str) -> Result<Self> {
        let claim = claim(&table, app_id)?;
        Ok(Self { committer: Committer::new(table, app_id)?, state: None, event_time_max: None, _claim: claim })
    }

    fn state(&mut self) -> Result<&mut State> {
        match &mut self.state {
            Some(state) => Ok(state),
            none => Ok(none.insert(State::load(self.committer.table())?)),
        }
    }

    /// Forgets the rows in memory and reads those of the table, so that a table that cannot be read is known at the start.
    fn reload(&mut self) -> Result<()> {
        (self.state, self.event_time_max) = (None, None);
        self.state().map(|_| ())
    }

    fn apply(&mut self, changes: &Changes) -> Result<()> {
        let table = self.committer.table().clone();
        let context = |e: Error| e.context(table.full_name());
        check_rows(table.columns(), &changes.rows).map_err(context)?;
        self.event_time_max = self.event_time_max.max(table.layout.event_time_max(&changes.rows));
        self.state()?.rows.apply(changes).map_err(context)
    }
}

/// One job at a time: each keeps the rows in memory and would not see what another changes.
fn claim(table: &LakeTable, app_id: &str) -> Result<Arc<String>> {
    let mut claimed = lock(&table.claimed);
    match claimed.upgrade() {
        Some(other) if *other != app_id => Err(Error::conflict(format!("{} is written by {other} already", table.full_name()))
            .hint("a table with a primary key is written by one job at a time: stop the other one, or write to another table")),
        Some(own) => Ok(own),
        None => {
            let claim = Arc::new(app_id.to_owned());
            *claimed = Arc::downgrade(&claim);
            Ok(claim)
        }
    }
}

impl Sink for KeyedSink {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.apply(&Changes::inserts(rows.clone()))
    }

    fn change(&mut self, changes: &Changes) -> Result<()> {
        self.apply(changes)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<PreCommit> {
        self.committer.check_epoch(epoch)?;
        let (table, stem) = (self.committer.table().clone(), self.committer.stem(epoch));
        let (files, removes) = self.state()?.stage(&table, &stem)?;
        Ok(self.committer.prepared(epoch, files, removes, self.event_time_max.take()))
    }

    fn commit(&mut self, prepared: &PreCommit) -> Result<()> {
        self.committer.commit(prepared)
    }

    fn recover(&mut self, prepared: &PreCommit) -> Result<()> {
        self.committer.recover(prepared)?;
        self.reload()
    }

    fn repeat(&mut self, older: &PreCommit) -> Result<()> {
        self.committer.repeat(older)
    }

    fn start(&mut self) -> Result<()> {
        self.committer.start()?;
        self.reload()
    }
}
