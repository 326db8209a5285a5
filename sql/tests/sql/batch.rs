//! Queries over Parquet files. Invariant: results are those of the rows in exactly the files of the version that is named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::parquet::arrow::ArrowWriter;
use futures::TryStreamExt;
use thalweg_engine::error::{Error, ErrorKind};
use thalweg_sql::{LakeFile, LakeFiles, Session, Settings, Statement};

use crate::support::{Lake, cold_schema, declare, empty_session, fixture, spilling_session};

/// Readings of one device, one a second.
fn readings(schema: SchemaRef, date: &str, device: &str, temperatures: &[Option<f64>]) -> RecordBatch {
    let start = thalweg_engine::time::parse(format!("{date}T00:00:00Z").as_bytes()).unwrap();
    let times = (0..temperatures.len() as i64).map(|i| start + i * 1_000_000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![device; temperatures.len()])),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(Float64Array::from(temperatures.to_vec())),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

/// Writes a file of `cold.telemetry` with readings of one device.
fn write(root: &Path, date: &str, name: &str, device: &str, temperatures: &[f64]) -> LakeFile {
    let temperatures: Vec<Option<f64>> = temperatures.iter().copied().map(Some).collect();
    store(root, date, name, &readings(cold_schema(), date, device, &temperatures))
}

/// Writes a file of `cold.telemetry`.
fn store(root: &Path, date: &str, name: &str, batch: &RecordBatch) -> LakeFile {
    let directory = root.join(format!("cold/telemetry/data/date={date}"));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    LakeFile { path, date: Some(date.to_owned()), bytes, rows: batch.num_rows() as u64 }
}

fn lake(files: Vec<LakeFile>) -> Lake {
    let mut lake = Lake::default();
    lake.0.insert(
        ("cold".to_owned(), "telemetry".to_owned()),
        LakeFiles { schema: cold_schema(), primary_key: Vec::new(), files, version: 1 },
    );
    lake
}

/// A lake with two days; one file below it belongs to no version.
fn two_days(root: &Path) -> Session {
    let first = write(root, "2026-01-01", "a.parquet", "pump-1", &[10.0, 20.0, 30.0]);
    let second = write(root, "2026-01-02", "b.parquet", "pump-2", &[40.0]);
    write(root, "2026-01-02", "orphan.parquet", "ghost", &[999.0]);
    let relative = LakeFile { path: PathBuf::from("cold/telemetry/data/date=2026-01-02/b.parquet"), ..second };
    let session = empty_session(root, lake(vec![first, relative]));
    declare(&session, &fixture("tables.sql"));
    session
}

async fn run(session: &Session, sql: &str) -> Result<String, Error> {
    let Statement::Batch(query) = session.prepare(sql, &Settings::default())? else { panic!("no batch query: {sql}") };
    let (schema, stream) = query.execute().await?;
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    assert!(batches.iter().all(|b| b.schema() == schema));
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

fn table(lines: &[&str]) -> String {
    lines.join("\n")
}

#[tokio::test]
async fn files_from_before_and_after_a_column_could_be_null_are_read_together() {
    let (root, date) = (tempfile::tempdir().unwrap(), "2026-01-01");
    let strict: Vec<Field> = cold_schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(false)).collect();
    let before = readings(Arc::new(Schema::new(strict)), date, "pump-1", &[Some(10.0), Some(20.0)]);
    let after = readings(cold_schema(), date, "pump-2", &[None]);
    let files = [("a.parquet", before), ("b.parquet", after)].map(|(name, rows)| store(root.path(), date, name, &rows));
    let session = empty_session(root.path(), lake(files.into()));
    let got = run(&session, "SELECT device_id, temperature FROM cold.telemetry ORDER BY device_id, temperature").await.unwrap();
    let want = [
        "+-----------+-------------+",
        "| device_id | temperature |",
        "+-----------+-------------+",
        "| pump-1    | 10.0        |",
        "| pump-1    | 20.0        |",
        "| pump-2    |             |",
        "+-----------+-------------+",
    ];
    assert_eq!(got, table(&want));
    let empty = run(&session, "SELECT COUNT(*) AS n FROM cold.telemetry WHERE temperature IS NULL").await.unwrap();
    assert!(empty.contains("| 1 |"), "{empty}");
}

