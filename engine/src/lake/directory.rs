//! All tables of a lake. Invariant: one process owns the lake, and every table of it is opened before anybody gets one; one that
//! is damaged is never handed out, and does not keep the others from being served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::contract::connector::distance;
use crate::contract::{Clock, Disk, PreCommit};
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::lake::about::Namespace;
use crate::lake::catalog::{CatalogStore, Reference};
use crate::lake::compact::{CompactedDay, SealScope};
use crate::lake::environment::Environment;
use crate::lake::table::{LakeTable, TableSpec};
use crate::limits::LAKE_HISTORY_S_DEFAULT;
use crate::locks::{lock, read, write};
use crate::system::RealDisk;
use crate::time::Micros;

/// A directory of tables. Shared as `Arc<Lake>`.
#[derive(Debug)]
pub struct Lake {
    environment: Arc<Environment>,
    tables: RwLock<BTreeMap<(Namespace, Name), Arc<LakeTable>>>,
    damaged: Vec<DamagedTable>,
    catalog: Mutex<CatalogStore>,
}

/// A table that could not be opened.
#[derive(Debug, Clone)]
pub struct DamagedTable {
    /// Which kind of table.
    pub namespace: Namespace,
    /// Its name within the namespace.
    pub name: Name,
    /// Its directory.
    pub path: PathBuf,
    /// Why; of kind `Corrupt`.
    pub error: Error,
}

impl DamagedTable {
    /// `cold.telemetry`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.namespace.as_str(), self.name)
    }
}

/// What maintenance did.
#[derive(Debug, Default)]
pub struct MaintenanceReport {
    /// Days whose small files were merged or sealed.
    pub compacted: Vec<CompactedDay>,
    /// Replaced files that were removed from disk.
    pub files_removed: usize,
    /// Old files of the logs that were removed.
    pub log_files_removed: usize,
    /// What went wrong, a table each; the others were maintained all the same.
    pub failures: Vec<Error>,
}

impl Lake {
    /// Takes the lake at `root`, which is made if it is not there, and opens its tables. Work runs on `handle`, a runtime with
    /// threads of its own. Errors: `Conflict` if another process has the lake. A damaged table is no error here: see `damaged`.
    pub fn open(root: &Path, clock: Arc<dyn Clock>, handle: Handle) -> Result<Arc<Self>> {
        Self::open_on(Arc::new(RealDisk), root, clock, handle, Duration::from_secs(LAKE_HISTORY_S_DEFAULT))
    }

    /// Like `open`, on a disk that makes bytes and names durable in its own way, and with a time for which replaced files stay readable.
    /// Errors: as `open`, and `Invalid` if that is not in `LAKE_HISTORY_S`.
    pub fn open_on(disk: Arc<dyn Disk>, root: &Path, clock: Arc<dyn Clock>, handle: Handle, history: Duration) -> Result<Arc<Self>> {
        let environment = Environment::open(root, disk, clock, handle, history)?;
        for namespace in Namespace::ALL {
            let directory = environment.root.join(namespace.as_str());
            environment.durable.create_dir_all(&directory).map_err(|e| Error::from(e).context(directory.display()))?;
        }
        Self::with(environment)
    }

    /// Reads the lake at `root`, also while another process owns it; what would change it answers `Conflict`. Errors:
    /// `NotFound` if it is not there.
    pub fn open_to_read(root: &Path, clock: Arc<dyn Clock>, handle: Handle) -> Result<Arc<Self>> {
        Self::with(Environment::open_to_read(root, Arc::new(RealDisk), clock, handle)?)
    }

