//! Torture tests by name. Invariant: it tortures nothing itself; the tests, what they need and what they find stand in
//! `tests/torture/`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cargo::{cargo, succeed};
use crate::install;
use crate::test::target_directory;
use crate::tree::root;

/// `cargo xtask torture [NAME] [--rounds N] [--seed S] [--canaries]`, or `soak [--minutes N]`; without a name all are listed.
pub fn run(arguments: &[String]) -> Result<(), String> {
    if !arguments.is_empty() {
        install::torture();
    }
    succeed(cargo(&["build", "--workspace", "--bins"]))?;
    let mut command = program(&target_directory()?);
    command.args(arguments);
    succeed(command)
}

/// The short form of all tests and canaries, as a step of the gate. The programs are built.
pub fn gate(target: &Path) -> Command {
    install::torture();
    let mut command = program(target);
    command.arg("gate");
    command
}

fn program(target: &Path) -> Command {
    let mut command = Command::new(target.join("debug/thalweg-torture"));
    command.current_dir(root()).stdin(Stdio::null());
    command
}
