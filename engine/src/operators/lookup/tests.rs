//! Tests of reference joins, against a search row by row. Invariant: they hold for any cut into batches.

use arrow::array::{Int64Array, StringViewArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::Result as ExpressionResult;
use datafusion_expr_common::columnar_value::ColumnarValue;
use proptest::prelude::*;

use super::*;
use crate::changes::Changes;
use crate::contract::Stateful;
use crate::ids::Name;
use crate::operators::stages::Stages;
use crate::reference::Content;
use crate::time::{Micros, timestamp_type};

/// A column by its index.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Column(usize);

impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl PhysicalExpr for Column {
    fn evaluate(&self, batch: &RecordBatch) -> ExpressionResult<ColumnarValue> {
        Ok(ColumnarValue::Array(batch.column(self.0).clone()))
    }
    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        Vec::new()
    }
    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn PhysicalExpr>>) -> ExpressionResult<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }
    fn fmt_sql(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

fn reference_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device_id", DataType::Utf8View, false),
        Field::new("site", DataType::Utf8View, true),
        Field::new("threshold", DataType::Int64, true),
    ]))
}

/// Versions of `(valid from, devices)`; the site of a device tells version and device.
fn table(versions: &[(Micros, &[&str])]) -> Arc<ReferenceTable> {
    let version = |(v, (valid_from, devices)): (usize, &(Micros, &[&str]))| {
        let sites: StringViewArray = devices.iter().map(|d| Some(format!("site of {d} in version {v}"))).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from(devices.to_vec())),
            Arc::new(sites),
            Arc::new(Int64Array::from(vec![v as i64; devices.len()])),
        ];
        let content = Content::new(format!("{v}"), RecordBatch::try_new(reference_schema(), columns).unwrap(), &[0]).unwrap();
        Version { valid_from: *valid_from, loaded_at: *valid_from, content: Arc::new(content) }
    };
    let versions = versions.iter().enumerate().map(version).collect();
    Arc::new(ReferenceTable::new(Name::new("devices").unwrap(), reference_schema(), vec![0], versions).unwrap())
}

fn operator(table: Arc<ReferenceTable>, kind: LookupKind, time: Option<usize>) -> LookupOperator {
    let mut fields = stream_schema().fields().to_vec();
    fields.extend([2, 1].map(|i| reference_schema().fields()[i].clone()));
    let plan = plan::Lookup {
        table: table.name().clone(),
        kind,
        keys: vec![(Arc::new(Column(0)), "device_id".into())],
        time: time.map(|i| Arc::new(Column(i)) as Arc<dyn PhysicalExpr>),
        columns: vec!["threshold".into(), "site".into()],
        schema: Arc::new(Schema::new(fields)),
    };
    LookupOperator::new(plan, table).unwrap()
}

fn stream_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("device_id", DataType::Utf8View, true), Field::new("ts", timestamp_type(), true)]))
}

type Row = (Option<&'static str>, Option<Micros>);

fn batch(rows: &[Row], first: u64) -> Batch {
    let times: TimestampMicrosecondArray = rows.iter().map(|r| r.1).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(rows.iter().map(|r| r.0).collect::<StringViewArray>()), Arc::new(times.with_data_type(timestamp_type()))];
    let offsets: UInt64Array = (first..first + rows.len() as u64).collect();
    let watermarks = Some(offsets.iter().map(|o| o.map(|o| -(o as i64))).collect());
    Batch { rows: RecordBatch::try_new(stream_schema(), columns).unwrap(), offsets, watermarks }
}

/// Offset, threshold and site of each row.
type Joined = Vec<(u64, Option<i64>, Option<String>)>;

/// What was joined, and how many rows were dropped.
fn run(operator: &mut LookupOperator, rows: &[Row], batch_rows: usize) -> (Joined, u64) {
    let mut out = Output::default();
    let mut got = Vec::new();
    for (i, chunk) in rows.chunks(batch_rows).enumerate() {
        let Some(b) = operator.push(batch(chunk, (i * batch_rows) as u64), &mut out).unwrap() else { continue };
        let watermarks = b.watermarks.unwrap();
        for r in 0..b.rows.num_rows() {
            let offset = b.offsets.value(r);
            assert_eq!(watermarks.value(r), -(offset as i64), "offsets and watermarks go with their rows");
            let device = b.rows.column(0).as_string_view();
            assert_eq!(device.is_valid(r).then(|| device.value(r)), rows[offset as usize].0);
            let (threshold, site) = (b.rows.column(2).as_primitive::<Int64Type>(), b.rows.column(3).as_string_view());
            got.push((offset, threshold.is_valid(r).then(|| threshold.value(r)), site.is_valid(r).then(|| site.value(r).to_owned())));
        }
    }
    (got, out.counters.filtered)
}

