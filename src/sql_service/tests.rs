//! Statements on a whole engine without network. Invariant: each test has a data directory of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use futures::TryStreamExt;
use thalweg_devices::{Principal, Role};
use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::LogStore;
use thalweg_engine::error::{Case, ErrorKind, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::runtime::JobState;

use super::Service;
use crate::app::Core;
use crate::config::Config;
use crate::server::{SqlOutcome, SqlService};

const TABLES: &str = "
CREATE TABLE telemetry (device_id STRING, ts TIMESTAMP(3), v DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
  WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json');
CREATE TABLE hot (device_id STRING, v DOUBLE) WITH ('connector' = 'lake', 'tier' = 'warm');
CREATE TABLE cool (device_id STRING, v DOUBLE) WITH ('connector' = 'lake', 'tier' = 'warm');
INSERT INTO hot SELECT device_id, v FROM telemetry WHERE v > 10;
INSERT INTO cool SELECT device_id, v FROM telemetry WHERE v <= 10";

fn open(directory: &Path) -> Core {
    Core::open(Config { data: directory.join("data"), partitions: 1, ..Config::default() }).unwrap()
}

async fn close(core: Core) {
    tokio::task::spawn_blocking(move || core.close()).await.unwrap();
}

async fn sql_as(core: &Core, role: Role, sql: &str) -> Result<Vec<RecordBatch>> {
    let who = Principal { name: Name::new("tester").unwrap(), role };
    match Service(core.engine.clone()).execute(&who, sql).await? {
        SqlOutcome::Message(_) => Ok(Vec::new()),
        SqlOutcome::Rows(rows) => rows.stream.try_collect().await,
    }
}

/// What a statement without rows says.
async fn message(core: &Core, sql: &str) -> String {
    let who = Principal { name: Name::new("tester").unwrap(), role: Role::Admin };
    match Service(core.engine.clone()).execute(&who, sql).await.unwrap() {
        SqlOutcome::Message(text) => text,
        SqlOutcome::Rows(_) => panic!("{sql} gives rows"),
    }
}

async fn sql(core: &Core, sql: &str) -> Result<Vec<RecordBatch>> {
    sql_as(core, Role::Admin, sql).await
}

fn feed(core: &Core, values: &[f64]) {
    let log = core.logs.stream(&Name::new("telemetry").unwrap()).unwrap();
    for v in values {
        let payload = format!(r#"{{"device_id":"a","ts":"2026-01-01T00:00:00Z","v":{v}}}"#);
        let topic = "devices/a/telemetry";
        let record = Record { device: "a", topic, content_type: ContentType::Json, producer: None, payload: payload.as_bytes() };
        log.append(&record).unwrap();
    }
}

async fn until(core: &Core, what: &str, done: impl Fn(&Core) -> bool) {
    let began = Instant::now();
    while !done(core) {
        assert!(began.elapsed() < Duration::from_secs(120), "waited for: {what}");
        core.engine.supervisor().checkpoint_all();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn committed(core: &Core, job: &str, records: u64) -> bool {
    core.engine.supervisor().status(job).is_ok_and(|s| s.committed.consumed >= records)
}

/// Values of a column of texts by those of the first column.
fn column(rows: &[RecordBatch], name: &str, key: &str) -> Option<String> {
    let rows = arrow::compute::concat_batches(&rows[0].schema(), rows).unwrap();
    let (keys, values) = (rows.column(0).as_string::<i32>(), rows[name].as_string::<i32>());
    let at = (0..keys.len()).find(|&i| keys.value(i) == key).unwrap_or_else(|| panic!("there is no row {key}"));
    values.is_valid(at).then(|| values.value(at).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_table_stops_its_jobs_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    sql(&core, TABLES).await.unwrap();
    feed(&core, &[20.0, 5.0]);
    until(&core, "both rows are committed", |c| ["hot", "cool", "archive.telemetry"].iter().all(|j| committed(c, j, 2))).await;
    assert_eq!(core.engine.problems(), Vec::<String>::new());
    close(core).await;

    let files = std::fs::read_dir(directory.path().join("data/lake/warm/hot/_delta_log")).unwrap().map(|e| e.unwrap().path());
    let newest = files.filter(|p| p.extension().is_some_and(|e| e == "json")).max().unwrap();
    let good = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, "{\"add\":").unwrap();

    let core = open(directory.path());
    feed(&core, &[30.0, 6.0]);
    let state = |c: &Core| c.engine.supervisor().status("hot").unwrap().life;
    let go_on = |c: &Core| ["cool", "archive.telemetry"].iter().all(|j| committed(c, j, 4));
    until(&core, "the job fails and the others go on", |c| matches!(state(c), JobState::Failed(_)) && go_on(c)).await;
    assert!(matches!(state(&core), JobState::Failed(why) if why.contains("warm.hot cannot be used")), "{:?}", state(&core));
    let problems = core.engine.problems();
    assert_eq!(problems.len(), 2, "the table and its job: {problems:?}");
    let shown = sql(&core, "SHOW TABLES").await.unwrap();
    for table in ["hot", "warm.hot"] {
        assert!(column(&shown, "problem", table).unwrap().contains("cannot be used"), "{table}");
    }
    assert_eq!((column(&shown, "problem", "cool"), column(&shown, "problem", "warm.cool")), (None, None));
    let jobs = sql(&core, "SHOW JOBS").await.unwrap();
    assert_eq!(column(&jobs, "state", "hot").as_deref(), Some("failed"));
    assert_eq!(sql(&core, "SELECT * FROM hot").await.unwrap_err().kind(), ErrorKind::Corrupt);
    let again = "INSERT INTO hot SELECT device_id, v FROM telemetry WHERE v > 10";
    assert_eq!(sql(&core, again).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(sql(&core, "SELECT * FROM cool").await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    close(core).await;

    std::fs::write(&newest, good).unwrap();
    let core = open(directory.path());
    until(&core, "the mended job has read what it missed", |c| committed(c, "hot", 4)).await;
    assert_eq!(sql(&core, "SELECT * FROM hot").await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    close(core).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_behind_links_and_a_relative_path_is_queried() {
    let directory = tempfile::tempdir().unwrap();
    let [lake, data, link] = ["lake", "data", "link"].map(|name| directory.path().join(name));
    for made in [&lake, &data] {
        std::fs::create_dir(made).unwrap();
    }
    std::os::unix::fs::symlink(&lake, data.join("lake")).unwrap();
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let up: PathBuf = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
    let relative = up.join(link.strip_prefix("/").unwrap());
    for (count, data) in [(1, link), (2, relative)] {
        let core = Core::open(Config { data, partitions: 1, ..Config::default() }).unwrap();
        if count == 1 {
            sql(&core, TABLES).await.unwrap();
        }
        feed(&core, &[20.0]);
        until(&core, "the row is committed", |c| committed(c, "hot", count)).await;
        let rows = sql(&core, "SELECT * FROM hot").await.unwrap();
        assert_eq!(rows.iter().map(|r| r.num_rows() as u64).sum::<u64>(), count);
        close(core).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_the_log_is_named_before_anything_that_follows_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    sql(&core, TABLES).await.unwrap();
    for (count, value) in [(1, 20.0), (2, 5.0), (3, 7.0)] {
        feed(&core, &[value]);
        until(&core, "the record is committed", |c| committed(c, "hot", count)).await;
    }
    close(core).await;

    let partition = directory.path().join("data/log/telemetry/000");
    let segment = std::fs::read_dir(partition).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "log"));
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|w| w == b"\"v\":5").unwrap();
    bytes[at + 4] = b'6';
    std::fs::write(&segment, bytes).unwrap();

    let core = open(directory.path());
    until(&core, "the job has failed", |c| matches!(c.engine.supervisor().status("hot").unwrap().life, JobState::Failed(_))).await;
    let JobState::Failed(why) = core.engine.supervisor().status("hot").unwrap().life else { panic!() };
    assert!(why.starts_with("partition 0 of stream telemetry is damaged") && why.contains("log repair"), "{why}");
    assert!(!why.contains("belong together"), "{why}");
    let problems = core.engine.problems();
    assert!(core.logs.problems()[0].contains("damaged") && problems.iter().any(|p| p.starts_with("job hot: ")), "{problems:?}");
    let said = message(&core, "STOP JOB hot WITH SAVEPOINT 'mended'").await;
    assert!(said.contains("is kept as savepoint 'mended'"), "{said}");
    close(core).await;

    let core = open(directory.path());
    let state = core.engine.supervisor().status("hot").unwrap().life;
    assert_eq!(state, JobState::Stopped, "a job that had failed when it was stopped does not run again by itself");
    close(core).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_reference_file_is_a_problem_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    let path = directory.path().join("data/devices.csv");
    std::fs::write(&path, "device_id,site\na,north\n").unwrap();
    let table = "CREATE TABLE devices (device_id STRING, site STRING, PRIMARY KEY (device_id) NOT ENFORCED)
        WITH ('connector' = 'reference', 'path' = 'devices.csv', 'format' = 'csv', 'refresh' = '1ms')";
    sql(&core, table).await.unwrap();
    let look = || {
        std::thread::sleep(Duration::from_millis(5));
        core.engine.refresh_references();
        core.engine.problems()
    };
    assert_eq!(look(), Vec::<String>::new());
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    for _ in 0..2 {
        assert!(look()[0].contains("devices.csv"), "{:?}", look());
    }
    let shown = sql(&core, "SHOW TABLES").await.unwrap();
    assert!(column(&shown, "problem", "devices").unwrap().contains("devices.csv"));
    std::fs::rename(path.with_extension("away"), &path).unwrap();
    assert_eq!(look(), Vec::<String>::new());
    close(core).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_shown_in_short_and_described_in_full_under_the_same_name() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    sql(&core, TABLES).await.unwrap();
    let shown = sql(&core, "SHOW JOBS").await.unwrap();
    let names: Vec<String> = shown[0].schema().fields().iter().map(|f| f.name().clone()).collect();
    let want = "job state rate lag watermark late rejected memory checkpoint restarts";
    assert_eq!(names.join(" "), want);
    let described = sql(&core, "DESCRIBE JOB hot").await.unwrap();
    let statement = column(&described, "value", "statement").unwrap();
    assert_eq!(statement, "INSERT INTO hot SELECT device_id, v FROM telemetry WHERE v > 10");
    assert_eq!(column(&described, "value", "watermark"), None);
    assert_eq!(sql(&core, "DESCRIBE JOB nothing").await.unwrap_err().kind(), ErrorKind::NotFound);
    let archive = sql(&core, "STOP JOB archive.telemetry").await.unwrap_err();
    assert!(archive.message().contains("keeps the history"), "{archive}");
    close(core).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_the_settings_of_a_job_come_back_with_a_restart_even_if_a_table_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    let tables = TABLES.split("INSERT").next().unwrap();
    let script = format!(
        "{tables}
         CREATE VIEW above AS SELECT device_id, v FROM telemetry WHERE v > 10;
         CREATE VIEW hottest AS SELECT MAX(v) AS v FROM hot;
         SET 'pipeline.name' = 'both'; SET 'table.exec.state.ttl' = '1 h';
         EXECUTE STATEMENT SET BEGIN INSERT INTO hot SELECT * FROM above; INSERT INTO cool SELECT device_id, v FROM telemetry; END"
    );
    sql(&core, &script).await.unwrap();
    feed(&core, &[20.0, 5.0]);
    until(&core, "both rows are committed", |c| committed(c, "both", 2)).await;
    let described = sql(&core, "DESCRIBE JOB both").await.unwrap();
    assert!(column(&described, "value", "statement").unwrap().starts_with("EXECUTE STATEMENT SET BEGIN INSERT INTO hot"));
    let settings = column(&described, "value", "settings").unwrap();
    assert_eq!(settings, "SET 'pipeline.name' = 'both';\nSET 'table.exec.state.ttl' = '1 h';");
    let shown = sql(&core, "SHOW TABLES").await.unwrap();
    assert_eq!(column(&shown, "kind", "above").as_deref(), Some("view"));
    let taken = sql(&core, "INSERT INTO cool SELECT device_id, v FROM telemetry").await.unwrap_err();
    assert_eq!((taken.kind(), taken.message()), (ErrorKind::Conflict, "table cool holds the results of job both, not of job cool"));
    let again = sql(&core, "SET 'table.exec.state.ttl' = '1 h'; SET").await.unwrap();
    assert_eq!(column(&again, "value", "table.exec.state.ttl").as_deref(), Some("1 h"));
    close(core).await;

    let core = open(directory.path());
    feed(&core, &[30.0]);
    until(&core, "the job goes on", |c| committed(c, "both", 3)).await;
    let hottest = sql(&core, "SELECT CAST(v AS INT) AS v FROM hottest").await.unwrap();
    assert_eq!(hottest[0].column(0).as_primitive::<arrow::datatypes::Int32Type>().value(0), 30);
    let settings = column(&sql(&core, "DESCRIBE JOB both").await.unwrap(), "value", "settings");
    assert!(settings.unwrap().contains("'1 h'"));
    close(core).await;

    let log = directory.path().join("data/lake/warm/hot/_delta_log");
    let newest = std::fs::read_dir(log).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "json")).max();
    std::fs::write(newest.unwrap(), "{\"add\":").unwrap();
    let core = open(directory.path());
    assert_eq!(sql(&core, "SELECT * FROM hottest").await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(column(&sql(&core, "SHOW VIEWS").await.unwrap(), "query", "hottest").is_some());
    close(core).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_job_stays_until_it_or_its_table_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    sql(&core, TABLES).await.unwrap();
    feed(&core, &[20.0, 5.0]);
    until(&core, "both rows are committed", |c| ["hot", "cool"].iter().all(|j| committed(c, j, 2))).await;
    sql(&core, "STOP JOB hot").await.unwrap();
    sql(&core, "STOP JOB cool WITH SAVEPOINT 'cool'").await.unwrap();
    close(core).await;

    let core = open(directory.path());
    let jobs = sql(&core, "SHOW JOBS").await.unwrap();
    assert_eq!([column(&jobs, "state", "hot").as_deref(), column(&jobs, "state", "cool").as_deref()], [Some("stopped"); 2]);
    let running = sql(&core, "DROP JOB archive.telemetry").await.unwrap_err();
    assert!(running.message().contains("keeps the history"), "{running}");
    sql(&core, "INSERT INTO hot SELECT device_id, v FROM telemetry WHERE v > 10").await.unwrap();
    let running = sql(&core, "DROP JOB hot").await.unwrap_err();
    assert_eq!((running.kind(), running.hint_text()), (ErrorKind::Conflict, Some("STOP JOB hot first")));
    let running = sql(&core, "DROP TABLE telemetry").await.unwrap_err();
    assert_eq!(running.message(), "job hot uses table telemetry");
    sql(&core, "STOP JOB hot; DROP JOB hot").await.unwrap();
    assert_eq!(core.engine.supervisor().status("hot").unwrap_err().kind(), ErrorKind::NotFound);
    sql(&core, "DROP TABLE telemetry").await.unwrap();
    assert_eq!(core.engine.supervisor().status("cool").unwrap_err().kind(), ErrorKind::NotFound);
    let kept = sql(&core, "SHOW SAVEPOINTS").await.unwrap();
    assert_eq!(column(&kept, "job", "cool").as_deref(), Some("cool"));
    sql(&core, "DROP SAVEPOINT 'cool'").await.unwrap();
    assert_eq!(sql(&core, "DROP SAVEPOINT 'cool'").await.unwrap_err().kind(), ErrorKind::NotFound);
    close(core).await;

    let core = open(directory.path());
    assert_eq!(sql(&core, "SHOW JOBS").await.unwrap()[0].num_rows(), 0);
    close(core).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_change_something_are_carried_out_one_after_another() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    sql(&core, TABLES.split("INSERT").next().unwrap()).await.unwrap();
    let insert = |name: &str| format!("SET 'pipeline.name' = '{name}'; INSERT INTO hot SELECT device_id, v FROM telemetry");
    let (one, two) = (insert("one"), insert("two"));
    let (one, two) = tokio::join!(sql(&core, &one), sql(&core, &two));
    let job = if one.is_ok() { "one" } else { "two" };
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let refused = one.and(two).unwrap_err();
    let want = ("table hot holds the results of job one, not of job two", "table hot holds the results of job two, not of job one");
    assert_eq!(refused.message(), if job == "one" { want.0 } else { want.1 });
    feed(&core, &[20.0, 5.0]);
    until(&core, "both rows are committed", |c| committed(c, job, 2)).await;

    // Who stops a job that is being stopped waits for its last checkpoint too.
    feed(&core, &[30.0]);
    let stop = format!("STOP JOB {job}");
    let (first, second) = tokio::join!(message(&core, &stop), message(&core, &stop));
    assert!(first.contains("is stopped; its last checkpoint, "), "{first}");
    assert_eq!(first, second);
    assert_eq!(core.engine.supervisor().status(job).unwrap().life, JobState::Stopped);

    // Either the table goes, and the job has none to read, or the job runs, and the table stays.
    let again = format!("SET 'pipeline.name' = '{job}'; INSERT INTO hot SELECT device_id, v FROM telemetry");
    let (dropped, started) = tokio::join!(sql(&core, "DROP TABLE telemetry"), sql(&core, &again));
    assert!(dropped.is_ok() != started.is_ok(), "{dropped:?} {started:?}");
    close(core).await;
    let core = open(directory.path());
    assert_eq!(core.engine.session().table("telemetry").is_some(), started.is_ok());
    close(core).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyst_may_not_change_tables_and_errors_name_lines_of_the_script() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    let refused = sql_as(&core, Role::Analyst, "STOP JOB hot").await.unwrap_err();
    assert_eq!((refused.kind(), refused.case()), (ErrorKind::Invalid, Some(Case::Forbidden)));
    let refused = sql_as(&core, Role::Analyst, "CREATE VIEW v AS SELECT 1 AS a").await.unwrap_err();
    assert_eq!(refused.case(), Some(Case::Forbidden));
    sql_as(&core, Role::Analyst, "SET 'table.exec.state.ttl' = '1 h'; SHOW VIEWS").await.unwrap();
    let wrong = sql(&core, "EXPLAIN SELECT 1;\n\n  SELECT x\n FROM nothing").await.unwrap_err();
    assert!(wrong.message().starts_with("4:7: table 'nothing' does not exist"), "{wrong}");
    close(core).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_were_taken_from_records_stay_the_same_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let core = open(directory.path());
    let create = "CREATE TABLE telemetry WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json')";
    let empty = sql(&core, create).await.unwrap_err();
    assert!(empty.message().starts_with("1:14: stream telemetry has no records that columns could be taken from"), "{empty}");
    assert!(empty.hint_text().unwrap().contains("declare the columns, or send records first"));
    let none = sql(&core, "CREATE TABLE t WITH ('connector' = 'log', 'stream' = 'pumps')").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    assert!(none.message().starts_with("1:14: there is no stream pumps whose records would tell the columns"), "{none}");
    assert!(none.hint_text().unwrap().ends_with("'stream' = '…': telemetry"), "{none}");
    assert_eq!(core.logs.streams().len(), 1, "a refused statement made a stream");

    feed(&core, &[20.5]);
    let log = core.logs.stream(&Name::new("telemetry").unwrap()).unwrap();
    log.progress(0).wait_for(|p| p.durable == 1).await.unwrap();
    let said = message(&core, create).await;
    let expected = "table telemetry is declared\n\
        note: columns taken from the newest records: device_id STRING, ts TIMESTAMP(3), v DOUBLE\n\
        note: no WATERMARK: the event time is that of receipt. If it is ts, drop the table and write CREATE TABLE telemetry \
        (WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH (…)";
    assert_eq!(said, expected);
    let before = sql(&core, "DESCRIBE telemetry").await.unwrap();
    close(core).await;

    let core = open(directory.path());
    let log = core.logs.stream(&Name::new("telemetry").unwrap()).unwrap();
    let payload = br#"{"device_id":"a","v":"a text now","more":1}"#;
    log.append(&Record { device: "a", topic: "t", content_type: ContentType::Json, producer: None, payload }).unwrap();
    log.progress(0).wait_for(|p| p.durable == 2).await.unwrap();
    close(core).await;
    let core = open(directory.path());
    assert_eq!(sql(&core, "DESCRIBE telemetry").await.unwrap(), before);
    close(core).await;
}
