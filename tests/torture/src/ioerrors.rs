//! T5: the n-th call of each kind fails with an input/output error, for n = 1, 2, 3 and so on; once, and at every third n also
//! all that follow. Invariant: after a sync failed, nothing more is made durable or acknowledged; and after a restart the log keeps every promise.
//!
//! strace answers for the kernel, and writes down the failed call and what the writer told the oracle in one order. The writer sends record
//! by record, so one acknowledgement at most is on its way when a call fails: sequences are written down after their records are published.

use std::path::Path;

use crate::conservation;
use crate::harness::{Canary, Report, Settings, Test};
use crate::layout;
use crate::machine::{self, Need};
use crate::rig::Journal;
use crate::writer::{Options, STREAM};

/// Calls that fail. Names that a machine does not have are marked.
const CALLS: &[&str] =
    &["fdatasync", "fsync", "pwrite64", "ftruncate", "?rename,?renameat,?renameat2", "openat", "?unlink,unlinkat", "pread64"];
/// No workload here has as many calls of one kind on a thread.
const ERRORS_MAX: u64 = 1000;
const GATE_ERRORS: u64 = 96;
/// At every so many-th call the error stays, too.
const LASTING_EVERY: u64 = 3;

/// The test.
pub static TEST: Test = Test {
    name: "ioerrors",
    about: "an input/output error at the n-th sync, write, rename, open and so on; once, or from then on",
    unit: "errors",
    count: u64::MAX,
    gate: Some(GATE_ERRORS),
    needs: &[Need::Program("strace")],
    canaries: &[
        Canary { name: "retry-sync", about: "a sync that failed is tried again, and the second answer counts", count: 8 },
        Canary { name: "sync-error-ignored", about: "a sync that failed is reported as done", count: 8 },
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
}

fn run(settings: &Settings) -> Result<Report, String> {
    let mut report = Report::default();
    let each = (settings.count / CALLS.len() as u64 / 2).clamp(1, ERRORS_MAX);
    for calls in CALLS {
        for start in [Start::Empty, Start::Torn] {
            let (mut number, until) = (1, if settings.bug.is_some() { settings.count } else { each });
            while number <= until && fail_at(settings, calls, start, &number.to_string(), &mut report)? {
                if number % LASTING_EVERY == 1 {
                    fail_at(settings, calls, start, &format!("{number}+"), &mut report)?;
                }
                number += 1;
            }
        }
        if settings.bug.is_some() {
            break;
        }
    }
    Ok(report)
}

/// Lets a call fail, and with a `+` behind its number all later ones, and looks at what follows. Returns whether there was a call of
/// this number.
fn fail_at(settings: &Settings, calls: &str, start: Start, number: &str, report: &mut Report) -> Result<bool, String> {
    let (memory, elsewhere) = (machine::scratch()?, machine::scratch()?);
    let (journal, dir, trace) = (Journal::new(elsewhere.path()), memory.path().join("log"), elsewhere.path().join("trace"));
    if start == Start::Torn {
        journal.start(&options(settings, &journal, &dir, 3, None), &[])?.wait()?;
        layout::tear(&dir.join(STREAM).join("000")).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let ended = journal.start(&options(settings, &journal, &dir, 1, settings.bug.as_deref()), &wrapper(calls, number, &trace))?.wait()?;
    let trace = std::fs::read_to_string(&trace).map_err(|e| format!("{}: {e}", trace.display()))?;
    if !trace.contains("(INJECTED)") {
        return Ok(false);
    }
    report.runs += 1;
    let place = format!("{calls} number {number}, {start:?}");
    report.blame(&place, after_failed_sync(&trace));
    if ended.said.contains("panicked") || trace.contains("killed by SIGABRT") {
        report.blame(&place, [format!("something panicked: {}", ended.said)]);
    }
    if journal.file().exists() && dir.exists() {
        report.blame(&place, journal.violations(&dir, None)?);
    }
    let ended = journal.start(&options(settings, &journal, &dir, 2, None), &[])?.wait()?;
    if !ended.status.success() {
        report.blame(&place, [format!("it does not go on after a restart: {}", ended.said)]);
    }
    report.blame(&place, journal.violations(&dir, None)?.into_iter().map(|violation| format!("after a restart: {violation}")));
    // It takes longer than all the rest, and other calls leave logs like this one.
    if calls == CALLS[0] && number == "1" {
        report.blame(&place, conservation::over_log(&dir)?);
    }
    Ok(true)
}

fn wrapper(calls: &str, number: &str, trace: &Path) -> Vec<String> {
    let words = [
        "strace".to_owned(),
        "-f".to_owned(),
        "-qq".to_owned(),
        "--seccomp-bpf".to_owned(),
        "-s8".to_owned(),
        "-o".to_owned(),
        trace.display().to_string(),
        "-e".to_owned(),
        format!("trace={calls},write,sendto"),
        "-e".to_owned(),
        format!("inject={calls}:error=EIO:when={number}"),
    ];
    words.into()
}

/// Acknowledgements that were told after a sync had failed, but for one that was on its way.
fn after_failed_sync(trace: &str) -> Option<String> {
    let is_failed_sync = |line: &&str| line.contains("(INJECTED)") && (line.contains("fdatasync") || line.contains("fsync"));
    let mut lines = trace.lines().skip_while(|line| !is_failed_sync(line));
    let failed = lines.next()?;
    let count = lines.filter(|line| line.contains("\"ACK ")).count();
    (count > 1).then(|| format!("{count} records were acknowledged after {failed}"))
}

/// A short load, record by record, with a new segment every few of them.
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
        ack_offsets: true,
        ..Options::new(dir, &journal.socket())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_after_a_failed_sync_is_found() {
        let before = "1 sendto(4, \"ACK devi\"..., 90) = 90\n";
        let failed = "2 fdatasync(7) = -1 EIO (Input/output error) (INJECTED)\n";
        let write = "2 pwrite64(7, \"x\", 1, 0) = -1 EIO (Input/output error) (INJECTED)\n";
        assert_eq!(after_failed_sync(&format!("{before}{failed}")), None);
        assert_eq!(after_failed_sync(&format!("{write}{before}")), None);
        assert_eq!(after_failed_sync(&format!("{failed}{before}")), None, "it was on its way");
        assert!(after_failed_sync(&format!("{failed}{before}{before}")).is_some());
    }
}
