//! The child process that is tortured: it fills a log and tells the oracle what it does. Invariant: SENT is confirmed by the
//! oracle before the record is appended, and ACK is told only after the log said that the record is durable.
//!
//! A payload follows from its device, epoch and sequence, so that two runs with one seed write the same.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use thalweg_engine::batch::{ContentType, ProducerSequence, Record};
use thalweg_engine::contract::{Clock, LogStore, Ticket};
use thalweg_engine::error::ErrorKind;
use thalweg_engine::ids::Name;
use thalweg_engine::log::{Log, LogConfig, Logs};
use thalweg_engine::system::SystemClock;

use crate::disk::{FreeSpace, TortureDisk};
use crate::oracle::{Client, Digest, Event, Key, digest};

/// Stream that everything is written to.
pub const STREAM: &str = "torture";
/// Exit code when the log failed.
pub const EXIT_LOG_FAILED: u8 = 3;
/// The seeded bug of this process itself: it acknowledges as soon as a record was taken.
pub const ACK_ON_APPEND: &str = "ack-on-append";

const WAIT: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_millis(5);

/// What to write, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Directory of the log.
    #[arg(long)]
    pub dir: PathBuf,
    /// Socket of the oracle.
    #[arg(long)]
    pub oracle: PathBuf,
    /// Epoch of all devices; a new one for each run over the same journal.
    #[arg(long)]
    pub epoch: u32,
    /// Seed of sizes and contents.
    #[arg(long)]
    pub seed: u64,
    /// Devices that send.
    #[arg(long)]
    pub devices: u32,
    /// Threads that send; a device belongs to one.
    #[arg(long)]
    pub threads: u32,
    /// Partitions of the stream, if it is made now.
    #[arg(long)]
    pub partitions: u32,
    /// Size at which segments are sealed.
    #[arg(long)]
    pub segment_bytes: u64,
    /// Records of each thread and session; without it, until the process is killed.
    #[arg(long)]
    pub records: Option<u64>,
    /// How often the log is opened, written and closed.
    #[arg(long)]
    pub sessions: u32,
    /// Most records that are sent together.
    #[arg(long)]
    pub batch_max: u64,
    /// Largest payload in bytes; most are far smaller.
    #[arg(long)]
    pub payload_bytes_max: usize,
    /// Seeded bug.
    #[arg(long)]
    pub bug: Option<String>,
    /// The disk does not say how much is free.
    #[arg(long)]
    pub free_unknown: bool,
    /// Block log of the disk; its number of writes is the position of an acknowledgement.
    #[arg(long)]
    pub block_log: Option<PathBuf>,
    /// The offset of the record is the position of an acknowledgement.
    #[arg(long)]
    pub ack_offsets: bool,
    /// The time, in microseconds, is the position of an acknowledgement.
    #[arg(long)]
    pub ack_times: bool,
}

impl Options {
    /// The usual load over the log in `dir`.
    pub fn new(dir: &Path, oracle: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            oracle: oracle.to_owned(),
            epoch: 1,
            seed: 1,
            devices: 8,
            threads: 2,
            partitions: 2,
            segment_bytes: 128 * 1024,
            records: None,
            sessions: 1,
            batch_max: 8,
            payload_bytes_max: 20_000,
            bug: None,
            free_unknown: false,
            block_log: None,
            ack_offsets: false,
            ack_times: false,
        }
    }

    /// As arguments of the child process.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["writer".to_owned()];
        let mut add = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        add("dir", self.dir.display().to_string());
        add("oracle", self.oracle.display().to_string());
        add("epoch", self.epoch.to_string());
        add("seed", self.seed.to_string());
        add("devices", self.devices.to_string());
        add("threads", self.threads.to_string());
        add("partitions", self.partitions.to_string());
        add("segment-bytes", self.segment_bytes.to_string());
        add("sessions", self.sessions.to_string());
        add("batch-max", self.batch_max.to_string());
        add("payload-bytes-max", self.payload_bytes_max.to_string());
        let records = self.records.map(|records| ("records", records.to_string()));
        let bug = self.bug.as_ref().map(|bug| ("bug", bug.clone()));
        let block_log = self.block_log.as_ref().map(|path| ("block-log", path.display().to_string()));
        records.into_iter().chain(bug).chain(block_log).for_each(|(name, value)| add(name, value));
        let flags = [("--free-unknown", self.free_unknown), ("--ack-offsets", self.ack_offsets), ("--ack-times", self.ack_times)];
        arguments.extend(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_owned()));
        arguments
    }
}

