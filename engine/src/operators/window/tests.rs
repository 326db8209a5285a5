//! Windows against a slow and obvious oracle. Invariant checked: however rows are cut into batches, and wherever a snapshot is
//! taken and restored, the same rows are late and the same windows come out, bit by bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion_functions_aggregate::average::avg_udaf;
use datafusion_functions_aggregate::count::count_udaf;
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::col;
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;
use proptest::prelude::*;

use super::*;
use crate::contract::{Decoded, Emission, Operator, Output};
use crate::operators::watermark::Watermarker;
use crate::plan::{Aggregate, Window, WindowParameters};
use crate::time::{MILLISECOND, SECOND};

const DELAY: i64 = 2 * SECOND;
const SIZE: i64 = 10 * SECOND;

/// Event time in microseconds, key, value.
type Row = (i64, &'static str, f64);
/// By window start and key: count, and the bits of sum and average.
type Results = BTreeMap<(i64, String), (i64, u64, u64)>;

fn input() -> SchemaRef {
    let time = Field::new("ts", crate::time::timestamp_type(), true);
    Arc::new(Schema::new(vec![time, Field::new("k", DataType::Utf8View, true), Field::new("v", DataType::Float64, true)]))
}

fn plan() -> Window {
    let schema = input();
    let value: Arc<dyn PhysicalExpr> = col("v", &schema).unwrap();
    let call = |udaf, name: &str| {
        let call = AggregateExprBuilder::new(udaf, vec![value.clone()]).schema(schema.clone()).alias(name).build().unwrap();
        let call = Arc::new(call);
        let state = call.state_fields().unwrap();
        let result = call.field();
        Aggregate {
            name: name.to_owned(),
            arguments: vec![value.clone()],
            filter: None,
            accumulator: Arc::new(move || Ok(call.create_groups_accumulator()?)),
            state,
            result,
        }
    };
    Window {
        parameters: WindowParameters { kind: "tumble".to_owned(), sizes: vec![SIZE] },
        time: 0,
        keys: vec![(col("k", &schema).unwrap(), Arc::new(Field::new("k", DataType::Utf8View, true)))],
        aggregates: vec![call(count_udaf(), "n"), call(sum_udaf(), "sum"), call(avg_udaf(), "avg")],
    }
}

/// One partition: event time, inputs and window, as the runtime chains them.
struct Partition {
    watermarker: Watermarker,
    inputs: WindowInputs,
    operator: WindowOperator,
}

impl Partition {
    fn new() -> Self {
        Self {
            watermarker: Watermarker::new(Some(0), DELAY, 1_000 * SECOND),
            inputs: WindowInputs::new(&plan(), &input()).unwrap(),
            operator: WindowOperator::new(plan(), MILLISECOND).unwrap(),
        }
    }

    fn push(&mut self, rows: &[Row], first: u64, out: &mut Output) {
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.0)).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times),
            Arc::new(StringViewArray::from_iter_values(rows.iter().map(|r| r.1))),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2))),
        ];
        let decoded = Decoded {
            rows: RecordBatch::try_new(input(), columns).unwrap(),
            offsets: UInt64Array::from_iter_values(first..first + rows.len() as u64),
            received: Int64Array::from(vec![0; rows.len()]),
            rejects: vec![],
        };
        let Some(batch) = self.watermarker.assign(decoded, out).unwrap() else { return };
        let batch = self.inputs.push(batch, out).unwrap().unwrap();
        assert!(self.operator.push(batch, out).unwrap().is_none());
        self.operator.advance(self.watermarker.current(), out).unwrap();
    }

    fn resumed(mut self) -> Self {
        let state = self.operator.snapshot().unwrap();
        // The one that goes on must not be changed by its snapshot, and the restored one must equal it.
        assert_eq!(self.operator.snapshot().unwrap(), state);
        let mut restored = Self::new();
        restored.watermarker.carry(self.watermarker.current());
        restored.operator.restore(&state).unwrap();
        assert_eq!(restored.operator.snapshot().unwrap(), state);
        restored
    }
}

fn collect(merge: &mut WindowMerge, partition: u32, out: Output) {
    for emission in out.emissions {
        let Emission::Pane { start, end, partial, rows } = emission else { panic!("rows from a window") };
        merge.add(partition, (start, end), partial, rows);
    }
}

fn results(merge: &mut WindowMerge) -> Results {
    let mut results = Results::new();
    for closed in merge.close(i64::MAX).unwrap() {
        let r = &closed.result;
        for i in 0..r.num_rows() {
            let start = r.column(0).as_primitive::<TimestampMicrosecondType>().value(i);
            let key = r.column(2).as_string_view().value(i).to_owned();
            let double = |c: usize| r.column(c).as_primitive::<Float64Type>().value(i).to_bits();
            let value = (r.column(3).as_primitive::<Int64Type>().value(i), double(4), double(5));
            assert!(results.insert((start, key), value).is_none(), "a group twice");
        }
    }
    results
}

