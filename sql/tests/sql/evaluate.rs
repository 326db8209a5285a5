//! Plans at work. Invariant: expressions and accumulators of a plan, run step by step over hand-made rows in two partitions,
//! give the rows that the query says.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::array_value_to_string;
use arrow::util::pretty::pretty_format_batches;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use thalweg_engine::plan::{JobPlan, Lookup, LookupKind, Stage, StepKind, Window};
use thalweg_engine::time::Micros;
use thalweg_sql::{Settings, Statement};

use crate::support::session;

fn evaluate(expression: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> ArrayRef {
    let array = expression.evaluate(rows).unwrap().into_array(rows.num_rows()).unwrap();
    assert_eq!(*array.data_type(), expression.data_type(&rows.schema()).unwrap(), "{expression}");
    array
}

fn text(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) { "NULL".to_owned() } else { array_value_to_string(array, row).unwrap() }
}

/// `devices`: pump-1 in the north, pump-2 in the south without a threshold.
fn devices() -> RecordBatch {
    let text = |v: Vec<&str>| Arc::new(StringViewArray::from(v)) as ArrayRef;
    RecordBatch::try_from_iter([
        ("device_id", text(vec!["pump-1", "pump-2"])),
        ("site", text(vec!["north", "south"])),
        ("model", text(vec!["A", "B"])),
        ("threshold", Arc::new(Float64Array::from(vec![Some(50.0), None])) as ArrayRef),
    ])
    .unwrap()
}

/// Columns of the table `telemetry`; one row is (device, second, temperature, rpm, status).
type Reading = (&'static str, i64, Option<f64>, Option<i32>, &'static str);

fn telemetry(plan: &JobPlan, readings: &[Reading]) -> RecordBatch {
    let n = readings.len();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values(readings.iter().map(|r| r.0))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(readings.iter().map(|r| r.1 * 1_000_000)).with_timezone("UTC")),
        Arc::new(Float64Array::from_iter(readings.iter().map(|r| r.2))),
        Arc::new(Float64Array::from(vec![None::<f64>; n])),
        Arc::new(StringViewArray::from_iter_values(readings.iter().map(|r| r.4))),
        Arc::new(Int32Array::from_iter(readings.iter().map(|r| r.3))),
        Arc::new(Float64Array::from(vec![1.5; n])),
        Arc::new(StringViewArray::from(vec!["topic"; n])),
    ];
    let projected = plan.scans[0].projection.iter().map(|&i| columns[i].clone()).collect();
    RecordBatch::try_new(plan.scans[0].schema(), projected).unwrap()
}

fn stage(stage: &Stage, rows: RecordBatch) -> RecordBatch {
    match stage {
        Stage::Filter(predicate) => {
            let keep = evaluate(predicate, &rows);
            let keep = BooleanArray::from_iter(keep.as_boolean().iter().map(|b| Some(b == Some(true))));
            filter_record_batch(&rows, &keep).unwrap()
        }
        Stage::Project(p) => {
            let columns = p.expressions.iter().map(|e| evaluate(e, &rows)).collect();
            RecordBatch::try_new(p.schema.clone(), columns).unwrap()
        }
        Stage::Lookup(l) => lookup(l, &rows),
        other => panic!("{other}"),
    }
}

fn lookup(lookup: &Lookup, rows: &RecordBatch) -> RecordBatch {
    let table = devices();
    let keys: Vec<ArrayRef> = lookup.keys.iter().map(|(e, _)| evaluate(e, rows)).collect();
    let columns: Vec<&ArrayRef> = lookup.keys.iter().map(|(_, c)| table.column_by_name(c).unwrap()).collect();
    let key = |arrays: &[&ArrayRef], row: usize| arrays.iter().map(|a| text(a, row)).collect::<Vec<_>>();
    let index: BTreeMap<Vec<String>, u64> = (0..table.num_rows()).map(|r| (key(&columns, r), r as u64)).collect();
    let found: Vec<Option<u64>> = (0..rows.num_rows()).map(|r| index.get(&key(&keys.iter().collect::<Vec<_>>(), r)).copied()).collect();
    let keep: Vec<usize> = (0..found.len()).filter(|&r| lookup.kind == LookupKind::Left || found[r].is_some()).collect();
    let left = UInt64Array::from_iter_values(keep.iter().map(|&r| r as u64));
    let right = UInt64Array::from_iter(keep.iter().map(|&r| found[r]));
    let kept = rows.columns().iter().map(|c| take(c, &left, None).unwrap());
    let added = lookup.columns.iter().map(|c| take(table.column_by_name(c).unwrap(), &right, None).unwrap());
    RecordBatch::try_new(lookup.schema.clone(), kept.chain(added).collect()).unwrap()
}

