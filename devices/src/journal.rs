//! A small append-only journal of JSON. Invariant: `append` returns `Ok` only when its entries are durable, and one call's
//! entries are there after a crash either all or not at all, because they are one line.
//!
//! ```text
//! 8 hex digits of CRC-32C, a space, JSON, '\n'
//! 3c1f09aa {"journal":"devices.registry","version":1}      the first line says what the file is
//! 9b02d7e1 [entry, entry]                                  every other line is what one append wrote
//! ```
//!
//! Opening: bytes that a torn append leaves behind are cut off. A file only ever grows, so bytes that were not written out are
//! missing or zero: the last line is torn if it has no end or holds a zero byte. Any other damage was durable once and stops
//! the start with `Corrupt`, also in the last line, because that line may be a revocation.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thalweg_engine::contract::{Disk, DiskFile, OpenMode};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::limits::{JOURNAL_COMPACT_ENTRIES_MIN, JOURNAL_COMPACT_FACTOR, JOURNAL_LINE_BYTES_MAX};

const VERSION: u32 = 1;
const PREFIX_BYTES: usize = 9;

#[derive(Serialize, Deserialize)]
struct Header {
    journal: String,
    version: u32,
}

/// A journal of entries `T`, open for appending.
#[derive(Debug)]
pub(crate) struct Journal<T> {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    kind: &'static str,
    file: Box<dyn DiskFile>,
    end: u64,
    entries: usize,
    failed: bool,
    of: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens or creates the journal `kind` at `path` and gives every stored entry to `apply`, in order. Errors: `Corrupt`,
    /// naming file and line.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf, kind: &'static str, mut apply: impl FnMut(T) -> Result<()>) -> Result<Self> {
        let fresh = fresh_path(&path);
        if disk.exists(&fresh) {
            disk.remove(&fresh)?;
        }
        if !disk.exists(&path) {
            let file = disk.open(&path, OpenMode::CreateNew)?;
            let mut journal = Self { disk, path, kind, file, end: 0, entries: 0, failed: false, of: PhantomData };
            journal.begin()?;
            return Ok(journal);
        }
        let file = disk.open(&path, OpenMode::ReadWrite)?;
        let bytes = read_all(&*file)?;
        let mut entries = 0;
        let end = scan(&bytes, &path, |line, json| {
            if line == 1 {
                return check_header(json, kind);
            }
            let stored: Vec<T> = serde_json::from_slice(json)?;
            entries += stored.len();
            stored.into_iter().try_for_each(&mut apply)
        })?;
        let mut journal = Self { disk, path, kind, file, end: end as u64, entries, failed: false, of: PhantomData };
        if end < bytes.len() {
            tracing::warn!(file = %journal.path.display(), bytes = bytes.len() - end, "cut off a torn append");
            journal.file.set_len(journal.end)?;
            journal.file.sync_data()?;
        }
        if end == 0 {
            journal.begin()?;
        }
        Ok(journal)
    }

    /// Appends entries as one and makes them durable. Errors: `Unavailable` when the disk is full; after a failed sync every
    /// further append fails too, because nothing says what the disk holds.
    pub fn append(&mut self, entries: &[T]) -> Result<()> {
        self.append_line(&encode(&entries)?)?;
        self.entries += entries.len();
        Ok(())
    }

    /// Whether the file has grown far beyond `live` entries.
    pub fn wants_compaction(&self, live: usize) -> bool {
        self.entries > JOURNAL_COMPACT_ENTRIES_MIN && self.entries > live.saturating_mul(JOURNAL_COMPACT_FACTOR)
    }

    /// Replaces the file by one that holds just `live`. When that fails the old file stays in use and nothing is lost.
    pub fn compact(&mut self, live: &[T]) -> Result<()> {
        let fresh = fresh_path(&self.path);
        let written = self.write_fresh(&fresh, live);
        let (file, end) = match written {
            Ok(done) => done,
            Err(e) => {
                if self.disk.exists(&fresh) {
                    self.disk.remove(&fresh)?;
                }
                return Err(e);
            }
        };
        self.disk.rename(&fresh, &self.path)?;
        self.file = file;
        self.end = end;
        self.entries = live.len();
        self.sync_parent().inspect_err(|_| self.failed = true)
    }

    fn write_fresh(&self, fresh: &Path, live: &[T]) -> Result<(Box<dyn DiskFile>, u64)> {
        let file = self.disk.open(fresh, OpenMode::CreateNew)?;
        let mut bytes = encode(&Header { journal: self.kind.to_owned(), version: VERSION })?;
        for entry in live {
            bytes.extend_from_slice(&encode(&[entry])?);
        }
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        Ok((file, bytes.len() as u64))
    }

    fn begin(&mut self) -> Result<()> {
        self.append_line(&encode(&Header { journal: self.kind.to_owned(), version: VERSION })?)?;
        self.sync_parent()
    }

    fn sync_parent(&self) -> Result<()> {
        Ok(self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))?)
    }

    fn append_line(&mut self, line: &[u8]) -> Result<()> {
        let name = self.path.display();
        if self.failed {
            return Err(Error::unavailable(format!("journal {name} takes no more entries after a failed write"))
                .hint("check the disk, then start again"));
        }
        if line.len() > JOURNAL_LINE_BYTES_MAX {
            return Err(Error::invalid(format!("{} bytes are too many for one entry of journal {name}", line.len())));
        }
        if let Err(e) = self.file.write_at(line, self.end) {
            self.failed = self.file.set_len(self.end).is_err();
            return Err(Error::from(e).context(format!("journal {name}")));
        }
        if let Err(e) = self.file.sync_data() {
            self.failed = true;
            return Err(Error::from(e).context(format!("journal {name}")));
        }
        self.end += line.len() as u64;
        Ok(())
    }
}

