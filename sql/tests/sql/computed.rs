//! Computed columns and watermarks, from their text to values. Invariant: what a table computes is what its text says, row by row, and a
//! row for which that fails is rejected alone.

use arrow::buffer::Buffer;
use arrow::util::display::array_value_to_string;
use thalweg_engine::batch::{ContentType, Entry, Records};
use thalweg_engine::contract::Output;
use thalweg_engine::decode;
use thalweg_engine::plan::{ColumnSource, LookupKind, RowTime, Scan, Stage};
use thalweg_engine::runtime::query::decode_schema;
use thalweg_engine::runtime::read::Reader;
use thalweg_sql::{Session, Settings, Statement, TableDefinition};

use crate::support::{declare, session};

const EPOCH: &str = "CREATE TABLE epoch (
  device_id STRING, epoch_ms BIGINT, c DOUBLE,
  f AS c * 1.8 + 32,
  ts AS TO_TIMESTAMP_LTZ(epoch_ms, 3),
  Kind AS CASE WHEN c > 100 THEN UPPER('hot') ELSE device_id END,
  proc AS PROCTIME(),
  topic STRING METADATA,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'log', 'format' = 'json')";

fn with(script: &str) -> Session {
    let session = session();
    declare(&session, script);
    session
}

fn scan(session: &Session, sql: &str) -> Scan {
    match session.prepare(sql, &Settings::default()).unwrap_or_else(|e| panic!("{e}")) {
        Statement::Tail { plan, .. } => plan.scans.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn records(payloads: &[&str]) -> Records {
    let mut bytes = b"pump-1devices/pump-1/epoch".to_vec();
    let entry = |(offset, payload): (usize, &&str)| {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(payload.as_bytes());
        let payload = start..bytes.len() as u32;
        let received = 1_767_225_600_000_000;
        Entry { offset: offset as u64, received, device: 0..6, topic: 6..26, payload, content_type: ContentType::Json, producer: None }
    };
    let entries = payloads.iter().enumerate().map(entry).collect();
    Records { partition: 0, bytes: Buffer::from_vec(bytes), entries, lost: None }
}

/// What comes of payloads: rows as text, rejects as (offset, reason), and the watermark.
fn read(scan: &Scan, payloads: &[&str]) -> (Vec<String>, Vec<(u64, String)>, i64) {
    let mut reader = Reader::new(scan).unwrap();
    let mut out = Output::default();
    let mut decoder = decode::open(&scan.format, decode_schema(scan)).unwrap();
    let decoded = decoder.decode(&records(payloads)).unwrap();
    let batch = reader.time(decoded, &mut out).unwrap().and_then(|b| reader.project(b, &mut out).unwrap());
    let rows = batch.map(|b| {
        assert_eq!(b.rows.schema(), scan.schema());
        let row = |r: usize| b.rows.columns().iter().map(|c| array_value_to_string(c, r).unwrap()).collect::<Vec<_>>().join(" ");
        (0..b.rows.num_rows()).map(row).collect()
    });
    (rows.unwrap_or_default(), out.rejects.into_iter().map(|r| (r.offset, r.reason)).collect(), reader.watermark())
}

#[test]
fn values_are_computed_where_they_are_read() {
    let session = with(EPOCH);
    let all = scan(&session, "SELECT * FROM epoch");
    let names = |scan: &Scan| scan.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(&all), ["device_id", "epoch_ms", "c", "f", "ts", "Kind", "topic"]);
    let payloads = [
        r#"{"device_id":"pump-1","epoch_ms":1767225540123,"c":20}"#,
        r#"{"device_id":"pump-1","epoch_ms":null,"c":20}"#,
        r#"{"device_id":"pump-1","epoch_ms":9000000000000000,"c":20}"#,
        r#"{"device_id":"pump-1","epoch_ms":1767225600000,"c":101}"#,
        r#"{"device_id":"pump-1","epoch_ms":"soon","c":1}"#,
        r#"{"device_id":"pump-1","epoch_ms":1767225599000}"#,
    ];
    let (rows, rejects, watermark) = read(&all, &payloads);
    assert_eq!(
        rows,
        [
            "pump-1 1767225540123 20.0 68.0 2025-12-31T23:59:00.123Z pump-1 devices/pump-1/epoch",
            "pump-1 1767225600000 101.0 213.8 2026-01-01T00:00:00Z HOT devices/pump-1/epoch",
            "pump-1 1767225599000   2025-12-31T23:59:59Z pump-1 devices/pump-1/epoch",
        ]
    );
    let told: Vec<(u64, &str)> = rejects.iter().map(|(o, r)| (*o, r.as_str())).collect();
    let wrong = "column ts: Arrow error: Compute error: 9000000000000000 is no time of the years 1 to 9999";
    assert_eq!(told, [(2, wrong), (1, "column ts: the event time is missing")]);
    assert_eq!(watermark, 1_767_225_595_000_000);
    // Only what is named is computed, and the event time.
    let some = scan(&session, "SELECT kind FROM epoch");
    assert_eq!((names(&some), some.decoded()), (vec!["ts".to_owned(), "Kind".to_owned()], vec![0, 1, 2]));
    let timed = scan(&session, "SELECT device_id FROM epoch WHERE topic IS NOT NULL");
    assert_eq!(timed.decoded(), [0, 1, 6]);
    assert_eq!(read(&some, &payloads).1, rejects, "what is read does not matter");
}

#[test]
fn what_is_computed_is_not_stored_and_can_be_described() {
    let session = with(EPOCH);
    let definition = session.table("epoch").unwrap();
    let names = |s: arrow::datatypes::SchemaRef| s.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(definition.stored_schema()), ["device_id", "epoch_ms", "c", "topic"]);
    assert_eq!(names(definition.scan().unwrap().schema()), ["device_id", "epoch_ms", "c", "topic"], "as the archive reads it");
    assert_eq!((definition.watermark, definition.columns[4].time_unit), (Some(RowTime { column: 4, delay: 5_000_000 }), 1_000));
    let Statement::Describe { rows } = session.prepare("DESCRIBE epoch", &Settings::default()).unwrap() else { panic!() };
    let shown = arrow::util::pretty::pretty_format_batches(&[rows]).unwrap().to_string();
    let lines: Vec<String> = shown.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "| f | DOUBLE | TRUE | | AS c * 1.8 + 32 | |",
        "| ts | TIMESTAMP(3) *ROWTIME* | TRUE | | AS TO_TIMESTAMP_LTZ(epoch_ms, 3) | ts - INTERVAL '5' SECOND |",
        "| proc | TIMESTAMP_LTZ(3) *PROCTIME* | FALSE | | AS PROCTIME() | |",
    ] {
        assert!(lines.contains(&line.to_owned()), "{shown}");
    }
    let Statement::Explain { text } = session.prepare("EXPLAIN SELECT f FROM epoch", &Settings::default()).unwrap() else { panic!() };
    assert!(text.contains("\ncompute f as c * 1.8 + 32\ncompute ts as TO_TIMESTAMP_LTZ(epoch_ms, 3)\nwatermark ts - 5000 ms"), "{text}");
    // The text that is kept makes the same columns again.
    session.undeclare("epoch").unwrap();
    declare(&session, &definition.sql);
    let sources = |d: &TableDefinition| d.columns.iter().map(|c| c.source.clone()).collect::<Vec<ColumnSource>>();
    assert_eq!(sources(&session.table("epoch").unwrap()), sources(&definition));
}

