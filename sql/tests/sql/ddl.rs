//! Tables, and statements that only name things. Invariant: what is prepared says exactly what the text says, and nothing has
//! happened yet.

use std::time::Duration;

use arrow::datatypes::DataType;
use arrow::util::pretty::pretty_format_batches;
use thalweg_engine::error::ErrorKind;
use thalweg_engine::plan::{ColumnSource, Metadata, RowTime, StartAt};
use thalweg_engine::time::timestamp_type;
use thalweg_sql::{Classification, SavepointWanted, Session, Settings, Statement, TableKind, Tier};

use crate::support::{bare, create, declare, fixture, session};

#[test]
fn a_stream_can_be_scanned_as_declared() {
    let definition = session().table("telemetry").unwrap();
    let scan = definition.scan().unwrap();
    assert_eq!((scan.stream.as_str(), scan.format.as_str()), ("telemetry", "json"));
    assert_eq!(scan.row_time, Some(RowTime { column: 1, delay: 2_000_000 }));
    assert_eq!((scan.idle_timeout, scan.future_tolerance), (5_000_000, 300_000_000));
    assert_eq!(scan.schema(), definition.schema());
    let types: Vec<&DataType> = scan.columns.iter().map(|c| c.field.data_type()).collect();
    let (text, double) = (&DataType::Utf8View, &DataType::Float64);
    assert_eq!(types, [text, &timestamp_type(), double, double, text, &DataType::Int32, double, text]);
    assert_eq!(scan.columns[1].time_unit, 1_000);
    assert_eq!(scan.columns[7].source, ColumnSource::Metadata(Metadata::Topic));
    assert!(session().table("devices").unwrap().scan().is_none());
}

#[test]
fn options_say_how_a_stream_is_read() {
    let sql =
        "CREATE TABLE x (a INT NOT NULL, at TIMESTAMP_LTZ METADATA FROM 'received_at') WITH ('connector' = 'broker', 'url' = 'mqtt://b',
               'stream' = 'other', 'format' = 'csv', 'scan.watermark.idle-timeout' = '1min', 'scan.future-tolerance' = '10s')";
    let (definition, notices) = create(&bare(), sql);
    assert_eq!(notices, Vec::<String>::new());
    let TableKind::Source { connector, options, input } = &definition.kind else { panic!("{:?}", definition.kind) };
    assert_eq!(connector.name, "broker");
    assert_eq!(options.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["url=mqtt://b"]);
    assert_eq!((input.stream.as_str(), input.format.as_str()), ("other", "csv"));
    assert_eq!((input.idle_timeout, input.future_tolerance), (60_000_000, 10_000_000));
    assert!(!definition.columns[0].field.is_nullable());
    assert_eq!(definition.event_time(), Some(1));
    assert_eq!(definition.sql, sql);
}

#[test]
fn a_lake_table_says_what_was_assumed() {
    let (definition, notices) = create(&bare(), "CREATE TABLE x (a INT) WITH ('connector' = 'lake')");
    assert_eq!(notices, ["owner not given: using 'nobody'", "description not given: using 'not described'"]);
    let TableKind::Lake { tier: Tier::Warm, owner, classification: Classification::Internal, retention: None, .. } = definition.kind else {
        panic!("{:?}", definition.kind)
    };
    assert_eq!(owner, "nobody");
    let sql = "CREATE TABLE x (a INT) WITH ('connector' = 'lake', 'tier' = 'cold', 'owner' = 'o', 'description' = 'd',
               'classification' = 'personal', 'retention' = '30d')";
    let (definition, notices) = create(&bare(), sql);
    assert_eq!(notices, Vec::<String>::new());
    let TableKind::Lake { tier: Tier::Cold, classification: Classification::Personal, retention, .. } = definition.kind else {
        panic!("{:?}", definition.kind)
    };
    assert_eq!(retention, Some(Duration::from_secs(30 * 86_400)));
}

