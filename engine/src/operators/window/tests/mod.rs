//! Windows of every kind against slow and obvious oracles. Invariant checked: however rows are cut into batches, wherever a snapshot is
//! taken and restored, and in whatever order partitions are heard, the same rows are late and the same windows come out, bit by bit.

mod assign;
mod kinds;
mod oracle;
mod partitions;
mod step;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion_expr_common::operator::Operator as Comparison;
use datafusion_functions_aggregate::average::avg_udaf;
use datafusion_functions_aggregate::count::count_udaf;
use datafusion_functions_aggregate::min_max::min_udaf;
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::{binary, col, lit};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;
use proptest::prelude::*;

use super::*;
use crate::contract::Decoded;
use crate::plan::{Aggregate, Window, WindowParameters};
use crate::time::{MILLISECOND, SECOND};

/// A row of a test.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    /// Event time in microseconds.
    time: i64,
    key: Option<&'static str>,
    value: Option<f64>,
}

/// A row of a result: its values as bits, so that nothing is rounded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    end: i64,
    start: i64,
    keys: Vec<Option<String>>,
    count: i64,
    sum: Option<u64>,
    mean: Option<u64>,
    /// Of positive values.
    positive: Option<u64>,
    /// The least text of a value.
    text: Option<String>,
}

/// `ts`, `k`, `v`, and `s`, the value as text that is longer than twelve bytes.
fn input() -> SchemaRef {
    let time = Field::new("ts", crate::time::timestamp_type(), true);
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    Arc::new(Schema::new(vec![time, text("k"), Field::new("v", DataType::Float64, true), text("s")]))
}

fn text(value: f64) -> String {
    format!("the value is {value}")
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.time)).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(rows.iter().map(|r| r.key).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|r| r.value).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| r.value.map(text)).collect::<StringViewArray>()),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

fn decoded(rows: &[Row], first: u64) -> Decoded {
    Decoded {
        rows: batch(rows),
        offsets: UInt64Array::from_iter_values(first..first + rows.len() as u64),
        received: Int64Array::from(vec![0; rows.len()]),
        rejects: vec![],
    }
}

fn parameters(kind: &str, sizes: &[i64], offset: i64) -> WindowParameters {
    WindowParameters { kind: kind.to_owned(), sizes: sizes.to_vec(), offset }
}

/// Over rows of `schema`, with the first `keys` of: `k`, whether `v` is positive.
fn plan_over(schema: &SchemaRef, parameters: WindowParameters, keys: usize) -> Window {
    let column = |name: &str| -> Arc<dyn PhysicalExpr> { col(name, schema).unwrap() };
    let positive = binary(column("v"), Comparison::Gt, lit(0.0), schema).unwrap();
    let call = |udaf, name: &str, argument: &str, filter: Option<Arc<dyn PhysicalExpr>>| {
        let call = AggregateExprBuilder::new(udaf, vec![column(argument)]).schema(schema.clone()).alias(name).build().unwrap();
        let call = Arc::new(call);
        Aggregate {
            name: name.to_owned(),
            arguments: vec![column(argument)],
            distinct: false,
            filter,
            state: call.state_fields().unwrap(),
            result: call.field(),
            accumulator: Arc::new(move || Ok(call.create_groups_accumulator()?)),
        }
    };
    let all: Vec<(Arc<dyn PhysicalExpr>, _)> = vec![
        (column("k"), Arc::new(Field::new("k", DataType::Utf8View, true))),
        (positive.clone(), Arc::new(Field::new("p", DataType::Boolean, true))),
    ];
    Window {
        parameters,
        time: 0,
        keys: all.into_iter().take(keys).collect(),
        aggregates: vec![
            call(count_udaf(), "n", "v", None),
            call(sum_udaf(), "sum", "v", None),
            call(avg_udaf(), "mean", "v", None),
            call(sum_udaf(), "positive", "v", Some(positive)),
            call(min_udaf(), "text", "s", None),
        ],
    }
}

fn plan(parameters: WindowParameters, keys: usize) -> Window {
    plan_over(&input(), parameters, keys)
}

/// The rows of a result, in their order.
fn groups(result: &RecordBatch, keys: usize) -> Vec<Group> {
    let time = |c: usize, i: usize| result.column(c).as_primitive::<TimestampMicrosecondType>().value(i);
    let double = |c: usize, i: usize| {
        let column = result.column(c).as_primitive::<Float64Type>();
        column.is_valid(i).then(|| column.value(i).to_bits())
    };
    let shown = |c: usize, i: usize| {
        let column = result.column(c);
        column
            .is_valid(i)
            .then(|| column.as_string_view_opt().map_or_else(|| column.as_boolean().value(i).to_string(), |t| t.value(i).to_owned()))
    };
    let at = 2 + keys;
    let group = |i: usize| Group {
        end: time(1, i),
        start: time(0, i),
        keys: (2..at).map(|c| shown(c, i)).collect(),
        count: result.column(at).as_primitive::<Int64Type>().value(i),
        sum: double(at + 1, i),
        mean: double(at + 2, i),
        positive: double(at + 3, i),
        text: shown(at + 4, i),
    };
    (0..result.num_rows()).map(group).collect()
}

/// Rows 0.2 s apart, each up to 9 s behind, in steps of 0.1 s.
fn rows(value: impl Strategy<Value = Option<f64>>, most: usize) -> impl Strategy<Value = Vec<Row>> {
    let key = prop::sample::select(vec![Some("north"), Some("south"), Some("a site with a long name"), Some(""), None]);
    let jitter = prop_oneof![4 => 0i64..20, 1 => 0i64..90];
    let row = |(i, (jitter, key, value)): (usize, (i64, _, _))| Row { time: (i as i64 * 2 - jitter) * 100 * MILLISECOND, key, value };
    prop::collection::vec((jitter, key, value), 0..most).prop_map(move |rows| rows.into_iter().enumerate().map(row).collect())
}

/// Values whose sums are exact in any order.
fn exact() -> impl Strategy<Value = Option<f64>> {
    prop::option::weighted(0.9, (-20i32..20).prop_map(f64::from))
}

/// Values whose sums depend on the order.
fn wild() -> impl Strategy<Value = Option<f64>> {
    prop::option::weighted(0.9, prop_oneof![-1e3f64..1e3, Just(1e16), Just(-1e16), Just(0.1)])
}

/// Smallest steps of event time, from `least` on, of which all times are multiples.
fn units(least: i64) -> impl Strategy<Value = i64> {
    prop::sample::select(vec![1, MILLISECOND, 100 * MILLISECOND]).prop_map(move |unit| unit.max(least))
}

/// Windows of every kind, and numbers of keys.
fn windows() -> impl Strategy<Value = (WindowParameters, usize)> {
    let sized = |kind: &str, seconds: &[i64], offset: i64| {
        parameters(kind, &seconds.iter().map(|s| s * SECOND).collect::<Vec<_>>(), offset * SECOND)
    };
    let all = vec![
        sized("tumble", &[10], 0),
        sized("tumble", &[3], -7),
        sized("hop", &[5, 10], 0),
        sized("hop", &[2, 10], 1),
        sized("hop", &[4, 10], -3),
        sized("hop", &[7, 3], 2),
        sized("hop", &[1, 1], 0),
        sized("cumulate", &[5, 20], 0),
        sized("cumulate", &[3, 30], -4),
        sized("session", &[1], 0),
        sized("session", &[3], 0),
        parameters("session", &[700 * MILLISECOND], 0),
        parameters("session", &[200 * MILLISECOND], 0),
    ];
    (prop::sample::select(all), 0usize..3)
}
