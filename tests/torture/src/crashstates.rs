//! T3: every state that a disk may be in after a power cut is built, mounted and judged. Invariant: in each of them the file
//! system mounts, the log opens without a problem, and holds every record that was acknowledged up to there.
//!
//! ```text
//! writer ─► ext4 ─► loop ─► FUSE export of qemu-storage-daemon ─► image
//!                                          └─► block log: every write and flush in order
//! state  =  all entries up to a flush  [+ any part of the writes before the next flush, in pieces of 4096 or 512 bytes]
//! ```
//!
//! An acknowledgement carries the number of entries that the block log had when it was given: states that hold as many must
//! hold the record.
//!
//! ext4 orders data before metadata if the seed is even. A footer that is not synced shows only if it does not, for else the
//! footer is written with the cut of its file. A missing sync of a directory does not show at all: on ext4 the next fdatasync
//! that makes a file longer commits the whole journal, names included.

mod block_log;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Canary, Report, Settings, Test};
use crate::layout;
use crate::machine::{self, Mounted, Need, Owned};
use crate::oracle::{self, Event};
use crate::rig::Journal;
use crate::writer::{EXIT_LOG_FAILED, Options, STREAM};

use block_log::BlockLog;

const IMAGE_MEBIBYTES: u64 = 16;
const BLOCK_LOG_MEBIBYTES: u64 = 512;
const PATIENCE: Duration = Duration::from_secs(60);

/// The test.
pub static TEST: Test = Test {
    name: "crashstates",
    about: "every state of a disk at and between its flushes, mounted and judged",
    unit: "states",
    count: 1000,
    gate: Some(40),
    needs: &[
        Need::Root,
        Need::Program("mkfs.ext4"),
        Need::Program("mount"),
        Need::Program("qemu-storage-daemon"),
        Need::Program("setpriv"),
        Need::File("/dev/fuse"),
        Need::File("/dev/loop-control"),
    ],
    canaries: &[
        Canary { name: "ack-before-sync", about: "a sync returns at once and is done 30 ms later", count: 60 },
        Canary { name: "no-fdatasync", about: "files are never synced", count: 60 },
        Canary { name: "no-footer-sync", about: "the footer of a sealed segment is not synced", count: 60 },
    ],
    run,
};

/// A crash state to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// Entries of the block log that are all there.
    entries: usize,
    /// Seed of the choice among the writes that follow; `None` takes none of them.
    choice: Option<u64>,
}

fn run(settings: &Settings) -> Result<Report, String> {
    let memory = machine::scratch()?;
    let base = record(settings, memory.path())?;
    let log = BlockLog::load(&memory.path().join("block.log"))?;
    let events = oracle::load(&Journal::new(memory.path()).file())?;
    let states = plan(&log, settings);
    let start = Instant::now();
    let report = judge_all(memory.path(), &base, &log, &events, &states);
    let seconds = start.elapsed().as_secs_f64();
    let mut report = report?;
    let acks = events.iter().filter(|event| matches!(event, Event::Ack(..))).count();
    report.notes.push(format!(
        "data={}: {} writes and {} flushes of {acks} acknowledged records; {:.0} states a second",
        data_mode(settings),
        log.writes(),
        log.boundaries().len(),
        states.len() as f64 / seconds
    ));
    Ok(report)
}

/// Runs a writer over a recorded disk; returns the image as it was before.
fn record(settings: &Settings, memory: &Path) -> Result<Vec<u8>, String> {
    let path = |name: &str| memory.join(name);
    let (image, export, block_log) = (path("image"), path("export"), path("block.log"));
    machine::make_ext4(&image, IMAGE_MEBIBYTES)?;
    let failed = |e: std::io::Error| format!("{}: {e}", memory.display());
    let base = std::fs::read(&image).map_err(failed)?;
    std::fs::File::create(&block_log).and_then(|file| file.set_len(BLOCK_LOG_MEBIBYTES << 20)).map_err(failed)?;
    std::fs::File::create(&export).map_err(failed)?;
    let mut daemon = start_daemon(&image, &block_log, &export)?;
    let options = format!("loop,data={}", data_mode(settings));
    let disk = Mounted::new(&["-o", &options, &export.display().to_string()], &path("disk"))?;
    let journal = Journal::new(memory);
    let options = Options {
        seed: settings.seed,
        devices: 4,
        segment_bytes: 16 * 1024,
        records: Some(40),
        batch_max: 4,
        payload_bytes_max: 6_000,
        bug: settings.bug.clone(),
        free_unknown: true,
        block_log: Some(block_log),
        ..Options::new(&path("disk").join("log"), &journal.socket())
    };
    let mut ended = journal.start(&options, &[])?.wait()?;
    if ended.status.success() {
        // The second writer finds a torn tail, so that cutting it off is a part of what is recorded.
        layout::tear(&options.dir.join(STREAM).join("000")).map_err(failed)?;
        ended = journal.start(&Options { epoch: 2, ..options }, &[])?.wait()?;
    }
    disk.unmount()?;
    let _ = machine::run("kill", &["-TERM", &daemon.child().id().to_string()]);
    daemon.wait_for(PATIENCE)?;
    // A seeded bug may be so bad that the writer itself stumbles over it.
    let fine = ended.status.success() || settings.bug.is_some() && ended.status.code() == Some(i32::from(EXIT_LOG_FAILED));
    if fine { Ok(base) } else { Err(format!("the writer ended with {}: {}", ended.status, ended.said)) }
}

