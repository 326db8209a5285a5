//! GROUP BY against loops over all rows. Invariant checked: after each step the folded changelog is the result over the rows that
//! are in, to the last bit; batches, arrival and snapshots do not show.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use proptest::prelude::*;

use super::*;
use crate::operators::support::*;
use crate::plan::RetractableAggregate;
use crate::state::snapshot;

/// Event time, key, integer, number.
type Row = (Micros, Option<&'static str>, i64, f64);

fn input() -> SchemaRef {
    schema(&[("ts", crate::time::timestamp_type()), ("k", DataType::Utf8View), ("i", DataType::Int64), ("f", DataType::Float64)])
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.0)).with_timezone("UTC")),
        Arc::new(rows.iter().map(|r| r.1).collect::<StringViewArray>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.3))),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// By `k`, or all together; `sliding` as a caller may choose.
fn plan(keyed: bool, appended: bool, sliding: bool, ttl: Option<Micros>) -> plan::Group {
    let distinct = RetractableAggregate { distinct: true, ..call(&input(), "count", "i", sliding) };
    let large = Arc::new(datafusion_physical_expr::expressions::BinaryExpr::new(
        column(&input(), "i"),
        datafusion_expr_common::operator::Operator::Gt,
        Arc::new(datafusion_physical_expr::expressions::Literal::new(ScalarValue::Int64(Some(1)))),
    ));
    let filtered = RetractableAggregate { filter: Some(large), ..call(&input(), "count", "f", sliding) };
    let aggregates = vec![
        call(&input(), "count", "i", sliding),
        call(&input(), "sum", "f", sliding),
        call(&input(), "max", "f", sliding),
        distinct,
        filtered,
    ];
    let keys: Vec<(_, FieldRef)> =
        if keyed { vec![(column(&input(), "k"), Arc::new(Field::new("k", DataType::Utf8View, true)))] } else { vec![] };
    let mut fields: Vec<FieldRef> = keys.iter().map(|(_, f)| f.clone()).collect();
    fields.extend(aggregates.iter().map(|a| a.result.clone()));
    plan::Group {
        input: input(),
        keys,
        aggregates,
        time: appended.then_some(0),
        told: Told::Together,
        ttl,
        schema: Arc::new(Schema::new(fields)),
    }
}

/// A group's row over `rows` in their order.
fn line(keyed: bool, rows: &[Row]) -> String {
    let mut values = Vec::new();
    if keyed {
        values.push(ScalarValue::Utf8View(rows[0].1.map(str::to_owned)));
    }
    let mut different: Vec<i64> = rows.iter().map(|r| r.2).collect();
    different.sort_unstable();
    different.dedup();
    values.push(ScalarValue::Int64(Some(rows.len() as i64)));
    values.push(ScalarValue::Float64(Some(rows.iter().fold(0.0, |sum, r| sum + r.3))));
    values.push(ScalarValue::Float64(rows.iter().map(|r| r.3).max_by(f64::total_cmp)));
    values.push(ScalarValue::Int64(Some(different.len() as i64)));
    values.push(ScalarValue::Int64(Some(rows.iter().filter(|r| r.2 > 1).count() as i64)));
    values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(" ")
}

/// What a changelog of appended rows leaves behind, row by row; what is forgotten is not taken back.
fn appended_result(keyed: bool, rows: &[Row], ttl: Option<Micros>) -> Folded {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)).then(a.3.total_cmp(&b.3)));
    let mut groups: BTreeMap<Option<&str>, Vec<Vec<Row>>> = BTreeMap::new();
    for row in rows {
        let lives = groups.entry(row.1.filter(|_| keyed)).or_default();
        match lives.last_mut().filter(|life| ttl.is_none_or(|ttl| row.0 <= life[life.len() - 1].0 + ttl)) {
            Some(life) => life.push(row),
            None => lives.push(vec![row]),
        }
    }
    Folded::of(groups.values().flatten().map(|rows| line(keyed, rows)))
}

/// Groups and values of a state.
fn content(state: &[u8]) -> Vec<Vec<ArrayRef>> {
    let [_, groups, bags] = snapshot::unpack(state).unwrap();
    let parts = std::iter::once(groups).chain(snapshot::unpack_all(bags).unwrap());
    parts.map(|part| snapshot::decode_columns(part).unwrap()).collect()
}

fn resumed(mut operator: GroupOperator, use_old: bool) -> GroupOperator {
    let state = operator.snapshot().unwrap();
    let mut new = GroupOperator::new(operator.plan.clone()).unwrap();
    new.restore(&state).unwrap();
    assert_eq!(new.held(), operator.held());
    for again in [&mut operator, &mut new] {
        assert_eq!(content(&again.snapshot().unwrap()), content(&state));
    }
    if use_old { operator } else { new }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![-1e3f64..1e3, prop::sample::select(vec![0.1, 1e16, -1e16, 0.7])]
}

