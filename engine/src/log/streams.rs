//! The logs of all streams under one directory. Invariant: a stream is one directory, open once; one that cannot be opened
//! does not keep the others from being served.
//!
//! ```text
//! <dir>/<stream>/stream.json          partitions, fixed when the stream was made
//! <dir>/<stream>/<partition>/N.log    segments; see `segment`
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use crate::contract::{Clock, Disk, LogStore, Streams};
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::limits::{PARTITIONS_MAX, SCRUB_BYTES_PER_SECOND, SEGMENT_BYTES_DEFAULT, STREAMS_MAX};
use crate::locks::{lock, read, write};
use crate::time::{Micros, SECOND};

use super::ballast::Ballast;
use super::floors::Floors;
use super::meta;
use super::pending::Pending;
use super::retention::Retained;
use super::scrub::{Scrubbed, Scrubber};
use super::store::{Held, Log};

const MIB: u64 = 1 << 20;
/// Receive times that are further ahead of the clock are worth telling.
const AHEAD_TOLD: Micros = 60 * SECOND;

/// How logs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Size at which a segment is sealed, in bytes.
    pub segment_bytes: u64,
    /// Partitions of streams made from now on.
    pub partitions_default: u32,
    /// Age from which records may be deleted; `None` keeps them.
    pub retention: Option<Duration>,
    /// Size of a stream from which its oldest records are deleted, in bytes; `None` sets no limit.
    pub retention_bytes: Option<u64>,
    /// Size of a stream from which its oldest records are deleted even if a reader needs them, in bytes; `None` sets no limit.
    pub retention_bytes_hard: Option<u64>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            partitions_default: 4,
            retention: None,
            retention_bytes: None,
            retention_bytes_hard: None,
        }
    }
}

/// The logs of all streams.
#[derive(Debug)]
pub struct Logs {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    config: LogConfig,
    streams: RwLock<BTreeMap<Name, Result<Arc<Log>>>>,
    ballast: Ballast,
    scrubber: Scrubber,
    upkeep_at: Mutex<Duration>,
    pending: Pending,
    /// How far readers had come at the start: also in streams that are gone, and are made anew.
    floors: Floors,
}