#[test]
fn a_reference_table_has_a_key_and_a_rhythm() {
    let definition = session().table("limits").unwrap();
    assert_eq!(definition.primary_key, ["site", "level"]);
    let TableKind::Reference { path, format, refresh, owner, about } = &definition.kind else { panic!("{:?}", definition.kind) };
    assert_eq!((path.as_str(), format.as_str(), refresh.as_secs()), ("limits.csv", "csv", 30));
    assert_eq!((owner.as_str(), about.as_str()), ("nobody", ""));
}

#[test]
fn a_key_of_a_lake_table_has_no_nulls() {
    let session = session();
    let sql = "CREATE TABLE latest (temperature DOUBLE, device STRING, PRIMARY KEY (device) NOT ENFORCED)
               WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'o', 'description' = 'd')";
    let (definition, _) = create(&session, sql);
    assert_eq!(definition.primary_key, ["device"]);
    assert_eq!(definition.columns.iter().map(|c| c.field.is_nullable()).collect::<Vec<_>>(), [true, false]);
    session.declare(definition).unwrap();
    let job = |item: &str| session.prepare(&format!("INSERT INTO latest SELECT temperature, {item} FROM telemetry"), &Settings::default());
    assert!(matches!(job("COALESCE(device_id, 'none')").unwrap(), Statement::InsertJob { .. }));
    let e = job("device_id").unwrap_err();
    assert!(e.message().contains("column 2 of 'latest', 'device', is NOT NULL"), "{e}");
    assert_eq!(e.hint_text(), Some("write COALESCE(…, value), or declare what it comes from NOT NULL"));
}

#[test]
fn texts_that_were_kept_declare_the_same_tables_again() {
    let first = session();
    let second = bare();
    for definition in first.tables() {
        second.declare(create(&second, &definition.sql).0).unwrap();
    }
    let shown = |s: &Session| s.tables().iter().map(|d| format!("{d:?}")).collect::<Vec<_>>();
    assert_eq!(shown(&first), shown(&second));
}

