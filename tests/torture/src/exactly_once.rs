//! T16: a whole engine with jobs is killed, undone and cut off its power between any two steps of a commit, with log, checkpoints
//! and lake on the disk that goes. Invariant: at the end every acknowledged record is in the archive once, every result is what
//! the log gives, late rows and rejects are exactly those expected, and the counts of every checkpoint balanced.
//!
//! ```text
//! rounds over one data directory:   random kill · kill at a step · undo at a step · power cut, at a step or at random
//! then                              a process that closes all windows and ends in order
//! judge                             oracle's journal  +  log  +  lake by a reader of its own  +  checkpoints
//! ```

mod expect;
mod judge;
mod lies;
pub mod load;
pub mod reader;
pub mod runner;
pub mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thalweg_engine::contract::Clock;
use thalweg_engine::system::SystemClock;
use thalweg_engine::time::Micros;

use crate::harness::{Canary, Report, Settings, Test};
use crate::machine::{self, Mounted, Need};
use crate::oracle;
use crate::rig::Journal;

use runner::{Options, Task};
use steps::{End, Point, STEPS};

const IMAGE_MEBIBYTES: u64 = 1024;
const INODES: u64 = 100_000;
/// Rounds over one data directory.
const ROUNDS_PER_DIRECTORY: u64 = 15;
/// The same with a seeded bug, so that it is judged sooner.
const ROUNDS_PER_CANARY: u64 = 6;
/// So many rounds merge small files.
const MERGED_ROUNDS_MIN: u64 = 100;
/// How often a step may be done before the process ends after it.
const STEP_COUNT_MAX: u64 = 12;
/// A process that has not come to its point by then is killed.
const LIFE_MAX: Duration = Duration::from_secs(20);
const START_MAX: Duration = Duration::from_secs(60);
const FINISH_MAX: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(5);

/// The test.
pub static TEST: Test = Test {
    name: "exactly-once",
    about: "jobs killed, undone and cut off their power between the steps of a commit, over one data directory",
    unit: "rounds",
    count: 30,
    gate: Some(8),
    needs: &[Need::Root, Need::Program("mkfs.ext4"), Need::Program("mount"), Need::Program("python3"), Need::File("/dev/loop-control")],
    canaries: &[
        Canary { name: "commit-before-checkpoint", about: "sinks commit, and only then the checkpoint gets its name", count: 12 },
        Canary { name: "forgets-sink", about: "a checkpoint does not say what its first sink prepared", count: 24 },
        Canary { name: "late-miscounted", about: "checkpoints count one late row too many", count: 6 },
        Canary { name: "next-offsets", about: "offsets of a checkpoint lie behind its barrier", count: 12 },
        Canary { name: "no-directory-sync", about: "names in the lake are never synced", count: 24 },
        Canary { name: "no-lake-sync", about: "files of the lake are never synced", count: 24 },
        Canary { name: "txn-unchecked", about: "an older checkpoint is gone on from although the lake is ahead of it", count: 6 },
        Canary { name: "written-miscounted", about: "checkpoints count one row of the result too many", count: 6 },
    ],
    run,
};

/// How a round ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// `kill -9` after a while.
    Kill(Duration),
    /// At a point: killed, undone, or its power is cut there.
    At(Point),
    /// The power is cut after a while.
    Cut(Duration),
}

/// The way of a round: all steps come in turn, each in the three ways, with rounds at random times between.
fn way(round: u64, random: &mut StdRng) -> Way {
    let while_ = Duration::from_millis(random.random_range(100..=1500));
    let turn = round / 4;
    let point = |end, shift: u64| {
        let step = STEPS[((turn + shift) % STEPS.len() as u64) as usize];
        Way::At(Point { step, count: random_count(step, while_), end })
    };
    match round % 4 {
        0 if turn.is_multiple_of(2) => Way::Kill(while_),
        0 => Way::Cut(while_),
        1 => point(End::Kill, 0),
        2 => point(End::Undo, 4),
        _ => point(End::Freeze, 8),
    }
}

/// Steps of the lake come more often than those of a checkpoint.
fn random_count(step: &str, while_: Duration) -> u64 {
    let most = if step.starts_with("checkpoint") { STEP_COUNT_MAX } else { 2 * STEP_COUNT_MAX };
    1 + while_.as_millis() as u64 % most
}