/// Groups of one partition, or of all: window start and keys, and a number for each.
#[derive(Default)]
struct Groups {
    numbers: BTreeMap<(Micros, Vec<String>), usize>,
}

impl Groups {
    fn number(&mut self, start: Micros, keys: Vec<String>) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry((start, keys)).or_insert(next)
    }
}

fn window(window: &Window, partitions: &[RecordBatch]) -> RecordBatch {
    let size = window.parameters.sizes[0];
    let accumulators = || -> Vec<Box<dyn GroupsAccumulator>> { window.aggregates.iter().map(|a| (a.accumulator)().unwrap()).collect() };
    let (mut merged, mut groups) = (accumulators(), Groups::default());
    for rows in partitions {
        let times = rows.column(window.time).as_primitive::<TimestampMicrosecondType>();
        let keys: Vec<ArrayRef> = window.keys.iter().map(|(e, _)| evaluate(e, rows)).collect();
        let mut local = Groups::default();
        let of = |r: usize| (times.value(r).div_euclid(size) * size, keys.iter().map(|k| text(k, r)).collect::<Vec<_>>());
        let numbers: Vec<usize> = (0..rows.num_rows()).map(of).map(|(start, key)| local.number(start, key)).collect();
        let mut partial = accumulators();
        let mut into = vec![0; local.numbers.len()];
        for ((start, key), number) in &local.numbers {
            into[*number] = groups.number(*start, key.clone());
        }
        for ((aggregate, partial), merged) in window.aggregates.iter().zip(&mut partial).zip(&mut merged) {
            let arguments: Vec<ArrayRef> = aggregate.arguments.iter().map(|a| evaluate(a, rows)).collect();
            let filter = aggregate.filter.as_ref().map(|f| evaluate(f, rows));
            partial.update_batch(&arguments, &numbers, filter.as_ref().map(|f| f.as_boolean()), into.len()).unwrap();
            let states = partial.state(EmitTo::All).unwrap();
            for (state, field) in states.iter().zip(&aggregate.state) {
                assert_eq!(state.data_type(), field.data_type());
            }
            merged.merge_batch(&states, &into, groups.numbers.len()).unwrap();
        }
    }
    let mut order: Vec<(&(Micros, Vec<String>), &usize)> = groups.numbers.iter().collect();
    order.sort_by_key(|(_, number)| **number);
    let times = |offset: Micros| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(order.iter().map(|((start, _), _)| start + offset)).with_timezone("UTC"))
    };
    let mut columns = vec![times(0), times(size)];
    for (k, (_, field)) in window.keys.iter().enumerate() {
        let texts = StringArray::from_iter(order.iter().map(|((_, key), _)| Some(key[k].as_str()).filter(|t| *t != "NULL")));
        columns.push(arrow::compute::cast(&texts, field.data_type()).unwrap());
    }
    columns.extend(merged.iter_mut().map(|a| a.evaluate(EmitTo::All).unwrap()));
    RecordBatch::try_new(window.schema(), columns).unwrap()
}