/// How ext4 orders data: by default, before the names and lengths that need them; or not at all, which is harder for a log.
fn data_mode(settings: &Settings) -> &'static str {
    if settings.seed % 2 == 1 || settings.has("no-footer-sync") { "writeback" } else { "ordered" }
}

/// Exports the image as a file that logs every block written to it.
fn start_daemon(image: &Path, block_log: &Path, export: &Path) -> Result<Owned, String> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-storage-daemon"]);
    command.arg("--blockdev").arg(format!("driver=file,node-name=image,filename={}", image.display()));
    command.arg("--blockdev").arg(format!("driver=file,node-name=log,filename={}", block_log.display()));
    command.args(["--blockdev", "driver=blklogwrites,node-name=both,file=image,log=log,log-sector-size=512,log-super-update-interval=1"]);
    command.arg("--export").arg(format!("type=fuse,id=export,node-name=both,mountpoint={},writable=on", export.display()));
    let mut daemon = Owned::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()))?;
    let end = Instant::now() + PATIENCE;
    while std::fs::metadata(export).map_or(0, |m| m.len()) == 0 {
        if Instant::now() > end || daemon.wait_for(Duration::ZERO)?.is_some() {
            daemon.kill()?;
            return Err(format!("qemu-storage-daemon does not export: {}", daemon.said()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(daemon)
}

/// As many states as wanted: half of them exactly at a flush, as far as there are flushes, the others with a part of the
/// writes that follow it.
fn plan(log: &BlockLog, settings: &Settings) -> Vec<State> {
    let boundaries = log.boundaries();
    let mut random = StdRng::seed_from_u64(settings.seed);
    let count = usize::try_from(settings.count).unwrap_or(usize::MAX);
    let exact = boundaries.len().min(count.div_ceil(2));
    let mut states: Vec<State> =
        (0..exact).map(|n| State { entries: boundaries[n * boundaries.len() / exact.max(1)], choice: None }).collect();
    while states.len() < count && !boundaries.is_empty() {
        let entries = boundaries[random.random_range(0..boundaries.len())];
        states.push(State { entries, choice: Some(random.random()) });
    }
    states.sort();
    states
}

fn judge_all(memory: &Path, base: &[u8], log: &BlockLog, events: &[Event], states: &[State]) -> Result<Report, String> {
    // Mounting waits for the kernel more than it computes.
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let chunk = states.len().div_ceil(threads * 4).max(1);
    let all = Mutex::new((Report::default(), None));
    let work = |thread: usize| {
        let place = memory.join(format!("state-{thread}"));
        loop {
            let from = next.fetch_add(1, Ordering::Relaxed) * chunk;
            let Some(own) = states.get(from..states.len().min(from + chunk)).filter(|own| !own.is_empty()) else { return };
            let result = judge_some(&place, base, log, events, own);
            let mut all = all.lock().expect("no thread panics while it holds the report");
            match result {
                Ok(found) => {
                    all.0.runs += found.runs;
                    all.0.violations.extend(found.violations);
                }
                Err(e) => all.1 = Some(e),
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || work(thread));
        }
    });
    match all.into_inner().expect("no thread panics while it holds the report") {
        (_, Some(e)) => Err(e),
        (report, None) => Ok(report),
    }
}

/// Builds and judges states in the order of their entries, each from the one before.
fn judge_some(place: &Path, base: &[u8], log: &BlockLog, events: &[Event], states: &[State]) -> Result<Report, String> {
    std::fs::create_dir_all(place).map_err(|e| format!("{}: {e}", place.display()))?;
    let (image, point): (PathBuf, PathBuf) = (place.join("image"), place.join("disk"));
    let (mut bytes, mut applied, mut report) = (base.to_vec(), 0, Report::default());
    for state in states {
        (applied..state.entries).for_each(|entry| log.apply(entry, &mut bytes));
        applied = state.entries;
        let mut crashed = bytes.clone();
        if let Some(seed) = state.choice {
            log.apply_some(state.entries, &mut StdRng::seed_from_u64(seed), &mut crashed);
        }
        std::fs::write(&image, &crashed).map_err(|e| format!("{}: {e}", image.display()))?;
        report.runs += 1;
        let name = format!("state of {} entries, choice {:?}", state.entries, state.choice);
        match Mounted::image(&image, &point) {
            Ok(disk) => {
                let contents = oracle::read_machine(&point.join("log"));
                disk.unmount()?;
                let verdict = oracle::judge(events, &contents.records, Some(state.entries as u64));
                report.blame(name, contents.problems.into_iter().chain(verdict.violations));
            }
            Err(e) => report.blame(name, [format!("the file system does not mount: {e}")]),
        }
    }
    Ok(report)
}
