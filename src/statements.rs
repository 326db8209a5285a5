//! What persists of tables and jobs: their SQL text. Invariant: the file is whole (written beside, synced, renamed) and is
//! changed before the answer to the statement is given, and before anybody here finds the change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thalweg_engine::contract::{Disk, OpenMode};
use thalweg_engine::error::{Error, Result};

/// A statement that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Table that it declares, or job that it starts.
    pub name: String,
    /// Which of the two.
    pub kind: StoredKind,
    /// Text that does it again.
    pub sql: String,
    /// A job that was stopped: it is listed, and does nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

/// What a stored statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredKind {
    /// `CREATE TABLE` or `CREATE VIEW`.
    Table,
    /// `INSERT INTO … SELECT` or a statement set, behind the settings that it was planned with.
    Job,
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    statements: Vec<Stored>,
}

/// All statements in force, in the order they were given.
pub struct Statements {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    stored: Vec<Stored>,
}

impl Statements {
    /// Reads the file; none is empty. Errors: `Corrupt`.
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        let stored = if disk.exists(path) { read(disk.as_ref(), path)? } else { Vec::new() };
        Ok(Self { disk, path: path.to_owned(), stored })
    }

    /// In the order they were given.
    pub fn all(&self) -> &[Stored] {
        &self.stored
    }

    /// Adds or replaces (by kind and name) a statement, durably. Errors: as for all changes, it could not be made durable; then nothing
    /// has changed.
    pub fn put(&mut self, statement: Stored) -> Result<()> {
        let mut changed = self.stored.clone();
        changed.retain(|s| (s.kind, &s.name) != (statement.kind, &statement.name));
        changed.push(statement);
        self.save(changed)
    }

    /// Marks a job as stopped, durably, where it stands.
    pub fn stop(&mut self, name: &str) -> Result<()> {
        let mut changed = self.stored.clone();
        changed.iter_mut().filter(|s| s.kind == StoredKind::Job && s.name == name).for_each(|s| s.stopped = true);
        self.save(changed)
    }

    /// Removes a statement, durably.
    pub fn remove(&mut self, kind: StoredKind, name: &str) -> Result<()> {
        let mut changed = self.stored.clone();
        changed.retain(|s| (s.kind, s.name.as_str()) != (kind, name));
        self.save(changed)
    }

    fn save(&mut self, changed: Vec<Stored>) -> Result<()> {
        // A program that knows no stopped jobs would run them: it has to refuse the file.
        let version = if changed.iter().any(|s| s.stopped) { 2 } else { 1 };
        let document = Document { version, statements: changed };
        let bytes = serde_json::to_vec_pretty(&document).map_err(|e| Error::internal(e.to_string()))?;
        let temporary = self.path.with_extension("tmp");
        if self.disk.exists(&temporary) {
            self.disk.remove(&temporary)?;
        }
        let file = self.disk.open(&temporary, OpenMode::CreateNew)?;
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        drop(file);
        self.disk.rename(&temporary, &self.path)?;
        self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        self.stored = document.statements;
        Ok(())
    }
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<Stored>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| Error::corrupt("the file of statements is too large"))?];
    let read = file.read_at(&mut bytes, 0)?;
    let damaged = |e: serde_json::Error| Error::corrupt(format!("{}: {e}", path.display()));
    // First of all: the rest of another version may look otherwise.
    let Head { version } = serde_json::from_slice(&bytes[..read]).map_err(damaged)?;
    if !(1..=2).contains(&version) {
        return Err(Error::other_version(path.display(), version, "1 and 2"));
    }
    let document: Document = serde_json::from_slice(&bytes[..read]).map_err(damaged)?;
    Ok(document.statements)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use thalweg_engine::log::sim::SimDisk;

    use super::*;

    #[test]
    fn a_stopped_job_stays_where_it_was_and_older_programs_refuse_the_file() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::default());
        let path = Path::new("statements.json");
        let mut statements = Statements::open(disk.clone(), path).unwrap();
        let stored = |name: &str, kind| Stored { name: name.to_owned(), kind, sql: String::new(), stopped: false };
        for (name, kind) in [("a", StoredKind::Table), ("a", StoredKind::Job), ("b", StoredKind::Job)] {
            statements.put(stored(name, kind)).unwrap();
        }
        let version = |disk: &Arc<dyn Disk>| {
            let file = disk.open(path, OpenMode::Read).unwrap();
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read_at(&mut bytes, 0).unwrap();
            serde_json::from_slice::<Document>(&bytes).unwrap().version
        };
        assert_eq!(version(&disk), 1);
        statements.stop("a").unwrap();
        assert_eq!(version(&disk), 2);
        let again = Statements::open(disk.clone(), path).unwrap();
        assert_eq!(again.all().iter().map(|s| s.stopped).collect::<Vec<_>>(), [false, true, false]);
        statements.put(stored("a", StoredKind::Job)).unwrap();
        assert_eq!(version(&disk), 1);
    }

    #[test]
    fn what_could_not_be_saved_has_not_happened() {
        let sim = SimDisk::default();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let path = Path::new("statements.json");
        let mut statements = Statements::open(disk.clone(), path).unwrap();
        let job = |name: &str| Stored { name: name.to_owned(), kind: StoredKind::Job, sql: String::new(), stopped: false };
        statements.put(job("a")).unwrap();
        sim.faults.full.store(true, Ordering::Relaxed);
        assert!(statements.put(job("b")).is_err());
        assert!(statements.stop("a").is_err());
        assert!(statements.remove(StoredKind::Job, "a").is_err());
        assert_eq!(statements.all(), [job("a")]);
        sim.faults.full.store(false, Ordering::Relaxed);
        statements.put(job("b")).unwrap();
        statements.stop("b").unwrap();
        statements.remove(StoredKind::Job, "a").unwrap();
        let stopped = Stored { stopped: true, ..job("b") };
        assert_eq!(statements.all(), std::slice::from_ref(&stopped));
        assert_eq!(Statements::open(disk, path).unwrap().all(), [stopped]);
    }
}