#[test]
fn a_table_that_exists_is_left_alone() {
    let session = session();
    let script = fixture("tables.sql");
    let again = session.prepare(Session::split(&script).unwrap()[0].text(), &Settings::default()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    assert!(again.hint_text().unwrap().contains("same text"), "{again}");
    let sql = "CREATE TABLE IF NOT EXISTS telemetry (a INT) WITH ('connector' = 'log')";
    assert!(matches!(session.prepare(sql, &Settings::default()).unwrap(), Statement::Nothing { .. }));
    let definition = create(&bare(), "CREATE TABLE telemetry (a INT) WITH ('connector' = 'log')").0;
    assert_eq!(session.declare(definition).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(matches!(session.prepare("DROP TABLE IF EXISTS nothing", &Settings::default()).unwrap(), Statement::Nothing { .. }));
    let Statement::DropTable { name } = session.prepare("DROP TABLE Telemetry;", &Settings::default()).unwrap() else { panic!() };
    session.undeclare(name.as_str()).unwrap();
    assert!(session.table("telemetry").is_none());
    assert_eq!(session.undeclare(name.as_str()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn statements_that_only_name_things() {
    let session = session();
    assert!(matches!(session.prepare("show jobs", &Settings::default()).unwrap(), Statement::ShowJobs));
    assert!(matches!(session.prepare("SHOW TABLES ;", &Settings::default()).unwrap(), Statement::ShowTables));
    for (sql, job) in
        [("STOP JOB Site_10s", "site_10s"), ("STOP JOB archive.telemetry", "archive.telemetry"), ("STOP JOB a WITH SAVEPOINT", "a")]
    {
        let Statement::StopJob { name, .. } = session.prepare(sql, &Settings::default()).unwrap() else { panic!() };
        assert_eq!(name, job);
    }
    let one = |sql: &str| session.prepare(sql, &Settings::default()).unwrap();
    for (sql, want) in [
        ("STOP JOB a", SavepointWanted::No),
        ("STOP JOB a WITH SAVEPOINT;", SavepointWanted::Yes),
        ("STOP JOB a WITH SAVEPOINT 'before'", SavepointWanted::Named("before".to_owned())),
    ] {
        assert!(matches!(one(sql), Statement::StopJob { savepoint, .. } if savepoint == want), "{sql}");
    }
    assert!(matches!(one("DROP JOB a"), Statement::DropJob { name } if name == "a"));
    assert!(matches!(one("DROP SAVEPOINT 'a-7'"), Statement::DropSavepoint { name } if name == "a-7"));
    assert!(matches!(one("SHOW SAVEPOINTS"), Statement::ShowSavepoints));
    let Statement::DescribeJob { name } = session.prepare("DESC JOB archive.telemetry", &Settings::default()).unwrap() else { panic!() };
    assert_eq!(name, "archive.telemetry");
}

#[test]
fn where_a_job_begins_is_said_by_the_table_and_by_settings_which_win() {
    let session = session();
    let table =
        "CREATE TABLE late (a INT) WITH ('connector' = 'log', 'stream' = 'late', 'format' = 'json', 'scan.startup.mode' = 'latest-offset')";
    declare(&session, table);
    declare(&session, "CREATE TABLE sink (a INT) WITH ('connector' = 'lake')");
    let plan = |settings: &[(&str, &str)], sql: &str| {
        let settings = Settings::new(settings.iter().copied()).unwrap();
        match session.prepare(sql, &settings).unwrap() {
            Statement::InsertJob { plan, .. } | Statement::Tail { plan, .. } => plan.scans[0].start.clone(),
            other => panic!("{other:?}"),
        }
    };
    let (insert, select) = ("INSERT INTO sink SELECT a FROM late", "SELECT a FROM late");
    assert_eq!([plan(&[], insert), plan(&[], select)], [Some(StartAt::Latest), Some(StartAt::Latest)]);
    assert_eq!(plan(&[("scan.startup.mode", "earliest-offset")], select), Some(StartAt::Earliest));
    let time = [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "7")];
    assert_eq!(plan(&time, insert), Some(StartAt::Time(7_000)));
    assert_eq!(plan(&[], "SELECT ts FROM telemetry"), None);
}

#[test]
fn an_error_names_its_place_in_the_script() {
    let session = session();
    let script = "SHOW TABLES;\nSHOW JOBS; SELECT tss\n  FROM telemetry";
    let statements = Session::split(script).unwrap();
    let error = session.prepare(&statements[2].in_place(), &Settings::default()).unwrap_err();
    assert!(error.message().starts_with("2:19: column 'tss' does not exist"), "{error}");
    let Statement::Tail { sql, .. } =
        session.prepare(&Session::split("\n\nSELECT ts FROM telemetry;").unwrap()[0].in_place(), &Settings::default()).unwrap()
    else {
        panic!()
    };
    assert_eq!(sql, "SELECT ts FROM telemetry", "the text itself has no place");
}

#[test]
fn describe_shows_columns_keys_and_time() {
    let session = session();
    let rows = |sql: &str| match session.prepare(sql, &Settings::default()).unwrap() {
        // Cells with one blank around them, so that their width does not matter.
        Statement::Describe { rows } => {
            pretty_format_batches(&[rows]).unwrap().to_string().split_whitespace().collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    };
    let telemetry = rows("DESCRIBE telemetry");
    assert!(telemetry.contains("| name | type | null | key | extras | watermark |"), "{telemetry}");
    assert!(telemetry.contains("| ts | TIMESTAMP(3) *ROWTIME* | TRUE | | | ts - INTERVAL '2' SECOND |"), "{telemetry}");
    assert!(telemetry.contains("| topic | STRING | TRUE | | METADATA FROM 'topic' | |"), "{telemetry}");
    assert!(rows("DESC devices").contains("| PRI(device_id) | | |"), "{}", rows("DESC devices"));
    let counts = rows("DESC counts");
    assert!(counts.contains("| status | STRING | FALSE | PRI(status) | UPSERT | |"), "{counts}");
    assert!(counts.contains("| n | BIGINT | TRUE | | | |"), "{counts}");
    assert!(rows("DESCRIBE TABLE cold.telemetry").contains("| date | DATE"));
    assert!(rows("DESCRIBE site_10s$late").contains("temperature"));
}
