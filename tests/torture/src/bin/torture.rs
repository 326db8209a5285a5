//! `thalweg-torture`: runs the torture tests by name. Invariant: the exit code is 0 only if no test that was run
//! failed; a test that the machine cannot do says SKIPPED.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use thalweg_torture::exactly_once::runner;
use thalweg_torture::harness::{self, Outcome, Settings, Test};
use thalweg_torture::{TESTS, fuzz, machine, soak, writer};

/// Crash, power-cut, error and corruption tests of Thalweg.
#[derive(Debug, Parser)]
#[command(name = "thalweg-torture", version, subcommand_required = false, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Args)]
struct Run {
    /// The test, or `gate` for the short form of all; without a name all are listed.
    name: Option<String>,
    /// How many rounds, states, seeds or seconds, in the unit of the test.
    #[arg(long, visible_aliases = ["states", "seeds", "seconds", "count"])]
    rounds: Option<u64>,
    /// Repeats the random choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs the test with each of its seeded bugs, which it must find.
    #[arg(long)]
    canaries: bool,
    /// Seeds one bug, to see what the test says to it.
    #[arg(long)]
    bug: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The child process that runs jobs.
    #[command(hide = true)]
    Engine(runner::Options),
    /// The child process that treats texts.
    #[command(hide = true, name = "fuzz-child")]
    Fuzz(fuzz::Options),
    /// A server under an even load for a long time.
    Soak(soak::Options),
    /// The child process that writes.
    #[command(hide = true)]
    Writer(writer::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Command::Engine(options)) => return ExitCode::from(runner::main(options)),
        Some(Command::Fuzz(options)) => return ExitCode::from(fuzz::main(options)),
        Some(Command::Soak(options)) => return soaked(options),
        Some(Command::Writer(options)) => return ExitCode::from(writer::main(options)),
        None => {}
    }
    let Some(name) = &arguments.run.name else {
        list();
        return ExitCode::SUCCESS;
    };
    let Some(tests) = choose(name) else {
        eprintln!("there is no test {name}; without a name all are listed");
        return ExitCode::from(2);
    };
    machine::enter_private_mounts();
    // The gate chooses the same everywhere; other seeds are for runs by name.
    let chosen = || if name == "gate" { fuzz::GATE_SEED } else { u64::from(rand::random::<u32>()) };
    let seed = arguments.run.seed.unwrap_or_else(chosen);
    let passed = if name == "gate" { gate(&tests, seed) } else { one(tests[0], &arguments.run, seed) };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn soaked(options: &soak::Options) -> ExitCode {
    match soak::run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            println!("soak: FAILED: could not be run: {e}");
            ExitCode::FAILURE
        }
    }
}

fn choose(name: &str) -> Option<Vec<&'static Test>> {
    if name == "gate" {
        return Some(TESTS.iter().filter(|test| test.gate.is_some()).copied().collect());
    }
    TESTS.iter().find(|test| test.name == name).map(|test| vec![*test])
}

fn list() {
    println!("usage: thalweg-torture <name> [--rounds N] [--seed S] [--canaries]\n");
    println!("  {:12} the short form of all tests and canaries", "gate");
    println!("  {:12} a server under an even load for a long time (--minutes N --rate N --binary PATH)", "soak");
    for test in TESTS {
        let canaries: Vec<_> = test.canaries.iter().map(|canary| canary.name).collect();
        let count = if test.count == u64::MAX { "all".to_owned() } else { test.count.to_string() };
        println!("  {:12} {} ({count} {}; canaries: {})", test.name, test.about, test.unit, canaries.join(", "));
    }
}

fn one(test: &Test, run: &Run, seed: u64) -> bool {
    if run.canaries {
        return harness::run_canaries(test, seed).is_none_or(|(caught, all)| caught == all);
    }
    let settings = Settings { count: run.rounds.unwrap_or(test.count), seed, bug: run.bug.clone() };
    harness::run(test, &settings) != Outcome::Failed
}

/// Runs the short form of all tests; each test and each canary counts as one.
fn gate(tests: &[&Test], seed: u64) -> bool {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for test in tests {
        let seed = if test.name == fuzz::TEST.name { fuzz::GATE_SEED } else { seed };
        match harness::run(test, &Settings { count: test.gate.unwrap_or(test.count), seed, bug: None }) {
            Outcome::Passed => passed += 1,
            Outcome::Failed => failed += 1,
            Outcome::Skipped => skipped += 1,
        }
        match harness::run_canaries(test, seed) {
            Some((caught, all)) => {
                passed += caught;
                failed += all - caught;
            }
            None => skipped += test.canaries.len() as u64,
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}
