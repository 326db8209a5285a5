//! Checkpoints as files. Invariant: a file with the final name is whole: it was written beside, synced, given its name, and the
//! directory synced; a whole one is never replaced by another process that takes itself for the owner of the job.
//!
//! ```text
//! <K>.checkpoint    the newest three
//! <K>.copy          of the newest: taken if its file is damaged later. A torn copy is none.
//! next-<uuid>.tmp   in the making, by one process; left over if that died, and removed behind the next checkpoint
//! ```
//!
//! A name is given by a hard link: of two processes that write checkpoint K, one does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::checkpoint::{Checkpoint, Flaw, checked_body};
use crate::contract::{CheckpointStore, Disk, DiskFile, OpenMode, PreCommit};
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::limits::CHECKPOINTS_KEPT;

const FILE: &str = ".checkpoint";
const COPY: &str = ".copy";
const TEMPORARY: &str = ".tmp";

/// The checkpoints of one job in one directory.
pub struct CheckpointFiles {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// Tells its files in the making from those of other processes.
    own: Uuid,
}

impl CheckpointFiles {
    /// Uses (and makes) `directory`. What lies there is durable afterwards: who died may have given a name and not synced it.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path) -> Result<Self> {
        disk.create_dir_all(directory)?;
        disk.sync_dir(directory)?;
        Ok(Self::at(disk, directory))
    }

    /// Looks at `directory`, which need not be there.
    pub fn at(disk: Arc<dyn Disk>, directory: &Path) -> Self {
        Self { disk, directory: directory.to_owned(), own: Uuid::new_v4() }
    }

    /// Epochs of the files with this ending that are there, ascending.
    fn epochs(&self, ending: &str) -> Result<Vec<Epoch>> {
        let names = self.disk.list(&self.directory)?;
        let epoch = |p: &PathBuf| p.file_name()?.to_str()?.strip_suffix(ending)?.parse().ok();
        let mut epochs: Vec<Epoch> = names.iter().filter_map(epoch).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn path(&self, epoch: Epoch, ending: &str) -> PathBuf {
        self.directory.join(format!("{epoch:020}{ending}"))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, Flaw> {
        let whole = || -> Result<Vec<u8>> {
            let file = self.disk.open(path, OpenMode::Read)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| Error::corrupt("a checkpoint is too large"))?];
            let read = file.read_at(&mut bytes, 0)?;
            bytes.truncate(read);
            Ok(bytes)
        };
        let bytes = whole().map_err(Flaw::Damaged)?;
        checked_body(&bytes)?;
        Ok(bytes)
    }

    /// Whole checkpoints before `epoch`, oldest first, without state: that may be large, and only the newest is gone on from.
    pub fn older(&self, epoch: Epoch) -> Result<Vec<Checkpoint>> {
        let older = self.epochs(FILE)?.into_iter().filter(|&older| older < epoch);
        Ok(older.filter_map(|older| Checkpoint::decode_head(&self.read_either(older).ok()?).ok()).collect())
    }

    /// What the checkpoints may still commit; nothing if this is no directory. Errors: one of them is damaged, and nobody knows what
    /// it would.
    pub fn prepared(&self) -> Result<Vec<PreCommit>> {
        let is_none = |e: io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        if self.disk.list(&self.directory).is_err_and(is_none) {
            return Ok(Vec::new());
        }
        let mut prepared = Vec::new();
        for epoch in self.epochs(FILE)? {
            let path = self.path(epoch, FILE);
            match self.read_either(epoch) {
                Ok(bytes) => prepared.extend(Checkpoint::decode_head(&bytes)?.sinks),
                // Its job has gone on meanwhile and removed it.
                Err(_) if !self.disk.exists(&path) => {}
                Err(flaw) => return Err(flaw.error().clone().context(path.display())),
            }
        }
        Ok(prepared)
    }

    /// Writes a checkpoint over that of its number, and over its copy: for who changes what a job that does not run begins with.
    pub fn replace(&mut self, epoch: Epoch, bytes: &[u8]) -> Result<()> {
        let temporary = self.temporary("next");
        self.write(&temporary, bytes)?.sync_data()?;
        self.disk.rename(&temporary, &self.path(epoch, FILE))?;
        self.disk.sync_dir(&self.directory)?;
        self.tidy()?;
        self.copy(epoch, bytes)
    }

    /// A checkpoint from its file, or from its copy.
    fn read_either(&self, epoch: Epoch) -> Result<Vec<u8>, Flaw> {
        let (path, copy) = (self.path(epoch, FILE), self.path(epoch, COPY));
        let flaw = match self.read(&path) {
            Ok(bytes) => return Ok(bytes),
            Err(flaw) => flaw,
        };
        match self.read(&copy) {
            Ok(bytes) => {
                tracing::warn!(epoch, path = %path.display(), error = %flaw.error(), "a checkpoint is damaged; its copy is taken");
                Ok(bytes)
            }
            Err(_) => Err(flaw),
        }
    }

    /// A file in the making.
    fn temporary(&self, what: &str) -> PathBuf {
        self.directory.join(format!("{what}-{}{TEMPORARY}", self.own))
    }

    fn write(&self, temporary: &Path, bytes: &[u8]) -> Result<Box<dyn DiskFile>> {
        if self.disk.exists(temporary) {
            self.disk.remove(temporary)?;
        }
        let file = self.disk.open(temporary, OpenMode::CreateNew)?;
        file.write_at(bytes, 0)?;
        Ok(file)
    }

    /// Whether a checkpoint that could not be linked may be renamed over what is there. Errors: `Unavailable` if another process has
    /// written it, which is gone on from at the next try, if this one still owns the lake.
    fn check_replaceable(&self, epoch: Epoch, linked: io::Error) -> Result<()> {
        let is_damaged = match linked.kind() {
            // The other one has removed this one's file in the making.
            io::ErrorKind::NotFound => false,
            io::ErrorKind::AlreadyExists => matches!(self.read_either(epoch), Err(Flaw::Damaged(_))),
            _ => return Err(linked.into()),
        };
        if is_damaged {
            return Ok(());
        }
        let path = self.path(epoch, FILE);
        Err(Error::unavailable(format!("another process has written this checkpoint, {}", path.display())).hint("stop one of the two"))
    }

    /// Removes what is not kept.
    fn tidy(&self) -> Result<()> {
        let epochs = self.epochs(FILE)?;
        for &old in epochs.iter().take(epochs.len().saturating_sub(CHECKPOINTS_KEPT)) {
            self.remove(&self.path(old, FILE))?;
        }
        let is_temporary = |p: &&PathBuf| p.to_str().is_some_and(|name| name.ends_with(TEMPORARY));
        self.disk.list(&self.directory)?.iter().filter(is_temporary).try_for_each(|path| self.remove(path))
    }

    /// Removes a file, if another process has not.
    fn remove(&self, path: &Path) -> Result<()> {
        match self.disk.remove(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

/// Takes back a name whose directory could not be synced. The next sync may succeed and have lost it all the same, so it is not tried
/// again: whoever goes on writes another file.
pub(super) fn take_back(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove(path) {
        tracing::error!(path = %path.display(), %error, "a file whose name may not be durable cannot be removed");
    }
}

impl CheckpointStore for CheckpointFiles {
    fn save(&mut self, epoch: Epoch, bytes: &[u8]) -> Result<()> {
        let (temporary, path) = (self.temporary("next"), self.path(epoch, FILE));
        self.write(&temporary, bytes)?.sync_data()?;
        if let Err(e) = self.disk.link(&temporary, &path) {
            self.check_replaceable(epoch, e)?;
            self.disk.rename(&temporary, &path)?;
        }
        if let Err(e) = self.disk.sync_dir(&self.directory) {
            take_back(&*self.disk, &path);
            return Err(Error::from(e).context(format!("checkpoint {epoch} is given up: {}", self.directory.display())));
        }
        self.tidy()
    }

    fn copy(&mut self, epoch: Epoch, bytes: &[u8]) -> Result<()> {
        let temporary = self.temporary("copy");
        self.write(&temporary, bytes)?;
        self.disk.rename(&temporary, &self.path(epoch, COPY))?;
        for old in self.epochs(COPY)?.into_iter().filter(|&old| old != epoch) {
            self.remove(&self.path(old, COPY))?;
        }
        Ok(())
    }

    fn load(&self) -> Result<Option<(Epoch, Vec<u8>)>> {
        let mut first_error = None;
        for epoch in self.epochs(FILE)?.into_iter().rev() {
            match self.read_either(epoch) {
                Ok(bytes) => return Ok(Some((epoch, bytes))),
                Err(Flaw::Version(e)) => return Err(e.context(self.path(epoch, FILE).display())),
                Err(Flaw::Damaged(e)) => {
                    let path = self.path(epoch, FILE);
                    tracing::error!(epoch, path = %path.display(), error = %e, "a checkpoint is damaged; trying the one before");
                    first_error.get_or_insert(e);
                }
            }
        }
        first_error.map_or(Ok(None), |e| Err(e.context(format!("no checkpoint in {} is whole", self.directory.display()))))
    }

    fn newest(&self) -> Result<Option<Epoch>> {
        Ok(self.epochs(FILE)?.pop())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::error::ErrorKind;
    use crate::log::sim::SimDisk;
    use crate::state::checkpoint::sample;
    use crate::system::RealDisk;

    /// A directory with checkpoints 1 to 4, of which 4 has a copy.
    fn stored() -> (tempfile::TempDir, CheckpointFiles) {
        let directory = tempfile::tempdir().unwrap();
        let mut files = CheckpointFiles::open(Arc::new(RealDisk), directory.path()).unwrap();
        for epoch in 1..=4 {
            let bytes = sample(epoch).encode().unwrap();
            files.save(epoch, &bytes).unwrap();
            files.copy(epoch, &bytes).unwrap();
        }
        (directory, files)
    }

    fn loaded(files: &CheckpointFiles) -> Option<Epoch> {
        files.load().unwrap().map(|(epoch, _)| epoch)
    }

    #[test]
    fn three_are_kept_and_one_copy() {
        let (directory, files) = stored();
        let names: Vec<_> = RealDisk.list(directory.path()).unwrap();
        let names: Vec<_> = names.iter().filter_map(|p| p.file_name()?.to_str()).map(|n| n.trim_start_matches('0')).collect();
        assert_eq!(names, ["2.checkpoint", "3.checkpoint", "4.checkpoint", "4.copy"]);
        assert_eq!((loaded(&files), files.newest().unwrap()), (Some(4), Some(4)));
    }

    #[test]
    fn older_ones_come_without_state_and_with_all_else() {
        let (_directory, files) = stored();
        let older = files.older(4).unwrap();
        assert_eq!(older.iter().map(|c| c.epoch).collect::<Vec<_>>(), [2, 3]);
        assert!(older.iter().all(|c| c.state.is_empty() && c.partitions.iter().all(|p| p.state.is_empty())));
        let bare = |epoch| sample(epoch).without_state();
        assert_eq!(older, [bare(2), bare(3)]);
        assert_eq!((older[0].sinks.len(), &older[0].fingerprint), (2, &"abc".to_owned()));
    }

    #[test]
    fn whatever_bit_of_the_newest_flips_its_copy_is_taken_and_without_it_the_one_before() {
        let (directory, files) = stored();
        let (path, copy) = (files.path(4, FILE), files.path(4, COPY));
        let (good, aside) = (std::fs::read(&path).unwrap(), directory.path().join("aside"));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).unwrap();
            let (epoch, bytes) = files.load().unwrap().unwrap();
            let reserved = (6..8).contains(&(bit / 8));
            assert_eq!((epoch, bytes == good), (4, !reserved), "bit {bit}");
            std::fs::rename(&copy, &aside).unwrap();
            match files.load() {
                Ok(found) => assert_eq!(found.map(|f| f.0), Some(if reserved { 4 } else { 3 }), "bit {bit}"),
                // Another version is not damage: what is newer must not be passed over.
                Err(e) => assert!((4..6).contains(&(bit / 8)) && e.kind() == ErrorKind::Corrupt, "bit {bit}: {e}"),
            }
            std::fs::rename(&aside, &copy).unwrap();
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(loaded(&files), Some(3), "a copy alone is no checkpoint: somebody took the file away");
    }

    #[test]
    fn cuts_and_torn_copies_are_survived() {
        let (_directory, files) = stored();
        let (path, copy) = (files.path(4, FILE), files.path(4, COPY));
        let good = std::fs::read(&path).unwrap();
        for length in 0..good.len() {
            std::fs::write(&copy, &good[..length]).unwrap();
            assert_eq!(loaded(&files), Some(4));
        }
        for length in 0..good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            assert_eq!(loaded(&files), Some(3), "length {length}");
        }
    }

    #[test]
    fn of_two_owners_one_writes_a_checkpoint_and_a_damaged_one_is_replaced() {
        let (directory, mut first) = stored();
        let mut second = CheckpointFiles::open(Arc::new(RealDisk), directory.path()).unwrap();
        let ours = sample(5).encode().unwrap();
        let theirs = Checkpoint { sql: "theirs".into(), ..sample(5) }.encode().unwrap();
        std::fs::write(directory.path().join("next.tmp"), "left by one that died").unwrap();
        first.save(5, &ours).unwrap();
        let refused = second.save(5, &theirs).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(refused.message().contains("another process has written this checkpoint"), "{refused}");
        assert!(second.load().unwrap().unwrap() == (5, ours.clone()), "it goes on from what is there");
        second.save(6, &theirs).unwrap();
        let names = RealDisk.list(directory.path()).unwrap();
        assert!(names.iter().all(|path| path.extension().is_none_or(|e| e != "tmp")), "{names:?}");

        std::fs::write(first.path(5, FILE), &ours[..ours.len() - 1]).unwrap();
        second.save(5, &theirs).unwrap();
        assert_eq!(std::fs::read(first.path(5, FILE)).unwrap(), theirs);
        first.replace(5, &ours).unwrap();
        assert_eq!((std::fs::read(first.path(5, FILE)).unwrap(), std::fs::read(first.path(5, COPY)).unwrap()), (ours.clone(), ours));
    }

    #[test]
    fn whatever_a_crash_left_the_next_checkpoint_can_be_written() {
        let disk = SimDisk::default();
        let bytes = |epoch| sample(epoch).encode().unwrap();
        let open = |disk: SimDisk| CheckpointFiles::open(Arc::new(disk), Path::new("job")).unwrap();
        let mut files = open(disk.clone());
        files.save(1, &bytes(1)).unwrap();
        disk.faults.sync_fails.store(true, Ordering::Relaxed);
        files.save(2, &bytes(2)).unwrap_err();
        // The process died there.
        let mut files = open(disk.kill());
        files.save(2, &bytes(2)).unwrap();
        assert_eq!(loaded(&files), Some(2));

        // The name was given and is not durable yet.
        let disk = disk.kill();
        let files = open(disk.clone());
        let temporary = files.temporary("next");
        files.write(&temporary, &bytes(2)).unwrap().sync_data().unwrap();
        disk.link(&temporary, &files.path(2, FILE)).unwrap();
        assert_eq!(disk.link(&temporary, &files.path(2, FILE)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        for (disk, newest) in [(disk.kill(), 2), (disk.crash(|| true), 2), (disk.crash(|| false), 1)] {
            let mut files = open(disk);
            assert_eq!(loaded(&files), Some(newest));
            files.save(newest + 1, &bytes(newest + 1)).unwrap();
            assert_eq!(loaded(&files), Some(newest + 1));
        }
    }

    #[test]
    fn a_checkpoint_whose_name_could_not_be_synced_is_given_up_and_the_next_is_another_file() {
        let disk = SimDisk::default();
        let mut files = CheckpointFiles::open(Arc::new(disk.clone()), Path::new("job")).unwrap();
        files.save(1, &sample(1).encode().unwrap()).unwrap();
        let theirs = Checkpoint { sql: "again".into(), ..sample(2) }.encode().unwrap();
        disk.faults.dir_sync_fails.store(true, Ordering::Relaxed);
        let failed = files.save(2, &sample(2).encode().unwrap()).unwrap_err();
        assert!(failed.message().contains("checkpoint 2 is given up"), "{failed}");
        disk.faults.dir_sync_fails.store(false, Ordering::Relaxed);
        let mut files = CheckpointFiles::open(Arc::new(disk.clone()), Path::new("job")).unwrap();
        assert_eq!(loaded(&files), Some(1), "a later sync does not bring it back");
        files.save(2, &theirs).unwrap();
        assert!(files.load().unwrap().unwrap() == (2, theirs));
    }

    #[test]
    fn what_may_still_be_committed_is_read_from_checkpoints_and_nothing_else() {
        let (directory, files) = stored();
        assert_eq!(files.prepared().unwrap().len(), 3 * sample(1).sinks.len());
        let stray = directory.path().join("00007.checkpoint");
        std::fs::write(&stray, "x").unwrap();
        assert_eq!(files.prepared().unwrap().len(), 6, "it is gone under the name that it should have");
        for none in [stray, directory.path().join("nothing")] {
            assert!(CheckpointFiles::at(Arc::new(RealDisk), &none).prepared().unwrap().is_empty());
        }
        std::fs::write(files.path(2, FILE), "x").unwrap();
        let damaged = files.prepared().unwrap_err();
        assert!(damaged.message().contains("00000000000000000002.checkpoint: "), "{damaged}");
    }

    #[test]
    fn another_version_is_refused_with_a_way_out() {
        let (_directory, files) = stored();
        for version in [0, 2] {
            for ending in [FILE, COPY] {
                let path = files.path(4, ending);
                let mut bytes = std::fs::read(&path).unwrap();
                bytes[4] = version;
                std::fs::write(&path, bytes).unwrap();
            }
            let error = files.load().unwrap_err();
            assert!(error.message().contains(&format!("has version {version}, this program knows 1")), "{error}");
            assert!(error.hint_text().unwrap().contains("the version of thalweg that wrote it"), "{error}");
        }
    }
}
