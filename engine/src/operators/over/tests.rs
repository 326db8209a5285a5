//! OVER against loops over whole partitions. Invariant checked: whatever the frames, however rows are cut and in whatever order they
//! come, and wherever state is put away and resumed, each row has the same results to the last bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use proptest::prelude::*;

use super::*;
use crate::operators::support::*;
use crate::plan::{Frame, Over, OverCall, OverFunction, RetractableAggregate};

/// Event time, key, integer, number, text.
type Row = (Micros, Option<&'static str>, Option<i64>, Option<f64>, Option<&'static str>);

fn input() -> SchemaRef {
    let columns = [
        ("ts", crate::time::timestamp_type()),
        ("k", DataType::Utf8View),
        ("i", DataType::Int64),
        ("f", DataType::Float64),
        ("t", DataType::Utf8View),
    ];
    schema(&columns)
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.0)).with_timezone("UTC")),
        Arc::new(rows.iter().map(|r| r.1).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.3).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| r.4).collect::<StringViewArray>()),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// What a test asks of one call.
#[derive(Debug, Clone)]
enum Ask {
    Aggregate { function: &'static str, argument: &'static str, distinct: bool, filtered: bool },
    RowNumber,
    Lag { offset: u64, default: bool },
    Lead { offset: u64, default: bool },
    Edge { first: bool, ignore_nulls: bool },
}

fn call_of(ask: &Ask, frame: Frame, sliding: bool) -> OverCall {
    let text = || column(&input(), "t");
    let (function, data_type) = match ask {
        Ask::Aggregate { function, argument, distinct, filtered } => {
            let filter = filtered.then(|| {
                let is_null = datafusion_physical_expr::expressions::IsNotNullExpr::new(text());
                Arc::new(is_null) as Arc<dyn PhysicalExpr>
            });
            let aggregate = RetractableAggregate { distinct: *distinct, filter, ..call(&input(), function, argument, sliding) };
            let data_type = aggregate.result.data_type().clone();
            (OverFunction::Aggregate(aggregate), data_type)
        }
        Ask::RowNumber => (OverFunction::RowNumber, DataType::Int64),
        Ask::Lag { offset, default } => {
            let default = default.then(|| column(&input(), "k"));
            (OverFunction::Lag { argument: text(), offset: *offset, default }, DataType::Utf8View)
        }
        Ask::Lead { offset, default } => {
            let default = default.then(|| column(&input(), "k"));
            (OverFunction::Lead { argument: text(), offset: *offset, default }, DataType::Utf8View)
        }
        Ask::Edge { first: true, ignore_nulls } => {
            (OverFunction::FirstValue { argument: text(), ignore_nulls: *ignore_nulls }, DataType::Utf8View)
        }
        Ask::Edge { first: false, ignore_nulls } => {
            (OverFunction::LastValue { argument: text(), ignore_nulls: *ignore_nulls }, DataType::Utf8View)
        }
    };
    OverCall { function, frame, result: Arc::new(Field::new("r", data_type, true)) }
}

fn plan(keyed: bool, asks: &[(Ask, Frame, bool)], ttl: Option<Micros>) -> Over {
    let calls: Vec<OverCall> = asks.iter().map(|(ask, frame, sliding)| call_of(ask, *frame, *sliding)).collect();
    let mut fields: Vec<FieldRef> = input().fields().iter().cloned().collect();
    fields.extend(calls.iter().map(|c| c.result.clone()));
    let partition = if keyed { vec![column(&input(), "k")] } else { vec![] };
    Over { input: input(), partition, time: 0, calls, ttl, schema: Arc::new(Schema::new(fields)) }
}

/// Rows of the frame of row `i` among the rows of its partition.
fn frame_of(frame: Frame, rows: &[Row], i: usize) -> std::ops::Range<usize> {
    let end = rows.partition_point(|r| r.0 <= rows[i].0);
    match frame {
        Frame::Rows(before) => before.map_or(0, |n| i.saturating_sub(n as usize))..i + 1,
        Frame::Range(None) => 0..end,
        Frame::Range(Some(sight)) => rows.partition_point(|r| r.0 < rows[i].0 - sight)..end,
    }
}

