//! Cargo inside cargo. Invariant: the inner one sees the environment of the user's shell, without what the outer one added
//! for this program: build scripts of dependencies watch some of those variables, and cargo would build them, and all that
//! stands on them, again at each change between `cargo xtask` and plain `cargo`.

use std::process::{Command, Stdio};

use crate::tree::root;

/// What `cargo run` adds to the environment of the program it runs.
const ADDED: &[&str] = &["CARGO_MANIFEST_", "CARGO_PKG_"];

/// Cargo in the root of the repository.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| ADDED.iter().any(|added| name.starts_with(added))) {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command and shows what it prints. Errors: its name and how it ended.
pub fn succeed(mut command: Command) -> Result<(), String> {
    let shown = command.get_program().display().to_string();
    let status = command.status().map_err(|e| format!("{shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_cargo_does_not_see_this_package() {
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "cargo sets it for its tests");
        let removed: Vec<_> = cargo(&[]).get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name.to_owned()).collect();
        assert!(["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR"].iter().all(|n| removed.iter().any(|r| r == n)));
    }
}