#[tokio::test]
async fn exactly_the_files_of_the_version_are_read() {
    let root = tempfile::tempdir().unwrap();
    let session = two_days(root.path());
    let got = run(&session, "SELECT device_id, ts, temperature, date FROM cold.telemetry ORDER BY ts").await.unwrap();
    let want = [
        "+-----------+----------------------+-------------+------------+",
        "| device_id | ts                   | temperature | date       |",
        "+-----------+----------------------+-------------+------------+",
        "| pump-1    | 2026-01-01T00:00:00Z | 10.0        | 2026-01-01 |",
        "| pump-1    | 2026-01-01T00:00:01Z | 20.0        | 2026-01-01 |",
        "| pump-1    | 2026-01-01T00:00:02Z | 30.0        | 2026-01-01 |",
        "| pump-2    | 2026-01-02T00:00:00Z | 40.0        | 2026-01-02 |",
        "+-----------+----------------------+-------------+------------+",
    ];
    assert_eq!(got, table(&want));
}

#[tokio::test]
async fn filters_groups_subqueries_joins_and_windows_work() {
    let root = tempfile::tempdir().unwrap();
    let session = two_days(root.path());
    let cases = [
        ("SELECT COUNT(*) AS n FROM cold.telemetry", "4"),
        ("SELECT COUNT(*) AS n FROM cold.telemetry WHERE date = '2026-01-02'", "1"),
        ("SELECT COUNT(*) AS n FROM cold.telemetry WHERE ts >= '2026-01-01T00:00:01Z' AND ts < TIMESTAMP '2026-01-02 00:00:00'", "2"),
        ("SELECT MAX(n) AS n FROM (SELECT COUNT(*) AS n FROM cold.telemetry GROUP BY device_id) AS x", "3"),
        ("WITH hot AS (SELECT * FROM cold.telemetry WHERE temperature > 15) SELECT COUNT(*) AS n FROM hot", "3"),
        ("SELECT COUNT(*) AS n FROM cold.telemetry AS a JOIN cold.telemetry AS b ON a.device_id = b.device_id", "10"),
        ("SELECT COUNT(*) AS n FROM cold.telemetry WHERE temperature > (SELECT AVG(temperature) FROM cold.telemetry)", "2"),
        ("SELECT MAX(r) AS n FROM (SELECT ROW_NUMBER() OVER (ORDER BY ts) AS r FROM cold.telemetry) AS x", "4"),
        ("SELECT COUNT(DISTINCT Device_Id) AS n FROM Cold.Telemetry", "2"),
        ("SELECT CAST(date_part('hour', MIN(ts)) AS BIGINT) AS n FROM cold.telemetry", "0"),
        ("SELECT COUNT(*) AS n FROM cold.telemetry WHERE ts < now()", "4"),
        ("SELECT 1 + 1 AS n", "2"),
        ("SELECT COUNT(*) AS n FROM site_10s", "0"),
    ];
    for (sql, want) in cases {
        let got = run(&session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let value = got.lines().nth(3).unwrap_or_default().trim_matches(['|', ' ']).to_owned();
        assert_eq!((sql, value.as_str()), (sql, want));
    }
}

#[tokio::test]
async fn nulls_are_smaller_than_everything() {
    let root = tempfile::tempdir().unwrap();
    let session = two_days(root.path());
    let got = run(&session, "SELECT x FROM (VALUES (2), (NULL), (1)) AS v (x) ORDER BY x").await.unwrap();
    assert_eq!(got.lines().skip(3).take(3).collect::<Vec<_>>(), ["|   |", "| 1 |", "| 2 |"]);
}

#[tokio::test]
async fn a_table_that_is_declared_but_empty_has_no_rows() {
    let root = tempfile::tempdir().unwrap();
    let session = two_days(root.path());
    let got = run(&session, "SELECT site, date, n FROM site_10s").await.unwrap();
    assert!(!got.contains('1'), "{got}");
}

#[tokio::test]
async fn a_table_with_a_key_has_no_column_of_the_lake() {
    let root = tempfile::tempdir().unwrap();
    let file = LakeFile { date: None, ..write(root.path(), "2026-01-01", "a.parquet", "pump-1", &[10.0]) };
    let files = LakeFiles { schema: cold_schema(), primary_key: vec!["device_id".to_owned()], files: vec![file], version: 1 };
    let mut lake = Lake::default();
    lake.0.insert(("warm".to_owned(), "latest".to_owned()), files);
    let session = empty_session(root.path(), lake);
    let got = run(&session, "SELECT * FROM warm.latest").await.unwrap();
    let want = [
        "+-----------+----------------------+-------------+",
        "| device_id | ts                   | temperature |",
        "+-----------+----------------------+-------------+",
        "| pump-1    | 2026-01-01T00:00:00Z | 10.0        |",
        "+-----------+----------------------+-------------+",
    ];
    assert_eq!(got, table(&want));
    let Statement::Describe { rows } = session.prepare("DESCRIBE warm.latest", &Settings::default()).unwrap() else { panic!() };
    let shown = pretty_format_batches(&[rows]).unwrap().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("| device_id | STRING | TRUE | PRI(device_id) | UPSERT | |"), "{shown}");
}