/// Why a run ended early.
enum Stop {
    /// The log failed, as it should after an error.
    Log(String),
    /// Something else than the log.
    Other(String),
}

/// Runs as the child process; returns its exit code.
pub fn main(options: &Options) -> u8 {
    let sequence = AtomicU64::new(0);
    for session in 0..options.sessions {
        match run_session(options, session, &sequence) {
            Ok(()) => {}
            Err(Stop::Log(reason)) => {
                eprintln!("writer: the log failed: {reason}");
                return EXIT_LOG_FAILED;
            }
            Err(Stop::Other(reason)) => {
                eprintln!("writer: {reason}");
                return 2;
            }
        }
    }
    0
}

fn run_session(options: &Options, session: u32, sequence: &AtomicU64) -> Result<(), Stop> {
    let log_failed = |e: thalweg_engine::error::Error| Stop::Log(e.to_string());
    let bug = options.bug.as_deref().filter(|bug| *bug != ACK_ON_APPEND);
    let free = if options.free_unknown { FreeSpace::Unknown } else { FreeSpace::Told };
    let disk = TortureDisk::new(bug, free).map_err(Stop::Other)?;
    let config = LogConfig { segment_bytes: options.segment_bytes, partitions_default: options.partitions, ..LogConfig::default() };
    let logs = Logs::open(&options.dir, Arc::new(disk), Arc::new(SystemClock::new()), config).map_err(log_failed)?;
    let name = Name::new(STREAM).map_err(log_failed)?;
    let log = logs.stream(&name).map_err(log_failed)?;
    problems(&logs)?;
    let ended: Vec<_> = std::thread::scope(|scope| {
        let sender = |thread| Sender::new(options, session, thread, log.clone()).and_then(|mut sender| sender.run(sequence));
        let threads: Vec<_> = (0..options.threads).map(|thread| scope.spawn(move || sender(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Stop::Other("a sender panicked".to_owned())))).collect()
    });
    logs.close();
    ended.into_iter().collect::<Result<Vec<()>, Stop>>()?;
    problems(&logs)
}

fn problems(logs: &Logs) -> Result<(), Stop> {
    let problems = logs.problems();
    if problems.is_empty() { Ok(()) } else { Err(Stop::Log(problems.join("; "))) }
}

/// One thread that sends.
struct Sender<'a> {
    options: &'a Options,
    log: Arc<Log>,
    oracle: Client,
    block_log: Option<File>,
    devices: Vec<String>,
    random: StdRng,
}

/// A record on its way.
struct Sent {
    key: Key,
    digest: Digest,
    payload: Vec<u8>,
}

impl<'a> Sender<'a> {
    fn new(options: &'a Options, session: u32, thread: u32, log: Arc<Log>) -> Result<Self, Stop> {
        let oracle = Client::connect(&options.oracle).map_err(|e| Stop::Other(format!("oracle: {e}")))?;
        let open = |path: &PathBuf| File::open(path).map_err(|e| Stop::Other(format!("{}: {e}", path.display())));
        let block_log = options.block_log.as_ref().map(open).transpose()?;
        let devices = (0..options.devices).filter(|d| d % options.threads == thread).map(|d| format!("device-{d}")).collect();
        let random = StdRng::seed_from_u64(options.seed ^ u64::from(session) << 32 ^ u64::from(thread) << 48);
        Ok(Self { options, log, oracle, block_log, devices, random })
    }