impl Logs {
    /// Opens all streams under `dir`, which is made if it does not exist. Only one process may do so at a time; the caller
    /// holds the lock of the data directory. Blocks for disk I/O. Errors: `Invalid` for the configuration; those of reading
    /// `dir`. A stream that cannot be opened is no error here: see `problems`.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: LogConfig) -> Result<Arc<Self>> {
        Self::open_read(dir, disk, clock, config, Floors::default())
    }

    /// Like `open`, for streams that somebody has read up to `floors`. A partition that ends before is damaged, and takes nothing: the
    /// offsets of what was read are not used again.
    pub fn open_read(dir: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: LogConfig, floors: Floors) -> Result<Arc<Self>> {
        if !(1..=PARTITIONS_MAX).contains(&config.partitions_default) {
            return Err(Error::invalid(format!("{} partitions are not possible", config.partitions_default))
                .hint(format!("use 1 to {PARTITIONS_MAX}")));
        }
        let context = |e: std::io::Error| Error::from(e).context(dir.display());
        disk.create_dir_all(dir).map_err(context)?;
        // Its name, too: a process that died may have made it, and not have come to sync it.
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.into_iter().chain([dir]).try_for_each(|dir| disk.sync_dir(dir)).map_err(context)?;
        if let Some(network) = disk.network(dir).map_err(context)? {
            return Err(Error::invalid(format!("the log cannot lie on {network}, as {} does", dir.display()))
                .hint("a network file system may confirm what no disk holds; give --data a directory on a disk of this machine"));
        }
        let ballast = Ballast::new(disk.clone(), dir.join("ballast"));
        if let Err(e) = ballast.relieve() {
            tracing::warn!("space that was held back beside the log could not be given up: {e}");
        }
        let (mut streams, pending) = (BTreeMap::new(), Pending::default());
        for name in list(&*disk, dir)? {
            let log = Log::open(&name, &dir.join(name.as_str()), (&disk, &clock), config.segment_bytes, &pending, &floors).map(Arc::new);
            if let Err(e) = &log {
                tracing::error!(stream = %name, "stream cannot be opened: {e}");
            }
            streams.insert(name, log);
        }
        let upkeep_at = Mutex::new(clock.monotonic());
        let (dir, streams, scrubber) = (dir.to_owned(), RwLock::new(streams), Scrubber::default());
        Ok(Arc::new(Self { dir, disk, clock, config, streams, ballast, scrubber, upkeep_at, pending, floors }))
    }

    /// The log of a stream, made if it does not exist (which blocks for disk I/O). Errors: why it could not be opened, or
    /// `Unavailable` if there are too many streams or the disk is full.
    pub fn stream(&self, name: &Name) -> Result<Arc<Log>> {
        if let Some(log) = read(&self.streams).get(name) {
            return log.clone();
        }
        let mut streams = write(&self.streams);
        if let Some(log) = streams.get(name) {
            return log.clone();
        }
        if streams.len() >= STREAMS_MAX {
            return Err(Error::unavailable(format!("stream {name} cannot be made: there are {STREAMS_MAX} already")));
        }
        let dir = self.dir.join(name.as_str());
        Log::create(name, &dir, &self.disk, &*self.clock, self.config.partitions_default)?;
        let log = Arc::new(Log::open(name, &dir, (&self.disk, &self.clock), self.config.segment_bytes, &self.pending, &self.floors)?);
        streams.insert(name.clone(), Ok(log.clone()));
        Ok(log)
    }

    /// All streams that exist, by name.
    pub fn streams(&self) -> Vec<Name> {
        read(&self.streams).keys().cloned().collect()
    }

    /// What does not work, for a person: streams that could not be opened, partitions that failed, readers that retention waits for.
    /// Empty means healthy.
    pub fn problems(&self) -> Vec<String> {
        let streams = read(&self.streams);
        let of_stream = |(name, log): (&Name, &Result<Arc<Log>>)| match log {
            Ok(log) => {
                let failures = log.failures().into_iter().map(|(p, reason)| format!("log {name}/{p}: {reason}"));
                let unread = Some(log.dropped_unread()).filter(|n| *n > 0);
                let unread = unread.map(|n| {
                    format!("log {name}: {n} records that a job or savepoint still needed were removed, as retention-bytes-hard wants it")
                });
                // Retention that has gone further has forgotten them.
                let missing = log.missing().iter().filter(|(p, gone)| log.bounds(*p).start <= gone.end).map(|(p, gone)| {
                    let (from, to) = (gone.start, gone.end);
                    format!("log {name}/{p}: offsets {from} to {to} are gone, and not by retention (see `thalweg log repair`)")
                });
                failures.chain(missing).chain(unread).chain(log.held().iter().map(|held| waiting(name, held))).collect()
            }
            Err(e) => vec![format!("log {name}: {e}")],
        };
        let mut problems: Vec<String> = streams.iter().flat_map(of_stream).collect();
        drop(streams);
        problems.extend(self.scrubber.problems());
        problems
    }

    /// By how much the newest receive time is ahead of the clock, in microseconds, and in which stream; `None` if it is in none. It is
    /// after a clock that was ahead, or while one is behind, until that has caught up.
    pub fn received_ahead(&self) -> Option<(Name, Micros)> {
        let now = self.clock.now();
        let ahead = |log: Arc<Log>| {
            let last = (0..log.partitions()).filter_map(|p| log.received_last(p)).max()?;
            Some((log.stream().clone(), last.saturating_sub(now)))
        };
        self.open_logs().into_iter().filter_map(ahead).max_by_key(|(_, ahead)| *ahead).filter(|(_, ahead)| *ahead > 0)
    }

    /// What is wrong with the clock, for a person, as far as receive times tell.
    pub fn clock_problem(&self) -> Option<String> {
        let (name, ahead) = self.received_ahead().filter(|(_, ahead)| *ahead > AHEAD_TOLD)?;
        let ahead = ahead / SECOND;
        Some(format!(
            "receive times of log {name} are {ahead} s ahead of the clock: it is behind, or it was ahead and has not caught up yet"
        ))
    }

    /// Why the process should end: the disk failed under a log that was whole at the start. A new start reads what is there.
    pub fn poisoned(&self) -> Option<String> {
        self.open_logs().iter().find_map(|log| Some(format!("log {}: {}", log.stream(), log.poisoned()?)))
    }

    /// What scrubbing has read since the start.
    pub fn scrubbed(&self) -> Scrubbed {
        self.scrubber.sums()
    }

    /// Sealed segments that scrubbing found damaged and that are still so.
    pub fn damaged_segments(&self) -> u64 {
        self.scrubber.damaged()
    }

    /// Bytes of torn tails that were cut off when the logs were opened: none was ever acknowledged.
    pub fn torn_bytes(&self) -> u64 {
        self.open_logs().iter().map(|log| log.torn_bytes()).sum()
    }

    /// Records of all streams that retention removed although a reader had still to come to them, since the start.
    pub fn dropped_unread(&self) -> u64 {
        self.open_logs().iter().map(|log| log.dropped_unread()).sum()
    }

    /// What has to be done from time to time, not before all readers have set their pins: holds space back for hard times,
    /// deletes what need not be kept, reads some sealed segments again. Blocks for disk I/O. Errors: the first of those that retention
    /// met; everything else was done all the same.
    pub fn upkeep(&self) -> Result<Retained> {
        let now = self.clock.monotonic();
        let elapsed = now.saturating_sub(std::mem::replace(&mut *lock(&self.upkeep_at), now));
        if let Err(e) = self.ballast.balance() {
            tracing::warn!("no space could be held back beside the log: {e}");
        }
        let retained = self.retain();
        let bytes = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_mul(SCRUB_BYTES_PER_SECOND) / 1_000;
        self.scrubber.go_on(&self.open_logs(), bytes);
        retained
    }

    /// Deletes what is older or more than the configuration keeps and no reader has pinned, and what is past its hard limit.
    fn retain(&self) -> Result<Retained> {
        let age = self.config.retention.map(|age| (age, self.clock.now().saturating_sub(micros(age))));
        let logs: Vec<_> = self.open_logs();
        let (mut retained, mut first) = (Retained::default(), Ok(()));
        for log in logs {
            match log.retain(age, self.config.retention_bytes, self.config.retention_bytes_hard) {
                Ok(now) => retained.add(&now),
                Err(e) => first = first.and(Err(e)),
            }
        }
        first.map(|()| retained)
    }

    /// Writes what waits and ends all writer threads. Appending answers `Unavailable` from now on; reading goes on.
    pub fn close(&self) {
        for log in self.open_logs() {
            log.close();
        }
    }

    fn open_logs(&self) -> Vec<Arc<Log>> {
        let streams = read(&self.streams);
        streams.values().filter_map(|log| log.as_ref().ok().cloned()).collect()
    }
}

