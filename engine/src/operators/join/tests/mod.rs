//! Joins against nested loops over all rows. Invariant checked: batches, the order of arrival within the watermark, the steps of the
//! watermark and snapshots do not show in what leaves, nor in its order.

mod asof;
mod interval;
mod regular;
mod window;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion_expr_common::operator::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, col, lit};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;
use proptest::prelude::*;

use crate::changes::Changes;
use crate::contract::Stateful;
use crate::error::{ErrorKind, Result};
use crate::operators::join::bound::Bound;
use crate::plan::{JoinKind, JoinSide};
use crate::time::Micros;

/// Rows are ordered as their columns are, from left to right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    key: Option<&'static str>,
    time: Micros,
    value: Option<i64>,
}

/// A row of the output: its left and its right part.
pub type Pair = (Option<Row>, Option<Row>);

const KEYS: [&str; 4] = ["", "a", "b", "a key longer than twelve"];

fn schema() -> SchemaRef {
    let time = Field::new("ts", crate::time::timestamp_type(), true);
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8View, true), time, Field::new("v", DataType::Int64, true)]))
}

/// Of the output of a join of `kind`.
fn output(kind: JoinKind) -> SchemaRef {
    let sides = if super::pairs::left_alone(kind) { 1 } else { 2 };
    Arc::new(Schema::new((0..sides).flat_map(|_| schema().fields().to_vec()).collect::<Vec<_>>()))
}

fn side(keys: &[&str]) -> JoinSide {
    JoinSide { schema: schema(), keys: keys.iter().map(|k| col(k, &schema()).unwrap()).collect(), time: 1, unit: 1 }
}

/// `left.v < right.v`, which is NULL where one of them is.
fn filter() -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(Arc::new(Column::new("v", 2)), Operator::Lt, Arc::new(Column::new("v", 5))))
}

/// `left.v / right.v = 1`, which fails where `right.v` is 0.
fn failing_filter() -> Arc<dyn PhysicalExpr> {
    let ratio = BinaryExpr::new(Arc::new(Column::new("v", 2)), Operator::Divide, Arc::new(Column::new("v", 5)));
    Arc::new(BinaryExpr::new(Arc::new(ratio), Operator::Eq, lit(1i64)))
}

/// Whether keys and filter make these a pair.
fn matches(left: &Row, right: &Row, filtered: bool) -> bool {
    left.key.is_some() && left.key == right.key && (!filtered || left.value.zip(right.value).is_some_and(|(left, right)| left < right))
}

