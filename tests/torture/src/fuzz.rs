//! T16: SQL of all sorts is split, linted, parsed and planned. Invariant: each text is one of its own seed, which alone repeats it. It is
//! treated in a process of its own, because a stack that overflows ends the process.
//!
//! ```text
//! parent ──► child --seed S --count N   ──► at S …          every so many texts
//!    │                                   ──► fault S+i …    a panic, an internal error, a text that takes too long
//!    └── the child dies: again from the last `at`, text by text, to know which it was; then the texts behind it
//! ```
//!
//! The child counts what it reads from files: nothing, since a text is planned, not run.

use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

use clap::Args;
use rand::SeedableRng;
use rand::rngs::StdRng;
use thalweg_replay::fuzz::{Subject, corpus, mutated, repository};

use crate::harness::{Canary, Report, Settings, Test};
use crate::machine::Owned;

/// Texts between two signs of life.
const STRIDE: u64 = 200;
/// Texts of the gate.
const GATE_TEXTS: u64 = 3_000;
/// The first of them: the gate finds the same everywhere.
pub const GATE_SEED: u64 = 1;
/// Faults after which a run ends.
const FAULTS_MAX: usize = 20;
/// Characters of a text that are shown.
const SHOWN: usize = 400;

/// The test.
pub static TEST: Test = Test {
    name: "fuzz",
    about: "texts like SQL are split, linted, parsed and planned: no panic, no overflow, no file is read, all is stored as it was given",
    unit: "texts",
    count: 200_000,
    gate: Some(GATE_TEXTS),
    needs: &[],
    canaries: &[
        Canary { name: "overflow", about: "the stack overflows where parentheses are six deep", count: 4_000 },
        Canary { name: "panic", about: "a text that takes something apart and puts nothing in its place panics", count: 1_000 },
        Canary { name: "reads-file", about: "a file is read for a text that explains", count: 4_000 },
    ],
    run,
};

/// What the child is told.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Seed of the first text; that of the next is one more.
    #[arg(long)]
    seed: u64,
    /// Texts.
    #[arg(long)]
    count: u64,
    /// Texts between two signs of life.
    #[arg(long)]
    every: u64,
    /// A seeded bug.
    #[arg(long)]
    bug: Option<String>,
}

/// The child: treats texts, and says what is wrong.
pub fn main(options: &Options) -> u8 {
    match treat(options) {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("fuzz: {e}");
            1
        }
    }
}

fn treat(options: &Options) -> Result<(), String> {
    let corpus = corpus(&repository()).map_err(|e| e.to_string())?;
    let subject = Subject::new(&corpus).map_err(|e| e.to_string())?;
    // The first plans ask the system about the process: limits of its stack, processors.
    corpus.iter().take(50).for_each(|text| drop(subject.fault(text)));
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| e.to_string());
    let (mut read, own) = (bytes_read()?, bytes_read()?);
    // What reading the count itself reads.
    let own = own.saturating_sub(read);
    read += own;
    for i in 0..options.count {
        let seed = options.seed.wrapping_add(i);
        if i % options.every == 0 {
            say(format!("at {seed}"))?;
        }
        let text = mutated(&corpus, &mut StdRng::seed_from_u64(seed));
        let treated = catch_unwind(AssertUnwindSafe(|| {
            seeded(options.bug.as_deref(), &text);
            subject.fault(&text)
        }));
        if let Some(fault) = treated.unwrap_or_else(|_| Some("a panic outside of planning".to_owned())) {
            say(format!("fault {seed} {}", fault.replace(['\n', '\r'], " ")))?;
        }
        if (i + 1) % options.every == 0 || i + 1 == options.count {
            let now = bytes_read()?;
            // The count grows by a few digits.
            if now.saturating_sub(read) > own + 16 {
                say(format!("fault {seed} one of the last {} texts has read {} bytes of a file", options.every, now - read - own))?;
            }
            read = now;
        }
    }
    Ok(())
}

/// Bytes that this process has read, from whatever it was.
fn bytes_read() -> Result<u64, String> {
    let counts = std::fs::read_to_string("/proc/self/io").map_err(|e| format!("/proc/self/io: {e}"))?;
    let line = counts.lines().find_map(|l| l.strip_prefix("rchar: "));
    line.and_then(|n| n.trim().parse().ok()).ok_or_else(|| format!("no rchar in {counts:?}"))
}

