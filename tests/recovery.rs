//! Starts over a data directory whose parts are not from one moment: log, checkpoints and lake restored from different copies, damaged,
//! deleted, or owned by two. Invariant checked: a job goes on only if every row will be in its table once; else it stops, says why and
//! what to do, and changes nothing.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{close, copy, record, run, wait};
use thalweg::app::Core;
use thalweg::config::Config;
use thalweg_engine::error::ErrorKind;

const TABLES: &str = "
CREATE TABLE telemetry (device_id STRING, ts TIMESTAMP(3), v BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
  WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json', 'scan.watermark.idle-timeout' = '1h');
CREATE TABLE hot (device_id STRING, v BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
INSERT INTO hot SELECT device_id, v FROM telemetry WHERE v >= 0";
const REFERENCE: &str = "
CREATE TABLE devices (device_id STRING, site STRING, PRIMARY KEY (device_id) NOT ENFORCED)
  WITH ('connector' = 'reference', 'path' = 'reference/devices.csv', 'format' = 'csv', 'refresh' = '1s');";
const LOOKUP: &str = "SELECT d.site, t.v FROM telemetry AS t JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id";
/// Rows that one life of the server adds.
const ROWS: i64 = 10;

fn open(data: &Path) -> thalweg_engine::error::Result<Core> {
    Core::open(Config { data: data.to_owned(), partitions: 1, checkpoint_interval: Duration::from_secs(3600), ..Config::default() })
}

fn feed(core: &Core, values: std::ops::Range<i64>) {
    values.for_each(|v| record(core, "pump-1", 0, v));
}

/// Errors: why the job that writes `hot` does not run.
async fn committed(core: &Core, records: i64) -> Result<(), String> {
    support::committed(core, &["hot", "archive.telemetry"], records).await
}

async fn count(core: &Core) -> i64 {
    run(core, "SELECT COUNT(*) FROM hot").await.unwrap()
}

/// Copies of a data directory after one, two and three lives.
struct Lives {
    directory: tempfile::TempDir,
}

impl Lives {
    async fn new() -> Self {
        let lives = Self { directory: tempfile::tempdir().unwrap() };
        let data = lives.directory.path().join("data");
        for life in 1..=3 {
            let core = open(&data).unwrap();
            if life == 1 {
                run(&core, TABLES).await;
            }
            feed(&core, (life - 1) * ROWS..life * ROWS);
            committed(&core, life * ROWS).await.unwrap();
            close(core).await;
            copy(&data, &lives.after(life));
        }
        lives
    }

    fn after(&self, life: i64) -> PathBuf {
        self.directory.path().join(format!("after-{life}"))
    }

    /// The log after three lives, with checkpoints and lake of others; life 0 has none.
    fn mixed(&self, name: &str, checkpoints: i64, lake: i64) -> PathBuf {
        let data = self.directory.path().join(name);
        copy(&self.after(3), &data);
        for (part, life) in [("checkpoints", checkpoints), ("lake", lake)] {
            std::fs::remove_dir_all(data.join(part)).unwrap();
            if life > 0 {
                copy(&self.after(life).join(part), &data.join(part));
            }
        }
        data
    }
}

fn newest(directory: &Path, ending: &str) -> PathBuf {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().ends_with(ending)).max().unwrap()
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Takes the newest commit out of the log of the job's table, as if the power had gone before it.
fn undo_commit(data: &Path) {
    std::fs::remove_file(newest(&data.join("lake/warm/hot/_delta_log"), ".json")).unwrap();
}

/// The job goes on, and every row is there once.
async fn goes_on(data: &Path) {
    let core = open(data).unwrap();
    feed(&core, 3 * ROWS..4 * ROWS);
    committed(&core, 4 * ROWS).await.unwrap();
    assert_eq!(count(&core).await, 4 * ROWS);
    assert_eq!(run(&core, "SELECT COUNT(DISTINCT v) FROM hot").await, Some(4 * ROWS));
    close(core).await;
}

/// The job stops with these words, also at the second start, and its table is as it was.
async fn stops(data: &Path, words: &[&str], rows: i64) {
    for _ in 0..2 {
        let core = open(data).unwrap();
        let reason = committed(&core, 4 * ROWS).await.unwrap_err();
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
        assert!(reason.contains("(hint: "), "{reason}");
        assert_eq!(count(&core).await, rows);
        close(core).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_table() {
    let lives = Lives::new().await;
    goes_on(&lives.mixed("as it was", 3, 3)).await;

    let behind_by_one = lives.mixed("the newest commit is lost", 3, 3);
    undo_commit(&behind_by_one);
    goes_on(&behind_by_one).await;

    let behind_by_more = lives.mixed("two commits are lost", 3, 3);
    undo_commit(&behind_by_more);
    undo_commit(&behind_by_more);
    goes_on(&behind_by_more).await;

    let old_lake = lives.mixed("a lake from the copy before", 3, 2);
    stops(
        &old_lake,
        &["job hot, checkpoint", "staged file recent/", "No such file", "start the job again from an older checkpoint"],
        2 * ROWS,
    )
    .await;
    let older_lake = lives.mixed("a lake from an older copy", 3, 1);
    stops(&older_lake, &["the lake has lost commits that cannot be repeated", "warm.hot", "restore the table's directory"], ROWS).await;
    let no_lake = lives.mixed("no lake", 3, 0);
    stops(&no_lake, &["the lake has lost commits", "holds epoch 0", "restore the table's directory"], 0).await;

    let old_checkpoint = lives.mixed("checkpoints from the copy before", 2, 3);
    stops(&old_checkpoint, &["the lake is ahead of the checkpoint", "warm.hot", "restore the newest one"], 3 * ROWS).await;
    let no_checkpoint = lives.mixed("no checkpoints", 0, 3);
    stops(&no_checkpoint, &["there is no checkpoint", "warm.hot", "restore the job's checkpoints"], 3 * ROWS).await;

    // What was put back goes on.
    std::fs::remove_dir_all(no_checkpoint.join("checkpoints")).unwrap();
    copy(&lives.after(3).join("checkpoints"), &no_checkpoint.join("checkpoints"));
    goes_on(&no_checkpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_replaced_by_its_copy_or_by_the_one_before_if_the_lake_allows_it() {
    let lives = Lives::new().await;
    let one = lives.mixed("the file is damaged", 3, 3);
    flip(&newest(&one.join("checkpoints/hot"), ".checkpoint"));
    goes_on(&one).await;

    let both = lives.mixed("both are damaged", 3, 3);
    for ending in [".checkpoint", ".copy"] {
        flip(&newest(&both.join("checkpoints/hot"), ending));
    }
    stops(&both, &["and its copy are damaged", "the lake is ahead", "from a backup"], 3 * ROWS).await;

    // Without the commit nothing of the damaged checkpoint was seen by anybody: the one before does.
    undo_commit(&both);
    goes_on(&both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_of_a_lake_the_older_is_fenced() {
    let lives = Lives::new().await;
    let (first, second) = (lives.mixed("first", 3, 3), lives.directory.path().join("second"));
    copy(&first, &second);
    std::fs::remove_dir_all(second.join("lake")).unwrap();
    std::os::unix::fs::symlink(first.join("lake"), second.join("lake")).unwrap();
    // The older one comes by a link, the newer one by the directory itself.
    let older = open(&second).unwrap();
    committed(&older, 3 * ROWS).await.unwrap();
    assert_eq!(count(&older).await, 3 * ROWS);
    let Err(refused) = open(&first) else { panic!("two processes have one lake") };
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.message().contains("is in use by another process"), "{refused}");

    // Locks that do not hold, as on some network file systems.
    std::fs::remove_file(first.join("lake/_lock")).unwrap();
    let newer = open(&first).unwrap();
    feed(&older, 100..110);
    let reason = committed(&older, 4 * ROWS).await.unwrap_err();
    assert!(reason.contains("has taken the lake at") && reason.contains("stop one of the two processes"), "{reason}");
    assert!(older.must_end().is_some_and(|e| e.message().contains("has taken the lake at")), "its process ends");
    assert!(newer.must_end().is_none());
    feed(&newer, 3 * ROWS..4 * ROWS);
    committed(&newer, 4 * ROWS).await.unwrap();
    assert_eq!(count(&newer).await, 4 * ROWS);
    assert_eq!(run(&newer, "SELECT MAX(v) FROM hot").await, Some(4 * ROWS - 1), "nothing of the older one");
    close(older).await;
    close(newer).await;
    std::fs::remove_file(second.join("lake")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_version_of_reference_data_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let core = open(&data).unwrap();
    std::fs::create_dir_all(data.join("reference")).unwrap();
    std::fs::write(data.join("reference/devices.csv"), "device_id,site\npump-1,north\n").unwrap();
    let tables = TABLES.replace("SELECT device_id, v FROM telemetry WHERE v >= 0", LOOKUP);
    run(&core, &format!("{REFERENCE}{tables}")).await;
    feed(&core, 0..ROWS);
    committed(&core, ROWS).await.unwrap();
    // A second version; rows of before still need the first.
    std::fs::write(data.join("reference/devices.csv"), "device_id,site\npump-1,south\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    core.engine.refresh_references();
    core.engine.supervisor().checkpoint_all();
    wait(&core, &["hot"], |status| status.epoch == 2).await.unwrap();
    close(core).await;
    let kept = data.join("references/devices");
    let versions = std::fs::read_to_string(kept.join("versions.json")).unwrap();
    let (_, rest) = versions.split_once("\"sha256\": \"").unwrap();
    let first = kept.join(format!("{}.csv", &rest[..64]));
    let bytes = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let Err(error) = open(&data) else { panic!("a version of the past is missing, and nobody minds") };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("devices") && error.message().contains(&rest[..64]), "{error}");
    assert!(error.hint_text().unwrap().contains("from a backup"), "{error}");

    // Without all of its versions the table is read anew, and rows of then would meet the data of now.
    std::fs::rename(&kept, directory.path().join("aside")).unwrap();
    let core = open(&data).unwrap();
    let reason = committed(&core, 2 * ROWS).await.unwrap_err();
    assert!(reason.contains("of reference table devices, which is not there") && reason.contains("restore references/devices"), "{reason}");
    close(core).await;
    std::fs::remove_dir_all(&kept).unwrap();
    std::fs::rename(directory.path().join("aside"), &kept).unwrap();

    std::fs::write(&first, bytes).unwrap();
    let core = open(&data).unwrap();
    feed(&core, ROWS..2 * ROWS);
    committed(&core, 2 * ROWS).await.unwrap();
    assert_eq!(
        run(&core, "SELECT COUNT(*) FROM hot WHERE device_id = 'north'").await,
        Some(2 * ROWS),
        "rows of then meet the version of then"
    );
    close(core).await;
}