/// What should come out of one partition: offsets that are late, and results.
fn oracle(rows: &[Row]) -> (Vec<u64>, Results) {
    let (mut late, mut watermark) = (Vec::new(), i64::MIN);
    let mut sums: BTreeMap<(i64, String), (i64, f64)> = BTreeMap::new();
    for (i, (time, key, value)) in rows.iter().enumerate() {
        let start = time.div_euclid(SIZE) * SIZE;
        if start + SIZE - MILLISECOND <= watermark {
            late.push(i as u64);
        } else {
            let sum = sums.entry((start, (*key).to_owned())).or_insert((0, 0.0));
            *sum = (sum.0 + 1, sum.1 + value);
        }
        watermark = watermark.max(time - DELAY);
    }
    let finish = |(key, (n, sum)): ((i64, String), (i64, f64))| (key, (n, sum.to_bits(), (sum / n as f64).to_bits()));
    (late, sums.into_iter().map(finish).collect())
}

fn run(rows: &[Row], cuts: &[usize], resume: bool) -> (Vec<u64>, Results) {
    let mut partition = Partition::new();
    let mut merge = WindowMerge::new(plan(), MILLISECOND);
    let (mut late, mut from) = (Vec::new(), 0);
    for to in cuts.iter().copied().chain([rows.len()]).filter(|&c| c <= rows.len()) {
        if to > from {
            let mut out = Output::default();
            partition.push(&rows[from..to], from as u64, &mut out);
            late.extend(out.late.iter().flat_map(|l| l.offsets.values().to_vec()));
            assert_eq!(out.counters.late + out.counters.aggregated, (to - from) as u64);
            collect(&mut merge, 0, out);
            from = to;
        }
        if resume {
            partition = partition.resumed();
            let state = merge.snapshot().unwrap();
            merge = WindowMerge::new(plan(), MILLISECOND);
            merge.restore(&state).unwrap();
        }
    }
    let mut out = Output::default();
    partition.operator.advance(i64::MAX, &mut out).unwrap();
    collect(&mut merge, 0, out);
    (late, results(&mut merge))
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0i64..9_000, prop::sample::select(vec!["north", "south", "a site with a long name", ""]), -1e3f64..1e3);
    // Time goes on by 0.2 s a row, and each row is up to 9 s behind it.
    let place =
        |(i, (jitter, key, value)): (usize, (i64, &'static str, f64))| (i as i64 * 200 * MILLISECOND - jitter * MILLISECOND, key, value);
    prop::collection::vec(row, 1..300).prop_map(move |rows| rows.into_iter().enumerate().map(place).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn cuts_and_resumes_change_nothing(rows in rows(), mut cuts in prop::collection::vec(0usize..300, 0..12)) {
        cuts.sort_unstable();
        let want = oracle(&rows);
        prop_assert_eq!(&run(&rows, &[], false), &want);
        prop_assert_eq!(&run(&rows, &cuts, false), &want);
        prop_assert_eq!(&run(&rows, &cuts, true), &want);
    }
}

#[test]
fn partitions_are_merged_in_their_order_whatever_arrives_first() {
    let values = [0.1, 1e16, -1e16, 0.7];
    let one = |v: f64| {
        let (mut p, mut out) = (Partition::new(), Output::default());
        p.push(&[(SECOND, "north", v)], 0, &mut out);
        p.operator.advance(i64::MAX, &mut out).unwrap();
        out
    };
    let merged = |order: [usize; 4]| {
        let mut merge = WindowMerge::new(plan(), MILLISECOND);
        order.iter().for_each(|&p| collect(&mut merge, p as u32, one(values[p])));
        results(&mut merge)
    };
    assert_eq!(merged([0, 1, 2, 3]), merged([3, 1, 0, 2]));
    assert_eq!(merged([0, 1, 2, 3])[&(0, "north".to_owned())].0, 4);
}

#[test]
fn a_window_closes_at_its_end_and_not_a_millisecond_before() {
    let mut merge = WindowMerge::new(plan(), MILLISECOND);
    let mut out = Output::default();
    let mut partition = Partition::new();
    partition.push(&[(SECOND, "north", 1.0)], 0, &mut out);
    partition.operator.advance(SIZE - 2 * MILLISECOND, &mut out).unwrap();
    assert!(out.emissions.is_empty());
    partition.operator.advance(SIZE - MILLISECOND, &mut out).unwrap();
    collect(&mut merge, 0, out);
    assert!(merge.close(SIZE - 2 * MILLISECOND).unwrap().is_empty());
    assert_eq!((merge.open_rows(), merge.close(SIZE - MILLISECOND).unwrap().len()), (1, 1));
}
