//! The whole gate, step by step. Invariant: every step runs even if one before it failed, and the last line counts all of
//! it: `N passed, N failed`. A step without tests inside counts as one.
//!
//! Lints run in a build and not in a check. `cargo clippy` checks, and a check compiles every dependency once more, without
//! code, into files that no build can use. A build with clippy's compiler as wrapper of our own crates takes the
//! dependencies that the tests need anyway. Its result is thrown away, so it neither optimises nor links: the arguments
//! added by clippy's compiler come last and win. For the same reason every step builds `--workspace` with its tests:
//! another choice of targets would choose other features of the dependencies, and build them again.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cargo::{cargo, succeed};
use crate::tree::{Tree, root};
use crate::{features, install, tidy, torture};

/// What a step found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// One step.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Path) -> Result<Count, String>,
}

/// Every step, in the order they run.
static STEPS: &[Step] = &[
    Step { name: "install", about: "programs and Python packages that are missing", run: |target| once(install::all(target)) },
    Step { name: "fmt", about: "formatting", run: |_| once(succeed(cargo(&["fmt", "--all", "--check"]))) },
    Step { name: "tidy", about: "layout, layers, registries, sizes, documents", run: |_| once(tidy::run(&[])) },
    Step { name: "features", about: "the program and its tests share one build", run: |_| once(features::check()) },
    Step { name: "clippy", about: "lints of every target, warnings are errors", run: |_| once(clippy()) },
    Step { name: "build", about: "programs, examples and tests", run: |_| once(build()) },
    Step { name: "test", about: "unit, integration and documentation tests", run: |_| unit() },
    Step { name: "examples", about: "every program in examples/", run: examples },
    Step { name: "e2e", about: "the finished program from outside", run: end_to_end },
    Step { name: "torture", about: "log, jobs and lake under kills, power cuts, errors and flipped bits, in short", run: tortured },
];

/// `cargo xtask test [--list] [--only STEP]…`
pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut only: Vec<&str> = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--list" => {
                STEPS.iter().for_each(|s| println!("{:10} {}", s.name, s.about));
                return Ok(());
            }
            "--only" => only.push(rest.next().ok_or("--only needs the name of a step; --list shows them")?),
            other => return Err(format!("{other} is not known: use --list or --only STEP")),
        }
    }
    if let Some(name) = only.iter().find(|name| STEPS.iter().all(|s| s.name != **name)) {
        return Err(format!("there is no step {name}; --list shows them"));
    }
    let target = target_directory()?;
    let (mut total, mut failures) = (Count::default(), Vec::new());
    for step in STEPS.iter().filter(|s| only.is_empty() || only.contains(&s.name)) {
        println!("== {}: {}", step.name, step.about);
        let start = Instant::now();
        let count = (step.run)(&target).unwrap_or_else(|message| {
            println!("{message}");
            Count { failed: 1, ..Count::default() }
        });
        let verdict = if count.failed == 0 { "ok" } else { "FAILED" };
        println!("== {}: {verdict} in {:.1} s", step.name, start.elapsed().as_secs_f64());
        if count.failed > 0 {
            failures.push(step.name);
        }
        total = Count { passed: total.passed + count.passed, failed: total.failed + count.failed, skipped: total.skipped + count.skipped };
    }
    if !failures.is_empty() {
        println!("failed: {}", failures.join(", "));
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    let _ = std::io::stdout().flush();
    if failures.is_empty() { Ok(()) } else { Err(format!("{} of the steps failed", failures.len())) }
}

/// This program lies in `<target>/debug`, whatever cargo was told about directories.
pub fn target_directory() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
    program.ancestors().nth(2).map(Path::to_path_buf).ok_or_else(|| format!("{} lies in no target directory", program.display()))
}

fn once(result: Result<(), String>) -> Result<Count, String> {
    result.map(|()| Count { passed: 1, ..Count::default() })
}