fn run(settings: &Settings) -> Result<Report, String> {
    let mut random = StdRng::seed_from_u64(settings.seed);
    let (mut report, mut sums) = (Report::default(), Sums::default());
    while report.runs < settings.count && report.violations.is_empty() {
        let most = if settings.bug.is_some() { ROUNDS_PER_CANARY } else { ROUNDS_PER_DIRECTORY };
        let rounds = most.min(settings.count - report.runs);
        World::new(settings)?.run(rounds, &mut random, &mut report, &mut sums)?;
    }
    let Sums { records, rows, commits, merges, checkpoints, points } = sums;
    if report.violations.is_empty() && report.runs >= MERGED_ROUNDS_MIN && merges == 0 {
        report.violations.push(format!("no small files were merged in {} rounds: that was not tested", report.runs));
    }
    let balanced = if report.violations.is_empty() { ", difference 0 in each" } else { "" };
    let commits = format!("{commits} commits, {merges} of them merges");
    report.notes.push(format!("{records} records, {rows} rows read back, {commits}, {checkpoints} checkpoints{balanced}"));
    let hit: Vec<String> = points.iter().map(|(point, n)| format!("{point} {n}")).collect();
    report.notes.push(format!("ended after {}", hit.join(", ")));
    Ok(report)
}

/// What all judgements looked at.
#[derive(Debug, Default)]
struct Sums {
    records: u64,
    rows: u64,
    commits: u64,
    merges: u64,
    checkpoints: u64,
    points: BTreeMap<String, u64>,
}

/// A data directory on a disk whose power can be cut.
struct World<'a> {
    settings: &'a Settings,
    _memory: tempfile::TempDir,
    image: PathBuf,
    point: PathBuf,
    say: PathBuf,
    journal: Journal,
    origin: Micros,
}

impl<'a> World<'a> {
    fn new(settings: &'a Settings) -> Result<Self, String> {
        let memory = machine::scratch()?;
        let path = |name: &str| memory.path().join(name);
        machine::make_ext4_with(&path("image"), IMAGE_MEBIBYTES, INODES)?;
        let journal = Journal::new(memory.path());
        let (image, point, say, origin) = (path("image"), path("disk"), path("said"), SystemClock::new().now());
        Ok(Self { settings, _memory: memory, image, point, say, journal, origin })
    }

    fn data(&self) -> PathBuf {
        self.point.join("data")
    }

    fn options(&self, epoch: u64, task: Task, point: Option<Point>) -> Options {
        Options {
            data: self.data(),
            oracle: self.journal.socket(),
            say: self.say.clone(),
            epoch: epoch as u32,
            seed: self.settings.seed,
            origin: self.origin,
            task,
            point,
            bug: self.settings.bug.clone(),
        }
    }

    fn run(self, rounds: u64, random: &mut StdRng, report: &mut Report, sums: &mut Sums) -> Result<(), String> {
        let disk = Mounted::image(&self.image, &self.point)?;
        self.to_its_end(&Options { bug: None, ..self.options(0, Task::Setup, None) })?.map_or(Ok(()), Err)?;
        report.blame("at the beginning", self.said(sums, None)?);
        disk.unmount()?;
        for epoch in 1..=rounds {
            let round = report.runs + 1;
            let way = way(round - 1, random);
            let cut = self.round(epoch, &way, sums).map_err(|e| format!("round {round}, {way:?}: {e}"))?;
            report.runs += 1;
            let disk = Mounted::image(&self.image, &self.point)?;
            report.blame(format_args!("round {round}, {way:?}"), self.said(sums, cut)?.into_iter().chain(judge::inspect(&self.data())));
            if self.settings.has("txn-unchecked") {
                load::JOBS.iter().try_for_each(|job| lies::forge(&self.data().join("checkpoints").join(job)))?;
            }
            disk.unmount()?;
            if !report.violations.is_empty() {
                return Ok(());
            }
        }
        let disk = Mounted::image(&self.image, &self.point)?;
        let failed = self.to_its_end(&self.options(rounds + 1, Task::Finish, None))?;
        report.blame("at the end", failed.into_iter().chain(self.said(sums, None)?));
        if report.violations.is_empty() {
            let judged = judge::judge(&self.data(), &oracle::load(&self.journal.file())?)?;
            sums.records += judged.records;
            sums.rows += judged.rows;
            sums.commits += judged.commits;
            sums.merges += judged.merges;
            report.blame("at the end", judged.violations);
        }
        disk.unmount()
    }

