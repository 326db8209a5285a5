//! A data directory that an earlier version wrote is opened and gone on from. Invariant: what it had promised is there once, state
//! and all, and nobody had to do anything.
//!
//! `fixtures/data-<version>/` is the directory of a server of that version that was killed: log, checkpoints, lake, references and
//! statements. They are never written again; a version that changes a format adds its own.

mod support;

use std::path::Path;

use support::{close, committed, copy, record, run};
use thalweg::app::Core;
use thalweg::config::Config;

const JOBS: [&str; 3] = ["windows", "totals", "archive.telemetry"];
/// Records in the fixture: devices 0 to 3, seconds 0 to 24, the value is the sum of both; one that is late, and one that cannot be read.
const RECORDS: i64 = 4 * 25 + 2;

async fn query(core: &Core, sql: &str) -> i64 {
    run(core, sql).await.unwrap()
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
        close(core).await;
    }
}
