//! T1: the writing process is killed at random times, again and again, over one log. Invariant: after each death the log
//! opens without a problem and keeps every promise in the oracle's journal.
//!
//! This proves the logic of recovery, not durability: what was written survives the process in the page cache. So its
//! canaries are bugs that keep data in the process; a missing fdatasync shows in `powercut` and `crashstates` only.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Canary, Report, Settings, Test};
use crate::machine;
use crate::rig::Journal;
use crate::writer::Options;

/// The test.
pub static TEST: Test = Test {
    name: "kill",
    about: "kill -9 of the writer at random times, over one log",
    unit: "rounds",
    count: 20,
    gate: Some(5),
    needs: &[],
    canaries: &[
        Canary { name: "ack-on-append", about: "records are acknowledged when they are taken", count: 10 },
        Canary { name: "write-behind", about: "writes stay in the memory of the process for a while", count: 10 },
    ],
    run,
};

fn run(settings: &Settings) -> Result<Report, String> {
    let mut random = StdRng::seed_from_u64(settings.seed);
    let memory = machine::scratch()?;
    let disk = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (journal, dir) = (Journal::new(memory.path()), disk.path().join("log"));
    let mut report = Report::default();
    for round in 1..=settings.count {
        let options = writer_options(settings, &journal, &dir, round);
        let rig = journal.start(&options, &[])?;
        std::thread::sleep(lifetime(&mut random));
        let ended = rig.kill()?;
        report.runs += 1;
        if ended.status.code().is_some() {
            report.blame(format_args!("round {round}"), [format!("the writer ended by itself: {}", ended.said)]);
        }
        // Every third time, roughly, the next writer is the first to see what the dead one left behind.
        if round == settings.count || random.random_bool(0.7) {
            report.blame(format_args!("round {round}"), journal.violations(&dir, None)?);
        }
        if !report.violations.is_empty() {
            return Ok(report);
        }
    }
    match journal.check_by_program(&dir) {
        Ok(said) => report.notes.push(said),
        Err(e) => report.blame("at the end", [e]),
    }
    Ok(report)
}

fn writer_options(settings: &Settings, journal: &Journal, dir: &std::path::Path, round: u64) -> Options {
    Options { epoch: round as u32, seed: settings.seed ^ round, bug: settings.bug.clone(), ..Options::new(dir, &journal.socket()) }
}

/// Mostly long enough to roll segments, at times so short that recovery itself is hit.
fn lifetime(random: &mut StdRng) -> Duration {
    let longest = if random.random_bool(0.25) { 80 } else { 700 };
    Duration::from_millis(random.random_range(1..=longest))
}
