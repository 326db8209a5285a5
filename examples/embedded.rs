//! Thalweg as a library: declare a table, run a job, put records into the log, read the result from the lake. Invariant: it leaves
//! nothing behind; everything is in a temporary directory.

use std::time::Duration;

use futures::TryStreamExt;
use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::{SqlOutcome, SqlService};
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::LogStore;
use thalweg_engine::error::Result;
use thalweg_engine::ids::Name;

const TABLES: &str = "
CREATE TABLE telemetry (device_id STRING, ts TIMESTAMP(3), v DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
  WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json');
CREATE TABLE sums (window_end TIMESTAMP(3), device_id STRING, total DOUBLE)
  WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'you@example.com', 'description' = 'sums of ten seconds');
INSERT INTO sums SELECT window_end, device_id, SUM(v)
  FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, device_id;";

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let core = Core::open(Config { data: directory.path().join("data"), partitions: 1, ..Config::default() })?;
    let sql = Service(core.engine.clone());
    let me = Principal { name: Name::new("example")?, role: Role::Admin };
    sql.execute(&me, TABLES).await?;

    let log = core.logs.stream(&Name::new("telemetry")?)?;
    for second in 0..30 {
        let payload = format!(r#"{{"device_id":"pump-1","ts":"2026-01-01T00:00:{second:02}Z","v":{second}}}"#);
        let topic = "devices/pump-1/telemetry";
        let record = Record { device: "pump-1", topic, content_type: ContentType::Json, producer: None, payload: payload.as_bytes() };
        log.append(&record)?;
    }
    let committed = || core.engine.supervisor().list().iter().all(|job| job.committed.consumed == 30);
    while !committed() {
        core.engine.supervisor().checkpoint_all();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if let SqlOutcome::Rows(rows) = sql.execute(&me, "SELECT * FROM sums ORDER BY window_end").await? {
        let batches: Vec<_> = rows.stream.try_collect().await?;
        println!("{}", arrow::util::pretty::pretty_format_batches(&batches)?);
        assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 2, "two windows have closed");
    }
    tokio::task::spawn_blocking(move || core.close()).await.map_err(|e| thalweg_engine::error::Error::internal(e.to_string()))
}
