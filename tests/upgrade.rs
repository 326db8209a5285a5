//! A data directory that an earlier version wrote is opened and gone on from. Invariant: what it had promised is there once, state
//! and all, and nobody had to do anything.
//!
//! `fixtures/data-<version>/` is the directory of a server of that version that was killed: log, checkpoints, lake, references and
//! statements. They are never written again; a version that changes a format adds its own.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::{SqlOutcome, SqlService};
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::LogStore;
use thalweg_engine::ids::Name;
use thalweg_engine::runtime::JobState;

const PATIENCE: Duration = Duration::from_secs(60);
const JOBS: [&str; 3] = ["archive.telemetry", "totals", "windows"];
/// Records in the fixture: devices 0 to 3, seconds 0 to 24, values as in `record`; one that is late, and one that cannot be read.
const RECORDS: i64 = 4 * 25 + 2;

fn copy(from: &Path, to: &Path) {
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

async fn query(core: &Core, sql: &str) -> i64 {
    let who = Principal { name: Name::new("tester").unwrap(), role: Role::Admin };
    let SqlOutcome::Rows(rows) = Service(core.engine.clone()).execute(&who, sql).await.unwrap() else { panic!("no rows") };
    let batches: Vec<_> = rows.stream.try_collect().await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

fn record(core: &Core, device: i64, second: i64) {
    let log = core.logs.stream(&Name::new("telemetry").unwrap()).unwrap();
    let payload = format!(r#"{{"device_id":"pump-{device}","ts":"2026-01-01T00:00:{second:02}Z","v":{}}}"#, device + second);
    let (name, topic) = (format!("pump-{device}"), format!("devices/pump-{device}/telemetry"));
    log.append(&Record { device: &name, topic: &topic, content_type: ContentType::Json, producer: None, payload: payload.as_bytes() })
        .unwrap();
}

async fn committed(core: &Core, records: i64) {
    let began = Instant::now();
    let is_done = |job: &&str| {
        let status = core.engine.supervisor().status(job).unwrap();
        assert!(!matches!(status.life, JobState::Failed(_)), "{status:?}");
        status.committed.consumed == records.cast_unsigned()
            && (status.committed.row_balance(), status.committed.window_balance()) == (0, 0)
    };
    while !JOBS.iter().all(is_done) {
        assert!(began.elapsed() < PATIENCE, "{:?}", core.engine.supervisor().list());
        core.engine.supervisor().checkpoint_all();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_0_1_0_is_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-0.1.0"), &data);
    for empty in ["spill", "lake/_scratch"] {
        // Version control keeps no empty directories.
        std::fs::create_dir_all(data.join(empty)).unwrap();
    }
    for (start, records) in [(1, RECORDS), (2, RECORDS + 4 * 10)] {
        let core = Core::open(Config { data: data.clone(), ..Config::default() }).unwrap();
        if start == 2 {
            (25..35).for_each(|second| (0..4).for_each(|device| record(&core, device, second)));
        }
        committed(&core, records).await;
        assert_eq!(query(&core, "SELECT COUNT(*) FROM cold.telemetry").await, records);
        // Windows of ten seconds that have closed; that of second 20 was half full when the directory was written.
        let windows = if start == 1 { 2 } else { 3 };
        assert_eq!(query(&core, "SELECT SUM(n) FROM windows").await, windows * 40, "start {start}");
        let sum: i64 = (0..windows * 10).map(|second| (0..4).map(|device| device + second).sum::<i64>()).sum();
        assert_eq!(query(&core, "SELECT SUM(total) FROM windows").await, sum);
        assert_eq!(query(&core, "SELECT COUNT(*) FROM totals").await, 4);
        let late = core.engine.supervisor().status("windows").unwrap().committed;
        assert_eq!((late.late, late.rejected), (1, 1));
        tokio::task::spawn_blocking(move || core.close()).await.unwrap();
    }
}
