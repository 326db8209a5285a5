//! Tests of reordering, against a sort of all rows. Invariant checked: batches, order of arrival and snapshots do not show in
//! what leaves.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use proptest::prelude::*;

use super::*;

/// Text, time, number.
type Row = (Option<&'static str>, Micros, i32);

fn schema() -> SchemaRef {
    let time = Field::new("ts", crate::time::timestamp_type(), true);
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8View, true), time, Field::new("v", DataType::Float64, true)]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.0).collect::<StringViewArray>()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.1)).with_timezone("UTC")),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| f64::from(r.2)))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn rows(batch: &RecordBatch) -> Vec<(Option<String>, Micros, i32)> {
    let (texts, times) = (batch.column(0).as_string_view(), batch.column(1).as_primitive::<TimestampMicrosecondType>());
    let numbers = batch.column(2).as_primitive::<Float64Type>();
    (0..batch.num_rows()).map(|i| (texts.is_valid(i).then(|| texts.value(i).to_owned()), times.value(i), numbers.value(i) as i32)).collect()
}

fn resumed(mut reorder: Reorder) -> Reorder {
    let state = reorder.snapshot().unwrap();
    assert_eq!((reorder.snapshot().unwrap(), reorder.len()), (state.clone(), state.num_rows()));
    let mut restored = Reorder::new(schema(), 1).unwrap();
    restored.restore(state).unwrap();
    assert_eq!(restored.len(), reorder.len());
    restored
}

fn arrivals() -> impl Strategy<Value = Vec<Row>> {
    let row = (prop::sample::select(vec![None, Some(""), Some("b"), Some("a text longer than twelve"), Some("a")]), 0i64..40, -2..3);
    // Time goes on by one a row, and each row is up to 40 behind: the watermark is 40 behind the count.
    let place = |(i, (k, jitter, v)): (usize, (Option<&'static str>, i64, i32))| (k, (i as i64 - jitter) / 3 * 3, v);
    prop::collection::vec(row, 0..250).prop_map(move |rows| rows.into_iter().enumerate().map(place).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rows_leave_in_the_order_of_time_and_content(arrivals in arrivals(), steps in prop::collection::vec((1usize..60, 0u8..4), 1..40)) {
        let mut want: Vec<_> = arrivals.iter().map(|&(k, t, v)| (t, k, v)).collect();
        want.sort_unstable();
        let want: Vec<_> = want.into_iter().map(|(t, k, v)| (k.map(str::to_owned), t, v)).collect();

        let (mut reorder, mut got, mut from) = (Reorder::new(schema(), 1).unwrap(), Vec::new(), 0);
        for (count, action) in steps.into_iter().cycle() {
            let to = (from + count).min(arrivals.len());
            reorder.push(batch(&arrivals[from..to])).unwrap();
            from = to;
            let watermark = to as Micros - 44;
            if action > 0 && let Some(released) = reorder.release(watermark).unwrap() {
                prop_assert!(released.num_rows() > 0);
                got.extend(rows(&released));
                prop_assert!(got.last().is_some_and(|r| r.1 <= watermark));
            }
            if action == 3 {
                reorder = resumed(reorder);
            }
            prop_assert_eq!(reorder.len() + got.len(), to);
            if from == arrivals.len() {
                break;
            }
        }
        got.extend(reorder.release(Micros::MAX).unwrap().iter().flat_map(rows));
        prop_assert_eq!(got, want);
        prop_assert!(reorder.len() == 0 && reorder.release(Micros::MAX).unwrap().is_none());
    }
}

#[test]
fn what_is_left_of_a_large_batch_does_not_hold_all_of_it() {
    let arrivals: Vec<Row> = (0..10_000).map(|i| (Some("a text longer than twelve"), Micros::from(i % 100), i)).collect();
    let mut reorder = Reorder::new(schema(), 1).unwrap();
    reorder.push(batch(&arrivals)).unwrap();
    let held = |r: &Reorder| -> usize { r.runs.values().map(|run| run.rows.num_rows()).sum() };
    let first = reorder.release(49).unwrap().unwrap();
    assert_eq!((first.num_rows(), reorder.len(), held(&reorder)), (5_000, 5_000, 10_000));
    let second = reorder.release(89).unwrap().unwrap();
    assert_eq!((second.num_rows(), reorder.len(), held(&reorder)), (4_000, 1_000, 1_000));
    let last = reorder.release(99).unwrap().unwrap();
    let all = rows(&concat_batches(&schema(), [&first, &second, &last]).unwrap());
    assert!(all.is_sorted_by_key(|(_, t, v)| (*t, *v)) && all.len() == 10_000);
}

#[test]
fn a_snapshot_puts_small_runs_together_and_leaves_large_ones_as_they_came() {
    let run = |from: Micros, rows: usize| -> Vec<Row> {
        (0..rows).map(|i| (Some("a text longer than twelve"), from + (i * 7 % 10) as Micros, i as i32)).collect()
    };
    for (count, runs_after) in [(RUN_ROWS, 3), (RUN_ROWS - 1, 1)] {
        let mut reorder = Reorder::new(schema(), 1).unwrap();
        let came: Vec<Row> = [20, 0, 10].into_iter().flat_map(|from| run(from, count)).collect();
        came.chunks(count).for_each(|part| reorder.push(batch(part)).unwrap());
        let taken = reorder.snapshot().unwrap();
        assert_eq!((taken.num_rows(), reorder.runs.len(), reorder.len()), (3 * count, runs_after, 3 * count));
        // Those of the run with the next row come first, in the order in which they were pushed.
        assert_eq!(rows(&taken)[..count], rows(&batch(&run(0, count))));
        assert_eq!(reorder.snapshot().unwrap(), taken);
        let first = reorder.release(4).unwrap().unwrap();
        assert_eq!(reorder.snapshot().unwrap().num_rows(), 3 * count - first.num_rows());
        let all = concat_batches(&schema(), [&first, &reorder.release(Micros::MAX).unwrap().unwrap()]).unwrap();
        assert!(rows(&all).is_sorted_by_key(|(_, t, v)| (*t, *v)) && all.num_rows() == 3 * count);
    }
}

#[test]
fn a_row_without_a_time_is_an_error() {
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("UTC"));
    let columns: Vec<ArrayRef> = vec![Arc::new(StringViewArray::from(vec!["a", "b"])), times, Arc::new(Float64Array::from(vec![1.0, 2.0]))];
    let error = Reorder::new(schema(), 1).unwrap().push(RecordBatch::try_new(schema(), columns).unwrap()).unwrap_err();
    assert!(error.message().contains("without a time in column ts"), "{error}");
}
