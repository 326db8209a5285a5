//! Sends records to a log in this process and keeps the journal for the judge. Invariant: an ACK is noted only after the log
//! said that the record is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg_engine::batch::{ContentType, ProducerSequence, Record};
use thalweg_engine::contract::{LogStore, Ticket};
use thalweg_engine::error::ErrorKind;
use thalweg_engine::ids::Name;
use thalweg_engine::log::{Log, LogConfig, Logs};
use thalweg_engine::system::SystemClock;

use crate::conservation;
use crate::disk::{FreeSpace, TortureDisk};
use crate::oracle::{self, Digest, Event, Key, digest};
use crate::writer::STREAM;

const DEVICE: &str = "pump-1";
/// Refused and slow records before it counts as full.
const PATIENCE: Duration = Duration::from_millis(1200);
/// Time in which the log must notice that there is space again.
const RESUME: Duration = Duration::from_secs(20);

/// How a record fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was taken.
    Taken,
    /// Not now.
    Refused,
    /// The log has failed.
    Failed,
}

/// A log under test and what was sent to it.
pub struct Sender {
    dir: PathBuf,
    logs: Arc<Logs>,
    log: Arc<Log>,
    events: Vec<Event>,
    waiting: Vec<(Key, Digest, Ticket)>,
    sequence: u64,
}

impl Sender {
    /// Opens a log with one partition.
    pub fn open(dir: &Path, disk: TortureDisk, segment_bytes: u64) -> Result<Self, String> {
        let config = LogConfig { segment_bytes, partitions_default: 1, ..LogConfig::default() };
        let logs = Logs::open(dir, Arc::new(disk), Arc::new(SystemClock::new()), config).map_err(|e| e.to_string())?;
        let log = Name::new(STREAM).and_then(|name| logs.stream(&name)).map_err(|e| e.to_string())?;
        Ok(Self { dir: dir.to_owned(), logs, log, events: Vec::new(), waiting: Vec::new(), sequence: 0 })
    }

    /// A disk with the named bug.
    pub fn disk(bug: Option<&str>, free: FreeSpace) -> Result<TortureDisk, String> {
        TortureDisk::new(bug, free)
    }

    /// Sends one record. Errors: an answer of a kind that no device could act on.
    pub fn send(&mut self, payload_bytes: usize) -> Result<Fate, String> {
        self.sequence += 1;
        let payload: Vec<u8> = (0..payload_bytes).map(|at| (at as u64 ^ self.sequence) as u8).collect();
        let key = Key { device: DEVICE.to_owned(), epoch: 1, sequence: self.sequence };
        let sum = digest(&payload);
        self.events.push(Event::Sent(key.clone(), sum));
        let producer = Some(ProducerSequence { epoch: 1, sequence: self.sequence });
        let record = Record { device: DEVICE, topic: "devices/pump-1/t", content_type: ContentType::Binary, producer, payload: &payload };
        match self.log.append(&record) {
            Ok(ticket) => {
                self.waiting.push((key, sum, ticket));
                Ok(Fate::Taken)
            }
            Err(e) if e.kind() == ErrorKind::Unavailable => Ok(Fate::Refused),
            Err(e) if e.kind() == ErrorKind::Internal => Ok(Fate::Failed),
            Err(e) => Err(format!("append answered {:?}: {e}", e.kind())),
        }
    }

    /// Acknowledges what has become durable within `patience`; returns how many still wait.
    pub fn settle(&mut self, patience: Duration) -> usize {
        let end = Instant::now() + patience;
        let mut still = Vec::new();
        for (key, sum, ticket) in std::mem::take(&mut self.waiting) {
            if self.log.wait(ticket.partition, ticket.offset, end.saturating_duration_since(Instant::now())) {
                self.events.push(Event::Ack(key, sum, None));
            } else {
                still.push((key, sum, ticket));
            }
        }
        self.waiting = still;
        self.waiting.len()
    }

    /// Sends until the log takes nothing more. Returns what is wrong, if anything: it never gets there.
    pub fn fill(&mut self, payload_bytes: usize, records_max: usize) -> Result<Option<String>, String> {
        for _ in 0..records_max {
            match self.send(payload_bytes)? {
                Fate::Taken => drop(self.settle(PATIENCE)),
                Fate::Refused => return Ok(None),
                Fate::Failed => return Ok(Some(format!("the log failed: {}", self.logs.problems().join("; ")))),
            }
        }
        Ok(Some(format!("{records_max} records of {payload_bytes} bytes were taken, more than there is space for")))
    }

    /// Waits until the log goes on by itself, and sends some records more. Returns what is wrong, if anything.
    pub fn resumes(&mut self) -> Result<Option<String>, String> {
        let end = Instant::now() + RESUME;
        let waiting = self.settle(RESUME);
        if waiting > 0 {
            return Ok(Some(format!("there is space again, yet {waiting} records are not made durable")));
        }
        let mut taken = 0;
        while taken < 10 && Instant::now() < end {
            match self.send(100)? {
                Fate::Taken => taken += 1,
                Fate::Refused => std::thread::sleep(Duration::from_millis(20)),
                Fate::Failed => break,
            }
        }
        if taken < 10 || self.settle(RESUME) > 0 {
            return Ok(Some("there is space again, yet the log does not go on".to_owned()));
        }
        Ok(None)
    }

    /// What the log says does not work.
    pub fn problems(&self) -> Vec<String> {
        self.logs.problems()
    }

    /// Closes the log; what became durable on the way is not counted.
    pub fn close(self) -> Journal {
        self.logs.close();
        Journal { dir: self.dir, events: self.events }
    }
}

/// What was sent to a log that is closed.
pub struct Journal {
    dir: PathBuf,
    events: Vec<Event>,
}

impl Journal {
    /// Opens the log anew and judges it; one that is whole is archived as well.
    pub fn violations(&self) -> Vec<String> {
        let contents = oracle::read_machine(&self.dir);
        let verdict = oracle::judge(&self.events, &contents.records, None);
        let mut violations: Vec<String> = contents.problems.into_iter().chain(verdict.violations).collect();
        if violations.is_empty() {
            violations = conservation::over_log(&self.dir).unwrap_or_else(|e| vec![e]);
        }
        violations
    }
}
