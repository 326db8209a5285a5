//! What a log holds, read as any consumer reads it. Invariant: everything is read, and whatever a consumer would stumble
//! over is a problem: damage, a gap between offsets, a receive time that goes back.

use std::path::Path;
use std::sync::Arc;

use thalweg_engine::contract::{Clock, Disk, LogStore, Streams};
use thalweg_engine::ids::{Offset, Partition};
use thalweg_engine::log::{LogConfig, Logs};
use thalweg_engine::system::{RealDisk, SystemClock};
use thalweg_engine::time::Micros;

use super::event::{Digest, Key, digest};

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stored {
    /// Stream that it is in.
    pub stream: String,
    /// Partition that it is in.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its identity, if its producer numbers records.
    pub key: Option<Key>,
    /// SHA-256 of its payload.
    pub digest: Digest,
}

/// All of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The records, by stream, partition and offset.
    pub records: Vec<Stored>,
    /// What does not work, a line each.
    pub problems: Vec<String>,
}

/// Opens the log under `dir` on the disk of the machine, which repairs a torn tail as any start does, and reads all of it.
pub fn read_machine(dir: &Path) -> Contents {
    read(dir, Arc::new(RealDisk), Arc::new(SystemClock::new()))
}

/// Opens the log under `dir` and reads all of it.
pub fn read(dir: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Contents {
    match Logs::open(dir, disk, clock, LogConfig::default()) {
        Ok(logs) => read_open(&logs),
        Err(e) => Contents { records: Vec::new(), problems: vec![format!("the log cannot be opened: {e}")] },
    }
}

/// Reads all of a log that is open.
pub fn read_open(logs: &Logs) -> Contents {
    let mut contents = Contents { records: Vec::new(), problems: logs.problems() };
    for name in logs.streams() {
        let Ok(log) = Streams::stream(logs, &name) else { continue };
        for partition in 0..log.partitions() {
            read_partition(&*log, name.as_str(), partition, &mut contents);
        }
    }
    contents
}

/// Reads a partition from its oldest record on.
fn read_partition(log: &dyn LogStore, stream: &str, partition: Partition, contents: &mut Contents) {
    let (mut next, mut received_last) = (log.bounds(partition).start, Micros::MIN);
    loop {
        let records = match log.read(partition, next) {
            Ok(Some(records)) => records,
            Ok(None) => break,
            Err(e) => {
                contents.problems.push(format!("{stream}/{partition} cannot be read from offset {next}: {e}"));
                break;
            }
        };
        for entry in &records.entries {
            if entry.offset != next {
                contents.problems.push(format!("{stream}/{partition}: offset {next} should come, but {} does", entry.offset));
            }
            if entry.received < received_last {
                contents.problems.push(format!("{stream}/{partition}: receive time goes back at offset {}", entry.offset));
            }
            (next, received_last) = (entry.offset + 1, entry.received);
            let device = records.text(&entry.device).to_owned();
            let key = entry.producer.map(|p| Key { device, epoch: p.epoch, sequence: p.sequence });
            let digest = digest(records.slice(&entry.payload));
            contents.records.push(Stored { stream: stream.to_owned(), partition, offset: entry.offset, key, digest });
        }
    }
    let end = log.bounds(partition).end;
    if next != end {
        contents.problems.push(format!("{stream}/{partition}: records end at offset {next}, but {end} is promised"));
    }
}
