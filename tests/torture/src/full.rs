//! T6: the disk is full, has no inodes left, or becomes read-only. Invariant: the log says so with the right kind of error,
//! loses nothing that it acknowledged, goes on by itself once there is space, and never crashes.

mod cases;
mod sender;

use crate::harness::{Canary, Report, Settings, Test};
use crate::machine::Need;

/// The test.
pub static TEST: Test = Test {
    name: "full",
    about: "no space, no inodes, a read-only disk, and space again",
    unit: "cases",
    count: 6,
    gate: Some(6),
    needs: &[Need::Root, Need::Program("mount"), Need::Program("mkfs.ext4"), Need::File("/dev/loop-control")],
    canaries: &[
        Canary { name: "full-ignored", about: "a write that does not fit is reported as done", count: 1 },
        Canary { name: "full-sticky", about: "once full, the disk stays full", count: 1 },
    ],
    run,
};

fn run(settings: &Settings) -> Result<Report, String> {
    let mut report = Report::default();
    let count = usize::try_from(settings.count).unwrap_or(usize::MAX);
    for case in cases::CASES.iter().take(count) {
        report.runs += 1;
        report.blame(case.name, (case.run)(settings.bug.as_deref())?);
    }
    Ok(report)
}
