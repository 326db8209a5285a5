//! Savepoints as files: checkpoints with a name, kept until somebody removes them. Invariant: a file with the final name is whole, and is
//! never written again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::files::take_back;
use crate::contract::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::ids::Epoch;
use crate::limits::SAVEPOINT_NAME_BYTES_MAX;
use crate::time::Micros;

const SUFFIX: &str = ".savepoint";

/// What is known of a savepoint without reading its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Savepoint {
    /// Its name.
    pub name: String,
    /// The job that it was taken of.
    pub job: String,
    /// The checkpoint that it is.
    pub epoch: Epoch,
    /// When that was taken, in microseconds since the Unix epoch.
    pub at: Micros,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Records that the job had read by then.
    pub consumed: u64,
    /// The statement that made the job.
    pub sql: String,
}

/// What stands under a name: a savepoint with its checkpoint, whose states are left out, or why it cannot be read.
pub type Kept = Result<(Savepoint, Checkpoint)>;

/// The savepoints of one directory, `<name>.savepoint`.
#[derive(Debug)]
pub struct SavepointFiles {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl SavepointFiles {
    /// Uses `directory`, which is made when it is needed.
    pub fn new(disk: Arc<dyn Disk>, directory: &Path) -> Self {
        Self { disk, directory: directory.to_owned() }
    }

    /// Keeps a checkpoint under a name. Errors: `Conflict` if there is a savepoint of this name, or if the checkpoint does not say which
    /// streams it belongs to: nobody could keep them for it; `Invalid` if it is no name.
    pub fn save(&self, name: &str, checkpoint: &Checkpoint) -> Result<Savepoint> {
        self.check_free(name)?;
        if checkpoint.layout.is_none() {
            return Err(Error::conflict(format!(
                "checkpoint {} of job {} was written by a version that had no savepoints",
                checkpoint.epoch, checkpoint.job
            ))
            .hint("give its statement again; once it has taken a checkpoint it can be stopped WITH SAVEPOINT"));
        }
        let path = self.path(name)?;
        self.disk.create_dir_all(&self.directory)?;
        let temporary = self.directory.join("next.tmp");
        if self.disk.exists(&temporary) {
            self.disk.remove(&temporary)?;
        }
        let bytes = checkpoint.encode()?;
        let file = self.disk.open(&temporary, OpenMode::CreateNew)?;
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        drop(file);
        self.disk.rename(&temporary, &path)?;
        if let Err(e) = self.disk.sync_dir(&self.directory) {
            take_back(&*self.disk, &path);
            return Err(Error::from(e).context(format!("savepoint '{name}' is given up: {}", self.directory.display())));
        }
        Ok(about(name, checkpoint, bytes.len() as u64))
    }

    /// Whether a savepoint may get this name. Errors: `Conflict` if there is one, `Invalid` if it is no name.
    pub fn check_free(&self, name: &str) -> Result<()> {
        match self.disk.exists(&self.path(name)?) {
            true => Err(Error::conflict(format!("there is a savepoint '{name}' already"))
                .hint(format!("choose another name, or DROP SAVEPOINT '{name}'"))),
            false => Ok(()),
        }
    }

    /// A savepoint in full. Errors: `NotFound`, `Corrupt`.
    pub fn load(&self, name: &str) -> Result<Checkpoint> {
        let path = self.path(name)?;
        if !self.disk.exists(&path) {
            return Err(Error::not_found(format!("there is no savepoint '{name}'")).hint("SHOW SAVEPOINTS lists them"));
        }
        Ok(self.read(&path).map_err(|e| e.context(format!("savepoint '{name}'")))?.0)
    }

    fn read(&self, path: &Path) -> Result<(Checkpoint, u64)> {
        let file = self.disk.open(path, OpenMode::Read)?;
        let length = file.len()?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Error::corrupt("a savepoint is too large"))?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok((Checkpoint::decode(&bytes)?, length))
    }