fn seeded(bug: Option<&str>, text: &str) {
    match bug {
        Some("overflow") if text.contains("((((((") => {
            std::hint::black_box(deep(u64::MAX));
        }
        Some("panic") if text.contains(" FROM  ") => panic!("seeded"),
        Some("reads-file") if text.contains("EXPLAIN") => drop(std::fs::read("/proc/self/exe")),
        _ => {}
    }
}

/// A recursion that no compiler makes a loop of.
#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn deep(n: u64) -> u64 {
    let place = std::hint::black_box([n; 64]);
    deep(place[7].wrapping_sub(1)).wrapping_add(place[9])
}

fn run(settings: &Settings) -> Result<Report, String> {
    let mut report = Report::default();
    let end = settings.seed.wrapping_add(settings.count);
    let mut from = settings.seed;
    // A canary is caught once; more of the same says nothing more.
    let faults_max = if settings.bug.is_some() { 1 } else { FAULTS_MAX };
    while from != end && report.violations.len() < faults_max {
        let every = if settings.count < STRIDE { 1 } else { STRIDE };
        let (last, died) = child(from, end.wrapping_sub(from), every, settings, &mut report)?;
        let Some(how) = died else {
            report.runs += end.wrapping_sub(from);
            break;
        };
        // Again, to know the text; what was found in between is found again.
        let mut again = Report::default();
        let (fatal, died) = child(last, STRIDE.min(end.wrapping_sub(last)), 1, settings, &mut again)?;
        if died.is_none() {
            report
                .violations
                .push(format!("seed {last}: the process ended with {how} within {STRIDE} texts, and not when they were repeated"));
            from = last.wrapping_add(STRIDE.min(end.wrapping_sub(last)));
        } else {
            report.violations.push(format!("seed {fatal}: the process ended with {how}: {}", shown(fatal)?));
            report.runs += fatal.wrapping_sub(from) + 1;
            from = fatal.wrapping_add(1);
        }
    }
    Ok(report)
}

/// Runs a child; gives the last seed that it named, and how it died if it did.
fn child(seed: u64, count: u64, every: u64, settings: &Settings, report: &mut Report) -> Result<(u64, Option<String>), String> {
    let program = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let mut command = Command::new(program);
    command.args(["fuzz-child", "--seed", &seed.to_string(), "--count", &count.to_string(), "--every", &every.to_string()]);
    command.args(settings.bug.iter().flat_map(|bug| ["--bug", bug]));
    let mut child = Owned::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()))?;
    let out = child.child().stdout.take().ok_or("a child without output")?;
    let mut last = seed;
    for line in BufReader::new(out).lines() {
        let line = line.map_err(|e| format!("what a child says: {e}"))?;
        match line.split_once(' ') {
            Some(("at", at)) => last = at.parse().map_err(|_| format!("a child said {line:?}"))?,
            Some(("fault", fault)) => {
                let (of, what) = fault.split_once(' ').unwrap_or((fault, ""));
                let of: u64 = of.parse().map_err(|_| format!("a child said {line:?}"))?;
                report.violations.push(format!("seed {of}: {}: {}", clipped(what), shown(of)?));
                if settings.bug.is_some() || report.violations.len() >= FAULTS_MAX {
                    child.kill()?;
                    return Ok((last, None));
                }
            }
            _ => return Err(format!("a child said {line:?}")),
        }
    }
    let status = child.wait()?;
    if status.code() == Some(1) {
        return Err("a child could not begin: run `thalweg-torture fuzz-child --seed 1 --count 1 --every 1`".to_owned());
    }
    Ok((last, (!status.success()).then(|| status.to_string())))
}

/// The text of a seed, as far as it is worth looking at.
fn shown(seed: u64) -> Result<String, String> {
    let corpus = corpus(&repository()).map_err(|e| e.to_string())?;
    Ok(format!("{:?}", clipped(&mutated(&corpus, &mut StdRng::seed_from_u64(seed)))))
}

fn clipped(text: &str) -> String {
    let mut clipped: String = text.chars().take(SHOWN).collect();
    if clipped.len() < text.len() {
        clipped.push_str(&format!("… ({} bytes)", text.len()));
    }
    clipped
}