fn fresh_path(path: &Path) -> PathBuf {
    path.with_extension("journal-new")
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = vec![b' '; PREFIX_BYTES];
    serde_json::to_writer(&mut line, value).map_err(|e| Error::internal(format!("json: {e}")))?;
    let sum = format!("{:08x}", crc32c::crc32c(&line[PREFIX_BYTES..]));
    line[..8].copy_from_slice(sum.as_bytes());
    line.push(b'\n');
    Ok(line)
}

fn read_all(file: &dyn DiskFile) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| Error::corrupt("journal is too long"))?];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(&mut bytes[at..], at as u64)? {
            0 => return Err(Error::corrupt("journal became shorter while it was read")),
            n => at += n,
        }
    }
    Ok(bytes)
}

/// Gives every whole line to `apply` and returns where the last one ends.
fn scan(bytes: &[u8], path: &Path, mut apply: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<usize> {
    let mut start = 0;
    let mut number = 0;
    while let Some(len) = bytes[start..].iter().position(|&b| b == b'\n') {
        number += 1;
        let line = &bytes[start..start + len];
        let next = start + len + 1;
        let Some(json) = checked(line) else {
            if next == bytes.len() && line.contains(&0) {
                break;
            }
            return Err(Error::corrupt(format!("{}, line {number}: checksum does not match", path.display()))
                .hint("restore the file from a backup, or remove the line if you know what it said"));
        };
        apply(number, json).map_err(|e| {
            let error = Error::corrupt(format!("{}, line {number}: {}", path.display(), e.message()));
            match e.hint_text() {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        start = next;
    }
    Ok(start)
}

fn checked(line: &[u8]) -> Option<&[u8]> {
    let (sum, json) = (line.get(..8)?, line.get(PREFIX_BYTES..)?);
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (line[8] == b' ' && crc32c::crc32c(json) == sum).then_some(json)
}

fn check_header(json: &[u8], kind: &str) -> Result<()> {
    let header: Header = serde_json::from_slice(json)?;
    if header.journal != kind {
        return Err(Error::corrupt(format!("found journal {:?}, want {kind:?}", header.journal)));
    }
    if header.version != VERSION {
        return Err(Error::other_version(format!("journal {kind}"), header.version, VERSION));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use thalweg_engine::error::ErrorKind;

    use super::*;
    use thalweg_engine::system::RealDisk;

    fn open(path: &Path) -> Result<(Journal<u32>, Vec<u32>)> {
        let mut seen = Vec::new();
        let journal = Journal::open(Arc::new(RealDisk), path.to_owned(), "test", |n| {
            seen.push(n);
            Ok(())
        })?;
        Ok((journal, seen))
    }

    #[test]
    fn a_torn_append_is_cut_off_wherever_it_tore() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        let (mut journal, _) = open(&path).unwrap();
        journal.append(&[1, 2]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        journal.append(&[3, 4, 5]).unwrap();
        let longer = std::fs::read(&path).unwrap();
        for cut in 0..longer.len() {
            let mut zeroed = longer.clone();
            let to = longer.len() - usize::from(cut % 2 == 0);
            zeroed[cut..to].fill(0);
            for torn in [&longer[..cut], &zeroed[..]] {
                let holds = if torn == longer { vec![1, 2, 3, 4, 5] } else { vec![1, 2] };
                if torn.len() > whole.len() && cut < whole.len() {
                    continue; // Damage before the last line: the next test.
                }
                std::fs::write(&path, torn).unwrap();
                let (mut journal, seen) = open(&path).unwrap();
                let holds = if cut < whole.len() { Vec::new() } else { holds };
                assert_eq!(seen, holds, "cut at {cut}");
                journal.append(&[9]).unwrap();
                assert_eq!(open(&path).unwrap().1, [holds, vec![9]].concat(), "append after a cut at {cut}");
            }
        }
    }

    #[test]
    fn damage_to_durable_lines_is_corrupt_and_names_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        let (mut journal, _) = open(&path).unwrap();
        for n in 0..3 {
            journal.append(&[n]).unwrap();
        }
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            std::fs::write(&path, &bad).unwrap();
            let line = good[..at].iter().filter(|&&b| b == b'\n').count() + 1;
            let error = open(&path).map(|(_, seen)| seen).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.message().contains(&format!("a.journal, line {line}:")), "flip at {at}: {error}");
        }
    }

    #[test]
    fn compaction_keeps_what_is_live_and_the_journal_usable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        let (mut journal, _) = open(&path).unwrap();
        let many: Vec<u32> = (0..=JOURNAL_COMPACT_ENTRIES_MIN as u32).collect();
        journal.append(&many).unwrap();
        assert!(journal.wants_compaction(2) && !journal.wants_compaction(many.len()));
        journal.compact(&[7, 8]).unwrap();
        journal.append(&[9]).unwrap();
        assert_eq!(open(&path).unwrap().1, [7, 8, 9]);
        std::fs::write(fresh_path(&path), b"left behind by a crash").unwrap();
        assert_eq!(open(&path).unwrap().1, [7, 8, 9]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_journal_of_another_kind_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        open(&path).unwrap();
        let error = Journal::<u32>::open(Arc::new(RealDisk), path, "other", |_| Ok(())).unwrap_err();
        assert!(error.message().contains("line 1: found journal \"test\""), "{error}");
    }

    #[test]
    fn a_journal_of_a_later_version_is_refused_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        std::fs::write(&path, encode(&Header { journal: "test".to_owned(), version: VERSION + 1 }).unwrap()).unwrap();
        let error = open(&path).map(|(_, seen)| seen).unwrap_err();
        assert!(error.message().contains("a.journal, line 1: journal test has version 2, this program knows 1"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("the version of thalweg that wrote it")), "{error}");
    }
}