fn clippy() -> Result<(), String> {
    let arguments = ["-Dwarnings", "-Copt-level=0", "-Cdebuginfo=0", "-Clinker=true"].join("__CLIPPY_HACKERY__");
    let mut command = cargo(&["build", "--workspace", "--all-targets"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver").env("CLIPPY_ARGS", arguments);
    succeed(command)
}

fn build() -> Result<(), String> {
    succeed(cargo(&["build", "--workspace", "--bins", "--examples", "--tests"]))
}

fn unit() -> Result<Count, String> {
    counted(cargo(&["test", "--workspace", "--no-fail-fast"]))
}

fn examples(target: &Path) -> Result<Count, String> {
    let tree = Tree::load(&root())?;
    let mut count = Count::default();
    for name in tree.rust().filter_map(|f| f.path.strip_prefix("examples/")?.strip_suffix(".rs")) {
        println!("-- {name}");
        let mut command = Command::new(target.join("debug/examples").join(name));
        command.current_dir(root()).stdin(Stdio::null());
        match succeed(command) {
            Ok(()) => count.passed += 1,
            Err(message) => {
                println!("{message}");
                count.failed += 1;
            }
        }
    }
    Ok(count)
}

fn end_to_end(target: &Path) -> Result<Count, String> {
    build()?;
    let mut command = Command::new(install::python(target)?);
    command.arg("tests/e2e/run.py").arg("--binary").arg(target.join("debug/thalweg"));
    command.current_dir(root()).stdin(Stdio::null());
    counted(command)
}

fn tortured(target: &Path) -> Result<Count, String> {
    build()?;
    counted(torture::gate(target))
}

/// Runs tests, shows what they print, and adds up the results that they end with.
fn counted(mut command: Command) -> Result<Count, String> {
    let name = command.get_program().display().to_string();
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| format!("{name}: {e}"))?;
    let output = child.stdout.take().ok_or("the output was not piped")?;
    let mut count = Count::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.map_err(|e| format!("{name}: {e}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(found) = result_line(&line) {
            count =
                Count { passed: count.passed + found.passed, failed: count.failed + found.failed, skipped: count.skipped + found.skipped };
        }
    }
    let status = child.wait().map_err(|e| format!("{name}: {e}"))?;
    if !status.success() && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …` or `3 passed, 0 failed, 1 skipped`.
fn result_line(line: &str) -> Option<Count> {
    let (text, separator) = match line.strip_prefix("test result: ") {
        Some(rest) => (rest.split_once(". ")?.1, "; "),
        None => (line, ", "),
    };
    let mut parts = text.split(separator);
    let mut take = |what: &str| parts.next()?.trim().strip_suffix(what)?.trim().parse().ok();
    let (passed, failed) = (take("passed")?, take("failed")?);
    let skipped = parts.next().and_then(|p| p.split(' ').next()?.parse().ok()).unwrap_or(0);
    Some(Count { passed, failed, skipped })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_both_runners_are_counted() {
        let rust = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.01s";
        assert_eq!(result_line(rust), Some(Count { passed: 3, failed: 1, skipped: 2 }));
        assert_eq!(result_line("4 passed, 0 failed, 1 skipped"), Some(Count { passed: 4, failed: 0, skipped: 1 }));
        assert_eq!(result_line("4 passed, 0 failed"), Some(Count { passed: 4, failed: 0, skipped: 0 }));
        assert_eq!(result_line("test tests::a ... ok"), None);
    }

    #[test]
    fn a_run_that_dies_counts_as_failed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 2 passed, 0 failed; exit 3"]);
        assert_eq!(counted(command), Ok(Count { passed: 2, failed: 1, skipped: 0 }));
    }

    #[test]
    fn steps_can_be_chosen_only_by_name() {
        assert!(run(&["--only".into(), "nothing".into()]).unwrap_err().contains("there is no step nothing"));
        assert!(run(&["--fast".into()]).is_err());
    }
}
