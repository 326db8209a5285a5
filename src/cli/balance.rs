//! The balance of a demonstration. Invariant: every figure is read where it is kept (log, lake, the job's last checkpoint), so that
//! figures that agree are evidence.

use thalweg_engine::contract::LogStore;
use thalweg_engine::error::{ErrorKind, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::metrics::JobCounters;

use crate::app::Core;

const STREAM: &str = "telemetry";
const JOB: &str = "site_10s";

/// What there was before a run.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    logged: u64,
    cold: u64,
}

impl Before {
    /// Reads it now.
    pub fn read(core: &Core) -> Result<Self> {
        Ok(Self { logged: logged(core)?, cold: rows(core, "cold", STREAM)? })
    }
}

/// Figures that must agree.
#[derive(Debug, Clone)]
pub struct Balance {
    /// Records that devices got an acknowledgement for.
    pub acknowledged: u64,
    /// Records that the log took in this run.
    pub logged: u64,
    /// Records in the log.
    pub logged_total: u64,
    /// Rows that the cold table gained in this run.
    pub cold: u64,
    /// Rows of the cold table.
    pub cold_total: u64,
    /// Rows of the warm table.
    pub warm_total: u64,
    /// Counts of the job at its last checkpoint.
    pub job: JobCounters,
}

impl Balance {
    /// Reads it, after the jobs have taken their last checkpoints.
    pub fn read(core: &Core, before: &Before, acknowledged: u64) -> Result<Self> {
        let (logged_total, cold_total) = (logged(core)?, rows(core, "cold", STREAM)?);
        Ok(Self {
            acknowledged,
            logged: logged_total - before.logged,
            logged_total,
            cold: cold_total.saturating_sub(before.cold),
            cold_total,
            warm_total: rows(core, "warm", JOB)?,
            job: core.engine.supervisor().status(JOB)?.committed,
        })
    }

    /// Whether all figures agree.
    pub fn adds_up(&self) -> bool {
        self.differences().is_empty()
    }

    /// One line about it.
    pub fn verdict(&self) -> String {
        let differences = self.differences();
        if differences.is_empty() {
            "adds up: acknowledged = in the log = rows in cold; emitted + open + late + filtered + rejected = consumed".to_owned()
        } else {
            format!("DOES NOT ADD UP: {}", differences.join("; "))
        }
    }

    fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |left: &str, a: u64, right: &str, b: u64| {
            if a != b {
                found.push(format!("{left} {a}, {right} {b}"));
            }
        };
        let c = &self.job;
        compare("acknowledged", self.acknowledged, "logged", self.logged);
        compare("logged in all", self.logged_total, "rows in cold", self.cold_total);
        compare("logged in all", self.logged_total, "consumed", c.consumed);
        compare(
            "consumed and expanded",
            c.consumed + c.expanded,
            "emitted, open, late, filtered and rejected",
            c.emitted + c.open + c.late + c.filtered + c.rejected,
        );
        compare("written", c.written, "rows in warm", self.warm_total);
        found
    }
}

fn logged(core: &Core) -> Result<u64> {
    let log = core.logs.stream(&Name::new(STREAM)?)?;
    Ok((0..log.partitions()).map(|p| log.bounds(p).end).sum())
}

fn rows(core: &Core, namespace: &str, name: &str) -> Result<u64> {
    match core.lake.table(namespace, name) {
        Ok(table) => Ok(table.snapshot()?.rows),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}
