//! Versions of a reference table on disk. Invariant: a version's bytes are durable before `versions.json` names it, and named
//! before a query can see it; so a restart finds every version that a row may have met and that
//! the limits did not drop.
//!
//! ```text
//! <dir>/<table>/versions.json           which versions, valid from when: replaced atomically
//! <dir>/<table>/<sha256>.csv            the source's bytes, as they were
//!
//! refresh: read source ─► same SHA-256 as the newest? done
//!                      └► load and index ─► keep bytes ─► versions.json ─► visible ─► remove what no version needs
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::load::{self, ReferenceFormat};
use super::table::{self, Content, ReferenceTable, Version, appended};
use crate::contract::{Disk, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Name;
use crate::limits::{REFERENCE_FILE_BYTES_MAX, REFERENCE_VERSIONS_BYTES_MAX};
use crate::locks::lock;
use crate::time::Micros;

const FORMAT_VERSION: u32 = 1;
const VERSIONS_FILE: &str = "versions.json";
const TEMPORARY_FILE: &str = "new.tmp";

/// What `CREATE TABLE … WITH ('connector' = 'reference', …)` says.
#[derive(Debug, Clone)]
pub struct ReferenceDefinition {
    /// Name of the table.
    pub name: Name,
    /// File to read.
    pub path: PathBuf,
    /// Name of its format, a key of `reference::FORMATS`.
    pub format: String,
    /// Declared columns.
    pub schema: SchemaRef,
    /// Names of the primary key's columns.
    pub primary_key: Vec<String>,
}

/// What a refresh found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The file is as the newest version.
    Unchanged,
    /// A new version can be seen.
    Loaded {
        /// Its rows.
        rows: usize,
        /// SHA-256 of the file, in hexadecimal.
        sha256: String,
    },
}

/// Keeps one reference table up to date.
#[derive(Debug)]
pub struct ReferenceStore {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    definition: ReferenceDefinition,
    format: &'static ReferenceFormat,
    table: Arc<ReferenceTable>,
    /// A file that was refused, by its SHA-256: it need not be read again to know why. Held while a file is read.
    refused: Mutex<Option<(String, Error)>>,
    last_error: Mutex<Option<String>>,
}

/// Its version alone.
#[derive(Deserialize)]
struct Head {
    format_version: u32,
}

/// `versions.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stored {
    format_version: u32,
    /// Columns, key and format; versions of another definition are not ours.
    definition: String,
    versions: Vec<StoredVersion>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StoredVersion {
    valid_from: Micros,
    sha256: String,
    rows: u64,
    loaded_at: Micros,
}

