//! Rows in memory against a map. Invariant checked: cuts of batches, order of keys and the way through columns change nothing.

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

const BUCKETS: u32 = 3;

type Row = (String, i64, Option<f64>, Option<String>);
type Model = BTreeMap<(String, i64), (Option<f64>, Option<String>)>;

fn layout() -> Layout {
    let columns = Schema::new(vec![
        Field::new("mean", DataType::Float64, true),
        Field::new("slot", DataType::Int64, false),
        Field::new("note", DataType::Utf8View, true),
        Field::new("site", DataType::Utf8View, false),
    ]);
    Layout::keyed(Arc::new(columns), None, &["site".into(), "slot".into()], BUCKETS).unwrap()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.1)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.3.as_deref()).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|r| Some(&r.0)).collect::<StringViewArray>()),
    ];
    RecordBatch::try_new(layout().columns, columns).unwrap()
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let (mean, slot) = (batch["mean"].as_primitive::<Float64Type>(), batch["slot"].as_primitive::<Int64Type>());
    let (note, site) = (batch["note"].as_string_view(), batch["site"].as_string_view());
    let optional = |i: usize| (mean.iter().nth(i).flatten(), note.iter().nth(i).flatten().map(str::to_owned));
    (0..batch.num_rows()).map(|i| (site.value(i).to_owned(), slot.value(i), optional(i).0, optional(i).1)).collect()
}

