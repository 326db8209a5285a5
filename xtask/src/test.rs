//! The whole gate, step by step. Invariant: every step runs even if one before it failed, and the last line counts all of
//! it: `N passed, N failed`. A step without tests inside counts as one. What failed is told once more at the end, by name and with the
//! last lines that its program printed: whoever sees only the end of a long output must see why.
//!
//! Lints run in a build and not in a check. `cargo clippy` checks, and a check compiles every dependency once more, without
//! code, into files that no build can use. A build with clippy's compiler as wrapper of our own crates takes the
//! dependencies that the tests need anyway. Its result is thrown away, so it neither optimises nor links: the arguments
//! added by clippy's compiler come last and win. For the same reason every step builds `--workspace` with its tests:
//! another choice of targets would choose other features of the dependencies, and build them again.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cargo::{cargo, succeed};
use crate::tree::{Tree, root};
use crate::{features, install, tidy, torture};

/// How cargo begins to tell of a test program that a signal ended: it has printed no result.
const DIED: &str = "  process didn't exit successfully";
/// Lines of a program that failed which are told again at the end.
const LINES_TOLD_AGAIN: usize = 60;

/// What a step found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// What the programs with failures printed last.
    said: Vec<String>,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.said.extend(other.said);
    }
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
            Count { failed: 1, said: vec![message], ..Count::default() }
        });
        let verdict = if count.failed == 0 { "ok" } else { "FAILED" };
        println!("== {}: {verdict} in {:.1} s", step.name, start.elapsed().as_secs_f64());
        if count.failed > 0 {
            failures.push(step.name);
        }
        total.add(count);
    }
    if !failures.is_empty() {
        total.said.iter().for_each(|line| println!("| {line}"));
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
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    // The gate tries the same everywhere; CONTRIBUTING says how to try something else.
    command.env("PROPTEST_RNG_SEED", "1");
    counted(command)
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
                count.add(Count { failed: 1, said: vec![message], ..Count::default() });
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

/// Runs tests, shows what they print, and adds up the results that they end with. A program that ends without a result counts as a
/// failure.
fn counted(mut command: Command) -> Result<Count, String> {
    let name = command.get_program().display().to_string();
    let failed = |e: std::io::Error| format!("{name}: {e}");
    // One pipe for both, so that an error stays behind what came before it.
    let (output, input) = std::io::pipe().map_err(failed)?;
    command.stdout(input.try_clone().map_err(failed)?).stderr(input);
    let mut child = command.spawn().map_err(failed)?;
    // The command holds the ends that are written to; the output ends when nobody does.
    drop(command);
    let (mut count, mut last) = (Count::default(), VecDeque::new());
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line.map_err(failed)?).into_owned();
        println!("{line}");
        let found = result_line(&line);
        let has_died = line.starts_with(DIED);
        count.failed += u64::from(has_died);
        let is_told = has_died || found.as_ref().is_some_and(|found| found.failed > 0);
        last.push_back(line);
        if is_told {
            count.said.extend(last.drain(..));
        }
        if let Some(found) = found {
            count.add(found);
            last.clear();
        } else if last.len() > LINES_TOLD_AGAIN {
            last.pop_front();
        }
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() && count.failed == 0 {
        count.failed = 1;
        count.said.extend(last);
        count.said.push(format!("{name}: {status}"));
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
    Some(Count { passed, failed, skipped, said: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_both_runners_are_counted() {
        let rust = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.01s";
        assert_eq!(result_line(rust), Some(Count { passed: 3, failed: 1, skipped: 2, said: Vec::new() }));
        assert_eq!(result_line("4 passed, 0 failed, 1 skipped"), Some(Count { passed: 4, failed: 0, skipped: 1, said: Vec::new() }));
        assert_eq!(result_line("4 passed, 0 failed"), Some(Count { passed: 4, failed: 0, skipped: 0, said: Vec::new() }));
        assert_eq!(result_line("test tests::a ... ok"), None);
    }

    #[test]
    fn what_failed_is_told_again() {
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            counted(command).unwrap()
        };
        let dies = run("echo 2 passed, 0 failed; echo here >&2; exit 3");
        assert_eq!((dies.passed, dies.failed, dies.said[0].as_str()), (2, 1, "here"));
        assert!(dies.said[1].contains("exit status: 3"), "{:?}", dies.said);
        let fails = run("echo fine; echo 1 passed, 0 failed; echo why; echo 1 passed, 1 failed; echo 3 passed, 0 failed; exit 1");
        assert_eq!((fails.passed, fails.failed), (5, 1));
        assert_eq!(fails.said, ["why", "1 passed, 1 failed"]);
        let aborts = run("echo 1 passed, 1 failed; echo begun; echo \"  process didn't exit successfully: x (signal: 6)\" >&2; exit 1");
        assert_eq!((aborts.passed, aborts.failed), (1, 2));
        assert_eq!(aborts.said, ["1 passed, 1 failed", "begun", "  process didn't exit successfully: x (signal: 6)"]);
        assert_eq!(run("echo 2 passed, 0 failed").said, [""; 0]);
    }

    #[test]
    fn steps_can_be_chosen_only_by_name() {
        assert!(run(&["--only".into(), "nothing".into()]).unwrap_err().contains("there is no step nothing"));
        assert!(run(&["--fast".into()]).is_err());
    }
}
