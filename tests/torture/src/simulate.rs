//! T4: seeds of the simulated world. Invariant: each seed is a run of the shipped appender, recovery and readers on a disk whose
//! every sector, name, fault and power cut is drawn from it; run twice, it does the same twice.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use thalweg_engine::log::sim::{Lie, Ran, simulate};

use crate::harness::{Canary, Report, Settings, Test};

/// Every so many seeds one is run again, to see that it does the same.
const REPEATED_EVERY: u64 = 50;

/// The test.
pub static TEST: Test = Test {
    name: "simulate",
    about: "seeds of a simulated disk and clock: torn writes, failing syncs, full disks, flipped bits, power cuts",
    unit: "seeds",
    count: 20_000,
    gate: Some(3_000),
    needs: &[],
    canaries: &[
        Canary { name: "ack-before-sync", about: "records are acknowledged when they are taken", count: 2_000 },
        Canary { name: "checksums-repaired", about: "damage goes unnoticed", count: 2_000 },
        Canary { name: "no-directory-sync", about: "names are never synced", count: 2_000 },
        Canary { name: "no-sync", about: "files are never synced", count: 2_000 },
        Canary { name: "repeats-stored", about: "records that are sent again are stored again", count: 2_000 },
        Canary { name: "sync-error-ignored", about: "a failed sync is taken for one that worked", count: 2_000 },
    ],
    run,
};

fn run(settings: &Settings) -> Result<Report, String> {
    let lie = match &settings.bug {
        None => Lie::None,
        Some(name) => Lie::ALL.iter().find(|(known, _)| known == name).map(|(_, lie)| *lie).ok_or(format!("there is no bug {name}"))?,
    };
    let (next, report, sums) = (AtomicU64::new(0), Mutex::new(Report::default()), Mutex::new(Ran::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // A canary is caught once; more of the same says nothing more.
                    let is_caught = settings.bug.is_some() && report.lock().is_ok_and(|r| !r.violations.is_empty());
                    if number >= settings.count || is_caught {
                        return;
                    }
                    let seed = settings.seed.wrapping_add(number);
                    let ran = simulate(seed, lie);
                    let again = number.is_multiple_of(REPEATED_EVERY).then(|| simulate(seed, lie));
                    let (Ok(mut report), Ok(mut sums)) = (report.lock(), sums.lock()) else { return };
                    report.runs += 1;
                    if again.is_some_and(|again| again != ran) {
                        report.violations.push(format!("seed {seed} did not do the same twice"));
                    }
                    match ran {
                        Ok(ran) => add(&mut sums, &ran),
                        Err(what) => report.violations.push(what),
                    }
                }
            });
        }
    });
    let (mut report, sums) = (report.into_inner().map_err(|e| e.to_string())?, sums.into_inner().map_err(|e| e.to_string())?);
    let Ran { starts, stored, acknowledged, repeated, faults, damaged, .. } = sums;
    report.notes.push(format!(
        "{starts} starts, {stored} records stored, {acknowledged} acknowledged, {repeated} repetitions recognised, {faults} faults, \
         {damaged} runs ended by flipped bits that were found"
    ));
    Ok(report)
}

fn add(sums: &mut Ran, ran: &Ran) {
    sums.starts += ran.starts;
    sums.stored += ran.stored;
    sums.acknowledged += ran.acknowledged;
    sums.repeated += ran.repeated;
    sums.faults += ran.faults;
    sums.damaged += ran.damaged;
}
