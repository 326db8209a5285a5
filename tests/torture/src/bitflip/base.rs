//! The small logs that are damaged. Invariant: both hold the same records in two sealed segments and an active one; one was
//! closed, the other is what a crash leaves behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::batch::{ContentType, ProducerSequence, Record};
use thalweg_engine::contract::{Disk, LogStore};
use thalweg_engine::ids::Name;
use thalweg_engine::log::sim::SimDisk;
use thalweg_engine::log::{Log, LogConfig, Logs};
use thalweg_engine::system::SystemClock;

use crate::layout::{self, Frame};

/// Directory of the log on its disk.
pub const DIR: &str = "log";
/// The stream.
pub const STREAM: &str = "torture";
/// Large enough that the zeros ahead of the active segment are a part of what is damaged.
const SEGMENT_BYTES: u64 = 1400;
const RECORDS_SMALL: u64 = 26;
/// The last record is alone in a frame of several sectors.
const LAST_PAYLOAD_BYTES: usize = 500;

/// All files of a log.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A log before it is damaged.
#[derive(Debug)]
pub struct Base {
    /// For messages.
    pub name: &'static str,
    /// Its files.
    pub files: Files,
    /// Its segments, oldest first.
    pub segments: Vec<PathBuf>,
    /// Its records as `read_all` gives them.
    pub records: Vec<Vec<u8>>,
}

impl Base {
    /// A log that was closed.
    pub fn closed() -> Result<Self, String> {
        let (disk, logs) = build()?;
        logs.close();
        Self::of("closed", disk.files())
    }

    /// A log as it is when its process dies after the last record became durable.
    pub fn crashed() -> Result<Self, String> {
        let (disk, logs) = build()?;
        let files = disk.files();
        drop(logs);
        Self::of("crashed", files)
    }

    fn of(name: &'static str, files: Files) -> Result<Self, String> {
        let segments: Vec<PathBuf> = files.keys().filter(|path| path.extension().is_some_and(|e| e == "log")).cloned().collect();
        let (problems, records) = read_all(&*open(&disk_of(&files)?)?);
        let base = Self { name, files, segments, records };
        let last = base.frames(base.segments.len() - 1);
        let whole = base.segments.len() == 3 && base.records.len() as u64 == RECORDS_SMALL + 1 && last.len() >= 3 && problems.is_empty();
        if whole { Ok(base) } else { Err(format!("the log to be damaged is not what it should be: {problems:?}, {last:?}")) }
    }

    /// The bytes of a segment.
    pub fn bytes(&self, segment: usize) -> &Vec<u8> {
        &self.files[&self.segments[segment]]
    }

    /// The frames of a segment.
    pub fn frames(&self, segment: usize) -> Vec<Frame> {
        layout::frames(self.bytes(segment))
    }

    /// The newest segment.
    pub fn newest(&self) -> usize {
        self.segments.len() - 1
    }

    /// Offset after the last record.
    pub fn end(&self) -> u64 {
        self.records.len() as u64
    }
}

/// A disk with these files, as if all of them were durable.
pub fn disk_of(files: &Files) -> Result<SimDisk, String> {
    let disk = SimDisk::default();
    for (path, bytes) in files {
        disk.create_dir_all(path.parent().unwrap_or(path)).map_err(|e| e.to_string())?;
        disk.overwrite(path, bytes.clone());
    }
    Ok(disk)
}

fn build() -> Result<(SimDisk, Arc<Logs>), String> {
    let disk = SimDisk::default();
    let logs = open(&disk)?;
    let log = stream(&logs)?;
    for sequence in 0..RECORDS_SMALL {
        add(&log, sequence, &vec![sequence as u8 + 1; 10 + sequence as usize])?;
    }
    add(&log, RECORDS_SMALL, &[0xa5; LAST_PAYLOAD_BYTES])?;
    Ok((disk, logs))
}

/// Opens the log on a disk.
pub fn open(disk: &SimDisk) -> Result<Arc<Logs>, String> {
    let config = LogConfig { segment_bytes: SEGMENT_BYTES, partitions_default: 1, ..LogConfig::default() };
    Logs::open(Path::new(DIR), Arc::new(disk.clone()), Arc::new(SystemClock::new()), config).map_err(|e| e.to_string())
}

/// The stream, made if it is not there, as a server does at its start.
pub fn stream(logs: &Logs) -> Result<Arc<Log>, String> {
    let name = Name::new(STREAM).map_err(|e| e.to_string())?;
    logs.stream(&name).map_err(|e| e.to_string())
}

/// Appends a record and waits until it is durable; returns its offset.
pub fn add(log: &Log, sequence: u64, payload: &[u8]) -> Result<u64, String> {
    let producer = Some(ProducerSequence { epoch: 1, sequence });
    let record = Record { device: "pump-1", topic: "devices/pump-1/t", content_type: ContentType::Binary, producer, payload };
    let ticket = log.append(&record).map_err(|e| e.to_string())?;
    while !log.wait(ticket.partition, ticket.offset, Duration::from_millis(100)) {
        if let Some(reason) = &log.progress(ticket.partition).borrow().failed {
            return Err(reason.to_string());
        }
    }
    Ok(ticket.offset)
}

/// Everything that a consumer gets to see: what does not work, and all records, each with all that belongs to it.
pub fn read_all(logs: &Logs) -> (Vec<String>, Vec<Vec<u8>>) {
    let (mut problems, mut all) = (logs.problems(), Vec::new());
    let log = match stream(logs) {
        Ok(log) => log,
        Err(e) => return (vec![e], all),
    };
    let mut next = log.bounds(0).start;
    loop {
        match log.read(0, next) {
            Ok(Some(records)) => {
                for entry in &records.entries {
                    let mut bytes =
                        format!("{} {} {:?} {:?} ", entry.offset, entry.received, entry.content_type, entry.producer).into_bytes();
                    [&entry.device, &entry.topic, &entry.payload].iter().for_each(|range| bytes.extend_from_slice(records.slice(range)));
                    all.push(bytes);
                }
                next = records.end();
            }
            Ok(None) => return (problems, all),
            Err(e) => {
                problems.push(e.to_string());
                return (problems, all);
            }
        }
    }
}
