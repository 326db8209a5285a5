//! Files of a data directory as another version would have written them. Invariant: a format is all that carries a version of its own;
//! its bytes are changed in the version alone, and in checksums that cover it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A format on disk, of a version that this program does not know.
pub struct Format {
    /// What it is called here.
    pub name: &'static str,
    /// What has to be said.
    pub says: &'static str,
    /// Which files have it, by their paths below the data directory.
    has: fn(&str) -> bool,
    /// Changes their bytes.
    change: fn(&mut [u8]),
}

/// Every format that a start reads.
pub static FORMATS: &[Format] = &[
    Format {
        name: "later checkpoints",
        says: "the checkpoint has version 2, this program knows 1",
        has: is_checkpoint,
        change: |b| b[4] += 1,
    },
    Format {
        name: "earlier checkpoints",
        says: "the checkpoint has version 0, this program knows 1",
        has: is_checkpoint,
        change: |b| b[4] -= 1,
    },
    Format { name: "segments", says: ".log has version 2, this program knows 1", has: |p| p.ends_with(".log"), change: segment },
    Format {
        name: "streams",
        says: "stream.json has version 2, this program knows 1",
        has: |p| p.ends_with("stream.json"),
        change: stream,
    },
    Format { name: "journals", says: " has version 2, this program knows 1", has: |p| p.ends_with(".journal"), change: journal },
    Format {
        name: "statements",
        says: "statements.json has version 3, this program knows 1 and 2",
        has: |p| p == "statements.json",
        change: |b| set(b, "\"version\": ", b'3'),
    },
    Format {
        name: "reference versions",
        says: "versions.json has version 2, this program knows 1",
        has: |p| p.ends_with("versions.json"),
        change: |b| set(b, "\"format_version\": ", b'2'),
    },
];

impl Format {
    /// Its files below `data` as they are.
    pub fn files(&self, data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        below(data, self.has)
    }

    /// Puts its files below `data` into the other version. Returns them as they were.
    pub fn put(&self, data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.files(data);
        assert!(!files.is_empty(), "there are no {}", self.name);
        for (path, bytes) in &files {
            let mut changed = bytes.clone();
            (self.change)(&mut changed);
            std::fs::write(path, changed).unwrap();
        }
        files
    }
}

/// Files below `data` that tell what became of records: nobody may change them who does not know them.
pub fn lasting(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let in_lake = |p: &str| p.starts_with("lake/") && (p.contains("/_delta_log/") || p.ends_with(".parquet"));
    below(data, |p| p.starts_with("checkpoints/") || p.starts_with("references/") || p == "statements.json" || in_lake(p))
}

fn below(data: &Path, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut directories, mut found) = (vec![data.to_owned()], BTreeMap::new());
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if is_wanted(path.strip_prefix(data).unwrap().to_str().unwrap()) {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

fn is_checkpoint(path: &str) -> bool {
    path.starts_with("checkpoints/") && (path.ends_with(".checkpoint") || path.ends_with(".copy"))
}

/// A header of 64 bytes, the last four of which are its checksum.
fn segment(bytes: &mut [u8]) {
    bytes[8] += 1;
    let checksum = crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
}

/// A line of JSON, and one with its checksum.
fn stream(bytes: &mut [u8]) {
    set(bytes, "\"format\":", b'2');
    let end = line(bytes);
    let (checksum, at) = (format!("{:08x}", crc32c(&bytes[..end])), end + "\ncrc32c ".len());
    bytes[at..at + 8].copy_from_slice(checksum.as_bytes());
}

/// The first line: the checksum of its JSON, a blank, JSON.
fn journal(bytes: &mut [u8]) {
    set(bytes, "\"version\":", b'2');
    let checksum = format!("{:08x}", crc32c(&bytes[9..line(bytes)]));
    bytes[..8].copy_from_slice(checksum.as_bytes());
}

/// Length of the first line.
fn line(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| *b == b'\n').unwrap()
}

/// Writes a digit behind the first `key`.
fn set(bytes: &mut [u8], key: &str, digit: u8) {
    let at = bytes.windows(key.len()).position(|w| w == key.as_bytes()).unwrap() + key.len();
    bytes[at] = digit;
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}
