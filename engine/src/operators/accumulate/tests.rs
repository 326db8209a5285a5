//! Totals against results computed anew. Invariant checked: whatever function, however rows are cut, come and leave, and wherever
//! a total is put away and resumed, the result is the same to the last bit.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::ScalarValue;
use proptest::prelude::*;

use super::call::Keeping;
use super::*;
use crate::operators::support::*;
use crate::plan::RetractableAggregate;

fn input() -> SchemaRef {
    schema(&[("i", DataType::Int64), ("f", DataType::Float64), ("t", DataType::Utf8View), ("counts", DataType::Boolean)])
}

type Row = (Option<i64>, Option<f64>, Option<&'static str>, Option<bool>);

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.1).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| r.2).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|r| r.3).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

fn functions() -> Vec<RetractableAggregate> {
    let mut calls = Vec::new();
    for sliding in [false, true] {
        for (function, arguments) in [
            ("count", &["i", "f", "t"][..]),
            ("sum", &["i", "f"]),
            ("avg", &["f"]),
            ("min", &["i", "f", "t"]),
            ("max", &["i", "f", "t"]),
            ("var", &["f"]),
            ("median", &["i", "f"]),
            ("array_agg", &["i", "t"]),
        ] {
            calls.extend(arguments.iter().map(|argument| call(&input(), function, argument, sliding)));
        }
    }
    let distinct: Vec<_> = calls.iter().map(|c| RetractableAggregate { distinct: true, ..c.clone() }).collect();
    let filtered: Vec<_> = calls.iter().map(|c| RetractableAggregate { filter: Some(column(&input(), "counts")), ..c.clone() }).collect();
    calls.into_iter().chain(distinct).chain(filtered).collect()
}

fn values() -> impl Strategy<Value = Vec<Row>> {
    let float = prop_oneof![3 => -1e3f64..1e3, 1 => prop::sample::select(vec![0.1, 1e16, -1e16, 0.7])];
    let text = prop::sample::select(vec!["", "b", "a text longer than twelve", "a"]);
    let row = (
        prop::option::weighted(0.9, -3i64..3),
        prop::option::weighted(0.9, float),
        prop::option::weighted(0.9, text),
        prop::option::weighted(0.9, any::<bool>()),
    );
    prop::collection::vec(row, 1..40)
}

fn add(call: &Call, total: &mut Total, rows: &[Row]) {
    let inputs = call.inputs(&batch(rows)).unwrap();
    call.add(total, &inputs.part(0, rows.len()).unwrap()).unwrap();
}

/// The total, put away and taken up again; the one that was put away must go on as before, so it is at random which is used.
fn resumed(call: &Call, mut total: Total, use_old: bool) -> Total {
    let state = call.state(std::iter::once(&mut total)).unwrap();
    let bags = call.bags(std::iter::once(&total)).unwrap();
    assert_eq!(state.len(), call.state_columns().unwrap());
    let mut new = [call.resume(&state, 0).unwrap()];
    call.fill(&bags, &mut new).unwrap();
    let [new] = new;
    if use_old { total } else { new }
}

/// The result over `rows`, one by one; distinct values count where they first come.
fn fold(call: &Call, aggregate: &RetractableAggregate, rows: &[Row]) -> ScalarValue {
    let mut accumulator = (aggregate.accumulator)().unwrap();
    let mut seen = Vec::new();
    for row in rows {
        let arguments = call.inputs(&batch(&[*row])).unwrap().part(0, 1).unwrap();
        let value = arguments[0].len().eq(&1).then(|| ScalarValue::try_from_array(&arguments[0], 0).unwrap());
        if value.is_none() || aggregate.distinct && seen.contains(&value) {
            continue;
        }
        seen.push(value);
        accumulator.update_batch(&arguments).unwrap();
        if call.keeping == Keeping::State {
            let state: Vec<ArrayRef> = accumulator.state().unwrap().iter().map(|s| s.to_array().unwrap()).collect();
            accumulator = (aggregate.accumulator)().unwrap();
            accumulator.merge_batch(&state).unwrap();
        }
    }
    accumulator.evaluate().unwrap()
}

