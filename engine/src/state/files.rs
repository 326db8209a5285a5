//! Checkpoints as files. Invariant: a file with the final name is whole: it was written beside, synced, renamed, and the
//! directory synced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::checked_body;
use crate::contract::{CheckpointStore, Disk, OpenMode};
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::limits::CHECKPOINTS_KEPT;

/// The checkpoints of one job in one directory, `<epoch>.checkpoint`.
pub struct CheckpointFiles {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl CheckpointFiles {
    /// Uses (and makes) `directory`.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self> {
        disk.create_dir_all(directory)?;
        Ok(Self { disk, directory: directory.to_owned() })
    }

    /// Epochs of the files that are there, ascending.
    fn epochs(&self) -> Result<Vec<Epoch>> {
        let names = self.disk.list(&self.directory)?;
        let epoch = |p: &PathBuf| p.file_name()?.to_str()?.strip_suffix(".checkpoint")?.parse().ok();
        let mut epochs: Vec<Epoch> = names.iter().filter_map(epoch).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn path(&self, epoch: Epoch) -> PathBuf {
        self.directory.join(format!("{epoch:020}.checkpoint"))
    }

    fn read(&self, epoch: Epoch) -> Result<Vec<u8>> {
        let file = self.disk.open(&self.path(epoch), OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| Error::corrupt("a checkpoint is too large"))?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        checked_body(&bytes)?;
        Ok(bytes)
    }
}

impl CheckpointStore for CheckpointFiles {
    fn save(&mut self, epoch: Epoch, bytes: &[u8]) -> Result<()> {
        let temporary = self.directory.join("next.tmp");
        if self.disk.exists(&temporary) {
            self.disk.remove(&temporary)?;
        }
        let file = self.disk.open(&temporary, OpenMode::CreateNew)?;
        file.write_at(bytes, 0)?;
        file.sync_data()?;
        drop(file);
        self.disk.rename(&temporary, &self.path(epoch))?;
        self.disk.sync_dir(&self.directory)?;
        let epochs = self.epochs()?;
        for &old in epochs.iter().take(epochs.len().saturating_sub(CHECKPOINTS_KEPT)) {
            self.disk.remove(&self.path(old))?;
        }
        Ok(())
    }

    fn load(&self) -> Result<Option<(Epoch, Vec<u8>)>> {
        let mut first_error = None;
        for epoch in self.epochs()?.into_iter().rev() {
            match self.read(epoch) {
                Ok(bytes) => return Ok(Some((epoch, bytes))),
                Err(e) => {
                    tracing::error!(epoch, path = %self.path(epoch).display(), error = %e, "a checkpoint is damaged; trying the one before");
                    first_error.get_or_insert(e);
                }
            }
        }
        first_error.map_or(Ok(None), |e| Err(e.context(format!("no checkpoint in {} is whole", self.directory.display()))))
    }
}