impl Streams for Logs {
    /// Only streams that exist: a sender of records cannot make one.
    fn stream(&self, name: &Name) -> Result<Arc<dyn LogStore>> {
        match read(&self.streams).get(name) {
            Some(log) => Ok(log.clone()?),
            None => Err(Error::not_found(format!("there is no stream {name}")).hint("CREATE TABLE over a stream makes it")),
        }
    }
}

/// The streams under `dir`: directories with a valid name and a `stream.json`.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Name>> {
    let paths = disk.list(dir).map_err(|e| Error::from(e).context(dir.display()))?;
    let names = paths.iter().filter(|path| disk.exists(&path.join(meta::FILE_NAME)));
    Ok(names.filter_map(|path| Name::new(path.file_name()?.to_str()?).ok()).collect())
}

/// What retention waits for, and how to end that.
fn waiting(stream: &Name, held: &Held) -> String {
    let Held { partition, reader, offset, bytes } = held;
    let way_out = match (reader.strip_prefix("savepoint "), reader.split('#').next()) {
        (Some(savepoint), _) => format!("DROP SAVEPOINT '{savepoint}' if nobody needs it"),
        (None, job) => {
            let job = job.unwrap_or(reader);
            format!("SHOW JOBS tells how job {job} is doing; STOP JOB {job} and DROP JOB {job} give its place up")
        }
    };
    let size = match bytes / MIB {
        0..1024 => format!("{:.1} MiB", *bytes as f64 / MIB as f64),
        mebibytes => format!("{:.1} GiB", mebibytes as f64 / 1024.0),
    };
    format!("retention of {stream}/{partition} waits for '{reader}' at offset {offset}, {size}: {way_out}")
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