    /// What stands under each name. States are forgotten one after the other: together they may be large.
    pub fn all(&self) -> Result<Vec<(String, Kept)>> {
        if !self.disk.exists(&self.directory) {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        let mut paths = self.disk.list(&self.directory)?;
        paths.sort();
        for path in paths {
            let Some(name) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(SUFFIX)) else { continue };
            let kept = self.read(&path).map(|(checkpoint, bytes)| (about(name, &checkpoint, bytes), checkpoint.without_state()));
            all.push((name.to_owned(), kept));
        }
        Ok(all)
    }

    /// Removes a savepoint. Errors: `NotFound`.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        if !self.disk.exists(&path) {
            return Err(Error::not_found(format!("there is no savepoint '{name}'")).hint("SHOW SAVEPOINTS lists them"));
        }
        self.disk.remove(&path)?;
        Ok(self.disk.sync_dir(&self.directory)?)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let is_name = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && name.bytes().all(plain);
        if !is_name || name.len() > SAVEPOINT_NAME_BYTES_MAX {
            let shown: String = name.chars().take(40).collect();
            return Err(Error::invalid(format!("'{shown}' is no name of a savepoint"))
                .hint("use letters, digits, '_', '-' and '.', beginning with a letter or a digit"));
        }
        Ok(self.directory.join(format!("{name}{SUFFIX}")))
    }
}

fn about(name: &str, checkpoint: &Checkpoint, bytes: u64) -> Savepoint {
    Savepoint {
        name: name.to_owned(),
        job: checkpoint.job.clone(),
        epoch: checkpoint.epoch,
        at: checkpoint.at,
        bytes,
        consumed: checkpoint.counters().consumed,
        sql: checkpoint.sql.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::log::sim::SimDisk;
    use crate::metrics::JobCounters;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            job: "hot".into(),
            sql: "INSERT".into(),
            epoch: 7,
            fingerprint: String::new(),
            layout: Some(serde_json::json!({"scans": []})),
            engine: String::new(),
            at: 5,
            partitions: vec![],
            sinks: vec![],
            references: vec![],
            merged: JobCounters { consumed: 3, ..JobCounters::default() },
            state: b"state".to_vec(),
        }
    }

    #[test]
    fn a_savepoint_is_kept_under_its_name_until_it_is_removed() {
        let disk = SimDisk::default();
        let files = SavepointFiles::new(Arc::new(disk), Path::new("savepoints"));
        assert!(files.all().unwrap().is_empty());
        let about = files.save("hot-7", &checkpoint()).unwrap();
        assert_eq!((about.job.as_str(), about.epoch, about.consumed), ("hot", 7, 3));
        assert_eq!(files.save("hot-7", &checkpoint()).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(files.load("hot-7").unwrap(), checkpoint());
        let all = files.all().unwrap();
        assert_eq!((all.len(), all[0].0.as_str()), (1, "hot-7"));
        assert_eq!(all[0].1.as_ref().unwrap(), &(about, Checkpoint { state: vec![], ..checkpoint() }), "states are not kept in memory");
        files.remove("hot-7").unwrap();
        assert_eq!(files.load("hot-7").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(files.remove("hot-7").unwrap_err().kind(), ErrorKind::NotFound);
        for wrong in ["", "../x", "a/b", ".x", &"x".repeat(200)] {
            assert_eq!(files.load(wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
        }
        let older = Checkpoint { layout: None, ..checkpoint() };
        let refused = files.save("older", &older).unwrap_err();
        assert!(refused.kind() == ErrorKind::Conflict && refused.hint_text().is_some(), "{refused}");
    }

    #[test]
    fn one_that_cannot_be_read_is_told_and_the_others_are_there() {
        let disk = SimDisk::default();
        let files = SavepointFiles::new(Arc::new(disk.clone()), Path::new("savepoints"));
        files.save("a", &checkpoint()).unwrap();
        files.save("b", &checkpoint()).unwrap();
        disk.overwrite(Path::new("savepoints/a.savepoint"), b"x".to_vec());
        let all = files.all().unwrap();
        let told: Vec<_> = all.iter().map(|(name, kept)| (name.as_str(), kept.is_ok())).collect();
        assert_eq!(told, [("a", false), ("b", true)]);
    }
}