fn want(ask: &Ask, frame: Frame, rows: &[Row], i: usize) -> Option<ScalarValue> {
    let seen = &rows[frame_of(frame, rows, i)];
    let text = |t: Option<&str>| ScalarValue::Utf8View(t.map(str::to_owned));
    Some(match ask {
        Ask::RowNumber => ScalarValue::Int64(Some(i as i64 + 1)),
        Ask::Lag { offset, default } => text(match i.checked_sub(*offset as usize) {
            Some(before) => rows[before].4,
            None => rows[i].1.filter(|_| *default),
        }),
        Ask::Lead { offset, default } => text(match rows.get(i + *offset as usize) {
            Some(later) => later.4,
            None => rows[i].1.filter(|_| *default),
        }),
        Ask::Edge { first, ignore_nulls } => {
            let mut texts = seen.iter().map(|r| r.4).filter(|t| t.is_some() || !ignore_nulls);
            text(if *first { texts.next() } else { texts.next_back() }.flatten())
        }
        Ask::Aggregate { function, argument, distinct, filtered } => {
            let seen: Vec<&Row> = seen.iter().filter(|r| !filtered || r.4.is_some()).collect();
            let mut integers: Vec<i64> = seen.iter().filter_map(|r| r.2).collect();
            let floats: Vec<f64> = seen.iter().filter_map(|r| r.3).collect();
            if *distinct {
                integers.sort_unstable();
                integers.dedup();
            }
            match (*function, *argument) {
                ("count", "i") => ScalarValue::Int64(Some(integers.len() as i64)),
                ("sum", "i") => ScalarValue::Int64(integers.iter().copied().reduce(|a, b| a + b)),
                ("max", "f") => ScalarValue::Float64(floats.iter().copied().max_by(f64::total_cmp)),
                // As one addition over the whole frame, which is not that of neighbours one by one.
                ("sum", "f") if matches!(frame, Frame::Rows(Some(_)) | Frame::Range(Some(_))) => {
                    ScalarValue::Float64(arrow::compute::sum(&seen.iter().map(|r| r.3).collect::<Float64Array>()))
                }
                ("sum", "f") => ScalarValue::Float64(floats.iter().copied().reduce(|a, b| a + b)),
                _ => return None,
            }
        }
    })
}

/// Rows with results in the order of event time; a result is None where only its equality between runs is checked.
fn results(keyed: bool, asks: &[(Ask, Frame, bool)], ttl: Option<Micros>, rows: &[Row]) -> Vec<(Row, Vec<Option<ScalarValue>>)> {
    let content = |r: &Row| (r.0, r.1, r.2, r.3.map(|f| f.to_bits() as i64 ^ ((f.to_bits() as i64 >> 63) as u64 >> 1) as i64), r.4);
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(content);
    let mut partitions: BTreeMap<Option<&str>, Vec<Vec<usize>>> = BTreeMap::new();
    for (i, row) in sorted.iter().enumerate() {
        let lives = partitions.entry(row.1.filter(|_| keyed)).or_default();
        match lives.last_mut().filter(|life| ttl.is_none_or(|ttl| row.0 <= sorted[life[life.len() - 1]].0 + ttl)) {
            Some(life) => life.push(i),
            None => lives.push(vec![i]),
        }
    }
    let mut results = vec![Vec::new(); sorted.len()];
    for life in partitions.values().flatten() {
        let rows: Vec<Row> = life.iter().map(|&i| sorted[i]).collect();
        for (place, &i) in life.iter().enumerate() {
            results[i] = asks.iter().map(|(ask, frame, _)| want(ask, *frame, &rows, place)).collect();
        }
    }
    sorted.into_iter().zip(results).collect()
}

fn resumed(plan: &Over, mut operator: OverOperator, use_old: bool) -> OverOperator {
    let state = operator.snapshot().unwrap();
    let mut new = OverOperator::new(plan.clone()).unwrap();
    new.restore(&state).unwrap();
    assert_eq!((new.held(), new.partitions.len()), (operator.held(), operator.partitions.len()));
    if use_old { operator } else { new }
}

