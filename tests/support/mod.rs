//! A server without its ports, over a data directory that tests copy, damage and look at. Invariant: nothing here opens a directory:
//! each test says how its own is opened.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use thalweg::app::Core;
use thalweg::server::{SqlOutcome, SqlService};
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::LogStore;
use thalweg_engine::ids::Name;
use thalweg_engine::runtime::{JobState, JobStatus};
use thalweg_engine::topic::telemetry_topic;

const PATIENCE: Duration = Duration::from_secs(60);

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Closes everything, as a server that is told to stop.
pub async fn close(core: Core) {
    tokio::task::spawn_blocking(move || core.close()).await.unwrap();
}

/// Runs statements; gives the number in the first row and column, if there is one.
pub async fn run(core: &Core, sql: &str) -> Option<i64> {
    let who = Principal { name: Name::new("tester").unwrap(), role: Role::Admin };
    match Service(core.engine.clone()).execute(&who, sql).await.unwrap() {
        SqlOutcome::Message(_) => None,
        SqlOutcome::Rows(rows) => {
            let batches: Vec<_> = rows.stream.try_collect().await.unwrap();
            batches.first().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0))
        }
    }
}

/// A record of the stream `telemetry`: a value at a second of 2026.
pub fn record(core: &Core, device: &str, second: i64, v: i64) {
    let log = core.logs.stream(&Name::new("telemetry").unwrap()).unwrap();
    let payload = format!(r#"{{"device_id":"{device}","ts":"2026-01-01T00:00:{second:02}Z","v":{v}}}"#);
    let topic = telemetry_topic(device, "telemetry");
    log.append(&Record { device, topic: &topic, content_type: ContentType::Json, producer: None, payload: payload.as_bytes() }).unwrap();
}

/// Waits until these jobs have read so many records, takes one checkpoint, and waits until that is committed. Errors: as for `wait`.
pub async fn committed(core: &Core, jobs: &[&str], records: i64) -> Result<(), String> {
    let records = records.cast_unsigned();
    wait(core, jobs, |status| status.counters.consumed == records).await?;
    core.engine.supervisor().checkpoint_all();
    wait(core, jobs, |status| {
        let counters = &status.committed;
        counters.consumed == records && (counters.row_balance(), counters.window_balance()) == (0, 0)
    })
    .await
}

/// Waits for something to be true of each job. Errors: why the first of them has failed. What becomes of the others then is not looked
/// at.
pub async fn wait(core: &Core, jobs: &[&str], done: impl Fn(&JobStatus) -> bool) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let statuses: Vec<JobStatus> = jobs.iter().map(|job| core.engine.supervisor().status(job).unwrap()).collect();
        if let JobState::Failed(reason) = &statuses[0].life {
            return Err(reason.clone());
        }
        if statuses.iter().all(&done) {
            return Ok(());
        }
        assert!(began.elapsed() < PATIENCE, "waited for {statuses:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
