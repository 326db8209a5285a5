//! Computed event time and columns, against what arithmetic says. Invariant checked: archive and jobs reject the same records for
//! their event time, whatever they project and however records were cut into batches.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use datafusion_common::ScalarValue;
use datafusion_expr_common::operator::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column as ColumnExpr, Literal, cast};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;
use proptest::prelude::*;

use super::*;
use crate::batch::{ContentType, Entry, Records};
use crate::decode;
use crate::ids::Name;
use crate::plan::{self, ColumnSource, Computed, RowTime};
use crate::runtime::query::decode_schema;

/// `n` and `m` as they were sent.
type Sent = (Option<i64>, Option<i64>);

const MINUTE: i64 = 60_000_000;

fn divided(dividend: i64, by: &str) -> Arc<dyn PhysicalExpr> {
    let dividend = Arc::new(Literal::new(ScalarValue::Int64(Some(dividend))));
    Arc::new(BinaryExpr::new(dividend, Operator::Divide, Arc::new(ColumnExpr::new(by, 0))))
}

fn time_of(expression: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
    cast(expression, &schema, timestamp_type()).unwrap()
}

fn computed(input: usize, expression: Arc<dyn PhysicalExpr>) -> Computed {
    Computed { inputs: vec![input], text: expression.to_string(), expression }
}

/// `part AS 100 / m, n BIGINT, ts AS a minute / n, m BIGINT, WATERMARK FOR ts AS a minute / (2 * n)`.
fn scan(projection: &[usize]) -> Scan {
    let column = |name: &str, data_type: DataType, source: ColumnSource| plan::Column {
        field: Arc::new(Field::new(name, data_type, true)),
        source,
        time_unit: 1,
    };
    Scan {
        stream: Name::new("s").unwrap(),
        table: Name::new("t").unwrap(),
        format: "json".to_owned(),
        format_options: std::collections::BTreeMap::new(),
        columns: vec![
            column("part", DataType::Int64, ColumnSource::Computed(computed(3, divided(100, "m")))),
            column("n", DataType::Int64, ColumnSource::Payload),
            column("ts", timestamp_type(), ColumnSource::Computed(computed(1, time_of(divided(MINUTE, "n"))))),
            column("m", DataType::Int64, ColumnSource::Payload),
        ],
        projection: projection.to_vec(),
        row_time: Some(RowTime { column: 2, delay: 0 }),
        watermark: Some(computed(1, time_of(divided(MINUTE / 2, "n")))),
        future_tolerance: MINUTE,
        idle_timeout: MINUTE,
        start: None,
    }
}