    fn run(&mut self, sequence: &AtomicU64) -> Result<(), Stop> {
        let mut left = self.options.records.unwrap_or(u64::MAX);
        while left > 0 {
            let count = self.random.random_range(1..=self.options.batch_max).min(left);
            let batch: Vec<_> = (0..count).map(|_| self.next_record(sequence)).collect();
            let events: Vec<_> = batch.iter().map(|sent| Event::Sent(sent.key.clone(), sent.digest)).collect();
            self.oracle.sent(&events).map_err(|e| Stop::Other(format!("oracle: {e}")))?;
            self.send(&batch)?;
            left -= count;
        }
        self.oracle.settle().map_err(|e| Stop::Other(format!("oracle: {e}")))
    }

    fn next_record(&mut self, sequence: &AtomicU64) -> Sent {
        let device = self.devices[self.random.random_range(0..self.devices.len())].clone();
        let key = Key { device, epoch: self.options.epoch, sequence: sequence.fetch_add(1, Ordering::Relaxed) + 1 };
        let payload = payload(&key, self.options.payload_bytes_max);
        Sent { digest: digest(&payload), key, payload }
    }

    /// Appends a batch, waits for each record, and acknowledges it.
    fn send(&mut self, batch: &[Sent]) -> Result<(), Stop> {
        let mut tickets = Vec::with_capacity(batch.len());
        for sent in batch {
            let record = Record {
                device: &sent.key.device,
                topic: &format!("devices/{}/{STREAM}", sent.key.device),
                content_type: ContentType::Binary,
                producer: Some(ProducerSequence { epoch: sent.key.epoch, sequence: sent.key.sequence }),
                payload: &sent.payload,
            };
            match self.log.append(&record) {
                Ok(ticket) => tickets.push((sent, ticket)),
                // Full or too fast: this record stays behind, as one of a device that gave up.
                Err(e) if e.kind() == ErrorKind::Unavailable => std::thread::sleep(PAUSE),
                Err(e) => return Err(Stop::Log(e.to_string())),
            }
            if self.options.bug.as_deref() == Some(ACK_ON_APPEND)
                && let Some((sent, ticket)) = tickets.pop()
            {
                self.acknowledge(sent, ticket)?;
            }
        }
        for (sent, ticket) in tickets {
            while !self.log.wait(ticket.partition, ticket.offset, WAIT) {
                if let Some(reason) = &self.log.progress(ticket.partition).borrow().failed {
                    return Err(Stop::Log(reason.to_string()));
                }
            }
            self.acknowledge(sent, ticket)?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, sent: &Sent, ticket: Ticket) -> Result<(), Stop> {
        let position = match &self.block_log {
            Some(file) => Some(block_log_entries(file).map_err(|e| Stop::Other(format!("block log: {e}")))?),
            None if self.options.ack_times => Some(SystemClock::new().now().unsigned_abs()),
            None => self.options.ack_offsets.then_some(ticket.offset),
        };
        let event = Event::Ack(sent.key.clone(), sent.digest, position);
        self.oracle.tell(&[event]).map_err(|e| Stop::Other(format!("oracle: {e}")))
    }
}

/// Entries of a block log so far; see `block_log`.
fn block_log_entries(file: &File) -> std::io::Result<u64> {
    let mut count = [0; 8];
    file.read_exact_at(&mut count, 16)?;
    Ok(u64::from_le_bytes(count))
}

/// The payload of a record: small mostly, at times large, never compressible.
fn payload(key: &Key, bytes_max: usize) -> Vec<u8> {
    let name: u64 = key.device.bytes().fold(u64::from(key.epoch), |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
    let mut random = StdRng::seed_from_u64(name ^ key.sequence << 20);
    let largest = if random.random_bool(0.03) { bytes_max } else { bytes_max.min(300) };
    let mut payload = vec![0; random.random_range(0..=largest)];
    random.fill_bytes(&mut payload);
    payload
}
