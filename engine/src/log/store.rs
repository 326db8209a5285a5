//! The log of one stream. Invariant: a device's records all go to one partition, for ever, because the number of partitions
//! is fixed when the stream is made.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::batch::{Record, Records};
use crate::contract::{Clock, Disk, LogStore, Progress, Ticket};
use crate::error::{Error, Result};
use crate::ids::{self, Name, Offset};
use crate::locks::lock;
use crate::time::Micros;

use super::ahead::{Ahead, Maker};
use super::appender::{Appender, Place, Uuids};
use super::floors::Floors;
use super::live::Segment;
use super::meta::StreamMeta;
use super::open::{self, Opened};
use super::partition::Partition;
use super::pending::Pending;
use super::retention::{Policy, Retained, share};
use super::{producer_snapshot, segment, writer};

/// What a reader keeps from retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// In which partition.
    pub(super) partition: ids::Partition,
    /// The reader that is furthest behind.
    pub(super) reader: String,
    /// From where on it keeps records.
    pub(super) offset: Offset,
    /// Bytes that are kept for it and for others that are behind.
    pub(super) bytes: u64,
}

/// The log of one stream, open.
#[derive(Debug)]
pub struct Log {
    stream: Name,
    partitions: Vec<Arc<Partition>>,
    /// Those that were damaged or could not be read when they were opened: they are read as far as that goes, and take nothing.
    damaged: BTreeSet<ids::Partition>,
    disk: Arc<dyn Disk>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    pins: Mutex<BTreeMap<String, BTreeMap<ids::Partition, Offset>>>,
    maker: Mutex<Option<Maker>>,
    /// Records that retention removed although a reader had still to come to them, since the start.
    unread: AtomicU64,
    /// See `torn_bytes`.
    torn_bytes: u64,
    /// See `missing`.
    missing: Vec<(ids::Partition, Range<Offset>)>,
}

impl Log {
    /// Makes the files of a stream in `dir`; its `stream.json` comes last.
    pub(super) fn create(stream: &Name, dir: &Path, disk: &Arc<dyn Disk>, clock: &dyn Clock, partitions: u32) -> Result<()> {
        for partition in 0..partitions {
            let partition_dir = segment::partition_dir(dir, partition);
            disk.create_dir_all(&partition_dir).map_err(|e| Error::from(e).context(partition_dir.display()))?;
            let listing = open::list(&**disk, &partition_dir)?;
            if let Some((_, path)) = listing.segments.first() {
                let bytes = disk.open(path, crate::contract::OpenMode::Read).and_then(|f| f.len())?;
                if bytes > segment::SEGMENT_HEADER_BYTES as u64 || listing.segments.len() > 1 {
                    return Err(Error::corrupt(format!("stream {stream} holds records but {} is missing", super::meta::FILE_NAME))
                        .hint("bring the file back from a copy, or move the directory of the stream away"));
                }
                continue;
            }
            let place = Place { disk: disk.clone(), dir: partition_dir, partition, segment_bytes: 0, uuids: Uuids::Random, ahead: None };
            Appender::create_next(place, 0, uuid::Uuid::nil()).create().map_err(|failure| match failure {
                super::appender::Failure::Full(e) => Error::from(e).context(format!("stream {stream}")),
                super::appender::Failure::Fatal(reason) => Error::internal(reason),
            })?;
        }
        // An attempt before this one may have ended after it made the name of the stream, and before it synced it.
        let parent = dir.parent().unwrap_or(dir);
        disk.sync_dir(parent).map_err(|e| Error::from(e).context(parent.display()))?;
        StreamMeta::new(stream.clone(), partitions, clock.now()).write(&**disk, dir)
    }

