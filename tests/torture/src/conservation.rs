//! The law of conservation, for every test that leaves a log or jobs behind. Invariant: figures that are compared were counted in
//! different places: a job's ways in and its ways out, the log and the lake as a stranger reads it.
//!
//! Tests of the log have no jobs. What such a test leaves is read by an archive: an engine over a copy of the log.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::SqlService;
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::contract::LogStore;
use thalweg_engine::error::Error;
use thalweg_engine::ids::Name;
use thalweg_engine::metrics::JobCounters;
use thalweg_engine::runtime::JobState;
use thalweg_engine::state::Checkpoint;

use crate::exactly_once::reader;
use crate::machine;
use crate::writer::STREAM;

/// A table of the stream that all writers write to, and with it the archive.
const TABLE: &str = "CREATE TABLE torture (payload BYTES) WITH ('connector' = 'log', 'stream' = 'torture', 'format' = 'raw')";
const ARCHIVE: &str = "archive.torture";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// By how much the counts of a job do not balance, if they do not.
pub fn difference(job: &str, counters: &JobCounters) -> Option<String> {
    let (rows, windows) = (counters.row_balance(), counters.window_balance());
    (rows != 0 || windows != 0).then(|| format!("the counts of job {job} do not balance: rows {rows}, windows {windows}"))
}

/// The files of a job's checkpoints, oldest first.
pub fn checkpoints(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "checkpoint")).collect();
    files.sort();
    files
}

/// Reads the file of a checkpoint.
pub fn read_checkpoint(path: &Path) -> Result<Checkpoint, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Checkpoint::decode(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// What is wrong with a log that nobody has open, as an archive finds it: each record is read once, the counts balance, and the lake has a
/// row of each. Errors: it cannot be tried.
pub fn over_log(log: &Path) -> Result<Vec<String>, String> {
    let shown = |e: Error| e.to_string();
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (data, copy) = (home.path().join("data"), home.path().join("data/log"));
    std::fs::create_dir(&data).map_err(|e| format!("{}: {e}", data.display()))?;
    machine::run("cp", &[OsStr::new("-a"), log.as_os_str(), copy.as_os_str()])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    let _inside = runtime.enter();
    let core = Core::open(Config { data: data.clone(), partitions: 1, ..Config::default() }).map_err(shown)?;
    let who = Principal { name: Name::new("torture").map_err(shown)?, role: Role::Admin };
    let service = Service(core.engine.clone());
    runtime.block_on(service.execute(&who, TABLE)).map_err(shown)?;
    let stream = core.logs.stream(&Name::new(STREAM).map_err(shown)?).map_err(shown)?;
    let records: u64 = (0..stream.partitions()).map(|p| stream.bounds(p)).map(|bounds| bounds.end - bounds.start).sum();
    let mut violations: Vec<String> = read_all(&core, records).err().into_iter().collect();
    // With a last checkpoint.
    core.close();
    let rows = reader::read(&data.join("lake/cold").join(STREAM))?.rows.len() as u64;
    let newest = checkpoints(&data.join("checkpoints").join(ARCHIVE)).pop();
    let counters = newest.map(|path| read_checkpoint(&path)).transpose()?.map(|c| c.counters()).unwrap_or_default();
    violations.extend(difference(ARCHIVE, &counters));
    if (counters.consumed, rows) != (records, records) {
        violations.push(format!("of {records} records in the log, the archive counts {} and has {rows} rows", counters.consumed));
    }
    Ok(violations)
}

/// Waits until the archive has read so many records. Errors: it does not.
fn read_all(core: &Core, records: u64) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let status = core.engine.supervisor().status(ARCHIVE).map_err(|e| e.to_string())?;
        let read = status.counters.consumed;
        match &status.life {
            JobState::Failed(why) | JobState::Restarting(why) => return Err(format!("job {ARCHIVE} does not run: {why}")),
            _ if read >= records => return Ok(()),
            _ if began.elapsed() > PATIENCE => return Err(format!("job {ARCHIVE} has read {read} of {records} records")),
            _ => std::thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_with_its_job() {
        let fine = JobCounters { consumed: 3, passed: 3, ..JobCounters::default() };
        assert_eq!(difference("j", &fine), None);
        let lost = difference("j", &JobCounters { passed: 2, ..fine }).expect("a row is lost");
        assert_eq!(lost, "the counts of job j do not balance: rows 1, windows 0");
    }
}
