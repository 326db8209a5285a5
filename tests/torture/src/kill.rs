//! T1: the writing process is killed at random times, again and again, over one log, then over the next. Invariant: after each
//! death the log opens without a problem and keeps every promise in the oracle's journal.
//!
//! This proves the logic of recovery, not durability: what was written survives the process in the page cache. So its
//! canaries are bugs that keep data in the process; a missing fdatasync shows in `powercut` and `crashstates` only.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::conservation;
use crate::harness::{Canary, Report, Settings, Test};
use crate::machine;
use crate::rig::Journal;
use crate::writer::Options;

/// Rounds over one log. Each judgement reads all of it, so their cost grows with the square of this.
const ROUNDS_PER_LOG: u64 = 50;

/// The test.
pub static TEST: Test = Test {
    name: "kill",
    about: "kill -9 of the writer at random times, 50 times over one log, then over the next",
    unit: "rounds",
    count: 20,
    gate: Some(20),
    needs: &[],
    canaries: &[
        Canary { name: "ack-on-append", about: "records are acknowledged when they are taken", count: 40 },
        Canary { name: "write-behind", about: "writes stay in the memory of the process for a while", count: 40 },
    ],
    run,
};

fn run(settings: &Settings) -> Result<Report, String> {
    let mut random = StdRng::seed_from_u64(settings.seed);
    let mut report = Report::default();
    while report.runs < settings.count && report.violations.is_empty() {
        let rounds = report.runs + 1..=settings.count.min(report.runs + ROUNDS_PER_LOG);
        over_one_log(settings, rounds, &mut random, &mut report)?;
    }
    Ok(report)
}

/// Kills the writer once a round; ends with the first violation.
fn over_one_log(settings: &Settings, rounds: RangeInclusive<u64>, random: &mut StdRng, report: &mut Report) -> Result<(), String> {
    let memory = machine::scratch()?;
    let disk = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (journal, dir) = (Journal::new(memory.path()), disk.path().join("log"));
    let last = *rounds.end();
    for round in rounds {
        let options = writer_options(settings, &journal, &dir, round);
        // Mostly long enough to roll segments, however long the start takes; at times so short that recovery itself is hit.
        let (before, is_short) = (journal.bytes(), random.random_bool(0.25));
        let mut rig = journal.start(&options, &[])?;
        if !is_short {
            rig.await_sent(&journal, before)?;
        }
        std::thread::sleep(Duration::from_millis(random.random_range(1..=if is_short { 80 } else { 700 })));
        let ended = rig.kill()?;
        report.runs += 1;
        if ended.status.code().is_some() {
            report.blame(format_args!("round {round}"), [format!("the writer ended by itself: {}", ended.said)]);
        }
        // Every third time, roughly, the next writer is the first to see what the dead one left behind.
        if round == last || random.random_bool(0.7) {
            report.blame(format_args!("round {round}"), journal.violations(&dir, None)?);
        }
        if !report.violations.is_empty() {
            return Ok(());
        }
    }
    match journal.check_by_program(&dir) {
        Ok(said) => report.notes.push(said),
        Err(e) => report.blame(format_args!("after round {last}"), [e]),
    }
    report.blame(format_args!("after round {last}"), conservation::over_log(&dir)?);
    Ok(())
}

fn writer_options(settings: &Settings, journal: &Journal, dir: &Path, round: u64) -> Options {
    Options { epoch: round as u32, seed: settings.seed ^ round, bug: settings.bug.clone(), ..Options::new(dir, &journal.socket()) }
}