impl ReferenceStore {
    /// Opens the table kept below `dir`, or makes it from its source file. `now` is noted as the time of loading. Errors:
    /// `Invalid` or `NotFound` if there is no version yet and the file cannot be used; `Corrupt` if a kept version is
    /// missing or damaged.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>, definition: ReferenceDefinition, now: Micros) -> Result<Self> {
        let dir = dir.join(definition.name.as_str());
        let about = format!("reference table {}", definition.name);
        let format = load::format(&definition.format).map_err(|e| e.context(&about))?;
        let key = key_of(&definition).map_err(|e| e.context(&about))?;
        disk.create_dir_all(&dir)?;
        let found = read_versions(disk.as_ref(), &dir).map_err(|e| e.context(&about))?;
        let stored = found.filter(|s| s.definition == fingerprint(&definition));
        let versions = match stored {
            Some(stored) => {
                let bytes_max = REFERENCE_VERSIONS_BYTES_MAX;
                restore(disk.as_ref(), &dir, &definition, format, &key, &stored, bytes_max).map_err(|e| e.context(&about))?
            }
            None => {
                let (bytes, content) = read_source(disk.as_ref(), &definition, format, &key).map_err(|e| e.context(&about))?;
                let versions = appended(&[], now, content);
                keep(disk.as_ref(), &dir, &definition, &versions, &bytes)?;
                versions
            }
        };
        let table = Arc::new(ReferenceTable::new(definition.name.clone(), definition.schema.clone(), key, versions)?);
        Ok(Self { dir, disk, definition, format, table, refused: Mutex::default(), last_error: Mutex::default() })
    }

    /// The table, which follows every refresh.
    pub fn table(&self) -> Arc<ReferenceTable> {
        self.table.clone()
    }

    /// Why the last refresh failed; `None` if it did not.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }

    /// Reads the source file, and if it changed makes a version that is valid from `now` on. Errors: as for `open`; the
    /// versions stay as they are.
    pub fn refresh(&self, now: Micros) -> Result<Refreshed> {
        let mut refused = lock(&self.refused);
        let result = self.try_refresh(&mut refused, now).map_err(|e| e.context(format!("reference table {}", self.definition.name)));
        *lock(&self.last_error) = result.as_ref().err().map(ToString::to_string);
        result
    }

    fn try_refresh(&self, refused: &mut Option<(String, Error)>, now: Micros) -> Result<Refreshed> {
        let bytes = read_file(self.disk.as_ref(), &self.definition.path)?;
        let sha256 = sha256_of(&bytes);
        let versions = self.table.versions();
        if versions.last().is_some_and(|v| v.content.sha256 == sha256) {
            return Ok(Refreshed::Unchanged);
        }
        if let Some((_, error)) = refused.as_ref().filter(|(refused, _)| *refused == sha256) {
            return Err(error.clone());
        }
        let known = versions.iter().find(|v| v.content.sha256 == sha256).map(|v| v.content.clone());
        let content = match known {
            Some(content) => content,
            None => content_of(&bytes, &sha256, &self.definition, self.format, self.table.key())
                .inspect_err(|e| *refused = Some((sha256.clone(), e.clone())))?,
        };
        let rows = content.rows.num_rows();
        let versions = appended(&versions, now, content);
        keep(self.disk.as_ref(), &self.dir, &self.definition, &versions, &bytes)?;
        self.table.set(versions);
        Ok(Refreshed::Loaded { rows, sha256 })
    }
}

fn key_of(definition: &ReferenceDefinition) -> Result<Vec<usize>> {
    if definition.primary_key.is_empty() {
        return Err(Error::invalid("it has no primary key").hint("add PRIMARY KEY (…) NOT ENFORCED"));
    }
    let index_of =
        |name: &String| definition.schema.index_of(name).map_err(|_| Error::invalid(format!("primary key column {name} is not declared")));
    definition.primary_key.iter().map(index_of).collect()
}

fn fingerprint(definition: &ReferenceDefinition) -> String {
    let columns: Vec<String> = definition
        .schema
        .fields()
        .iter()
        .map(|f| format!("{} {}{}", f.name(), crate::batch::type_name(f.data_type()), if f.is_nullable() { "" } else { " NOT NULL" }))
        .collect();
    format!("{} ({}) key ({})", definition.format, columns.join(", "), definition.primary_key.join(", "))
}

fn sha256_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn content_of(
    bytes: &[u8],
    sha256: &str,
    definition: &ReferenceDefinition,
    format: &ReferenceFormat,
    key: &[usize],
) -> Result<Arc<Content>> {
    let rows = (format.load)(bytes, &definition.schema);
    let content = rows.and_then(|rows| Content::new(sha256.to_owned(), rows, key));
    Ok(Arc::new(content.map_err(|e| e.context(definition.path.display()))?))
}

fn read_source(
    disk: &dyn Disk,
    definition: &ReferenceDefinition,
    format: &ReferenceFormat,
    key: &[usize],
) -> Result<(Vec<u8>, Arc<Content>)> {
    let bytes = read_file(disk, &definition.path)?;
    let content = content_of(&bytes, &sha256_of(&bytes), definition, format, key)?;
    Ok((bytes, content))
}

