//! T1b: the writer is killed at every system call that changes a file, one after the other. Invariant: whatever a process
//! leaves behind between two such calls opens without a problem, keeps every promise, and can be gone on with.
//!
//! strace counts calls by thread (and sends no signal with `--seccomp-bpf`). So each call is tried on its own until the writer
//! ends unharmed: for a stream that is made and for one whose torn tail is cut off, both of which the main thread does, and
//! for one that was closed, where all is done by the thread of its only partition.

use std::ffi::OsStr;
use std::path::Path;

use crate::conservation;
use crate::harness::{Canary, Report, Settings, Test};
use crate::layout;
use crate::machine::{self, Need};
use crate::rig::Journal;
use crate::writer::{Options, STREAM};

/// Calls that change files or promise that they last. Names that a machine does not have are marked.
const CALLS: &[&str] =
    &["pwrite64", "ftruncate", "?rename,?renameat,?renameat2", "openat", "?unlink,unlinkat", "?mkdir,mkdirat", "fdatasync", "fsync"];
/// No workload here has as many calls of one kind on a thread.
const POINTS_MAX: u64 = 1000;

/// The test.
pub static TEST: Test = Test {
    name: "killpoints",
    about: "kill -9 of the writer at each call that changes a file",
    unit: "kill points",
    count: u64::MAX,
    gate: Some(u64::MAX),
    needs: &[Need::Program("strace")],
    canaries: &[
        Canary { name: "footer-late", about: "the footer of a segment is written after the next segment has begun", count: POINTS_MAX },
        Canary { name: "write-behind", about: "writes stay in the memory of the process for a while", count: POINTS_MAX },
    ],
    run,
};

/// What the writer finds when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing.
    Empty,
    /// A log with a torn tail.
    Torn,
    /// A log that was closed.
    Written,
}

fn run(settings: &Settings) -> Result<Report, String> {
    let mut report = Report::default();
    for calls in CALLS {
        for start in [Start::Empty, Start::Torn, Start::Written] {
            let mut point = 1;
            while report.runs < settings.count && point <= POINTS_MAX && kill_at(settings, calls, start, point, &mut report)? {
                point += 1;
            }
            if settings.bug.is_some() && !report.violations.is_empty() {
                return Ok(report);
            }
        }
    }
    Ok(report)
}

/// Kills a writer at the call of this number. Returns whether it lived so long.
fn kill_at(settings: &Settings, calls: &str, start: Start, point: u64, report: &mut Report) -> Result<bool, String> {
    let (memory, elsewhere) = (machine::scratch()?, machine::scratch()?);
    let (journal, dir) = (Journal::new(elsewhere.path()), memory.path().join("log"));
    // Making a stream of several partitions has more steps.
    let partitions = if start == Start::Empty { 3 } else { 1 };
    let options = |epoch, bug| Options { partitions, ..options(settings, &journal, &dir, epoch, bug) };
    if start != Start::Empty {
        let ended = journal.start(&options(1, None), &[])?.wait()?;
        if !ended.status.success() {
            return Err(format!("the first writer ended with {}: {}", ended.status, ended.said));
        }
    }
    if start == Start::Torn && !layout::tear(&dir.join(STREAM).join("000")).map_err(|e| format!("{}: {e}", dir.display()))? {
        return Err("there is no tail to tear".to_owned());
    }
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"];
    let mut wrapper: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
    wrapper.push(format!("inject={calls}:signal=KILL:when={point}"));
    let ended = journal.start(&options(2, settings.bug.as_deref()), &wrapper)?.wait()?;
    if ended.status.success() {
        return Ok(false);
    }
    report.runs += 1;
    let place = format!("{calls} number {point}, {start:?}");
    // The oracle may have been told nothing yet, and the log may not have been begun.
    if journal.file().exists() && dir.exists() {
        // A copy, so that the next writer is the first to see what was left behind.
        let copy = memory.path().join("copy");
        machine::run("cp", &[OsStr::new("-a"), dir.as_os_str(), copy.as_os_str()])?;
        report.blame(&place, journal.violations(&copy, None)?);
    }
    let ended = journal.start(&options(3, None), &[])?.wait()?;
    if !ended.status.success() {
        report.blame(&place, [format!("it does not go on: {}", ended.said)]);
    }
    report.blame(&place, journal.violations(&dir, None)?.into_iter().map(|violation| format!("later: {violation}")));
    // It takes longer than all the rest, and other points leave logs like this one.
    if calls == CALLS[0] && point == 1 {
        report.blame(&place, conservation::over_log(&dir)?);
    }
    Ok(true)
}

/// A short load, the same each time: one record a frame, a new segment every few frames.
fn options(settings: &Settings, journal: &Journal, dir: &Path, epoch: u32, bug: Option<&str>) -> Options {
    Options {
        epoch,
        seed: settings.seed,
        devices: 2,
        threads: 1,
        segment_bytes: 1500,
        records: Some(14),
        batch_max: 1,
        payload_bytes_max: 300,
        bug: bug.map(str::to_owned),
        ..Options::new(dir, &journal.socket())
    }
}