    fn with(environment: Environment) -> Result<Arc<Self>> {
        let environment = Arc::new(environment);
        let (mut tables, mut damaged) = (BTreeMap::new(), Vec::new());
        for namespace in Namespace::ALL {
            let directory = environment.root.join(namespace.as_str());
            if !directory.exists() {
                continue;
            }
            let at = |e: std::io::Error| Error::from(e).context(directory.display());
            for entry in std::fs::read_dir(&directory).map_err(at)? {
                let path = entry.map_err(at)?.path();
                // A directory without a first commit is what a crash during creation leaves; `create` takes it over.
                let is_table = path.join("_delta_log").join(format!("{:020}.json", 0)).exists() || has_checkpoint(&path);
                let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| Name::new(n).ok());
                let Some(name) = name.filter(|_| is_table) else { continue };
                match LakeTable::open(&environment, namespace, name.clone()) {
                    Ok(table) => drop(tables.insert((namespace, name), table)),
                    Err(e) => damaged.push(cannot_be_used(namespace, name, path, &e)),
                }
            }
        }
        let catalog = Mutex::new(CatalogStore::open(&environment)?);
        Ok(Arc::new(Self { environment, tables: RwLock::new(tables), damaged, catalog }))
    }

    /// Makes a table, or takes over its description if it exists with the same columns. Errors: `Conflict` if it exists with
    /// other columns, `Corrupt` if it exists and is damaged, `Invalid` for columns that the lake cannot hold or a missing owner, description or source.
    pub fn create(&self, spec: TableSpec) -> Result<Arc<LakeTable>> {
        self.environment.check_fence()?;
        self.check_damage(spec.namespace.as_str(), spec.name.as_str())?;
        let mut tables = write(&self.tables);
        let key = (spec.namespace, spec.name.clone());
        if let Some(table) = tables.get(&key) {
            let table = table.relaxed(&spec.schema)?.unwrap_or_else(|| table.clone());
            tables.insert(key, table.clone());
            table.adopt(&spec)?;
            return Ok(table);
        }
        let table = LakeTable::create(&self.environment, &spec)?;
        tables.insert(key, table.clone());
        Ok(table)
    }

    /// A table by its namespace and name. Errors: `NotFound`, with the nearest names; `Corrupt` if it is damaged.
    pub fn table(&self, namespace: &str, name: &str) -> Result<Arc<LakeTable>> {
        self.check_damage(namespace, name)?;
        let wanted = format!("{namespace}.{name}");
        let tables = self.tables();
        if let Some(table) = tables.iter().find(|t| t.full_name() == wanted) {
            return Ok(table.clone());
        }
        let error = Error::not_found(format!("there is no lake table {wanted}"));
        let nearest = tables.iter().map(|t| t.full_name()).min_by_key(|n| distance(n, &wanted));
        Err(match nearest {
            Some(nearest) if distance(&nearest, &wanted) <= 3 => error.hint(format!("did you mean {nearest}?")),
            Some(_) => {
                let names: Vec<String> = tables.iter().take(20).map(|t| t.full_name()).collect();
                error.hint(format!("there are {}", names.join(", ")))
            }
            None => error.hint("the lake is empty"),
        })
    }

    /// Tables that could not be opened. They are looked at again when the lake is opened anew.
    pub fn damaged(&self) -> &[DamagedTable] {
        &self.damaged
    }

    fn check_damage(&self, namespace: &str, name: &str) -> Result<()> {
        let found = self.damaged.iter().find(|d| d.namespace.as_str() == namespace && d.name.as_str() == name);
        found.map_or(Ok(()), |d| Err(d.error.clone()))
    }

    /// Every table that can be used, by namespace and name.
    pub fn tables(&self) -> Vec<Arc<LakeTable>> {
        read(&self.tables).values().cloned().collect()
    }

    /// Whether the lake is still this process's. Errors: `Conflict` if another process has opened it since, or this one only reads.
    pub fn check_owned(&self) -> Result<()> {
        self.environment.check_fence()
    }

    /// Whether a sync to its disk failed: then nothing more is written until a new start.
    pub fn has_failed(&self) -> bool {
        self.environment.durable.failed()
    }

    /// Directory of the lake.
    pub fn root(&self) -> &Path {
        &self.environment.root
    }

    /// Makes a data set that others are joined with known to the catalog; its data stays where it is.
    pub fn register_reference(&self, reference: Reference) -> Result<()> {
        reference.about.check()?;
        self.lock_catalog().register(reference)
    }

    /// Takes data sets that others are joined with out of the catalog, those whose names `keep` refuses.
    pub fn retain_references(&self, keep: impl Fn(&Name) -> bool) -> Result<()> {
        self.lock_catalog().retain(keep)
    }

    /// Writes the manifests of all tables. Each appears whole or not at all; unchanged ones are not written again.
    pub fn refresh_catalog(&self) -> Result<()> {
        self.environment.check_fence()?;
        let tables = self.tables();
        self.lock_catalog().write(&tables)
    }

    /// Seals days that are over, merges small files of others that have many, and removes files that nobody needs any more. One table at a time.
    pub fn maintain(&self, now: Micros) -> Result<MaintenanceReport> {
        self.tend(|table, report| {
            let compacted = table.seal(SealScope::Due, now);
            clean(table, report, now)?;
            report.compacted.extend(compacted?);
            Ok(())
        })
    }

    /// Only removes files that nobody needs any more: for when there is no room for more.
    pub fn clean(&self, now: Micros) -> Result<MaintenanceReport> {
        self.tend(|table, report| clean(table, report, now))
    }

    /// Has upkeep end with the day that it is at, for whoever waits for it: what is left is done after the next start.
    pub fn end_upkeep(&self) {
        self.environment.end_upkeep();
    }

    fn tend(&self, work: impl Fn(&LakeTable, &mut MaintenanceReport) -> Result<()>) -> Result<MaintenanceReport> {
        self.environment.check_fence()?;
        let mut report = MaintenanceReport::default();
        for table in self.tables() {
            if self.environment.is_ending() {
                break;
            }
            if let Err(e) = work(&table, &mut report) {
                report.failures.push(e.context(table.full_name()));
            }
        }
        Ok(report)
    }

    /// Removes files that were staged more than a day ago and never committed. `keep` holds what the stored checkpoints of all
    /// jobs may still commit. Returns what was removed. Errors: one of those of the tables, after the others.
    pub fn remove_orphans(&self, now: Micros, keep: &[PreCommit]) -> Result<Vec<PathBuf>> {
        self.environment.check_fence()?;
        let (mut removed, mut failed) = (Vec::new(), None);
        for table in self.tables() {
            let orphans = table.orphans(now, keep).and_then(|orphans| {
                orphans.iter().try_for_each(std::fs::remove_file)?;
                Ok(orphans)
            });
            match orphans {
                Ok(orphans) => removed.extend(orphans),
                Err(e) => failed = Some(e.context(table.full_name())),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    pub(super) fn manifests(&self, table: &LakeTable) -> Vec<PathBuf> {
        self.lock_catalog().manifests(table)
    }

    fn lock_catalog(&self) -> std::sync::MutexGuard<'_, CatalogStore> {
        lock(&self.catalog)
    }
}

fn clean(table: &LakeTable, report: &mut MaintenanceReport, now: Micros) -> Result<()> {
    report.files_removed += table.sweep(now)?;
    report.log_files_removed += table.clean_log()?;
    Ok(())
}

fn cannot_be_used(namespace: Namespace, name: Name, path: PathBuf, why: &Error) -> DamagedTable {
    let error = Error::corrupt(format!("lake table {}.{name} cannot be used: {}", namespace.as_str(), why.message()));
    let hint = why.hint_text().unwrap_or("restore the table's directory from a backup").to_owned();
    let error = error.hint(format!("{hint}, and start again"));
    tracing::error!("{error}");
    DamagedTable { namespace, name, path, error }
}

/// Whether the log begins with a checkpoint, because its first commits were cleaned away.
fn has_checkpoint(table: &Path) -> bool {
    table.join("_delta_log").join("_last_checkpoint").exists()
}