    /// Opens the log of a stream in `dir`. A partition that is damaged is open for reading what lies before the damage, and
    /// says why it takes nothing; so does one that ends before what `floors` have read.
    pub(super) fn open(
        stream: &Name,
        dir: &Path,
        (disk, clock): (&Arc<dyn Disk>, &Arc<dyn Clock>),
        segment_bytes: u64,
        pending: &Pending,
        floors: &Floors,
    ) -> Result<Self> {
        let meta = StreamMeta::read(&**disk, dir, stream)?;
        disk.sync_dir(dir).map_err(|e| Error::from(e).context(dir.display()))?;
        let mut log = Self {
            stream: stream.clone(),
            partitions: Vec::new(),
            damaged: BTreeSet::new(),
            disk: disk.clone(),
            threads: Mutex::default(),
            pins: Mutex::default(),
            maker: Mutex::new(None),
            unread: AtomicU64::new(0),
            torn_bytes: 0,
            missing: Vec::new(),
        };
        let maker = Maker::start(stream.as_str())?;
        for number in 0..meta.partitions {
            let partition_dir = segment::partition_dir(dir, number);
            let ahead = Some(Ahead::new(disk.clone(), &partition_dir, &maker));
            let place = Place { disk: disk.clone(), dir: partition_dir, partition: number, segment_bytes, uuids: Uuids::Random, ahead };
            let opened = open::open(&place, floors.of(stream, number)).unwrap_or_else(|e| Opened {
                segments: Default::default(),
                next: 0,
                received_last: Micros::MIN,
                torn_bytes: 0,
                missing: 0..0,
                end: Err(e.to_string()),
            });
            log.torn_bytes += opened.torn_bytes;
            if !opened.missing.is_empty() {
                tracing::error!(log = %format!("{stream}/{number}"), from = opened.missing.start, to = opened.missing.end,
                    "the oldest segments are gone, and retention did not remove them");
                log.missing.push((number, opened.missing));
            }
            let label = (format!("{stream}/{number}"), number);
            let state = (opened.next, opened.received_last);
            let partition = Arc::new(Partition::new(label, disk.clone(), clock.clone(), opened.segments, state, pending.clone()));
            match opened.end {
                Ok(appender) => match producer_snapshot::recover(&partition, &place.dir) {
                    Ok(recovered) => {
                        partition.set_producers(recovered.producers);
                        let thread = writer::spawn(partition.clone(), appender, &place, recovered.snapshot_due)?;
                        lock(&log.threads).push(thread);
                    }
                    Err(e) => {
                        log.damaged.insert(number);
                        partition.fail(&e.to_string());
                    }
                },
                Err(reason) => {
                    log.damaged.insert(number);
                    partition.fail(&reason);
                }
            }
            log.partitions.push(partition);
        }
        *lock(&log.maker) = Some(maker);
        Ok(log)
    }

    /// Its stream.
    pub fn stream(&self) -> &Name {
        &self.stream
    }

    /// Partitions that failed, each with the reason. Empty means healthy.
    pub fn failures(&self) -> Vec<(ids::Partition, Arc<str>)> {
        self.partitions.iter().filter_map(|p| Some((p.number, p.failure()?))).collect()
    }