/// The batches of each bucket.
fn read(rows: &KeyedRows) -> Vec<Vec<RecordBatch>> {
    let bucket = |bucket| {
        let mut batches = Vec::new();
        rows.read(bucket, |batch| {
            batches.push(batch.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(rows.is_empty(bucket), batches.is_empty());
        batches
    };
    (0..BUCKETS).map(bucket).collect()
}

fn model_of(rows: &KeyedRows) -> Model {
    let mut model = Model::new();
    for batches in read(rows) {
        let in_order: Vec<Row> = batches.iter().flat_map(rows_of).collect();
        assert!(in_order.is_sorted_by_key(|r| (r.0.clone(), r.1)), "sorted by the key");
        for (site, slot, mean, note) in in_order {
            assert!(model.insert((site, slot), (mean, note)).is_none(), "no key is there twice");
        }
    }
    model
}

fn kind(number: u8) -> RowKind {
    [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete][usize::from(number)]
}

fn changes() -> impl Strategy<Value = Vec<(RowKind, Row)>> {
    let mean = prop_oneof![Just(None), Just(Some(-0.0)), Just(Some(0.0)), (-5i64..5).prop_map(|n| Some(n as f64))];
    let note = prop_oneof![Just(None), "[a-z]{0,3}".prop_map(Some), Just(Some("longer than what lies inside of a view".to_owned()))];
    let row = ("[ab]{0,2}", -2i64..2, mean, note);
    prop::collection::vec(((0u8..4).prop_map(kind), row), 0..120)
}

proptest! {
    #[test]
    fn the_newest_row_of_each_key_is_there(changes in changes(), cuts in prop::collection::vec(1usize..20, 1..30)) {
        let mut rows = KeyedRows::new(&layout(), usize::MAX).unwrap();
        let mut model = Model::new();
        let (mut left, mut cuts) = (changes.as_slice(), cuts.into_iter().cycle());
        while !left.is_empty() {
            let (now, then) = left.split_at(left.len().min(cuts.next().unwrap()));
            left = then;
            let (kinds, part): (Vec<RowKind>, Vec<Row>) = now.iter().cloned().unzip();
            rows.apply(&Changes::new(batch(&part), kinds)).unwrap();
            for (kind, (site, slot, mean, note)) in now.iter().cloned() {
                if kind.adds() {
                    model.insert((site, slot), (mean, note));
                } else {
                    model.remove(&(site, slot));
                }
            }
            prop_assert_eq!(&model_of(&rows), &model);
        }
        // Through columns and back.
        let mut again = KeyedRows::new(&layout(), usize::MAX).unwrap();
        for (bucket, batches) in (0..).zip(read(&rows)) {
            again.load(bucket, &batches).unwrap();
        }
        prop_assert!(again.changed().is_empty());
        prop_assert_eq!(model_of(&again), model);
        let bytes = |rows: &KeyedRows| rows.buckets.iter().map(|b| b.bytes).collect::<Vec<_>>();
        prop_assert_eq!(bytes(&again), bytes(&rows));
    }
}

#[test]
fn only_buckets_with_other_rows_count_as_changed() {
    let row = |mean| ("a".to_owned(), 1, Some(mean), None);
    let mut rows = KeyedRows::new(&layout(), usize::MAX).unwrap();
    rows.apply(&Changes::inserts(batch(&[row(1.0)]))).unwrap();
    assert_eq!(rows.changed().len(), 1);
    rows.written();
    rows.apply(&Changes::inserts(batch(&[row(1.0)]))).unwrap();
    let replaced = vec![RowKind::UpdateBefore, RowKind::UpdateAfter];
    rows.apply(&Changes::new(batch(&[row(1.0), row(1.0)]), replaced.clone())).unwrap();
    rows.apply(&Changes::new(batch(&[("b".to_owned(), 1, None, None)]), vec![RowKind::Delete])).unwrap();
    assert!(rows.changed().is_empty());
    rows.apply(&Changes::new(batch(&[row(1.0), row(2.0)]), replaced)).unwrap();
    assert_eq!(rows.changed().len(), 1);
    assert_eq!(model_of(&rows).len(), 1);
}

#[test]
fn a_table_may_have_nothing_but_its_key() {
    let columns = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let layout = Layout::keyed(columns.clone(), None, &["n".into()], BUCKETS).unwrap();
    let mut rows = KeyedRows::new(&layout, usize::MAX).unwrap();
    let batch = RecordBatch::try_new(columns, vec![Arc::new(Int64Array::from(vec![3, 1, 3, 2]))]).unwrap();
    rows.apply(&Changes::inserts(batch)).unwrap();
    let values = read(&rows).into_iter().flatten().flat_map(|b| b["n"].as_primitive::<Int64Type>().values().to_vec());
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3]);
}

#[test]
fn memory_has_a_bound_that_removed_rows_give_back() {
    let row = |i| (format!("site-{i}"), 1, None, Some("x".repeat(1_000)));
    let mut rows = KeyedRows::new(&layout(), 1 << 20).unwrap();
    for round in 0..4 {
        let many: Vec<Row> = (0..700).map(|i| row(round * 1_000 + i)).collect();
        rows.apply(&Changes::inserts(batch(&many))).unwrap();
        rows.apply(&Changes::new(batch(&many), vec![RowKind::Delete; many.len()])).unwrap();
    }
    assert!(rows.buckets.iter().all(|b| b.bytes == 0));
    let many: Vec<Row> = (0..1_000).map(row).collect();
    let e = rows.apply(&Changes::inserts(batch(&many))).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert!(e.message().ends_with("take more than 1 MiB of memory: there are 1000"), "{e}");
}

#[test]
fn files_that_are_not_what_they_say_are_refused() {
    let row = ("a".to_owned(), 1, None, None);
    let mut rows = KeyedRows::new(&layout(), usize::MAX).unwrap();
    rows.apply(&Changes::inserts(batch(from_ref(&row)))).unwrap();
    let [bucket] = rows.changed()[..] else { panic!() };
    let once = batch(&[row]);
    let corrupt = |bucket, batches: &[RecordBatch], part: &str| {
        let e = KeyedRows::new(&layout(), usize::MAX).unwrap().load(bucket, batches).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        assert!(e.message().contains(part), "{e}");
    };
    corrupt((bucket + 1) % BUCKETS, from_ref(&once), "another bucket");
    corrupt(bucket, &[once.clone(), once], "twice");
}