pub fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.key).collect::<StringViewArray>()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.time)).with_timezone("UTC")),
        Arc::new(rows.iter().map(|r| r.value).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Rows of an output; one without a time is padded.
pub fn pairs(output: &RecordBatch) -> Vec<Pair> {
    let part = |row: usize, from: usize| -> Option<Row> {
        let column = |i: usize| output.columns().get(from + i);
        let time = column(1)?.as_primitive::<TimestampMicrosecondType>();
        let (keys, values) = (column(0)?.as_string_view(), column(2)?.as_primitive::<Int64Type>());
        if time.is_null(row) {
            assert!(keys.is_null(row) && values.is_null(row), "half a row");
            return None;
        }
        let key = keys.is_valid(row).then(|| *KEYS.iter().find(|k| **k == keys.value(row)).unwrap());
        Some(Row { key, time: time.value(row), value: values.is_valid(row).then(|| values.value(row)) })
    };
    (0..output.num_rows()).map(|row| (part(row, 0), part(row, 3))).collect()
}

/// Asserts that state survives, and that taking it changes nothing.
fn resumed(mut operator: Box<dyn Stateful>, new: &dyn Fn() -> Box<dyn Stateful>) -> Box<dyn Stateful> {
    let state = operator.snapshot().unwrap();
    assert!(operator.snapshot().unwrap() == state, "a snapshot changed the state");
    let mut restored = new();
    restored.restore(&state).unwrap();
    assert_eq!(restored.held(), operator.held());
    assert!(new().restore(&state[..state.len() / 2]).is_err());
    restored
}

/// How late a row may be.
const JITTER: Micros = 20;

/// A row with its side, its place in event time, and how late it is in each of two runs.
#[derive(Debug, Clone)]
pub struct Arrival {
    side: usize,
    time: Micros,
    row: Row,
    late: [Micros; 2],
}

/// Rows between -30 and 90, several of them at one time.
fn arrivals(time_of: fn(Micros) -> Micros) -> impl Strategy<Value = Vec<Arrival>> {
    let key = prop_oneof![1 => Just(None), 7 => prop::sample::select(&KEYS[..]).prop_map(Some)];
    let row = (0usize..2, -30i64..90, key, prop::option::weighted(0.9, -2i64..3), [0..JITTER, 0..JITTER]);
    let arrival = move |(side, time, key, value, late)| Arrival { side, time, row: Row { key, time: time_of(time), value }, late };
    prop::collection::vec(row.prop_map(arrival), 0..120)
}

/// After how many rows a batch ends, and what happens then: bit 0, the watermark goes on; bit 1, the operator is resumed; bit 2, the
/// right side is pushed first.
pub type Cuts = Vec<(usize, u8)>;

fn cuts() -> impl Strategy<Value = Cuts> {
    prop::collection::vec((1usize..40, 0u8..8), 1..12)
}

/// What leaves of `arrivals`, which are as late as in run `late`. `in_time` says whether a row may leave after this watermark was
/// returned.
fn run(
    new: &dyn Fn() -> Box<dyn Stateful>,
    arrivals: &[Arrival],
    (late, cuts): (usize, &Cuts),
    in_time: fn(&Pair, Micros) -> bool,
) -> Vec<Pair> {
    let mut arrivals: Vec<&Arrival> = arrivals.iter().collect();
    arrivals.sort_by_key(|a| a.time + a.late[late]);
    let (mut operator, mut got, mut returned, mut from) = (new(), Vec::new(), Micros::MIN, 0);
    let mut advance = |operator: &mut Box<dyn Stateful>, watermark: Micros| {
        let mut out = Vec::new();
        let next = operator.advance(watermark, &mut out).unwrap();
        assert!(next >= returned && next <= watermark);
        for changes in out {
            assert!(changes.kinds.is_none() && !changes.is_empty());
            got.extend(pairs(&changes.rows).into_iter().inspect(|p| assert!(in_time(p, returned), "{p:?} at {returned}")));
        }
        returned = next;
    };
    for &(count, what) in cuts.iter().cycle() {
        let to = (from + count).min(arrivals.len());
        for side in if what & 4 == 0 { [0, 1] } else { [1, 0] } {
            let rows: Vec<Row> = arrivals[from..to].iter().filter(|a| a.side == side).map(|a| a.row.clone()).collect();
            let mut out = Vec::new();
            operator.push(side, Changes::inserts(batch(&rows)), &mut out).unwrap();
            assert!(out.is_empty());
        }
        if what & 1 != 0 && to > from {
            // What comes later is behind this.
            let last = arrivals[to - 1];
            advance(&mut operator, last.time + last.late[late] - JITTER);
        }
        if what & 2 != 0 {
            operator = resumed(operator, new);
        }
        from = to;
        if from == arrivals.len() {
            break;
        }
    }
    advance(&mut operator, Micros::MAX);
    got
}

/// Asserts that all runs give `want`.
fn check(
    new: &dyn Fn() -> Box<dyn Stateful>,
    arrivals: &[Arrival],
    [one, other]: [&Cuts; 2],
    in_time: fn(&Pair, Micros) -> bool,
    want: &[Pair],
) -> std::result::Result<(), TestCaseError> {
    let whole: Cuts = vec![(usize::MAX / 2, 0)];
    let single: Cuts = vec![(1, 1)];
    for (late, cuts) in [(0, &whole), (0, one), (1, other), (1, &single)] {
        prop_assert_eq!(run(new, arrivals, (late, cuts), in_time), want, "late {}, cuts {:?}", late, cuts);
    }
    Ok(())
}

/// Asserts that a join lets out `most` rows at once if so many are allowed, and that it ends if it is one less.
fn leaves_at_most(most: u64, join: impl Fn(Bound) -> Result<usize>) {
    let bound = |rows: u64| Bound::of_rows(&output(JoinKind::Inner), rows);
    assert_eq!(join(bound(most)).unwrap() as u64, most);
    let error = join(bound(most - 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "another try would meet it again");
    assert!(error.message().starts_with("a join lets out more than"), "{error}");
}

/// Pushes rows to both sides and advances to the end.
fn join_at_once(operator: impl Stateful, left: &[Row], right: &[Row]) -> Result<Vec<Pair>> {
    Ok(joined(operator, left, right)?.0)
}

/// The same, and the reasons of the pairs of which the condition could not tell anything.
fn joined(mut operator: impl Stateful, left: &[Row], right: &[Row]) -> Result<(Vec<Pair>, Vec<String>)> {
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(left)), &mut out)?;
    operator.push(1, Changes::inserts(batch(right)), &mut out)?;
    operator.advance(Micros::MAX, &mut out)?;
    let failed = operator.failed().into_iter().map(|f| f.reason.to_lowercase()).collect();
    Ok((out.iter().flat_map(|c| pairs(&c.rows)).collect(), failed))
}
