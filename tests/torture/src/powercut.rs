//! T2: the disk loses its power at random times while the writer writes. Invariant: after each cut the file system mounts, the
//! log opens without a problem, and every promise in the oracle's journal is kept.
//!
//! ext4 on a loop device is shut down without flushing its journal or the page cache (`FS_IOC_SHUTDOWN`): what was not synced
//! is gone. A missing sync of a directory does not show here: on ext4 the next fdatasync that makes a file longer commits the
//! whole journal, names included.

use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Canary, Report, Settings, Test};
use crate::machine::{self, Mounted, Need};
use crate::rig::Journal;
use crate::writer::Options;

const IMAGE_MEBIBYTES: u64 = 192;
/// Rounds over one file system and one log; the log grows by a few mebibytes in each.
const ROUNDS_PER_LOG: u64 = 15;

/// The test.
pub static TEST: Test = Test {
    name: "powercut",
    about: "power cuts of an ext4 disk at random times, over one log",
    unit: "cuts",
    count: 20,
    gate: Some(5),
    needs: &[Need::Root, Need::Program("mkfs.ext4"), Need::Program("mount"), Need::Program("python3"), Need::File("/dev/loop-control")],
    canaries: &[
        Canary { name: "ack-before-sync", about: "a sync returns at once and is done 30 ms later", count: 10 },
        Canary { name: "no-fdatasync", about: "files are never synced", count: 10 },
        Canary { name: "no-footer-sync", about: "the footer of a sealed segment is not synced", count: 10 },
    ],
    run,
};

fn run(settings: &Settings) -> Result<Report, String> {
    let mut random = StdRng::seed_from_u64(settings.seed);
    let mut report = Report::default();
    while report.runs < settings.count && report.violations.is_empty() {
        let rounds = ROUNDS_PER_LOG.min(settings.count - report.runs);
        one_log(settings, rounds, &mut random, &mut report)?;
    }
    Ok(report)
}

/// Cuts the power several times over one log.
fn one_log(settings: &Settings, rounds: u64, random: &mut StdRng, report: &mut Report) -> Result<(), String> {
    let memory = machine::scratch()?;
    let (image, point) = (memory.path().join("image"), memory.path().join("disk"));
    machine::make_ext4(&image, IMAGE_MEBIBYTES)?;
    let (journal, dir) = (Journal::new(memory.path()), point.join("log"));
    for _ in 0..rounds {
        let round = report.runs + 1;
        let options =
            Options { epoch: round as u32, seed: settings.seed ^ round, bug: settings.bug.map(str::to_owned), ..Options::new(&dir, &journal.socket()) };
        let moment = Duration::from_millis(random.random_range(30..=600));
        cut_while_writing(&image, &point, &journal, &options, moment)?;
        let disk = Mounted::image(&image, &point)?;
        report.runs += 1;
        report.blame(format_args!("cut {round}"), journal.violations(&dir, None)?);
        if report.runs == settings.count && report.violations.is_empty() {
            report.notes.push(journal.check_by_program(&dir)?);
        }
        disk.unmount()?;
        if !report.violations.is_empty() {
            break;
        }
    }
    Ok(())
}

fn cut_while_writing(image: &Path, point: &Path, journal: &Journal, options: &Options, moment: Duration) -> Result<(), String> {
    let disk = Mounted::image(image, point)?;
    let rig = journal.start(options, &[])?;
    std::thread::sleep(moment);
    disk.cut_power()?;
    rig.kill()?;
    disk.unmount()
}
