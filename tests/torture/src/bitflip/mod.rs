//! T19: every bit of a log is flipped, every file cut at every byte, every sector zeroed, frames and segments exchanged.
//! Invariant: each such log is opened as a server would and read in full; what comes out is right, or it is said to be
//! damaged. Nothing panics, and nothing that a power cut may leave behind is refused.
//!
//! What must come out of a variant is its law:
//!
//! ```text
//! Torn(end)          a power cut may leave this: no problem, and exactly the records below `end`
//! Noticed            a problem is told, or nothing is missing and nothing differs
//! NoticedOrTorn(end) as Noticed; but no frame behind the damage proves that the damaged ones had been durable, so the bytes
//!                    are those of a torn tail: then exactly the records below `end` are right too
//! ```
//!
//! The last law is a limit of any log on one disk: who takes whole frames off the end of the newest segment leaves a shorter
//! log behind that is valid in itself. A power cut takes only the frame that was in flight, and nobody was promised that one.

mod base;
mod law;
mod variants;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::harness::{Canary, Report, Settings, Test};

use base::Base;
use law::{Findings, judge};
use variants::Variant;

/// Reports of one kind that are kept.
const KEPT_MAX: usize = 100;

/// The test.
pub static TEST: Test = Test {
    name: "bitflip",
    about: "every flipped bit, every cut, every zeroed sector, exchanged frames and segments",
    unit: "variants",
    count: u64::MAX,
    gate: Some(u64::MAX),
    needs: &[],
    canaries: &[
        Canary { name: "checksum-repaired", about: "a payload is changed together with its checksum", count: u64::MAX },
        Canary { name: "two-in-flight", about: "two frames are written before a sync, and the first is torn", count: u64::MAX },
    ],
    run,
};

/// Panics of any thread since the hook was set.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn run(settings: &Settings) -> Result<Report, String> {
    let bases = [Base::closed()?, Base::crashed()?];
    let mut all: Vec<(&Base, Variant)> = Vec::new();
    for base in &bases {
        let variants = match settings.bug.as_deref() {
            Some("checksum-repaired") => variants::repaired(base),
            Some("two-in-flight") => variants::two_in_flight(base),
            _ => variants::of(base),
        };
        all.extend(variants.into_iter().map(|variant| (base, variant)));
    }
    all.truncate(usize::try_from(settings.count).unwrap_or(usize::MAX));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::Relaxed);
    }));
    let found = judge_all(&all);
    std::panic::set_hook(hook);
    let Findings { detected, harmless, torn, violations } = found;
    let notes = vec![format!("{detected} detected, {harmless} harmless, {torn} cut off as a torn tail")];
    Ok(Report { runs: all.len() as u64, violations, notes })
}

/// Judges all variants on as many threads as there are processors.
fn judge_all(all: &[(&Base, Variant)]) -> Findings {
    let (next, findings) = (AtomicUsize::new(0), Mutex::new(Findings::default()));
    let work = || {
        let mut own = Findings::default();
        while let Some((base, variant)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let before = PANICS.load(Ordering::Relaxed);
            judge(base, variant, &mut own);
            if PANICS.load(Ordering::Relaxed) > before && own.violations.len() < KEPT_MAX {
                own.violations.push(format!("{}: something panicked", variant.what));
            }
        }
        let mut findings = findings.lock().expect("no thread panics while it holds the findings");
        findings.add(own);
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    findings.into_inner().expect("no thread panics while it holds the findings")
}
