//! T1b: the writer is killed at every system call that changes a file, one after the other. Invariant: whatever a process
//! leaves behind between two such calls opens without a problem, keeps every promise, and can be gone on with.
//!
//! strace counts calls by thread (and sends no signal with `--seccomp-bpf`). So each call is tried on its own, once for a stream that is made (all on the main thread)
//! and once for one that exists (all on the thread of its only partition), until the writer ends unharmed.

use std::path::Path;

use crate::harness::{Canary, Report, Settings, Test};
use crate::machine::{self, Need};
use crate::rig::Journal;
use crate::writer::Options;

/// Calls that change files or promise that they last. Names that a machine does not have are marked.
const CALLS: &[&str] = &["pwrite64", "ftruncate", "?rename,?renameat,?renameat2", "openat", "?unlink,unlinkat", "?mkdir,mkdirat", "fdatasync", "fsync"];
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
    /// A log with sealed segments.
    Written,
}

fn run(settings: &Settings) -> Result<Report, String> {
    let mut report = Report::default();
    for calls in CALLS {
        for start in [Start::Empty, Start::Written] {
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
    let memory = machine::scratch()?;
    let (journal, dir) = (Journal::new(memory.path()), memory.path().join("log"));
    if start == Start::Written {
        let ended = journal.start(&options(settings, &journal, &dir, 1, None), &[])?.wait()?;
        if !ended.status.success() {
            return Err(format!("the first writer ended with {}: {}", ended.status, ended.said));
        }
    }
    let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"];
    let mut wrapper: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
    wrapper.push(format!("inject={calls}:signal=KILL:when={point}"));
    let ended = journal.start(&options(settings, &journal, &dir, 2, settings.bug), &wrapper)?.wait()?;
    if ended.status.success() {
        return Ok(false);
    }
    report.runs += 1;
    let place = format!("{calls} number {point}, {start:?}");
    // The oracle may have been told nothing yet, and the log may not have been begun.
    if journal.file().exists() && dir.exists() {
        report.blame(&place, journal.violations(&dir, None)?);
    }
    let ended = journal.start(&options(settings, &journal, &dir, 3, None), &[])?.wait()?;
    if !ended.status.success() {
        report.blame(&place, [format!("it does not go on: {}", ended.said)]);
    }
    report.blame(&place, journal.violations(&dir, None)?.into_iter().map(|violation| format!("later: {violation}")));
    Ok(true)
}

/// A short load, the same each time: one record a frame, a new segment every few frames.
fn options(settings: &Settings, journal: &Journal, dir: &Path, epoch: u32, bug: Option<&str>) -> Options {
    Options {
        epoch,
        seed: settings.seed,
        devices: 2,
        threads: 1,
        partitions: 1,
        segment_bytes: 1500,
        records: Some(14),
        batch_max: 1,
        payload_bytes_max: 300,
        bug: bug.map(str::to_owned),
        ..Options::new(dir, &journal.socket())
    }
}
