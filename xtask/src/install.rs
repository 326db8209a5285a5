//! What the gate needs beside Rust. Invariant: what is there is not touched, what is installed is said, and what cannot be
//! installed ends with the command to type.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tree::root;

/// Programs and the Debian packages that bring them.
const PROGRAMS: &[(&str, &str)] = &[("cc", "build-essential"), ("mosquitto_pub", "mosquitto-clients"), ("python3", "python3")];
/// The same for the torture tests, which skip what they cannot do.
const TORTURE_PROGRAMS: &[(&str, &str)] = &[
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("python3", "python3"),
    ("qemu-storage-daemon", "qemu-utils"),
    ("setpriv", "util-linux"),
    ("strace", "strace"),
];
/// Parts of the toolchain.
const COMPONENTS: &[(&str, &str)] = &[("clippy-driver", "clippy"), ("rustfmt", "rustfmt")];
/// Python packages of the end-to-end tests, with versions.
const REQUIREMENTS: &str = "tests/e2e/requirements.txt";

/// Installs what is missing.
pub fn all(target: &Path) -> Result<(), String> {
    for (program, component) in COMPONENTS {
        if !exists(program) {
            return Err(format!("{program} is missing: run rustup component add {component}"));
        }
    }
    for (name, package) in PROGRAMS {
        program(name, package)?;
    }
    python(target).map(drop)
}

/// Installs what is missing for the torture tests. What cannot be installed is said, and its tests are skipped.
pub fn torture() {
    for (program, package) in TORTURE_PROGRAMS.iter().filter(|(program, _)| !exists(program)) {
        if let Err(e) = debian(package, &format!("{program} is missing")) {
            println!("{e}; tests that need it will be skipped");
        }
    }
}

/// The interpreter of the end-to-end tests.
pub fn python(target: &Path) -> Result<PathBuf, String> {
    environment(&target.join("e2e-python"), REQUIREMENTS)
}

/// A program that is on the path, or the package that brings it is installed.
pub fn program(program: &str, package: &str) -> Result<(), String> {
    if exists(program) { Ok(()) } else { debian(package, &format!("{program} is missing")) }
}

/// The interpreter of a virtual environment, made if it is missing or the packages of `requirements` changed.
pub fn environment(folder: &Path, requirements: &str) -> Result<PathBuf, String> {
    let (interpreter, stamp) = (folder.join("bin/python"), folder.join("installed.txt"));
    let wanted = std::fs::read_to_string(root().join(requirements)).map_err(|e| format!("{requirements}: {e}"))?;
    if interpreter.exists() && std::fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return Ok(interpreter);
    }
    println!("installing the packages of {requirements} into {}", folder.display());
    let make = || run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder));
    if make().is_err() {
        debian("python3-venv", "python3 cannot make a virtual environment")?;
        make()?;
    }
    let install =
        || run(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", "--requirement", requirements]).current_dir(root()));
    if let Err(failure) = install() {
        // Or it was the network.
        if let Err(e) = debian("python3-dev", &format!("{failure}; one of the packages may be built here and need Python's headers")) {
            println!("{e}");
        }
        patiently(install)?;
    }
    std::fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(interpreter)
}

/// Whether a program is on the path.
fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn debian(package: &str, why: &str) -> Result<(), String> {
    let by_hand = format!("{why}: install the package {package}");
    if !exists("apt-get") {
        return Err(by_hand);
    }
    println!("{why}: installing the package {package}");
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.starts_with(b"0\n"));
    let apt = |arguments: &[&str]| {
        let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
        if !root {
            command.args(["-n", "apt-get"]);
        }
        run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()))
    };
    let patient = ["-o", "Acquire::Retries=5", "-o", "DPkg::Lock::Timeout=600"];
    patiently(|| {
        // A list that cannot be fetched does no harm if the package is in another.
        let updated = apt(&[&patient[..], &["update", "-qq"]].concat());
        let installed = apt(&[&patient[..], &["install", "-y", "-qq", "--no-install-recommends", package]].concat());
        installed.map_err(|e| updated.err().unwrap_or(e))
    })
    .map_err(|e| format!("{by_hand} ({e})"))
}

/// Networks fail now and then: tries again after a while.
fn patiently(mut attempt: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    for pause_s in [10, 60] {
        let Err(e) = attempt() else { return Ok(()) };
        println!("{e}; again in {pause_s} s");
        std::thread::sleep(std::time::Duration::from_secs(pause_s));
    }
    attempt()
}

/// Runs a command with its arguments in the error.
fn run(command: &mut Command) -> Result<(), String> {
    let shown =
        format!("{} {}", command.get_program().display(), command.get_args().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" "));
    let status = command.stdin(Stdio::null()).status().map_err(|e| format!("{shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}
