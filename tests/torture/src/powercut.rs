//! T2: the disk loses its power at random times while the writer writes. Invariant: after each cut the file system mounts, the
//! log opens without a problem, and every promise in the oracle's journal is kept.
//!
//! ext4 on a loop device is shut down without flushing its journal or the page cache (`FS_IOC_SHUTDOWN`): what was not synced
//! is gone. At times the writer is killed first, and the power goes after the next start has served what it found: that must
//! stay too. A missing sync of a directory does not show here: on ext4 the next fdatasync that makes a file longer commits the
//! whole journal, names included.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thalweg_engine::log::{LogConfig, Logs};
use thalweg_engine::system::SystemClock;

use crate::conservation;
use crate::disk::{FreeSpace, TortureDisk};
use crate::harness::{Canary, Report, Settings, Test};
use crate::machine::{self, Mounted, Need};
use crate::oracle::{self, Key, Stored};
use crate::rig::Journal;
use crate::writer::{Options, STREAM};

const IMAGE_MEBIBYTES: u64 = 192;
/// Rounds over one file system and one log; the log grows by a few mebibytes in each.
const ROUNDS_PER_LOG: u64 = 15;

/// The test.
pub static TEST: Test = Test {
    name: "powercut",
    about: "power cuts of an ext4 disk at random times, over one log",
    unit: "cuts",
    count: 20,
    gate: Some(20),
    needs: &[Need::Root, Need::Program("mkfs.ext4"), Need::Program("mount"), Need::Program("python3"), Need::File("/dev/loop-control")],
    canaries: &[
        Canary { name: "ack-before-sync", about: "a sync returns at once and is done 30 ms later", count: 40 },
        Canary { name: "no-fdatasync", about: "files are never synced", count: 40 },
        Canary { name: "no-footer-sync", about: "the footer of a sealed segment is not synced", count: 40 },
        Canary { name: "no-recovery-sync", about: "what a dead process left in memory is served before it is synced", count: 40 },
    ],
    run,
};

fn run(settings: &Settings) -> Result<Report, String> {
    let mut random = StdRng::seed_from_u64(settings.seed);
    let (mut report, mut acks) = (Report::default(), Acks::default());
    while report.runs < settings.count && report.violations.is_empty() {
        let rounds = ROUNDS_PER_LOG.min(settings.count - report.runs);
        one_log(settings, rounds, &mut random, &mut report, &mut acks)?;
    }
    let Acks { late, late_and_gone } = acks;
    report
        .notes
        .push(format!("{late} acknowledgements came after a cut had begun and did not count; {late_and_gone} of those records are gone"));
    Ok(report)
}

/// Acknowledgements that came while the disk went away.
#[derive(Debug, Default)]
struct Acks {
    late: usize,
    late_and_gone: usize,
}

/// Cuts the power several times over one log.
fn one_log(settings: &Settings, rounds: u64, random: &mut StdRng, report: &mut Report, acks: &mut Acks) -> Result<(), String> {
    let memory = machine::scratch()?;
    let (image, point) = (memory.path().join("image"), memory.path().join("disk"));
    machine::make_ext4(&image, IMAGE_MEBIBYTES)?;
    let (journal, dir) = (Journal::new(memory.path()), point.join("log"));
    let mut dir_was_made = false;
    for _ in 0..rounds {
        let round = report.runs + 1;
        let options = Options {
            epoch: round as u32,
            seed: settings.seed ^ round,
            bug: settings.bug.clone(),
            ack_times: true,
            ..Options::new(&dir, &journal.socket())
        };
        let moment = Duration::from_millis(random.random_range(30..=600));
        let (mut served, mut late) = (Vec::new(), HashSet::new());
        if dir_was_made && settings.has("no-recovery-sync") | random.random_bool(0.25) {
            served = cut_after_serving(&image, &point, &journal, options, moment)?;
        } else {
            late = cut_while_writing(&image, &point, &journal, &options, moment)?;
        }
        let disk = Mounted::image(&image, &point)?;
        report.runs += 1;
        dir_was_made = dir.join(STREAM).join("stream.json").exists();
        let (verdict, contents) = journal.judge(&dir, None)?;
        report.blame(format_args!("cut {round}"), contents.problems.into_iter().chain(verdict.violations));
        let stored: HashSet<Stored> = contents.records.into_iter().collect();
        let gone = served.iter().filter(|record| !stored.contains(record)).count();
        if gone > 0 {
            report.blame(format_args!("cut {round}"), [format!("{gone} records were served before the cut and are lost")]);
        }
        let keys: HashSet<&Key> = stored.iter().filter_map(|record| record.key.as_ref()).collect();
        acks.late += late.len();
        acks.late_and_gone += late.iter().filter(|key| !keys.contains(key)).count();
        if report.runs == settings.count && report.violations.is_empty() {
            report.notes.push(journal.check_by_program(&dir)?);
            report.blame(format_args!("cut {round}"), conservation::over_log(&dir)?);
        }
        disk.unmount()?;
        if !report.violations.is_empty() {
            break;
        }
    }
    Ok(())
}

/// What a consumer was given stays. A writer that never syncs is killed, so that much lies in the page cache alone; the next
/// start shows it to its consumers, and then the power goes. Segments are too large to end here: only the newest may be like
/// this, for those before it were synced when they were sealed.
fn cut_after_serving(image: &Path, point: &Path, journal: &Journal, options: Options, moment: Duration) -> Result<Vec<Stored>, String> {
    let disk = Mounted::image(image, point)?;
    let bug = options.bug.clone();
    let lazy = Options { bug: Some("no-fdatasync".to_owned()), segment_bytes: 64 << 20, ..options };
    let rig = journal.start(&lazy, &[])?;
    std::thread::sleep(moment);
    rig.kill()?;
    let served = {
        let torture = Arc::new(TortureDisk::new(bug.as_deref(), FreeSpace::Told)?);
        let logs = Logs::open(&lazy.dir, torture, Arc::new(SystemClock::new()), LogConfig::default()).map_err(|e| e.to_string())?;
        let served = oracle::read_open(&logs).records;
        disk.cut_power()?;
        served
    };
    disk.unmount()?;
    Ok(served)
}

/// Cuts the power under a writer. Acknowledgements from the moment on at which the cut began do not count, and are struck out of
/// the journal; returns whose they were. A machine without power gives none. This one still does: about one in sixty calls of
/// fdatasync that are under way when ext4 is shut down answers 0 although its data are gone, with any program.
fn cut_while_writing(image: &Path, point: &Path, journal: &Journal, options: &Options, moment: Duration) -> Result<HashSet<Key>, String> {
    let disk = Mounted::image(image, point)?;
    let rig = journal.start(options, &[])?;
    std::thread::sleep(moment);
    let began = disk.cut_power()?;
    rig.kill()?;
    disk.unmount()?;
    if journal.file().exists() { journal.strike(began) } else { Ok(HashSet::new()) }
}