#[tokio::test]
async fn a_query_that_needs_too_much_memory_is_told_so() {
    let root = tempfile::tempdir().unwrap();
    let file = write(root.path(), "2026-01-01", "a.parquet", "pump-1", &vec![1.0; 3_000]);
    let session = empty_session(root.path(), lake(vec![file]));
    let sql = "SELECT a.ts, b.ts, concat(a.device_id, CAST(b.temperature AS STRING), CAST(a.ts AS STRING)) AS x
               FROM cold.telemetry AS a JOIN cold.telemetry AS b ON a.device_id = b.device_id ORDER BY x";
    let error = run(&session, sql).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "nothing was spilled beside the lake");
}

#[tokio::test]
async fn with_a_place_on_disk_a_sort_puts_aside_what_does_not_fit() {
    let (root, spill) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = write(root.path(), "2026-01-01", "a.parquet", "pump-1", &vec![1.0; 1_200]);
    let session = spilling_session(root.path(), lake(vec![file]), spill.path());
    let sql = "SELECT concat(a.device_id, ' ', CAST(b.ts AS STRING), ' ', CAST(a.ts AS STRING), ' long enough') AS x
               FROM cold.telemetry AS a JOIN cold.telemetry AS b ON a.device_id = b.device_id ORDER BY x";
    session.bound_spill(1 << 20).unwrap();
    let error = run(&session, sql).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("no room on the disk"), "{error}");
    session.bound_spill(u64::MAX).unwrap();
    let Statement::Batch(query) = session.prepare(sql, &Settings::default()).unwrap() else { panic!() };
    let (_, rows) = query.execute().await.unwrap();
    let rows: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_440_000);
    let left = std::fs::read_dir(spill.path()).unwrap().flat_map(|d| std::fs::read_dir(d.unwrap().path()).unwrap()).count();
    assert_eq!(left, 0, "what was put aside is gone with the query");
}

#[tokio::test]
async fn a_value_that_cannot_be_computed_is_the_querys_fault() {
    let root = tempfile::tempdir().unwrap();
    let session = two_days(root.path());
    let error = run(&session, "SELECT CAST(device_id AS INT) FROM cold.telemetry").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_reported() {
    let root = tempfile::tempdir().unwrap();
    let session = two_days(root.path());
    std::fs::write(root.path().join("cold/telemetry/data/date=2026-01-02/b.parquet"), b"PAR1 not really PAR1").unwrap();
    let error = run(&session, "SELECT MAX(temperature) FROM cold.telemetry").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn files_outside_the_lake_are_not_planned() {
    let root = tempfile::tempdir().unwrap();
    let outside = LakeFile { path: PathBuf::from("/etc/passwd"), date: None, bytes: 1, rows: 1 };
    let session = empty_session(root.path(), lake(vec![outside]));
    let error = session.prepare("SELECT * FROM cold.telemetry", &Settings::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
