//! A data directory that an earlier version wrote is opened and gone on from. Invariant: what it had promised is there once, state
//! and all, and nobody had to do anything.
//!
//! `fixtures/data-<version>/` is the directory of a server of that version that was killed: log, checkpoints, lake, references and
//! statements. `fixtures/state-<version>/` is one with state of each kind of step, of a server that was stopped. They are never written
//! again; a version that changes a format adds its own. With `UPDATE_FIXTURES` set, one that is missing is written.

mod support;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use support::{close, committed, copy, record, run, wait};
use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::{SqlOutcome, SqlService};
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::ids::Name;

const JOBS: [&str; 3] = ["windows", "totals", "archive.telemetry"];
/// Records in the fixture: devices 0 to 3, seconds 0 to 24, the value is the sum of both; one that is late, and one that cannot be read.
const RECORDS: i64 = 4 * 25 + 2;

/// A table, then for each kind of state a table and the job that fills it, which has the table's name.
const STATES: [(&str, &str); 8] = [
    (
        "archive.telemetry",
        "CREATE TABLE telemetry (device_id STRING NOT NULL, ts TIMESTAMP(3), v BIGINT NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
           WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json', 'scan.watermark.idle-timeout' = '1h')",
    ),
    (
        "sessions",
        "CREATE TABLE sessions (window_start TIMESTAMP(3), window_end TIMESTAMP(3), device_id STRING, n BIGINT, total BIGINT)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO sessions SELECT window_start, window_end, device_id, COUNT(*), SUM(v)
           FROM TABLE(SESSION(TABLE telemetry PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '2' SECOND))
           GROUP BY window_start, window_end, device_id",
    ),
    (
        "followed",
        "CREATE TABLE followed (device_id STRING, v BIGINT, later BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO followed SELECT a.device_id, a.v, b.v FROM telemetry AS a JOIN telemetry AS b
           ON a.device_id = b.device_id AND b.ts BETWEEN a.ts + INTERVAL '1' SECOND AND a.ts + INTERVAL '5' SECOND",
    ),
    (
        "paired",
        "CREATE TABLE paired (device_id STRING, v BIGINT, later BIGINT, PRIMARY KEY (device_id, v) NOT ENFORCED)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         SET 'table.exec.state.ttl' = '1 h';
         INSERT INTO paired SELECT a.device_id, a.v, b.v FROM telemetry AS a LEFT JOIN telemetry AS b
           ON a.device_id = b.device_id AND b.v = a.v + 30",
    ),
    (
        "running",
        "CREATE TABLE running (device_id STRING, ts TIMESTAMP(3), total BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO running SELECT device_id, ts,
           SUM(v) OVER (PARTITION BY device_id ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM telemetry",
    ),
    (
        "best",
        "CREATE TABLE best (place BIGINT, device_id STRING, v BIGINT, PRIMARY KEY (place) NOT ENFORCED)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO best SELECT place, device_id, v FROM (
           SELECT device_id, v, ROW_NUMBER() OVER (ORDER BY v DESC) AS place FROM telemetry) WHERE place <= 3",
    ),
    (
        "newest",
        "CREATE TABLE newest (device_id STRING, ts TIMESTAMP(3), v BIGINT, PRIMARY KEY (device_id) NOT ENFORCED)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO newest SELECT device_id, ts, v FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM telemetry) WHERE rn = 1",
    ),
    (
        // The key of the table is another than that of the query, so that a step keeps the newest row of each.
        "ranked",
        "CREATE TABLE ranked (device_id STRING, place BIGINT, total BIGINT, PRIMARY KEY (device_id) NOT ENFORCED)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO ranked SELECT device_id, place, total FROM (
           SELECT device_id, total, ROW_NUMBER() OVER (ORDER BY total DESC) AS place FROM (
             SELECT device_id, SUM(v) AS total FROM telemetry GROUP BY device_id)) WHERE place <= 2",
    ),
];
/// Jobs of `STATES` that read each record once.
const READ_ONCE: [&str; 2] = ["archive.telemetry", "sessions"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn copy_fixture(name: &str, data: &Path) {
    copy(&fixture(name), data);
    for empty in ["spill", "lake/_scratch"] {
        // Version control keeps no empty directories.
        std::fs::create_dir_all(data.join(empty)).unwrap();
    }
}

fn open_states(data: &Path) -> Core {
    Core::open(Config { data: data.to_owned(), partitions: 2, segment_bytes: 64 << 10, ..Config::default() }).unwrap()
}

/// A new directory with the first half of the records: devices 0 to 3, seconds 0 to 24, but for some of them, so that sessions end.
async fn first_half(data: &Path) -> Core {
    let core = open_states(data);
    for (_, script) in STATES {
        run(&core, script).await;
    }
    feed(&core, 0..25);
    settled(&core, 25).await;
    core
}

fn is_sent(second: i64) -> bool {
    second % 7 < 4
}

fn feed(core: &Core, seconds: std::ops::Range<i64>) {
    seconds.filter(|s| is_sent(*s)).for_each(|s| (0..4).for_each(|device| record(core, &format!("pump-{device}"), s, 10 * s + device)));
}

/// Waits until everything that was sent before a second is in the lake.
async fn settled(core: &Core, seconds: i64) {
    let records = (0..seconds).filter(|s| is_sent(*s)).count() as i64 * 4;
    let jobs = STATES.map(|(job, _)| job);
    committed(core, &READ_ONCE, records).await.unwrap();
    wait(core, &jobs, |status| status.lag == 0).await.unwrap();
    core.engine.supervisor().checkpoint_all();
    wait(core, &jobs, |status| status.counters == status.committed).await.unwrap();
}

/// All rows of all tables.
async fn results(core: &Core) -> Vec<String> {
    let who = Principal { name: Name::new("tester").unwrap(), role: Role::Admin };
    let mut results = Vec::new();
    for (table, _) in &STATES[1..] {
        // Rows without a time lie by the day on which they were written, which no two runs need share.
        let columns = if *table == "followed" { "device_id, v, later" } else { "*" };
        let sql = format!("SELECT {columns} FROM {table} ORDER BY 1, 2, 3");
        let SqlOutcome::Rows(rows) = Service(core.engine.clone()).execute(&who, &sql).await.unwrap() else { panic!("{sql} gives rows") };
        let batches: Vec<RecordBatch> = rows.stream.try_collect().await.unwrap();
        results.push(format!("{table}\n{}", pretty_format_batches(&batches).unwrap()));
    }
    results
}

async fn query(core: &Core, sql: &str) -> i64 {
    run(core, sql).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_0_1_0_is_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    copy_fixture("data-0.1.0", &data);
    for (start, records) in [(1, RECORDS), (2, RECORDS + 4 * 10)] {
        let core = Core::open(Config { data: data.clone(), ..Config::default() }).unwrap();
        if start == 2 {
            (25..35).for_each(|second| (0..4).for_each(|device| record(&core, &format!("pump-{device}"), second, device + second)));
        }
        committed(&core, &JOBS, records).await.unwrap();
        assert_eq!(query(&core, "SELECT COUNT(*) FROM cold.telemetry").await, records);
        // Windows of ten seconds that have closed; that of second 20 was half full when the directory was written.
        let windows = if start == 1 { 2 } else { 3 };
        assert_eq!(query(&core, "SELECT SUM(n) FROM windows").await, windows * 40, "start {start}");
        let sum: i64 = (0..windows * 10).map(|second| (0..4).map(|device| device + second).sum::<i64>()).sum();
        assert_eq!(query(&core, "SELECT SUM(total) FROM windows").await, sum);
        assert_eq!(query(&core, "SELECT COUNT(*) FROM totals").await, 4);
        let late = core.engine.supervisor().status("windows").unwrap().committed;
        assert_eq!((late.late, late.rejected), (1, 1));
        assert_eq!(query(&core, "SELECT COUNT(*) FROM late.windows WHERE reason IS NULL").await, 1);
        close(core).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_of_0_1_0_is_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let golden = fixture("state-0.1.0");
    if !golden.exists() && std::env::var_os("UPDATE_FIXTURES").is_some() {
        let made = directory.path().join("made");
        close(first_half(&made).await).await;
        copy(&made, &golden);
    }
    let (straight, resumed) = (directory.path().join("straight"), directory.path().join("resumed"));
    let core = first_half(&straight).await;
    let half = results(&core).await;
    feed(&core, 25..50);
    settled(&core, 50).await;
    let whole = results(&core).await;
    close(core).await;
    for (half, whole) in half.iter().zip(&whole) {
        assert!(half.lines().count() > 5 && half != whole, "the second half changes nothing: {half}");
    }

    copy_fixture("state-0.1.0", &resumed);
    let core = open_states(&resumed);
    assert_eq!(results(&core).await, half);
    feed(&core, 25..50);
    settled(&core, 50).await;
    assert_eq!(results(&core).await, whole);
    close(core).await;
}