fn key() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some(""), Some("north"), Some("a site with a long name")])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn appended_rows(
        arrivals in prop::collection::vec((0i64..20, key(), 0i64..4, value()), 1..150),
        cuts in prop::collection::vec((1usize..20, prop::option::of(any::<bool>())), 150),
        keyed: bool,
        sliding: bool,
        ttl in prop::option::of(0i64..30),
    ) {
        // Time goes on by one a row, and each row is up to 20 behind.
        let rows: Vec<Row> = arrivals.iter().enumerate().map(|(i, &(late, k, n, f))| (i as i64 - late, k, n, f)).collect();
        let new = || GroupOperator::new(plan(keyed, true, sliding, ttl)).unwrap();
        let (mut straight, mut cut, mut folded) = (new(), new(), Folded::default());
        let mut from = 0;
        for &(count, resume) in &cuts {
            let to = (from + count).min(rows.len());
            let watermark = if from == rows.len() { 1_000 } else { to as i64 - 21 };
            let (mut out, mut other) = (Vec::new(), Vec::new());
            cut.push(0, Changes::inserts(batch(&rows[from..to])), &mut out).unwrap();
            straight.push(0, Changes::inserts(batch(&rows[from..to])), &mut other).unwrap();
            prop_assert!(out.is_empty());
            if let Some(use_old) = resume {
                cut = resumed(cut, use_old);
            }
            prop_assert_eq!(cut.advance(watermark, &mut out).unwrap(), watermark);
            straight.advance(watermark, &mut other).unwrap();
            prop_assert_eq!(log(&out), log(&other));
            folded.apply(&out);
            let passed: Vec<Row> = rows[..to].iter().copied().filter(|r| r.0 <= watermark).collect();
            prop_assert_eq!(&folded, &appended_result(keyed, &passed, ttl));
            if watermark == 1_000 {
                break;
            }
            from = to;
        }
        if ttl.is_some() {
            prop_assert_eq!(cut.held(), 0, "state is released");
        }
    }

    #[test]
    fn changes(
        steps in prop::collection::vec((prop::collection::vec((0usize..9, key(), 0i64..4, -40i64..40), 1..12), prop::option::of(any::<bool>())), 1..25),
        keyed: bool,
        sliding: bool,
    ) {
        let new = || GroupOperator::new(plan(keyed, false, sliding, None)).unwrap();
        let (mut straight, mut cut, mut folded) = (new(), new(), Folded::default());
        let mut live: Vec<Row> = Vec::new();
        for (step, resume) in steps {
            let (mut rows, mut kinds) = (Vec::new(), Vec::new());
            for (pick, k, i, quarters) in step {
                // Quarters add up exactly in any order.
                let row = (0, k, i, quarters as f64 / 4.0);
                if pick < live.len() {
                    rows.push(live.swap_remove(pick));
                    kinds.push(if pick % 2 == 0 { RowKind::Delete } else { RowKind::UpdateBefore });
                    if pick % 2 == 0 {
                        continue;
                    }
                    kinds.push(RowKind::UpdateAfter);
                } else {
                    kinds.push(RowKind::Insert);
                }
                rows.push(row);
                live.push(row);
            }
            let (mut out, mut other) = (Vec::new(), Vec::new());
            let changes = Changes::new(batch(&rows), kinds);
            straight.push(0, changes.clone(), &mut other).unwrap();
            cut.push(0, changes, &mut out).unwrap();
            prop_assert_eq!(log(&out), log(&other));
            folded.apply(&out);
            let mut groups: BTreeMap<Option<&str>, Vec<Row>> = BTreeMap::new();
            live.iter().for_each(|r| groups.entry(r.1.filter(|_| keyed)).or_default().push(*r));
            prop_assert_eq!(&folded, &Folded::of(groups.values().map(|rows| line(keyed, rows))));
            prop_assert_eq!(cut.held(), groups.len() as u64);
            if let Some(use_old) = resume {
                cut = resumed(cut, use_old);
            }
        }
    }
}

fn keys_only(time: Option<usize>, ttl: Option<Micros>) -> GroupOperator {
    let plan = plan(true, time.is_some(), false, ttl);
    let schema = Arc::new(Schema::new(vec![plan.keys[0].1.clone()]));
    GroupOperator::new(plan::Group { aggregates: Vec::new(), schema, ..plan }).unwrap()
}