fn records(sent: &[Sent], from: usize) -> Records {
    let mut bytes: Vec<u8> = Vec::new();
    let mut entries = Vec::new();
    for (i, (n, m)) in sent.iter().enumerate() {
        let number = |v: &Option<i64>| v.map_or("null".to_owned(), |v| v.to_string());
        let start = bytes.len() as u32;
        bytes.extend_from_slice(format!(r#"{{"n":{},"m":{}}}"#, number(n), number(m)).as_bytes());
        let payload = start..bytes.len() as u32;
        let (offset, received) = ((from + i) as u64, 100 * MINUTE);
        let content_type = ContentType::Json;
        entries.push(Entry { offset, received, device: 0..0, topic: 0..0, payload, content_type, producer: None });
    }
    Records { partition: 0, bytes: Buffer::from_vec(bytes), entries, lost: None }
}

/// What came of all records: rows as (offset, ts, part, watermark before it if it matters), rejects by time and by columns.
#[derive(Debug, Default, PartialEq)]
struct Read {
    rows: Vec<(u64, Option<i64>, Option<i64>, bool)>,
    by_time: Vec<(u64, String)>,
    by_column: Vec<(u64, String)>,
    watermark: i64,
}

fn read(projection: &[usize], sent: &[Sent], cut: usize) -> Read {
    let scan = scan(projection);
    let mut reader = Reader::new(&scan).unwrap();
    let mut decoder = decode::open(&scan.format, decode_schema(&scan)).unwrap();
    let mut read = Read::default();
    let rejects = |out: &mut Output| out.rejects.drain(..).map(|r| (r.offset, r.reason)).collect::<Vec<_>>();
    for (i, piece) in sent.chunks(cut.max(1)).enumerate() {
        let mut out = Output::default();
        let decoded = decoder.decode(&records(piece, i * cut.max(1))).unwrap();
        assert!(decoded.rejects.is_empty());
        let timed = reader.time(decoded, &mut out).unwrap();
        let mut by_time = rejects(&mut out);
        by_time.sort();
        read.by_time.append(&mut by_time);
        let Some(batch) = timed.and_then(|batch| reader.project(batch, &mut out).unwrap()) else {
            read.by_column.extend(rejects(&mut out));
            continue;
        };
        read.by_column.extend(rejects(&mut out));
        assert_eq!(batch.rows.schema(), scan.schema());
        let of = |name: &str, row: usize| {
            let column = batch.rows.column_by_name(name)?;
            let value = match name {
                "ts" => column.as_primitive::<TimestampMicrosecondType>().value(row),
                _ => column.as_primitive::<Int64Type>().value(row),
            };
            column.is_valid(row).then_some(value)
        };
        for row in 0..batch.rows.num_rows() {
            let late = batch.watermarks.as_ref().zip(of("ts", row)).is_some_and(|(w, ts)| ts <= w.value(row));
            read.rows.push((batch.offsets.value(row), of("ts", row), of("part", row), late));
        }
    }
    read.watermark = reader.watermark();
    read
}

/// The same, one record after the other.
fn oracle(sent: &[Sent], projects_time: bool, projects_part: bool) -> Read {
    let mut want = Read { watermark: i64::MIN, ..Read::default() };
    for (offset, (n, m)) in sent.iter().enumerate() {
        let offset = offset as u64;
        let Some(n) = n else {
            want.by_time.push((offset, "column ts: the event time is missing".to_owned()));
            continue;
        };
        if *n == 0 {
            want.by_time.push((offset, "column ts: ".to_owned()));
            continue;
        }
        let (ts, mark) = (MINUTE / n, MINUTE / 2 / n);
        let late = projects_time && ts <= want.watermark;
        want.watermark = want.watermark.max(mark);
        if projects_part && *m == Some(0) {
            want.by_column.push((offset, "column part: ".to_owned()));
        } else {
            let part = m.filter(|_| projects_part).map(|m| 100 / m);
            want.rows.push((offset, projects_time.then_some(ts), part, late));
        }
    }
    want
}

proptest! {
    #[test]
    fn values_are_those_of_the_expressions_and_failures_stand_alone(
        sent in prop::collection::vec((prop::option::of(0_i64..9), prop::option::of(0_i64..4)), 0..60),
        cut in 1_usize..20,
    ) {
        for (projection, time, part) in [(vec![0, 1, 2, 3], true, true), (vec![2, 3], true, false), (vec![0], false, true), (vec![1, 3], false, false)] {
            let mut got = read(&projection, &sent, cut);
            // What is said behind the column is arithmetic's.
            for (_, reason) in got.by_time.iter_mut().chain(&mut got.by_column) {
                if let Some(at) = reason.find("ivide by zero") {
                    prop_assert!(at > 0);
                    reason.truncate(reason.find(": ").map_or(0, |at| at + 2));
                }
            }
            prop_assert_eq!(got, oracle(&sent, time, part), "projection {:?}", projection);
        }
    }
}

#[test]
fn a_plain_table_is_read_as_it_is_decoded() {
    let mut plain = scan(&[1, 3]);
    (plain.row_time, plain.watermark) = (None, None);
    assert_eq!(plain.decoded(), [1, 3]);
    assert!(Reader::new(&plain).unwrap().columns.is_none());
    assert_eq!(scan(&[0]).decoded(), [1, 3], "what is computed, and the event time");
}
