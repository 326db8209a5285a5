//! Windows behind the exchange: rows come in any order that the watermark allows.

use std::collections::BTreeMap;

use super::*;
use crate::changes::{Changes, RowKind};
use crate::contract::Stateful;
use crate::limits::{BATCH_ROWS_MAX, PANES_OPEN_MAX};
use crate::plan::WindowSource;

/// Pushes rows in batches of these sizes. After each, the watermark goes as far as the rows to come allow; `drag` holds it back a little.
fn run(step: &mut WindowStep, rows: &[Row], sizes: &[usize], drag: i64, mut resume: impl FnMut(&mut WindowStep)) -> Vec<RecordBatch> {
    let (mut out, mut from, mut reached, mut behind) = (Vec::new(), 0usize, i64::MIN, i64::MIN);
    for size in sizes.iter().copied().chain([usize::MAX]) {
        let to = from.saturating_add(size).min(rows.len());
        step.push(0, Changes::inserts(batch(&rows[from..to])), &mut out).unwrap();
        from = to;
        let allowed = rows[from..].iter().map(|r| r.time - 1 - drag).min().unwrap_or(i64::MAX);
        reached = reached.max(allowed);
        let given = out.len();
        let watermark = step.advance(reached, &mut out).unwrap();
        assert!(behind <= watermark && watermark <= reached, "the watermark went from {behind} to {watermark} at {reached}");
        for changes in &out[given..] {
            // What leaves was not promised to be complete.
            assert!(groups(&changes.rows, step_keys(changes)).iter().all(|g| g.end - MILLISECOND > behind));
        }
        behind = watermark;
        resume(step);
    }
    assert_eq!(step.held(), 0);
    assert!(out.iter().all(|c| c.kinds.is_none()));
    out.into_iter().map(|c| c.rows).collect()
}

fn step_keys(changes: &Changes) -> usize {
    changes.rows.num_columns() - 7
}

fn all(results: &[RecordBatch], keys: usize) -> Vec<Group> {
    results.iter().flat_map(|r| groups(r, keys)).collect()
}

/// Event times are multiples of `unit`.
fn timed(parameters: &WindowParameters, keys: usize, unit: i64) -> WindowStep {
    WindowStep::new(plan(parameters.clone(), keys), WindowSource::Time, input(), unit).unwrap()
}

fn restart(step: &mut WindowStep, new: impl Fn() -> WindowStep) {
    let held = step.held();
    // The first must change nothing, or the second would show it.
    step.snapshot().unwrap();
    let state = step.snapshot().unwrap();
    *step = new();
    step.restore(&state).unwrap();
    assert_eq!(step.held(), held);
}

/// The rows in another order, in which none is much later than before.
fn shuffled(rows: &[Row], keys: &[u8]) -> Vec<Row> {
    let mut order: Vec<(usize, usize)> = (0..rows.len()).map(|i| (i + usize::from(keys[i % keys.len()] % 16), i)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, i)| rows[i]).collect()
}

/// How far the watermark stays behind what it could be: often within a millisecond, where it nearly closes a window.
fn drags() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), 0i64..2_000, 0i64..3_000_000]
}

/// Every row as if no watermark were before it: the oracle of several partitions with a row each.
fn nothing_late(parameters: &WindowParameters, keys: usize, rows: &[Row]) -> Vec<Group> {
    let partitions: Vec<Vec<Row>> = rows.iter().map(|r| vec![*r]).collect();
    oracle::expected((parameters, keys, MILLISECOND), &partitions).2
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_row_counts_in_all_its_windows(
        (parameters, keys) in windows(), rows in rows(exact(), 120),
        sizes in prop::collection::vec(0usize..25, 0..20), drag in drags(), unit in units(1),
    ) {
        let mut got = all(&run(&mut timed(&parameters, keys, unit), &rows, &sizes, drag, |_| ()), keys);
        prop_assert!(got.is_sorted_by_key(|g| (g.end, g.start)));
        got.sort();
        prop_assert_eq!(got, nothing_late(&parameters, keys, &rows));
    }

    #[test]
    fn order_batches_and_restarts_change_no_bit(
        (parameters, keys) in windows(), rows in rows(wild(), 120), shuffle in prop::collection::vec(any::<u8>(), 1..40),
        sizes in prop::collection::vec(0usize..25, 0..20), drag in drags(), unit in units(1),
    ) {
        let new = || timed(&parameters, keys, unit);
        let want = all(&run(&mut new(), &rows, &[], 0, |_| ()), keys);
        let other = run(&mut new(), &shuffled(&rows, &shuffle), &sizes, drag, |step| restart(step, new));
        prop_assert_eq!(all(&other, keys), want);
    }

    #[test]
    fn windows_that_rows_carry_are_complete_when_the_step_before_says_so(
        (parameters, keys) in windows(), rows in rows(wild(), 120), shuffle in prop::collection::vec(any::<u8>(), 1..40),
        sizes in prop::collection::vec(0usize..25, 0..20), drag in drags(), unit in units(1),
    ) {
        let window = (&parameters, keys, unit);
        let resume = |second: &mut WindowStep| restart(second, || attached(&parameters, keys, unit));
        let (want, _) = chained(window, &rows, &[], 0, |_| ());
        let (got, windows) = chained(window, &shuffled(&rows, &shuffle), &sizes, drag, resume);
        prop_assert_eq!(&got, &want);
        let mut whole: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        windows.iter().for_each(|g| *whole.entry((g.end, g.start)).or_default() += 1);
        let counts: Vec<((i64, i64), i64)> = got.iter().map(|g| ((g.0, g.1), g.2)).collect();
        prop_assert_eq!(counts, whole.into_iter().collect::<Vec<_>>());
    }
}

