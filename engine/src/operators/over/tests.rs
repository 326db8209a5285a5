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
/// Behind all rows.
const END: Micros = 1_000;

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
    let key = |wanted: bool| wanted.then(|| column(&input(), "k"));
    let function = match *ask {
        Ask::Aggregate { function, argument, distinct, filtered } => {
            let is_null = || Arc::new(datafusion_physical_expr::expressions::IsNotNullExpr::new(text())) as Arc<dyn PhysicalExpr>;
            let filter = filtered.then(is_null);
            OverFunction::Aggregate(RetractableAggregate { distinct, filter, ..call(&input(), function, argument, sliding) })
        }
        Ask::RowNumber => OverFunction::RowNumber,
        Ask::Lag { offset, default } => OverFunction::Lag { argument: text(), offset, default: key(default) },
        Ask::Lead { offset, default } => OverFunction::Lead { argument: text(), offset, default: key(default) },
        Ask::Edge { first: true, ignore_nulls } => OverFunction::FirstValue { argument: text(), ignore_nulls },
        Ask::Edge { first: false, ignore_nulls } => OverFunction::LastValue { argument: text(), ignore_nulls },
    };
    let data_type = match &function {
        OverFunction::Aggregate(aggregate) => aggregate.result.data_type().clone(),
        OverFunction::RowNumber => DataType::Int64,
        _ => DataType::Utf8View,
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
    let neighbour = |at: Option<usize>, default: bool| match at.and_then(|at| rows.get(at)) {
        Some(row) => text(row.4),
        None => text(rows[i].1.filter(|_| default)),
    };
    Some(match ask {
        Ask::RowNumber => ScalarValue::Int64(Some(i as i64 + 1)),
        Ask::Lag { offset, default } => neighbour(i.checked_sub(*offset as usize), *default),
        Ask::Lead { offset, default } => neighbour(i.checked_add(*offset as usize), *default),
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

/// Rows with a watermark behind them: what that reaches, and what leaves.
fn feed(operator: &mut OverOperator, rows: &[Row], watermark: Micros) -> (Micros, Vec<Changes>) {
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(rows)), &mut out).unwrap();
    (operator.advance(watermark, &mut out).unwrap(), out)
}

/// All rows at once.
fn straight(plan: &Over, rows: &[Row]) -> Vec<Changes> {
    feed(&mut OverOperator::new(plan.clone()).unwrap(), rows, END).1
}

/// Rows as they are cut, with the watermark behind each piece, and at last behind all. Gives the operator and what left; `see` is
/// shown each watermark, what it reached, and what left by it.
fn in_pieces(plan: &Over, rows: &[Row], cuts: &[Cut], mut see: impl FnMut(Micros, Micros, &[Changes])) -> (OverOperator, Vec<Changes>) {
    let (mut operator, mut out, mut from) = (OverOperator::new(plan.clone()).unwrap(), Vec::new(), 0);
    for &(count, resume) in cuts {
        let to = (from + count).min(rows.len());
        let watermark = if from == rows.len() { END } else { to as i64 / 2 - 21 };
        operator.push(0, Changes::inserts(batch(&rows[from..to])), &mut out).unwrap();
        if let Some(use_old) = resume {
            operator = resumed(plan, operator, use_old);
        }
        let before = out.len();
        let reached = operator.advance(watermark, &mut out).unwrap();
        see(watermark, reached, &out[before..]);
        from = to;
        if watermark == END {
            return (operator, out);
        }
    }
    panic!("{} cuts are too few for {} rows", cuts.len(), rows.len());
}

/// Each row that left: its batch, and its place there.
fn each(out: &[Changes]) -> Vec<(&RecordBatch, usize)> {
    out.iter().flat_map(|c| (0..c.len()).map(|i| (&c.rows, i))).collect()
}

/// What a row was before it got its results, as text.
fn origin((rows, i): (&RecordBatch, usize)) -> String {
    row(&rows.project(&[0, 1, 2, 3, 4]).unwrap(), i)
}

/// The result of a call.
fn result((rows, i): (&RecordBatch, usize), call: usize) -> ScalarValue {
    ScalarValue::try_from_array(rows.column(5 + call), i).unwrap()
}

/// The results of a call for all rows, as text.
fn shown(out: &[Changes], call: usize) -> Vec<String> {
    each(out).into_iter().map(|at| result(at, call).to_string()).collect()
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

/// How many rows come, and then whether the state is put away, and the old operator or the new one goes on.
type Cut = (usize, Option<bool>);

/// One more than there can be rows, so that the last has none.
fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    prop::collection::vec((1usize..20, prop::option::of(any::<bool>())), 120)
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
    fn every_row_has_the_results_of_its_partition(
        rows in arrivals(), cuts in cuts(), asks in asks(), keyed: bool, ttl in prop::option::of(0i64..15),
    ) {
        let plan = plan(keyed, &asks, ttl);
        let (operator, out) = in_pieces(&plan, &rows, &cuts, |watermark, reached, _| assert_eq!(reached, watermark));
        prop_assert_eq!(log(&out), log(&straight(&plan, &rows)));
        let (got, want) = (each(&out), results(keyed, &asks, ttl, &rows));
        prop_assert_eq!(got.len(), want.len());
        for (at, (input, want)) in got.into_iter().zip(want) {
            prop_assert_eq!(origin(at), row(&batch(&[input]), 0));
            for (c, want) in want.into_iter().enumerate() {
                let Some(want) = want else { continue };
                prop_assert_eq!(result(at, c), want, "{:?} of {:?}", &asks[c], input);
            }
        }
        if ttl.is_some() || plan.calls.iter().all(|c| matches!((&c.function, c.frame), (OverFunction::Aggregate(_), Frame::Range(Some(_))))) {
            prop_assert_eq!((operator.held(), operator.partitions.len()), (0, 0), "state is released");
        }
    }

    #[test]
    fn with_lead_a_row_leaves_when_the_rows_that_it_looks_at_are_there(
        rows in arrivals(), cuts in cuts(), asks in asks_with_lead(), keyed: bool, ttl in prop::option::of(0i64..15),
    ) {
        let plan = plan(keyed, &asks, ttl);
        let mut passed = Micros::MIN;
        let (operator, out) = in_pieces(&plan, &rows, &cuts, |watermark, reached, left| {
            for changes in left {
                assert!(event_times(&changes.rows, 0).unwrap().iter().all(|&t| t > passed), "a row comes behind the watermark");
            }
            assert!((passed..=watermark).contains(&reached));
            passed = reached;
        });
        prop_assert_eq!(log(&out), log(&straight(&plan, &rows)), "rows leave in one order, however they come");
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
        let waiting = rows.len() - want.len();
        let mut got = each(&out);
        prop_assert_eq!(got.len(), want.len());
        prop_assert!(operator.held() >= waiting as u64 && (ttl.is_none() || operator.held() == 0), "{}", operator.held());
        for (input, want) in want {
            let has_all = |at| want.iter().enumerate().all(|(c, want)| want.as_ref().is_none_or(|want| *want == result(at, c)));
            let found = got.iter().position(|&at| origin(at) == row(&batch(&[input]), 0) && has_all(at));
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
        let row = |t, k, text| (t, Some(k), None, None, Some(text));
        let (reached, mut out) = feed(&mut operator, &[row(1, "a", "on"), row(2, "b", "on"), row(3, "a", "off")], 9);
        assert_eq!((reached, operator.held()), (1, 2), "b waits since 2, a since 3");
        let reached = operator.advance(12, &mut out).unwrap();
        let (want, leads) = if ttl.is_none() { ((1, 2), vec!["off"]) } else { ((2, 1), vec!["off", "b"]) };
        assert_eq!((reached, operator.held()), want);
        assert_eq!(shown(&out, 0), leads);
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
        out.extend(feed(&mut operator, &[(time, Some("a"), None, Some(value), None)], time).1);
        operator = resumed(&plan, operator, false);
        assert!(operator.held() <= 3, "{}", operator.held());
    }
    assert_eq!(shown(&out, 0), ["0.1", "10000000000000000", "inf", "inf", "-10000000000000000", "0.7999999999999999"]);
    assert_eq!(shown(&out, 1), ["0.1", "10000000000000000", "inf", "inf", "0.7", "0.1"]);
}

#[test]
fn texts_of_few_rows_do_not_hold_those_of_all() {
    let plan = plan(true, &[(Ask::Lag { offset: 1, default: false }, Frame::Rows(None), true)], None);
    let mut operator = OverOperator::new(plan).unwrap();
    let rows: Vec<Row> = (0..5_000).map(|i| (i, Some("a"), None, None, Some("a text that is longer than twelve bytes"))).collect();
    feed(&mut operator, &rows, 10_000);
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
    feed(&mut operator, &[(1, Some("a"), None, None, None)], 1);
    let state = operator.snapshot().unwrap();
    for cut in [0, 7, state.len() / 2, state.len() - 1] {
        let mut other = OverOperator::new(plan(true, &first(true), None)).unwrap();
        assert_eq!(other.restore(&state[..cut]).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
    }
    let mut other = OverOperator::new(plan(true, &[(Ask::RowNumber, Frame::Rows(None), true), first(true)[0].clone()], None)).unwrap();
    assert_eq!(other.restore(&state).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
}
