//! The programs that we compare with. Invariant: they live below the target directory in the versions of their requirements, and run
//! from there; nothing of the system is changed, except that Java is installed if there is none.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::rows::Who;
use crate::install;
use crate::tree::root;

/// Installs what is missing; returns the interpreter that sees the peers.
pub fn install(target: &Path) -> Result<PathBuf, String> {
    install::program("java", "openjdk-17-jre-headless")?;
    install::environment(&target.join("bench-python"), "benches/peers/requirements.txt")
}

/// Runs a peer's query over the files of a folder.
pub fn command(python: &Path, who: Who, query: &str, folder: &Path) -> Command {
    let script = match who {
        Who::Flink => "flink_peer.py",
        Who::Polars => "polars_peer.py",
        Who::DuckDb | Who::Thalweg => "duckdb_peer.py",
    };
    let events = folder.join("events");
    let files = if who == Who::Flink { events } else { events.join("*.ndjson") };
    let mut command = Command::new(python);
    command.arg(root().join("benches/peers").join(script)).arg(query).arg(files).arg(folder.join("devices.csv"));
    command.arg(folder.join("peer.parquet"));
    command
}