    /// One life of the engine. Returns when its power was cut, in microseconds.
    fn round(&self, epoch: u64, way: &Way, sums: &mut Sums) -> Result<Option<u64>, String> {
        let disk = Mounted::image(&self.image, &self.point)?;
        let point = if let Way::At(point) = way { Some(point.clone()) } else { None };
        let mut rig = self.journal.start_program(&self.options(epoch, Task::Run, point).arguments(), &[])?;
        let cuts = matches!(way, Way::Cut(_) | Way::At(Point { end: End::Freeze, .. }));
        let began = Instant::now();
        let hit = match way {
            Way::Kill(after) | Way::Cut(after) => {
                self.await_line("OPEN", &mut rig.writer, START_MAX)?;
                rig.writer.wait_for(*after)?;
                None
            }
            Way::At(_) => self.await_line("AT ", &mut rig.writer, LIFE_MAX)?,
        };
        let cut = if cuts { Some(disk.cut_power()?) } else { None };
        if hit.is_some() && !cuts {
            rig.wait()?;
        } else {
            rig.kill()?;
        }
        disk.unmount()?;
        if let Some(cut) = cut.filter(|_| self.journal.file().exists()) {
            self.journal.strike(cut)?;
        }
        let name = match (way, hit) {
            (Way::Kill(_), _) => "kill".to_owned(),
            (Way::Cut(_), _) => "cut".to_owned(),
            (Way::At(point), Some(_)) => {
                point.step.to_owned()
                    + if cuts {
                        "+cut"
                    } else if point.end == End::Undo {
                        "+undo"
                    } else {
                        ""
                    }
            }
            (Way::At(_), None) => "no point reached".to_owned(),
        };
        if matches!(way, Way::At(_)) && began.elapsed() >= LIFE_MAX {
            sums.points.entry("kill after waiting".to_owned()).and_modify(|n| *n += 1).or_insert(1);
        } else {
            sums.points.entry(name).and_modify(|n| *n += 1).or_insert(1);
        }
        Ok(cut)
    }

    /// Waits until the process says a line that begins so, or ends.
    fn await_line(&self, start: &str, process: &mut machine::Owned, patience: Duration) -> Result<Option<String>, String> {
        let began = Instant::now();
        loop {
            let ended = process.wait_for(LOOK)?.is_some();
            let text = std::fs::read_to_string(&self.say).unwrap_or_default();
            if let Some(line) = text.lines().find(|line| line.starts_with(start)) {
                return Ok(Some(line.to_owned()));
            }
            if ended || began.elapsed() > patience {
                return Ok(None);
            }
        }
    }

    /// Runs a process that ends by itself; returns what it said if that was not in order.
    fn to_its_end(&self, options: &Options) -> Result<Option<String>, String> {
        let mut rig = self.journal.start_program(&options.arguments(), &[])?;
        if rig.writer.wait_for(FINISH_MAX)?.is_none() {
            rig.kill()?;
            return Ok(Some(format!("a process did not end within {} s", FINISH_MAX.as_secs())));
        }
        let ended = rig.wait()?;
        Ok((!ended.status.success()).then(|| format!("it ended with {}: {}", ended.status, ended.said)))
    }

    /// What the process complained of, before its power was cut; its checkpoints are counted.
    fn said(&self, sums: &mut Sums, cut: Option<u64>) -> Result<Vec<String>, String> {
        let text = std::fs::read_to_string(&self.say).unwrap_or_default();
        let _ = std::fs::remove_file(&self.say);
        let mut violations = Vec::new();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["CHECKPOINT", _, _, "0", "0"] => sums.checkpoints += 1,
                ["CHECKPOINT", job, epoch, rows, windows] => {
                    violations.push(format!("checkpoint {epoch} of {job} does not balance: rows {rows}, windows {windows}"));
                }
                ["FAILED", at, ..] if at.parse::<u64>().map_err(|e| format!("{line}: {e}"))? < cut.unwrap_or(u64::MAX) => {
                    violations.push(line.to_owned());
                }
                _ => {}
            }
        }
        Ok(violations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_comes_in_every_way() {
        let mut random = StdRng::seed_from_u64(1);
        let mut points = std::collections::BTreeSet::new();
        for round in 0..4 * STEPS.len() as u64 {
            if let Way::At(point) = way(round, &mut random) {
                points.insert((point.step, format!("{:?}", point.end)));
            }
        }
        assert_eq!(points.len(), 3 * STEPS.len());
    }

    #[test]
    fn canaries_are_the_lies() {
        let canaries: Vec<&str> = TEST.canaries.iter().map(|canary| canary.name).collect();
        assert_eq!(canaries, lies::LIES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