#[test]
fn distinct_rows_come_once_and_go_with_the_last() {
    let mut operator = keys_only(None, None);
    let mut out = Vec::new();
    let (a, b) = ((0, Some("a"), 1, 1.0), (0, Some("b"), 2, 2.0));
    operator.push(0, Changes::inserts(batch(&[b, a, b])), &mut out).unwrap();
    operator.push(0, Changes::new(batch(&[b, a]), vec![RowKind::Delete, RowKind::Delete]), &mut out).unwrap();
    assert_eq!(log(&out), [r#"+I[Utf8View("b")]"#, r#"+I[Utf8View("a")]"#, r#"-D[Utf8View("a")]"#]);
    let unknown = operator.push(0, Changes::new(batch(&[a]), vec![RowKind::Delete]), &mut out);
    assert_eq!(unknown.unwrap_err().message(), "a row left a group that it was not in");
}

#[test]
fn a_step_tells_of_a_group_once() {
    let mut operator = GroupOperator::new(plan(true, false, true, None)).unwrap();
    let row = |f| (0, Some("a"), 1, f);
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(&[row(1.0), row(3.0)])), &mut out).unwrap();
    let kinds = vec![RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::UpdateBefore, RowKind::UpdateAfter];
    operator.push(0, Changes::new(batch(&[row(3.0), row(5.0), row(5.0), row(3.0)]), kinds), &mut out).unwrap();
    assert_eq!(log(&out).len(), 1, "what came back to where it was has not changed");
    operator.push(0, Changes::new(batch(&[row(7.0), row(7.0)]), vec![RowKind::Insert, RowKind::Delete]), &mut out).unwrap();
    operator.push(0, Changes::new(batch(&[row(3.0)]), vec![RowKind::Delete]), &mut out).unwrap();
    let line = |n, sum, max| format!(r#"[Utf8View("a") Int64({n}) Float64({sum}) Float64({max}) Int64(1) Int64(0)]"#);
    assert_eq!(
        log(&out),
        ["+I".to_owned() + &line(2, 4.0, 3.0), "-U".to_owned() + &line(2, 4.0, 3.0), "+U".to_owned() + &line(1, 1.0, 1.0)]
    );
}

#[test]
fn changes_of_a_forgotten_group_are_passed_over() {
    let mut operator = GroupOperator::new(plan(true, false, true, Some(10))).unwrap();
    let (old, new) = ((0, Some("a"), 2, 1.0), (0, Some("a"), 3, 2.0));
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(&[old])), &mut out).unwrap();
    operator.advance(5, &mut out).unwrap();
    operator.advance(15, &mut out).unwrap();
    assert_eq!(operator.held(), 0, "it lived ten microseconds from the first watermark on");
    out.clear();
    operator.push(0, Changes::new(batch(&[old, new]), vec![RowKind::UpdateBefore, RowKind::UpdateAfter]), &mut out).unwrap();
    assert_eq!(log(&out), [r#"+I[Utf8View("a") Int64(1) Float64(2) Float64(2) Int64(1) Int64(1)]"#]);
}

#[test]
fn a_late_row_does_not_let_a_group_be_forgotten_early() {
    let mut operator = GroupOperator::new(plan(true, true, false, Some(10))).unwrap();
    let mut out = Vec::new();
    for (time, watermark) in [(20, 20), (8, 21), (29, 29)] {
        operator.push(0, Changes::inserts(batch(&[(time, Some("a"), 1, 1.0)])), &mut out).unwrap();
        operator.advance(watermark, &mut out).unwrap();
    }
    let kinds: Vec<String> = log(&out).iter().map(|line| line[..2].to_owned()).collect();
    assert_eq!(kinds, ["+I", "-U", "+U", "-U", "+U"]);
}

#[test]
fn groups_are_told_in_the_order_of_the_rows_that_changed_them_last() {
    let mut operator = GroupOperator::new(plan(true, false, true, None)).unwrap();
    let row = |key| (0, Some(key), 1, 1.0);
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(&[row("a"), row("b"), row("b"), row("a")])), &mut out).unwrap();
    let line = |key| format!(r#"+I[Utf8View("{key}") Int64(2) Float64(2) Float64(1) Int64(1) Int64(0)]"#);
    assert_eq!(log(&out), [line("b"), line("a")]);
}

#[test]
fn damaged_state_is_refused() {
    let mut operator = GroupOperator::new(plan(true, true, false, None)).unwrap();
    operator.push(0, Changes::inserts(batch(&[(0, Some("a"), 1, 1.0), (9, None, 1, 1.0)])), &mut Vec::new()).unwrap();
    operator.advance(5, &mut Vec::new()).unwrap();
    let state = operator.snapshot().unwrap();
    for cut in [0, 7, state.len() / 2, state.len() - 1] {
        let mut other = GroupOperator::new(operator.plan.clone()).unwrap();
        assert_eq!(other.restore(&state[..cut]).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
    }
    assert_eq!(keys_only(None, None).restore(&state).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
}