/// Counts the groups of each window, and adds up their sums.
fn attached(parameters: &WindowParameters, keys: usize, unit: i64) -> WindowStep {
    let schema = plan(parameters.clone(), keys).schema();
    let call = |udaf, name: &str| {
        let argument: Arc<dyn PhysicalExpr> = col("sum", &schema).unwrap();
        let argument = if name == "n" { lit(1i64) } else { argument };
        let call = AggregateExprBuilder::new(udaf, vec![argument.clone()]).schema(schema.clone()).alias(name).build().unwrap();
        let call = Arc::new(call);
        Aggregate {
            name: name.to_owned(),
            arguments: vec![argument],
            distinct: false,
            filter: None,
            state: call.state_fields().unwrap(),
            result: call.field(),
            accumulator: Arc::new(move || Ok(call.create_groups_accumulator()?)),
        }
    };
    let aggregates = vec![call(count_udaf(), "n"), call(sum_udaf(), "total")];
    let window = Window { parameters: parameters.clone(), time: 0, keys: Vec::new(), aggregates };
    WindowStep::new(window, WindowSource::Attached { start: 0, end: 1, order: None }, schema, unit).unwrap()
}

/// End, start, count, bits of the sum.
type Total = (i64, i64, i64, Option<u64>);

/// A window over a window: its rows, and the groups in between.
fn chained(
    (parameters, keys, unit): (&WindowParameters, usize, i64),
    rows: &[Row],
    sizes: &[usize],
    drag: i64,
    mut resume: impl FnMut(&mut WindowStep),
) -> (Vec<Total>, Vec<Group>) {
    let (mut first, mut second) = (timed(parameters, keys, unit), attached(parameters, keys, unit));
    let (mut between, mut out, mut from, mut reached) = (Vec::new(), Vec::new(), 0usize, i64::MIN);
    for size in sizes.iter().copied().chain([usize::MAX]) {
        let to = from.saturating_add(size).min(rows.len());
        let mut given = Vec::new();
        first.push(0, Changes::inserts(batch(&rows[from..to])), &mut given).unwrap();
        from = to;
        reached = reached.max(rows[from..].iter().map(|r| r.time - 1 - drag).min().unwrap_or(i64::MAX));
        let watermark = first.advance(reached, &mut given).unwrap();
        for changes in given {
            between.extend(groups(&changes.rows, keys));
            second.push(0, changes, &mut out).unwrap();
        }
        second.advance(if from == rows.len() { i64::MAX } else { watermark }, &mut out).unwrap();
        resume(&mut second);
    }
    let mut results = Vec::new();
    for changes in &out {
        let r = &changes.rows;
        let time = |c: usize, i: usize| r.column(c).as_primitive::<TimestampMicrosecondType>().value(i);
        let total = r.column(3).as_primitive::<Float64Type>();
        for i in 0..r.num_rows() {
            let total = total.is_valid(i).then(|| total.value(i).to_bits());
            results.push((time(1, i), time(0, i), r.column(2).as_primitive::<Int64Type>().value(i), total));
        }
    }
    (results, between)
}

#[test]
fn event_time_goes_on_through_any_number_of_windows_at_once() {
    let count = (BATCH_ROWS_MAX + PANES_OPEN_MAX) as i64;
    let rows: Vec<Row> = (0..count).map(|i| Row { time: i * SECOND, key: None, value: Some(i as f64) }).collect();
    for parameters in [
        parameters("tumble", &[SECOND], 0),
        parameters("hop", &[2 * SECOND, 7 * SECOND], 0),
        parameters("session", &[SECOND], 0),
        parameters("session", &[MILLISECOND], 0),
    ] {
        let given = |sizes: &[usize]| all(&run(&mut timed(&parameters, 0, MILLISECOND), &rows, sizes, 0, |_| ()), 0);
        let at_once = given(&[]);
        assert!(at_once == given(&[5_000; 5]), "{parameters:?}");
        assert!(at_once.iter().map(|g| g.count).sum::<i64>() >= count, "{parameters:?}");
    }
}

#[test]
fn what_is_no_appended_row_is_an_error_and_what_cannot_be_computed_is_left_out() {
    let mut step = timed(&parameters("tumble", &[SECOND], 0), 1, 1);
    let row = Row { time: 0, key: None, value: None };
    let deleted = Changes::new(batch(&[row]), vec![RowKind::Delete]);
    assert!(step.push(0, deleted, &mut Vec::new()).is_err());
    assert!(step.push(1, Changes::inserts(batch(&[row])), &mut Vec::new()).is_err());
    assert!(step.restore(&[1, 0, 0]).is_err());
    let mut windows = plan(parameters("tumble", &[SECOND], 0), 0);
    windows.aggregates[1].arguments = vec![binary(lit(1i64), Comparison::Divide, lit(0i64), &input()).unwrap()];
    let mut step = WindowStep::new(windows, WindowSource::Time, input(), MILLISECOND).unwrap();
    step.push(0, Changes::inserts(batch(&[row])), &mut Vec::new()).unwrap();
    let failed = step.failed();
    assert_eq!((failed.len(), step.held(), step.failed().len()), (1, 0, 0));
    assert!(failed[0].row == batch(&[row]) && failed[0].reason.to_lowercase().contains("divide by zero"), "{failed:?}");
}