const VERSIONS: [(Micros, &[&str]); 3] = [(0, &["a", "b"]), (100, &["b"]), (200, &["c", "a device with a long name"])];

proptest! {
    #[test]
    fn a_row_meets_the_version_of_its_own_time(
        rows in proptest::collection::vec(
            (
                proptest::option::of(proptest::sample::select(vec!["a", "b", "c", "d", "a device with a long name"])),
                proptest::option::weighted(0.95, 0_i64..300),
            ),
            1..60,
        ),
        batch_rows in 1_usize..70,
        inner: bool,
        by_time: bool,
    ) {
        let wanted_of = |(offset, (device, time)): (usize, &Row)| {
            let version = if by_time { time.map(|t| t as usize / 100) } else { Some(2) };
            let hit = version.and_then(|v| Some((v, device.filter(|d| VERSIONS[v].1.contains(d))?)));
            (offset as u64, hit.map(|(v, _)| v as i64), hit.map(|(v, d)| format!("site of {d} in version {v}")))
        };
        let mut wanted: Vec<_> = rows.iter().enumerate().map(wanted_of).collect();
        if inner {
            wanted.retain(|w| w.1.is_some());
        }
        let dropped = (rows.len() - wanted.len()) as u64;
        let kind = if inner { LookupKind::Inner } else { LookupKind::Left };
        let mut operator = operator(table(&VERSIONS), kind, by_time.then_some(1));
        prop_assert_eq!(run(&mut operator, &rows, batch_rows), (wanted, dropped));
    }
}

#[test]
fn rows_whose_version_was_dropped_are_rejected_alone() {
    // The first version is valid from the beginning of time unless older ones were dropped.
    let whole = table(&[(Micros::MIN, &["a"]), (200, &["b"])]);
    let (got, _) = run(&mut operator(whole, LookupKind::Inner, Some(1)), &[(Some("a"), Some(-5))], 1);
    assert_eq!(got.len(), 1);

    let table = table(&[(100, &["a"]), (200, &["b"])]);
    let rows = [(Some("a"), Some(99)), (Some("a"), Some(100)), (Some("b"), Some(200)), (Some("b"), None), (Some("b"), Some(0))];
    for kind in [LookupKind::Inner, LookupKind::Left] {
        let plan = operator(table.clone(), kind, Some(1)).plan;
        let mut stages = Stages::new(&[plan::Stage::Lookup(plan)], std::slice::from_ref(&table)).unwrap();
        let mut out = Vec::new();
        stages.push(0, Changes::inserts(batch(&rows, 0).rows), &mut out).unwrap();
        let kept = if kind == LookupKind::Inner { 2 } else { 3 };
        assert_eq!(out.iter().map(Changes::len).sum::<usize>(), kept);
        let reasons: Vec<String> = stages.failed().into_iter().map(|f| f.reason).collect();
        let reason = |time: Micros| {
            let (time, oldest) = (format(time), format(100));
            format!(
                "the version of reference table devices that was valid at {time} was dropped; the oldest that is kept is valid from {oldest} on"
            )
        };
        assert_eq!(reasons, [reason(99), reason(0)]);
    }
    let mut newest = operator(table, LookupKind::Inner, None);
    assert_eq!(run(&mut newest, &rows, 5).0.len(), 3, "the newest version needs no time");
}

#[test]
fn a_join_that_does_not_compare_the_primary_key_is_refused() {
    let good = operator(table(&VERSIONS), LookupKind::Inner, None).plan;
    let message = |plan: plan::Lookup| LookupOperator::new(plan, table(&VERSIONS)).err().map(|e| e.message().to_owned()).unwrap();
    let other_key = plan::Lookup { keys: vec![(Arc::new(Column(0)), "site".into())], ..good.clone() };
    assert_eq!(message(other_key), "the join with devices does not compare its primary key column device_id");
    let mut keys = good.keys.clone();
    keys.push((Arc::new(Column(0)), "site".into()));
    assert_eq!(message(plan::Lookup { keys, ..good.clone() }), "the join with devices compares columns that are not its primary key");
    let other_column = plan::Lookup { columns: vec!["floor".into()], ..good };
    assert_eq!(message(other_column), "reference table devices has no column floor");
}
