//! The program and its tests share one build of their dependencies. Invariant: every dependency of the program has the same
//! features with the tests' dependencies in the tree as without; else cargo builds it, and all that stands on it, twice, and
//! somebody who runs the demo first waits for the tests as long again.

use std::collections::BTreeSet;

use crate::cargo::cargo;

/// Compares what `cargo run` and `cargo test --workspace` would build.
pub fn check() -> Result<(), String> {
    let program = tree(&["--package", "thalweg", "--edges", "no-dev"])?;
    let tests = tree(&["--workspace", "--edges", "normal,build,dev"])?;
    let alone = different(&program, &tests);
    if alone.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the tests build these with other features than the program: {}; `cargo tree --workspace --edges features --invert <crate>` \
         shows who asks for more: ask for the same in the workspace's Cargo.toml",
        alone.join(", ")
    ))
}

fn tree(arguments: &[&str]) -> Result<String, String> {
    let mut command = cargo(&["tree", "--locked", "--prefix", "none", "--format", "{p} [{f}]"]);
    command.args(arguments);
    let output = command.output().map_err(|e| format!("cargo tree: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lines of `program` that `tests` lacks. A line that cargo has shown before ends with `(*)`.
fn different<'a>(program: &'a str, tests: &'a str) -> Vec<&'a str> {
    let lines = |text: &'a str| -> BTreeSet<&'a str> { text.lines().map(|l| l.trim_end_matches(" (*)")).collect() };
    lines(program).difference(&lines(tests)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_would_be_built_twice_is_found() {
        let program = "thalweg v1 []\nserde v1 [std]\nbytes v1 [std]\nserde v1 [std] (*)\n";
        let tests = "thalweg v1 []\nserde v1 [alloc,std]\nbytes v1 [std] (*)\nproptest v1 []\n";
        assert_eq!(different(program, tests), ["serde v1 [std]"]);
        assert!(different(program, program).is_empty());
    }
}