fn asks() -> impl Strategy<Value = Vec<(Ask, Frame, bool)>> {
    let calls = [("count", "i"), ("sum", "i"), ("sum", "f"), ("max", "f"), ("var", "f"), ("array_agg", "t")];
    let aggregate =
        (prop::sample::select(calls.to_vec()), any::<bool>(), any::<bool>()).prop_map(|((function, argument), distinct, filtered)| {
            Ask::Aggregate { function, argument, distinct: distinct && argument == "i", filtered }
        });
    let ask = prop_oneof![
        4 => aggregate,
        1 => Just(Ask::RowNumber),
        2 => (0u64..4, any::<bool>()).prop_map(|(offset, default)| Ask::Lag { offset, default }),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(first, ignore_nulls)| Ask::Edge { first, ignore_nulls }),
    ];
    let frame = prop_oneof![prop::option::of(0u64..6).prop_map(Frame::Rows), prop::option::of(0i64..12).prop_map(Frame::Range)];
    prop::collection::vec((ask, frame, any::<bool>()), 1..7)
}

fn arrivals() -> impl Strategy<Value = Vec<Row>> {
    let float = prop_oneof![3 => -1e3f64..1e3, 2 => prop::sample::select(vec![0.1, 1e16, -1e16, 0.7])];
    let row = (
        0i64..20,
        prop::sample::select(vec![None, Some("north"), Some("a site with a long name")]),
        prop::option::weighted(0.9, 0i64..5),
        prop::option::weighted(0.9, float),
        prop::option::weighted(0.7, prop::sample::select(vec!["", "on", "a state with a long name"])),
    );
    // Two rows a microsecond, each up to 20 of them behind.
    let place = |(i, (late, k, n, f, t)): (usize, (i64, _, _, _, _))| (i as i64 / 2 - late, k, n, f, t);
    prop::collection::vec(row, 1..120).prop_map(move |rows| rows.into_iter().enumerate().map(place).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_row_has_the_results_of_its_partition(
        rows in arrivals(),
        cuts in prop::collection::vec((1usize..20, prop::option::of(any::<bool>())), 120),
        asks in asks(),
        keyed: bool,
        ttl in prop::option::of(0i64..15),
    ) {
        let plan = plan(keyed, &asks, ttl);
        let (mut straight, mut cut) = (OverOperator::new(plan.clone()).unwrap(), OverOperator::new(plan.clone()).unwrap());
        let (mut from, mut out, mut other) = (0, Vec::new(), Vec::new());
        for &(count, resume) in &cuts {
            let to = (from + count).min(rows.len());
            let watermark = if from == rows.len() { 1_000 } else { to as i64 / 2 - 21 };
            cut.push(0, Changes::inserts(batch(&rows[from..to])), &mut out).unwrap();
            if let Some(use_old) = resume {
                cut = resumed(&plan, cut, use_old);
            }
            prop_assert_eq!(cut.advance(watermark, &mut out).unwrap(), watermark);
            from = to;
            if watermark == 1_000 {
                break;
            }
        }
        straight.push(0, Changes::inserts(batch(&rows)), &mut other).unwrap();
        straight.advance(1_000, &mut other).unwrap();
        prop_assert_eq!(log(&out), log(&other));
        let want = results(keyed, &asks, ttl, &rows);
        let got: Vec<(&RecordBatch, usize)> = out.iter().flat_map(|c| (0..c.len()).map(|i| (&c.rows, i))).collect();
        if from == rows.len() && cut.reorder.is_empty() {
            prop_assert_eq!(got.len(), want.len());
        }
        for ((batch_got, i), (input, want)) in got.into_iter().zip(want) {
            let columns: Vec<usize> = (0..5).collect();
            prop_assert_eq!(row(&batch_got.project(&columns).unwrap(), i), row(&batch(&[input]), 0));
            for (c, want) in want.into_iter().enumerate() {
                let Some(want) = want else { continue };
                let got = ScalarValue::try_from_array(batch_got.column(5 + c), i).unwrap();
                prop_assert_eq!(&got, &want, "{:?} of {:?}", &asks[c], input);
            }
        }
        if ttl.is_some() || plan.calls.iter().all(|c| matches!((&c.function, c.frame), (OverFunction::Aggregate(_), Frame::Range(Some(_))))) {
            prop_assert_eq!((cut.held(), cut.partitions.len()), (0, 0), "state is released");
        }
    }
}

fn asks_with_lead() -> impl Strategy<Value = Vec<(Ask, Frame, bool)>> {
    let lead = (0u64..4, any::<bool>()).prop_map(|(offset, default)| (Ask::Lead { offset, default }, Frame::Rows(None), true));
    (asks(), prop::collection::vec(lead, 1..4)).prop_map(|(mut asks, leads)| {
        let middle = asks.len() / 2;
        asks.splice(middle..middle, leads);
        asks
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn with_lead_a_row_leaves_when_the_rows_that_it_looks_at_are_there(
        rows in arrivals(),
        cuts in prop::collection::vec((1usize..20, prop::option::of(any::<bool>())), 120),
        asks in asks_with_lead(),
        keyed: bool,
        ttl in prop::option::of(0i64..15),
    ) {
        let plan = plan(keyed, &asks, ttl);
        let (mut straight, mut cut) = (OverOperator::new(plan.clone()).unwrap(), OverOperator::new(plan.clone()).unwrap());
        let (mut from, mut out, mut other, mut passed) = (0, Vec::new(), Vec::new(), Micros::MIN);
        for &(count, resume) in &cuts {
            let to = (from + count).min(rows.len());
            let watermark = if from == rows.len() { 1_000 } else { to as i64 / 2 - 21 };
            cut.push(0, Changes::inserts(batch(&rows[from..to])), &mut out).unwrap();
            if let Some(use_old) = resume {
                cut = resumed(&plan, cut, use_old);
            }
            let before = out.len();
            let reached = cut.advance(watermark, &mut out).unwrap();
            for changes in &out[before..] {
                prop_assert!(event_times(&changes.rows, 0).unwrap().iter().all(|&t| t > passed), "a row comes behind the watermark");
            }
            prop_assert!((passed..=watermark).contains(&reached));
            (from, passed) = (to, reached);
            if watermark == 1_000 {
                break;
            }
        }
        straight.push(0, Changes::inserts(batch(&rows)), &mut other).unwrap();
        straight.advance(1_000, &mut other).unwrap();
        prop_assert_eq!(log(&out), log(&other), "rows leave in one order, however they come");
        let most = asks.iter().filter_map(|(ask, ..)| if let Ask::Lead { offset, .. } = ask { Some(*offset) } else { None }).max().unwrap();
        let mut want = results(keyed, &asks, ttl, &rows);
        if ttl.is_none() {
            // The last rows of each partition wait.
            let key = |row: &Row| row.1.filter(|_| keyed);
            let keys: Vec<_> = want.iter().map(|(row, _)| key(row)).collect();
            let mut place = 0;
            want.retain(|(row, _)| {
                place += 1;
                keys[place..].iter().filter(|k| **k == key(row)).count() as u64 >= most
            });
        }
        let held = rows.len() - want.len();
        prop_assert_eq!(out.iter().map(Changes::len).sum::<usize>(), want.len());
        prop_assert!(cut.held() >= held as u64 && (ttl.is_none() || cut.held() == 0), "{}", cut.held());
        let mut got: Vec<(&RecordBatch, usize)> = out.iter().flat_map(|c| (0..c.len()).map(|i| (&c.rows, i))).collect();
        for (input, want) in want {
            let is_it = |(b, i): &(&RecordBatch, usize)| {
                let same = row(&b.project(&[0, 1, 2, 3, 4]).unwrap(), *i) == row(&batch(&[input]), 0);
                let value = |c: usize| ScalarValue::try_from_array(b.column(5 + c), *i).unwrap();
                same && want.iter().enumerate().all(|(c, want)| want.as_ref().is_none_or(|want| *want == value(c)))
            };
            let found = got.iter().position(is_it);
            prop_assert!(found.is_some(), "{:?} with {:?} is missing", input, want);
            got.swap_remove(found.unwrap());
        }
    }
}

#[test]
fn a_key_that_falls_silent_holds_its_last_rows_until_it_is_forgotten() {
    let lead = [(Ask::Lead { offset: 1, default: true }, Frame::Rows(None), true)];
    for ttl in [None, Some(10)] {
        let mut operator = OverOperator::new(plan(true, &lead, ttl)).unwrap();
        let (mut out, row) = (Vec::new(), |t, k, text| (t, Some(k), None, None, Some(text)));
        operator.push(0, Changes::inserts(batch(&[row(1, "a", "on"), row(2, "b", "on"), row(3, "a", "off")])), &mut out).unwrap();
        assert_eq!((operator.advance(9, &mut out).unwrap(), operator.held()), (1, 2), "b waits since 2, a since 3");
        let reached = operator.advance(12, &mut out).unwrap();
        let leads: Vec<String> =
            out.iter().flat_map(|c| (0..c.len()).map(|i| ScalarValue::try_from_array(c.rows.column(5), i).unwrap().to_string())).collect();
        match ttl {
            None => assert_eq!((reached, operator.held(), leads.as_slice()), (1, 2, ["off".to_owned()].as_slice())),
            Some(_) => assert_eq!((reached, operator.held(), leads.as_slice()), (2, 1, ["off".to_owned(), "b".to_owned()].as_slice())),
        }
    }
}

#[test]
fn a_frame_forgets_what_has_left_it() {
    let sum = Ask::Aggregate { function: "sum", argument: "f", distinct: false, filtered: false };
    let max = Ask::Aggregate { function: "max", argument: "f", distinct: false, filtered: false };
    let plan = plan(true, &[(sum, Frame::Rows(Some(1)), true), (max, Frame::Range(Some(5)), true)], None);
    let mut operator = OverOperator::new(plan.clone()).unwrap();
    let mut out = Vec::new();
    for (time, value) in [(1, 0.1), (2, 1e16), (3, f64::INFINITY), (8, -1e16), (9, 0.7), (20, 0.1)] {
        operator.push(0, Changes::inserts(batch(&[(time, Some("a"), None, Some(value), None)])), &mut out).unwrap();
        operator.advance(time, &mut out).unwrap();
        operator = resumed(&plan, operator, false);
        assert!(operator.held() <= 3, "{}", operator.held());
    }
    let column = |c: usize| out.iter().map(|o| ScalarValue::try_from_array(o.rows.column(c), 0).unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(column(5), ["0.1", "10000000000000000", "inf", "inf", "-10000000000000000", "0.7999999999999999"]);
    assert_eq!(column(6), ["0.1", "10000000000000000", "inf", "inf", "0.7", "0.1"]);
}

#[test]
fn texts_of_few_rows_do_not_hold_those_of_all() {
    let plan = plan(true, &[(Ask::Lag { offset: 1, default: false }, Frame::Rows(None), true)], None);
    let mut operator = OverOperator::new(plan).unwrap();
    let rows: Vec<Row> = (0..5_000).map(|i| (i, Some("a"), None, None, Some("a text that is longer than twelve bytes"))).collect();
    operator.push(0, Changes::inserts(batch(&rows)), &mut Vec::new()).unwrap();
    operator.advance(10_000, &mut Vec::new()).unwrap();
    let past = &operator.partitions.at(0).unwrap().state.values;
    assert!(past.num_rows() == 1 && past.get_array_memory_size() < 1_000, "{}", past.get_array_memory_size());
}

#[test]
fn keys_are_told_though_no_row_is_held() {
    let mut operator = OverOperator::new(plan(true, &[(Ask::RowNumber, Frame::Rows(None), true)], None)).unwrap();
    let rows: [Row; 3] = ["a", "b", "a"].map(|key| (1, Some(key), None, None, None));
    operator.push(0, Changes::inserts(batch(&rows)), &mut Vec::new()).unwrap();
    operator.advance(1, &mut Vec::new()).unwrap();
    assert_eq!((operator.held(), operator.keys()), (0, Some(2)));
}

#[test]
fn damaged_state_is_refused() {
    let first = |ignore_nulls| [(Ask::Edge { first: true, ignore_nulls }, Frame::Rows(None), true)];
    let mut operator = OverOperator::new(plan(true, &first(true), None)).unwrap();
    operator.push(0, Changes::inserts(batch(&[(1, Some("a"), None, None, None)])), &mut Vec::new()).unwrap();
    operator.advance(1, &mut Vec::new()).unwrap();
    let state = operator.snapshot().unwrap();
    for cut in [0, 7, state.len() / 2, state.len() - 1] {
        let mut other = OverOperator::new(plan(true, &first(true), None)).unwrap();
        assert_eq!(other.restore(&state[..cut]).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
    }
    let mut other = OverOperator::new(plan(true, &[(Ask::RowNumber, Frame::Rows(None), true), first(true)[0].clone()], None)).unwrap();
    assert_eq!(other.restore(&state).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
}