/// Runs a query over two partitions; rows come back sorted as text.
fn run(sql: &str, partitions: [&[Reading]; 2]) -> Vec<String> {
    let plan = match session().prepare(sql, &Settings::default()).unwrap_or_else(|e| panic!("{e}")) {
        Statement::Tail { plan, .. } | Statement::InsertJob { plan, .. } => plan,
        other => panic!("{other:?}"),
    };
    let chain = |stages: &[Stage], rows: RecordBatch| stages.iter().fold(rows, |rows, s| stage(s, rows));
    let [input] = plan.inputs.as_slice() else { panic!("{plan}") };
    let parts: Vec<RecordBatch> = partitions.iter().map(|p| chain(&input.stages, telemetry(&plan, p))).collect();
    let merged = match &input.window {
        Some(w) => window(w, &parts),
        None => concat_batches(&parts[0].schema(), &parts).unwrap(),
    };
    let result = plan.steps.iter().fold(merged, |rows, step| match &step.kind {
        StepKind::Stages(stages) => chain(stages, rows),
        other => panic!("{other}"),
    });
    assert_eq!(result.schema(), plan.outputs[0].schema);
    let shown = pretty_format_batches(&[result]).unwrap().to_string();
    let mut lines: Vec<String> = shown
        .lines()
        .filter(|l| l.starts_with('|'))
        .skip(1)
        .map(|l| l.trim_matches('|').split('|').map(str::trim).map(|v| if v.is_empty() { "NULL" } else { v }).collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

const NORTH: &[Reading] = &[
    ("pump-1", 1, Some(10.0), Some(1), "ok"),
    ("pump-1", 9, Some(30.0), Some(2), "ok"),
    ("pump-1", 10, Some(70.0), None, "warn"),
    ("pump-1", 12, Some(99.0), Some(4), "fault"),
];
const SOUTH: &[Reading] = &[
    ("pump-2", 2, Some(5.0), Some(7), "ok"),
    ("pump-2", 3, None, Some(8), "ok"),
    ("stranger", 4, Some(1.0), Some(9), "ok"),
    ("pump-2", 19, Some(8.0), Some(10), "ok"),
];

#[test]
fn averages_of_sites_are_those_of_their_rows() {
    let sql = "INSERT INTO site_10s
        SELECT window_start, window_end, d.site, COUNT(*) AS n, AVG(t.temperature) AS a
        FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS t
        JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
        WHERE t.status <> 'fault' GROUP BY window_start, window_end, d.site";
    let want = [
        "1970-01-01T00:00:00Z 1970-01-01T00:00:10Z north 2 20.0",
        "1970-01-01T00:00:00Z 1970-01-01T00:00:10Z south 2 5.0",
        "1970-01-01T00:00:10Z 1970-01-01T00:00:20Z north 1 70.0",
        "1970-01-01T00:00:10Z 1970-01-01T00:00:20Z south 1 8.0",
    ];
    assert_eq!(run(sql, [NORTH, SOUTH]), want);
}

#[test]
fn partitions_are_merged_into_one_group() {
    let sql = "SELECT window_end, COUNT(*) AS a, COUNT(temperature) AS b, SUM(rpm) AS c, SUM(temperature) AS d, MIN(device_id) AS e,
                 MAX(ts) AS f, MAX(status) AS g, AVG(CAST(rpm AS DOUBLE)) AS h, COUNT(*) FILTER (WHERE temperature >= 10) AS i
               FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end";
    let want = [
        "1970-01-01T00:00:10Z 5 4 27 46.0 pump-1 1970-01-01T00:00:09Z ok 5.4 2",
        "1970-01-01T00:00:20Z 3 3 14 177.0 pump-1 1970-01-01T00:00:19Z warn 7.0 2",
    ];
    assert_eq!(run(sql, [NORTH, SOUTH]), want);
}

#[test]
fn having_expressions_over_groups_and_window_time() {
    let sql = "SELECT window_time, UPPER(status) AS s, SUM(rpm) * 2 AS twice
               FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND))
               GROUP BY window_start, window_end, window_time, UPPER(status)
               HAVING COUNT(*) > 1 OR UPPER(status) = 'FAULT'";
    let want = ["1970-01-01T00:00:09.999Z OK 54", "1970-01-01T00:00:19.999Z FAULT 8"];
    assert_eq!(run(sql, [NORTH, SOUTH]), want);
}

#[test]
fn rows_without_a_match_stay_in_a_left_join() {
    let sql = "SELECT t.device_id, d.site, t.temperature > d.threshold AS over FROM telemetry AS t
               LEFT JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON d.device_id = t.device_id
               WHERE t.rpm > 7 AND d.model IS NULL OR t.status = 'warn'";
    assert_eq!(run(sql, [NORTH, SOUTH]), ["pump-1 north true", "stranger NULL NULL"]);
}

#[test]
fn literals_and_casts_mean_what_they_say() {
    let sql = "SELECT rpm, CAST(CAST(temperature AS STRING) AS DOUBLE) + 0.5 AS t, TIMESTAMP '1970-01-01 00:00:02.5' AS a,
                 CAST('1970-01-01T00:00:02.123456Z' AS TIMESTAMP(3)) AS b, ts > '1970-01-01T00:00:02Z' AS later,
                 ts + INTERVAL '1' HOUR AS c, date_trunc('minute', ts) AS d, TRY_CAST(status AS INT) AS e, \"Flow\" AS f
               FROM telemetry WHERE device_id LIKE 'pump-%' AND ts BETWEEN '1970-01-01T00:00:02Z' AND '1970-01-01T00:00:02Z'";
    let want = ["7 5.5 1970-01-01T00:00:02.500Z 1970-01-01T00:00:02.123Z false 1970-01-01T01:00:02Z 1970-01-01T00:00:00Z NULL 1.5"];
    assert_eq!(run(sql, [NORTH, SOUTH]), want);
}