/// Close enough for a person: floating-point results that were added up in another order.
fn same(a: &ScalarValue, b: &ScalarValue) -> bool {
    let (ScalarValue::Float64(Some(x)), ScalarValue::Float64(Some(y))) = (a, b) else { return a == b };
    (x - y).abs() <= 1e-9 * x.abs().max(y.abs()).max(1e17)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn totals_of_rows_that_stay(rows in values(), cuts in prop::collection::vec((1usize..9, any::<bool>()), 60)) {
        for aggregate in functions() {
            let call = Call::new(aggregate.clone(), &input(), Leaving::Never).unwrap();
            let mut total = call.total().unwrap();
            let (mut from, mut cuts, mut got) = (0, cuts.iter(), ScalarValue::Null);
            while from < rows.len() {
                let &(cut, old) = cuts.next().unwrap();
                let to = (from + cut).min(rows.len());
                add(&call, &mut total, &rows[from..to]);
                total = resumed(&call, total, old);
                from = to;
                got = call.changed(&mut total).unwrap().unwrap_or(got);
                prop_assert_eq!(&got, &fold(&call, &aggregate, &rows[..to]), "{} distinct={} rows {}", &aggregate.name, aggregate.distinct, to);
                prop_assert!(call.changed(&mut total).unwrap().is_none());
            }
        }
    }

    #[test]
    fn totals_of_rows_that_leave(rows in values(), width in 1usize..8, oldest: bool, picks in prop::collection::vec((0usize..8, any::<bool>()), 60)) {
        let leaving = if oldest { Leaving::Oldest } else { Leaving::Any };
        for aggregate in functions() {
            let stay = Call::new(aggregate.clone(), &input(), Leaving::Never).unwrap();
            let call = Call::new(aggregate.clone(), &input(), leaving).unwrap();
            let mut total = call.total().unwrap();
            let (mut inside, mut got): (Vec<Row>, _) = (Vec::new(), ScalarValue::Null);
            for (row, &(pick, old)) in rows.iter().zip(&picks) {
                if !call.follows() {
                    break;
                }
                inside.push(*row);
                add(&call, &mut total, &[*row]);
                if inside.len() > width {
                    let gone = inside.remove(if oldest { 0 } else { pick % inside.len() });
                    let inputs = call.inputs(&batch(&[gone])).unwrap();
                    call.remove(&mut total, &inputs.part(0, 1).unwrap()).unwrap();
                }
                if !oldest {
                    total = resumed(&call, total, old);
                }
                // A total of the same rows that no row ever left must give the same bits.
                let mut other = call.total().unwrap();
                add(&call, &mut other, &inside);
                got = call.changed(&mut total).unwrap().unwrap_or(got);
                let anew = call.changed(&mut other).unwrap().unwrap();
                prop_assert_eq!(&got, &anew, "{} distinct={} over {:?}", &aggregate.name, aggregate.distinct, &inside);
                if !aggregate.name.starts_with("array_agg") {
                    // Otherwise the order would show: values that may leave are aggregated in their own.
                    prop_assert!(same(&got, &fold(&stay, &aggregate, &inside)), "{} over {:?} is {got}", &aggregate.name, &inside);
                }
            }
        }
    }
}

#[test]
fn the_way_a_total_is_kept_is_found_out() {
    let keeping =
        |function, argument, sliding, leaving| Call::new(call(&input(), function, argument, sliding), &input(), leaving).unwrap().keeping;
    use Keeping::{Accumulator, State, Values};
    use Leaving::{Any, Never, Oldest};
    for (function, argument, sliding, ways) in [
        ("count", "f", false, [Accumulator, Accumulator, Accumulator]),
        ("sum", "i", true, [Accumulator, Accumulator, Accumulator]),
        // What 1e16 leaves behind when it leaves is not taken over.
        ("sum", "f", true, [Accumulator, Values, Values]),
        ("avg", "f", true, [Accumulator, Values, Values]),
        ("var", "f", true, [State, Values, Values]),
        ("max", "f", false, [Accumulator, Values, Values]),
        // The sliding form takes back the oldest only.
        ("max", "f", true, [Accumulator, Accumulator, Values]),
        ("min", "t", true, [Accumulator, Accumulator, Values]),
        ("array_agg", "i", true, [Accumulator, Accumulator, Values]),
    ] {
        let name = format!("{function} sliding={sliding}");
        let got = [Never, Oldest, Any].map(|leaving| keeping(function, argument, sliding, leaving));
        assert_eq!(got, ways, "{name}");
    }
}

#[test]
fn what_its_state_does_not_touch_is_not_made_anew() {
    for (function, argument, stays) in [
        ("count", "t", true),
        ("sum", "i", true),
        ("avg", "f", true),
        ("min", "f", true),
        ("max", "t", true),
        // It gives its values away.
        ("median", "f", false),
        // It holds on to batches.
        ("array_agg", "i", false),
    ] {
        for sliding in [false, true] {
            let call = Call::new(call(&input(), function, argument, sliding), &input(), Leaving::Never).unwrap();
            assert_eq!(call.stays, stays, "{function} sliding={sliding}");
        }
    }
}

#[test]
fn what_never_leaves_is_not_hoarded() {
    let aggregate = call(&input(), "min", "i", true);
    let call = Call::new(aggregate, &input(), Leaving::Never).unwrap();
    let mut total = call.total().unwrap();
    for i in 0..2_000 {
        add(&call, &mut total, &[(Some(i), None, None, None)]);
    }
    assert!(call.hoards && total.size() < 64 * 1024, "{}", total.size());
    assert_eq!(call.changed(&mut total).unwrap(), Some(ScalarValue::Int64(Some(0))));
}

#[test]
fn a_great_value_that_left_leaves_nothing_behind() {
    let aggregate = call(&input(), "sum", "f", true);
    let call = Call::new(aggregate, &input(), Leaving::Any).unwrap();
    let mut total = call.total().unwrap();
    let row = |f| (None, Some(f), None, None);
    add(&call, &mut total, &[row(0.1), row(f64::INFINITY), row(1e16)]);
    for gone in [1e16, f64::INFINITY, 77.0] {
        let inputs = call.inputs(&batch(&[row(gone)])).unwrap();
        call.remove(&mut total, &inputs.part(0, 1).unwrap()).unwrap();
    }
    assert_eq!(call.changed(&mut total).unwrap(), Some(ScalarValue::Float64(Some(0.1))));
}
