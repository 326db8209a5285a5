//! Tables that are like others, and tables whose columns are taken from records. Invariant: their text is whole: it makes the same table
//! when what it was made from is gone.

use std::sync::Arc;

use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::plan::RowTime;
use thalweg_sql::{Sample, SampleFormat, Session, Settings, StreamSampler};

use crate::support::{bare, create, declare, session};

const BASE: &str = "CREATE TABLE base (
  id STRING NOT NULL, \"Odd name's\" INT, ms BIGINT, -- a comment
  ts AS TO_TIMESTAMP_LTZ(ms, 3), at TIMESTAMP(3) METADATA FROM 'received_at',
  PRIMARY KEY (id) NOT ENFORCED,
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'log', 'stream' = 'base', 'scan.watermark.idle-timeout' = '7s')";

fn with_base() -> Session {
    let session = session();
    declare(&session, &BASE.replace("\"Odd name's\"", "\"Odd\""));
    session
}

#[test]
fn a_table_like_another_has_what_that_has_and_what_is_said_instead() {
    let session = with_base();
    let (all, _) = create(&session, "CREATE TABLE copy LIKE Base");
    assert_eq!(
        all.sql,
        "CREATE TABLE copy (\n  id STRING NOT NULL,\n  \"Odd\" INT,\n  ms BIGINT,\n  ts AS TO_TIMESTAMP_LTZ(ms, 3),\n  \
         at TIMESTAMP(3) METADATA FROM 'received_at' VIRTUAL,\n  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND,\n  \
         PRIMARY KEY (id) NOT ENFORCED\n) WITH (\n  'connector' = 'log',\n  'stream' = 'base',\n  'scan.watermark.idle-timeout' = '7s'\n)"
    );
    assert_eq!((all.watermark, all.primary_key.as_slice()), (Some(RowTime { column: 3, delay: 1_000_000 }), ["id".to_owned()].as_slice()));
    let (more, _) = create(
        &session,
        "CREATE TABLE more (v DOUBLE, ts AS TO_TIMESTAMP_LTZ(ms, 0), WATERMARK FOR at AS at)
         WITH ('stream' = 'other''s', 'format' = 'json') LIKE base (EXCLUDING CONSTRAINTS, OVERWRITING GENERATED OVERWRITING WATERMARKS)"
            .replace("other''s", "other")
            .as_str(),
    );
    let names: Vec<&str> = more.columns.iter().map(|c| c.field.name().as_str()).collect();
    assert_eq!(names, ["id", "Odd", "ms", "at", "v", "ts"]);
    let input = more.input().unwrap();
    assert_eq!((input.stream.as_str(), input.idle_timeout), ("other", 7_000_000));
    assert_eq!((more.watermark, more.primary_key.len()), (Some(RowTime { column: 3, delay: 0 }), 0));
    let (bones, _) = create(&session, "CREATE TABLE bones WITH ('connector' = 'lake') LIKE base (EXCLUDING ALL)");
    assert_eq!(bones.columns.iter().map(|c| c.field.name().as_str()).collect::<Vec<_>>(), ["id", "Odd", "ms"]);
    // All of them stand on their own.
    let alone = bare();
    for definition in [all, more, bones] {
        let (again, _) = create(&alone, &definition.sql);
        assert_eq!(format!("{again:?}"), format!("{definition:?}"));
    }
}

#[test]
fn a_table_like_another_is_partitioned_as_that_is() {
    let session = bare();
    let sited = "CREATE TABLE sited (site STRING, \"Zone\" INT, v DOUBLE) PARTITIONED BY (Site, \"Zone\") WITH ('connector' = 'lake')";
    let (definition, _) = create(&session, sited);
    assert_eq!(definition.partitioned_by, ["site", "Zone"]);
    session.declare(definition).unwrap();
    let (copy, _) = create(&session, "CREATE TABLE copy (w INT) LIKE sited");
    assert_eq!(
        copy.sql,
        "CREATE TABLE copy (\n  site STRING,\n  \"Zone\" INT,\n  v DOUBLE,\n  w INT\n) PARTITIONED BY (Site, \"Zone\") WITH (\n  \
         'connector' = 'lake'\n)"
    );
    assert_eq!(format!("{:?}", create(&bare(), &copy.sql).0), format!("{copy:?}"));
    let (own, _) = create(&session, "CREATE TABLE own PARTITIONED BY (site) LIKE sited (EXCLUDING PARTITIONS)");
    assert_eq!(own.partitioned_by, ["site"]);
    let (plain, _) = create(&session, "CREATE TABLE plain LIKE sited (EXCLUDING PARTITIONS)");
    assert!(plain.partitioned_by.is_empty());
    let error = |sql: &str| session.prepare(sql, &Settings::default()).unwrap_err().to_string();
    let twice = error("CREATE TABLE x PARTITIONED BY (site) LIKE sited");
    assert!(twice.starts_with("1:43: 'sited' has a PARTITIONED BY too") && twice.contains("EXCLUDING PARTITIONS"), "{twice}");
    let stream = error("CREATE TABLE x WITH ('connector' = 'log') LIKE sited");
    assert!(stream.starts_with("1:48: PARTITIONED BY belongs to tables of the lake"), "{stream}");
}

struct Sampler(Vec<(&'static str, &'static str)>);