#[test]
fn a_watermark_may_be_any_time() {
    let session = with(
        "CREATE TABLE slow (n BIGINT, delay_s BIGINT, ts AS TO_TIMESTAMP_LTZ(n, 0), day AS date_trunc('day', CAST('2026-01-01 12:00:00' AS TIMESTAMP(0))),
           WATERMARK FOR ts AS CASE WHEN delay_s >= 0 THEN TO_TIMESTAMP_LTZ(n - delay_s, 0) WHEN n < 0 THEN ts END)
         WITH ('connector' = 'log', 'format' = 'json', 'scan.future-tolerance' = '1h')",
    );
    let slow = scan(&session, "SELECT n, day FROM slow");
    assert_eq!(slow.row_time, Some(RowTime { column: 2, delay: 0 }));
    let payloads =
        [r#"{"n":1767225500,"delay_s":20}"#, r#"{"n":1767225490,"delay_s":5}"#, r#"{"n":1767225600}"#, r#"{"n":1767225500,"delay_s":-1}"#];
    let (rows, rejects, watermark) = read(&slow, &payloads);
    assert_eq!((rows.len(), rejects.len(), watermark), (4, 0, 1_767_225_485_000_000));
    assert!(rows[0].ends_with("2026-01-01T00:00:00Z"), "{rows:?}");
    let Statement::Explain { text } = session.prepare("EXPLAIN SELECT n FROM slow", &Settings::default()).unwrap() else { panic!() };
    assert!(
        text.contains(
            "\nwatermark of ts as CASE WHEN delay_s >= 0 THEN TO_TIMESTAMP_LTZ(n - delay_s, 0) WHEN n < 0 THEN ts END, one a partition\n"
        ),
        "{text}"
    );
}