/// Loads the kept versions, the newest first, as long as they are within the limits of memory: an earlier release knew none. Those with
/// the same bytes share one content.
fn restore(
    disk: &dyn Disk,
    dir: &Path,
    definition: &ReferenceDefinition,
    format: &ReferenceFormat,
    key: &[usize],
    stored: &Stored,
    bytes_max: usize,
) -> Result<Vec<Version>> {
    let mut versions: Vec<Version> = Vec::new();
    for kept in stored.versions.iter().rev() {
        let same = versions.iter().find(|v| v.content.sha256 == kept.sha256).map(|v| v.content.clone());
        let content = match same {
            Some(content) => content,
            None => {
                let path = dir.join(format!("{}.{}", kept.sha256, format.name));
                let damaged = |e: Error| {
                    Error::corrupt(format!("version {} cannot be used: {}", kept.sha256, e.message()))
                        .hint(format!("restore {} from a backup: results of earlier rows depend on it", path.display()))
                };
                let bytes = read_file(disk, &path).map_err(damaged)?;
                if sha256_of(&bytes) != kept.sha256 {
                    return Err(damaged(Error::corrupt("its bytes are not those that were stored")));
                }
                content_of(&bytes, &kept.sha256, definition, format, key).map_err(damaged)?
            }
        };
        versions.insert(0, Version { valid_from: kept.valid_from, loaded_at: kept.loaded_at, content });
        if table::kept(&versions, bytes_max) < versions.len() {
            versions.remove(0);
            break;
        }
    }
    Ok(versions)
}

/// Makes the newest of `versions` durable, whose bytes are `bytes`, and removes what is no longer needed.
fn keep(disk: &dyn Disk, dir: &Path, definition: &ReferenceDefinition, versions: &[Version], bytes: &[u8]) -> Result<()> {
    let stored_version = |v: &Version| StoredVersion {
        valid_from: v.valid_from,
        sha256: v.content.sha256.clone(),
        rows: v.content.rows.num_rows() as u64,
        loaded_at: v.loaded_at,
    };
    let versions = versions.iter().map(stored_version).collect();
    let stored = Stored { format_version: FORMAT_VERSION, definition: fingerprint(definition), versions };
    let names: Vec<String> = stored.versions.iter().map(|v| format!("{}.{}", v.sha256, definition.format)).collect();
    if let Some(newest) = names.last()
        && !disk.exists(&dir.join(newest))
    {
        write_file(disk, dir, newest, bytes)?;
    }
    write_file(disk, dir, VERSIONS_FILE, &serde_json::to_vec_pretty(&stored)?)?;
    for path in disk.list(dir)? {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name != VERSIONS_FILE && !names.iter().any(|n| n == name) {
            disk.remove(&path)?;
        }
    }
    Ok(())
}

fn read_versions(disk: &dyn Disk, dir: &Path) -> Result<Option<Stored>> {
    let path = dir.join(VERSIONS_FILE);
    if !disk.exists(&path) {
        return Ok(None);
    }
    let bytes = read_file(disk, &path)?;
    let damaged = |e: serde_json::Error| Error::corrupt(format!("{}: {e}", path.display()));
    // First of all: the rest of another version may look otherwise.
    let Head { format_version } = serde_json::from_slice(&bytes).map_err(damaged)?;
    if format_version != FORMAT_VERSION {
        return Err(Error::other_version(path.display(), format_version, FORMAT_VERSION));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

fn read_file(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    let describe = |e: std::io::Error| Error::from(e).context(path.display());
    let file = disk.open(path, OpenMode::Read).map_err(describe)?;
    let length = file.len().map_err(describe)?;
    if length > REFERENCE_FILE_BYTES_MAX {
        return Err(Error::invalid(format!("{}: {length} bytes are more than the {REFERENCE_FILE_BYTES_MAX} allowed", path.display())));
    }
    let mut bytes = vec![0; length as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64).map_err(describe)? {
            0 => return Err(Error::new(ErrorKind::Unavailable, format!("{}: it became shorter while it was read", path.display()))),
            n => filled += n,
        }
    }
    Ok(bytes)
}

/// Replaces a file atomically and durably.
fn write_file(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = dir.join(TEMPORARY_FILE);
    if disk.exists(&temporary) {
        disk.remove(&temporary)?;
    }
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)?;
    Ok(())
}

#[cfg(test)]
mod tests;