impl StreamSampler for Sampler {
    fn sample(&self, stream: &Name, format: &SampleFormat) -> Result<Sample> {
        match (stream.as_str(), format.name.as_str()) {
            ("pumps", "json") => Ok(Sample {
                columns: self.0.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect(),
                event_time: Some("ts".to_owned()),
            }),
            ("pumps", "csv") if format.options.values().eq([";"]) => {
                Ok(Sample { columns: vec![("c1".to_owned(), "STRING".to_owned())], event_time: None })
            }
            other => Err(Error::not_found(format!("no samples of {other:?}")).hint("look elsewhere")),
        }
    }
}

#[test]
fn a_table_without_columns_takes_those_of_its_records() {
    let found = vec![
        ("device_id", "STRING"),
        ("ts", "TIMESTAMP(3)"),
        ("value", "DOUBLE"),
        ("Flow", "BIGINT"),
        ("date", "STRING"),
        ("a b", "INT"),
        ("FLOW", "INT"),
    ];
    let session = bare().with_sampler(Arc::new(Sampler(found)));
    let (table, notices) = create(&session, "CREATE TABLE Pumps WITH ('connector' = 'log', 'format' = 'json')");
    assert_eq!(
        table.sql,
        "CREATE TABLE Pumps (\n  device_id STRING,\n  ts TIMESTAMP(3),\n  \"value\" DOUBLE,\n  \"Flow\" BIGINT\n) WITH (\n  'connector' = 'log',\n  'format' = 'json'\n)"
    );
    assert_eq!(notices[0], "columns taken from the newest records: device_id STRING, ts TIMESTAMP(3), \"value\" DOUBLE, \"Flow\" BIGINT");
    assert_eq!(notices.len(), 5, "{notices:?}");
    assert_eq!(
        notices[4],
        "no WATERMARK: the event time is that of receipt. If it is ts, drop the table and write CREATE TABLE Pumps \
         (WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH (…)"
    );
    assert!(notices[1].contains("'date' is left out") && notices[2].contains("'a b'") && notices[3].contains("'FLOW'"), "{notices:?}");
    assert_eq!(format!("{:?}", create(&bare(), &table.sql).0), format!("{table:?}"));
    let timed = "CREATE TABLE p (WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'log', 'stream' = 'pumps')";
    let (table, notices) = create(&session, timed);
    assert_eq!((table.watermark, notices.len()), (Some(RowTime { column: 1, delay: 2_000_000 }), 4));
    let error = |sql: &str| session.prepare(sql, &Settings::default()).unwrap_err().to_string();
    assert!(error("CREATE TABLE x WITH ('connector' = 'log', 'format' = 'json')").starts_with("1:14: no samples of (\"x\", \"json\")"));
    assert!(
        error("CREATE TABLE pumps WITH ('connector' = 'log', 'format' = 'yaml')").contains("option 'format': format 'yaml' is not known")
    );
    // Options of the format reach whoever looks.
    let (of_csv, _) = create(&session, "CREATE TABLE pumps WITH ('connector' = 'log', 'format' = 'csv', 'csv.field-delimiter' = ';')");
    assert_eq!(of_csv.columns.len(), 1);
    assert!(error("CREATE TABLE x WITH ('connector' = 'lake')").starts_with("1:14: the table has no columns"));
    let empty = bare().with_sampler(Arc::new(Sampler(vec![("_x", "INT")])));
    let error = empty.prepare("CREATE TABLE pumps WITH ('connector' = 'log')", &Settings::default()).unwrap_err();
    assert!(error.message().contains("has no records that columns could be taken from"), "{error}");
}

#[test]
fn a_table_without_columns_takes_those_of_its_schema() {
    let fields =
        r#"{"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"It","type":"int"},{"name":"date","type":"int"}"#;
    let with = |fields: &str| {
        let schema = format!(r#"{{"type":"record","name":"B","fields":[{fields}]}}"#);
        format!("CREATE TABLE beats (WATERMARK FOR ts AS ts) WITH ('connector' = 'log', 'format' = 'avro', 'avro.schema' = '{schema}')")
    };
    // Nobody is asked for records.
    let (table, notices) = create(&bare(), &with(fields));
    assert!(
        table.sql.starts_with("CREATE TABLE beats (\n  ts TIMESTAMP(3),\n  \"It\" INT,\n  WATERMARK FOR ts AS ts\n) WITH ("),
        "{}",
        table.sql
    );
    assert_eq!((notices[0].as_str(), notices.len()), ("columns taken from the schema: ts TIMESTAMP(3), \"It\" INT", 2));
    assert!(notices[1].contains("'date' is left out"), "{notices:?}");
    assert_eq!(format!("{:?}", create(&bare(), &table.sql).0), format!("{table:?}"));
    let error = |sql: &str| bare().prepare(sql, &Settings::default()).unwrap_err().to_string();
    assert!(error(&with("")).contains("the schema has no fields that columns could be taken from"), "{}", error(&with("")));
    let several = error(&with(r#"{"name":"ts","type":["int","string"]}"#));
    assert!(several.contains("option 'avro.schema': field ts has values of several types"), "{several}");
    let missing = error("CREATE TABLE x WITH ('connector' = 'log', 'format' = 'avro')");
    assert!(missing.contains("option 'avro.schema' of the format is missing"), "{missing}");
}