    /// Why a partition that was whole at the start takes nothing any more: its disk failed, and only a new start, which looks
    /// at what the disk really holds, can tell what is there.
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.partitions.iter().filter(|p| !self.damaged.contains(&p.number)).find_map(|p| p.failure())
    }

    /// The disk it lies on.
    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Segments that are complete, by partition and offset.
    pub(super) fn sealed(&self) -> Vec<(ids::Partition, Arc<Segment>)> {
        let of = |p: &Arc<Partition>| p.segments_now().into_iter().filter(|s| s.is_sealed()).map(|s| (p.number, s)).collect::<Vec<_>>();
        self.partitions.iter().flat_map(of).collect()
    }

    /// Bytes that it takes on disk, zeros ahead not counted.
    pub fn bytes(&self) -> u64 {
        self.partitions.iter().flat_map(|p| p.segments_now()).map(|s| s.bytes()).sum()
    }

    /// Writes what waits, and ends the writer threads. Appending answers `Unavailable` from now on.
    pub(super) fn close(&self) {
        for partition in &self.partitions {
            partition.close();
        }
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // A panic of the writer has already failed its partition.
            let _ = thread.join();
        }
        if let Some(maker) = lock(&self.maker).take() {
            maker.stop();
        }
    }

    /// Records that retention removed although a reader had still to come to them, since the start.
    pub fn dropped_unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// Bytes of torn tails that were cut off when it was opened: none was ever acknowledged.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Offsets whose segments somebody else than retention had removed when it was opened, by partition.
    pub(super) fn missing(&self) -> &[(ids::Partition, Range<Offset>)] {
        &self.missing
    }

    /// What is kept for readers that are far behind, by partition, as retention found it the last time.
    pub(super) fn held(&self) -> Vec<Held> {
        let pins = lock(&self.pins);
        let of = |p: &Arc<Partition>| {
            let bytes = Some(p.held.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)?;
            let readers = pins.iter().filter_map(|(reader, pins)| Some((reader, *pins.get(&p.number)?)));
            let (reader, offset) = readers.min_by_key(|(_, offset)| *offset)?;
            Some(Held { partition: p.number, reader: reader.clone(), offset, bytes })
        };
        self.partitions.iter().filter_map(of).collect()
    }

    /// Deletes old segments of all partitions; `bytes_max`, and `bytes_hard` that readers do not hold back, are for the whole stream.
    /// Errors: the first one; the other partitions have had their turn.
    pub(super) fn retain(&self, age: Option<(Duration, Micros)>, bytes_max: Option<u64>, bytes_hard: Option<u64>) -> Result<Retained> {
        let (mut retained, mut first) = (Retained::default(), Ok(()));
        let bytes_of = |p: &Arc<Partition>| p.segments_now().iter().map(|s| s.bytes()).sum::<u64>();
        let sizes: Vec<u64> = self.partitions.iter().map(bytes_of).collect();
        let (bytes_max, bytes_hard) = (bytes_max.map(|bytes| share(&sizes, bytes)), bytes_hard.map(|bytes| share(&sizes, bytes)));
        // What failed since the start is left as it is: the next start looks at what the disk really holds.
        for partition in self.partitions.iter().filter(|p| self.damaged.contains(&p.number) || p.failure().is_none()) {
            let pinned_from = lock(&self.pins).values().filter_map(|pins| pins.get(&partition.number)).min().copied();
            let policy = Policy { age, bytes_max, bytes_hard, pinned_from: pinned_from.unwrap_or(Offset::MAX) };
            let now = match partition.retain(&policy) {
                Ok(now) => now,
                Err(e) => {
                    first = first.and(Err(e));
                    continue;
                }
            };
            if now.unread > 0 {
                self.unread.fetch_add(now.unread, Ordering::Relaxed);
                tracing::error!(stream = %self.stream, partition = partition.number, records = now.unread,
                    "records were removed that a job or savepoint still needs: the stream is past retention-bytes-hard");
            }
            retained.add(&now);
        }
        first.map(|()| retained)
    }

    fn partition(&self, number: ids::Partition) -> Result<&Arc<Partition>> {
        let missing = || Error::invalid(format!("stream {} has no partition {number}", self.stream));
        self.partitions.get(number as usize).ok_or_else(missing)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl LogStore for Log {
    fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    fn append(&self, record: &Record<'_>) -> Result<Ticket> {
        let partition = ids::partition_of(record.device, self.partitions());
        let (offset, arrival) = self.partition(partition)?.append(record)?;
        Ok(Ticket { partition, offset, arrival })
    }

    fn is_scarce(&self, partition: ids::Partition) -> bool {
        self.partition(partition).is_ok_and(|p| p.is_scarce())
    }

    fn progress(&self, partition: ids::Partition) -> watch::Receiver<Progress> {
        match self.partition(partition) {
            Ok(partition) => partition.progress(),
            Err(e) => watch::Sender::new(Progress { durable: 0, failed: Some(e.to_string().into()) }).subscribe(),
        }
    }

    fn bounds(&self, partition: ids::Partition) -> Range<Offset> {
        self.partition(partition).map_or(0..0, |p| {
            // The start first: it only grows, and never beyond the durable offset.
            let start = p.start();
            start..p.durable()
        })
    }

    fn read(&self, partition: ids::Partition, from: Offset) -> Result<Option<Records>> {
        self.partition(partition)?.read(from)
    }

    fn wait(&self, partition: ids::Partition, from: Offset, timeout: Duration) -> bool {
        self.partition(partition).is_ok_and(|p| p.wait(from, timeout))
    }

    fn offset_at(&self, partition: ids::Partition, time: Micros) -> Result<Offset> {
        self.partition(partition)?.offset_at(time)
    }

    fn received_last(&self, partition: ids::Partition) -> Option<Micros> {
        self.partition(partition).ok()?.received_last()
    }

    fn pin(&self, name: &str, partition: ids::Partition, offset: Offset) {
        lock(&self.pins).entry(name.to_owned()).or_default().insert(partition, offset);
    }

    fn overdue(&self, partition: ids::Partition) -> Offset {
        self.partition(partition).map_or(0, |p| p.overdue.load(Ordering::Relaxed))
    }

    fn unpin(&self, name: &str) {
        lock(&self.pins).remove(name);
    }
}
