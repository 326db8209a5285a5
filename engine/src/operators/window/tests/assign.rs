//! Rows with their windows, against windows that are counted out.

use super::oracle::{DELAY, windows_over};
use super::*;
use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::metrics::JobCounters;
use crate::operators::watermark::Watermarker;
use crate::plan::Assign;

/// Offset, window start, end, time.
type Assigned = (u64, i64, i64, i64);

fn assign(parameters: &WindowParameters) -> Result<AssignOperator, crate::error::Error> {
    let time = |name: &str| Arc::new(Field::new(name, crate::time::timestamp_type(), false));
    let fields = input().fields().iter().cloned().chain(["window_start", "window_end", "window_time"].map(time)).collect::<Vec<_>>();
    AssignOperator::new(Assign {
        parameters: parameters.clone(),
        time: 0,
        unit: MILLISECOND,
        early: None,
        schema: Arc::new(Schema::new(fields)),
    })
}

fn run(parameters: &WindowParameters, rows: &[Row], cuts: &[usize]) -> (Vec<Assigned>, Vec<u64>, JobCounters) {
    let (mut operator, mut watermarker) = (assign(parameters).unwrap(), Watermarker::new(Some(0), DELAY, 1_000 * SECOND));
    let (mut out, mut assigned, mut from) = (Output::default(), Vec::new(), 0);
    for to in cuts.iter().copied().chain([rows.len()]).filter(|&c| c <= rows.len()) {
        let (before, last) = (from, from.max(to));
        from = last;
        let Some(batch) = watermarker.assign(decoded(&rows[before..last], before as u64), &mut out).unwrap() else { continue };
        out.counters.consumed += batch.rows.num_rows() as u64;
        let Some(batch) = operator.push(batch, &mut out).unwrap() else { continue };
        out.counters.passed += batch.rows.num_rows() as u64;
        let time = |c: usize, i: usize| batch.rows.column(c).as_primitive::<TimestampMicrosecondType>().value(i);
        for i in 0..batch.rows.num_rows() {
            let row = &rows[batch.offsets.value(i) as usize];
            assert_eq!((time(0, i), batch.rows.column(1).is_valid(i)), (row.time, row.key.is_some()), "the row itself");
            assigned.push((batch.offsets.value(i), time(4, i), time(5, i), time(6, i)));
        }
        assert!(batch.watermarks.as_ref().is_none_or(|w| w.len() == batch.rows.num_rows()));
    }
    let late = out.late.iter().flat_map(|l| l.offsets.values().to_vec()).collect();
    assert_eq!(out.counters.row_balance(), 0, "{:?}", out.counters);
    (assigned, late, out.counters)
}

proptest! {
    #[test]
    fn a_row_leaves_once_for_each_window_that_is_open(
        (parameters, _) in windows(), rows in rows(exact(), 150), mut cuts in prop::collection::vec(0usize..150, 0..10),
    ) {
        prop_assume!(parameters.kind != "session");
        cuts.sort_unstable();
        let (mut want, mut want_late, mut filtered, mut watermark) = (Vec::new(), Vec::new(), 0, i64::MIN);
        for (offset, row) in (0u64..).zip(&rows) {
            let all = windows_over(&parameters, row.time);
            let open = all.iter().filter(|w| w.1 - MILLISECOND > watermark);
            let open: Vec<_> = open.map(|w| (offset, w.0, w.1, w.1 - MILLISECOND)).collect();
            filtered += u64::from(all.is_empty());
            if open.is_empty() && !all.is_empty() {
                want_late.push(offset);
            }
            want.extend(open);
            watermark = watermark.max(row.time - DELAY);
        }
        for cuts in [&[][..], &cuts] {
            let (got, late, counters) = run(&parameters, &rows, cuts);
            prop_assert_eq!((&got, &late, counters.filtered), (&want, &want_late, filtered));
        }
    }
}

#[test]
fn sessions_and_too_many_windows_are_refused() {
    let error = |p: WindowParameters| assign(&p).err().unwrap();
    assert!(error(parameters("session", &[SECOND], 0)).message().contains("SESSION"));
    assert!(error(parameters("hop", &[SECOND, 1_000 * SECOND], 0)).message().contains("1000 windows"));
    assert!(assign(&parameters("cumulate", &[SECOND, 200 * SECOND], 0)).is_ok());
}

#[test]
fn a_row_counts_in_the_first_early_result_behind_it_and_behind_the_watermark() {
    let time = |name: &str| Arc::new(Field::new(name, crate::time::timestamp_type(), false));
    let added = ["window_start", "window_end", "window_time", "result_time"].map(time);
    let schema = Arc::new(Schema::new(input().fields().iter().cloned().chain(added).collect::<Vec<_>>()));
    let parameters = parameters("tumble", &[20 * SECOND], 0);
    let mut operator = AssignOperator::new(Assign { parameters, time: 0, unit: MILLISECOND, early: Some(7 * SECOND), schema }).unwrap();
    let never = i64::MIN / 1_000;
    for (time, watermark, due) in [
        (0, never, 6_999),
        (6_999, never, 6_999),
        (7_000, never, 13_999),
        (15_000, never, 19_999),
        (1_000, 6_998, 6_999),
        (1_000, 6_999, 13_999),
        (1_000, 13_999, 19_999),
    ] {
        let rows = batch(&[Row { time: time * MILLISECOND, key: None, value: None }]);
        let marked = Batch { rows, offsets: vec![0].into(), watermarks: Some(vec![watermark * MILLISECOND].into()) };
        let assigned = operator.push(marked, &mut Output::default()).unwrap().unwrap();
        let got = assigned.rows.column(7).as_primitive::<TimestampMicrosecondType>().value(0);
        assert_eq!(got, due * MILLISECOND, "{time} ms behind the watermark {watermark} ms");
    }
}