#[test]
fn a_row_that_fails_is_rejected_by_those_who_read_the_column() {
    let session = with("CREATE TABLE parts (n BIGINT, part AS 100 / n, text STRING, at AS TO_TIMESTAMP(text)) WITH ('connector' = 'log')");
    let payloads = [r#"{"n":4,"text":"2026-01-01T00:00:01Z"}"#, r#"{"n":0,"text":"never"}"#, r#"{"n":5,"text":"2026-01-01 00:00:02.5"}"#];
    let (rows, rejects, _) = read(&scan(&session, "SELECT part FROM parts"), &payloads);
    assert_eq!(rows, ["25", "20"]);
    assert!(
        matches!(rejects.as_slice(), [(1, reason)] if reason.starts_with("column part: ") && reason.contains("ivide by zero")),
        "{rejects:?}"
    );
    let (rows, rejects, _) = read(&scan(&session, "SELECT at FROM parts"), &payloads);
    assert_eq!(rows, ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02.500Z"]);
    assert!(matches!(rejects.as_slice(), [(1, reason)] if reason.contains("never")), "{rejects:?}");
    assert_eq!(read(&scan(&session, "SELECT n FROM parts"), &payloads).0, ["4", "0", "5"]);
}

#[test]
fn a_processing_time_only_says_that_the_newest_version_is_meant() {
    let session = with(EPOCH);
    let lookup = |version: &str, from: &str| {
        let sql = format!(
            "SELECT e.device_id, d.site FROM {from} JOIN devices FOR SYSTEM_TIME AS OF {version} AS d ON e.device_id = d.device_id"
        );
        match session.prepare(&sql, &Settings::default()).unwrap_or_else(|e| panic!("{e}")) {
            Statement::Tail { plan, .. } => plan.stages().find_map(|s| match s {
                Stage::Lookup(l) => Some((l.kind, l.time.is_none())),
                _ => None,
            }),
            other => panic!("{other:?}"),
        }
    };
    for version in ["e.proc", "proc", "E.PROC", "PROCTIME()"] {
        assert_eq!(lookup(version, "epoch AS e"), Some((LookupKind::Inner, true)), "{version}");
    }
    assert_eq!(lookup("e.ts", "epoch AS e"), Some((LookupKind::Inner, false)));
    // A column that a query calls so itself is a column like any other.
    let own = "SELECT proc FROM (SELECT epoch_ms AS proc FROM epoch) AS x";
    session.prepare(own, &Settings::default()).unwrap();
}
