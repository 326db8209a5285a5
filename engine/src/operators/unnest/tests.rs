//! Tests of UNNEST, against loops. Invariant: they hold for any cut into batches, and no row is lost or counted twice.

use std::sync::Arc;

use arrow::array::{Int32Array, Int64Builder, ListBuilder, StringViewBuilder};
use arrow::array::{ListArray, MapBuilder, MapFieldNames, StringViewArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Fields, Int64Type, Schema, SchemaRef};
use proptest::prelude::*;

use super::*;
use crate::metrics::JobCounters;

/// A list of numbers, some of them NULL.
type List = Option<Vec<Option<i64>>>;

fn schema(columns: Vec<(&str, DataType)>) -> SchemaRef {
    Arc::new(Schema::new(columns.into_iter().map(|(name, t)| Field::new(name, t, true)).collect::<Vec<_>>()))
}

fn batch(list: ArrayRef, first: u64) -> Batch {
    let rows = list.len();
    let names: StringViewArray = (first..first + rows as u64).map(|i| Some(format!("record number {i}"))).collect();
    let offsets: UInt64Array = (first..first + rows as u64).collect();
    let watermarks = Some(offsets.iter().map(|o| o.map(|o| -(o as i64))).collect());
    let input = schema(vec![("name", DataType::Utf8View), ("list", list.data_type().clone())]);
    Batch { rows: RecordBatch::try_new(input, vec![Arc::new(names), list]).unwrap(), offsets, watermarks }
}

fn numbers(lists: &[List]) -> ArrayRef {
    let mut builder = ListBuilder::new(Int64Builder::new());
    lists.iter().for_each(|list| builder.append_option(list.clone()));
    Arc::new(builder.finish())
}

fn plan(list: &DataType, elements: Vec<(&str, DataType)>, ordinality: bool, outer: bool) -> plan::Unnest {
    let mut columns = vec![("name", DataType::Utf8View), ("list", list.clone())];
    columns.extend(elements);
    columns.extend(ordinality.then_some(("place", DataType::Int64)));
    plan::Unnest { column: 1, ordinality, outer, schema: schema(columns) }
}

fn integers(column: &ArrayRef) -> Vec<Option<i64>> {
    column.as_primitive::<Int64Type>().iter().collect()
}

proptest! {
    #[test]
    fn each_element_gives_a_row(
        lists in prop::collection::vec(
            prop::option::weighted(0.9, prop::collection::vec(prop::option::weighted(0.9, -9i64..9), 0..4)),
            1..40,
        ),
        cut in 1usize..50,
        before in 0usize..5,
        outer: bool,
        ordinality: bool,
    ) {
        let mut want = Vec::new();
        let mut dropped = 0;
        for (offset, list) in lists.iter().enumerate() {
            match list.as_deref() {
                Some(elements @ [_, ..]) => want.extend(elements.iter().enumerate().map(|(i, e)| (offset as u64, *e, Some(i as i64 + 1)))),
                _ if outer => want.push((offset as u64, None, None)),
                _ => dropped += 1,
            }
        }
        // Lists that are a slice of others must be read from where they begin.
        let all = numbers(&[&lists[..before.min(lists.len())], &lists[..]].concat()).slice(before.min(lists.len()), lists.len());
        let mut operator = UnnestOperator::new(plan(all.data_type(), vec![("element", DataType::Int64)], ordinality, outer));
        let (mut got, mut out) = (Vec::new(), Output::default());
        for from in (0..lists.len()).step_by(cut) {
            let part = all.slice(from, cut.min(lists.len() - from));
            let Some(b) = operator.push(batch(part, from as u64), &mut out).unwrap() else { continue };
            let (elements, watermarks) = (integers(b.rows.column(2)), b.watermarks.unwrap());
            let places = if ordinality { integers(b.rows.column(3)) } else { vec![None; elements.len()] };
            for (i, &offset) in b.offsets.values().iter().enumerate() {
                prop_assert_eq!(watermarks.value(i), -(offset as i64));
                prop_assert_eq!(b.rows.column(0).as_string_view().value(i), format!("record number {offset}"));
                got.push((offset, elements[i], places[i]));
            }
        }
        let passed = want.len() as u64;
        if !ordinality {
            want.iter_mut().for_each(|w| w.2 = None);
        }
        prop_assert_eq!(got, want);
        let counters = JobCounters { consumed: lists.len() as u64, passed, ..out.counters };
        prop_assert_eq!((counters.filtered, counters.row_balance()), (dropped, 0));
    }
}

#[test]
fn a_struct_gives_its_fields() {
    let fields = Fields::from(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8View, true)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2, 3])), Arc::new(StringViewArray::from(vec!["x", "y", "z"]))];
    let structs = StructArray::new(fields.clone(), columns, Some(NullBuffer::from(vec![true, false, true])));
    let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
    let list: ArrayRef = Arc::new(ListArray::new(item, OffsetBuffer::new(vec![0, 2, 3].into()), Arc::new(structs), None));
    let elements = vec![("a", DataType::Int64), ("b", DataType::Utf8View)];
    let mut operator = UnnestOperator::new(plan(list.data_type(), elements, true, false));
    let mut out = Output::default();
    let got = operator.push(batch(list, 0), &mut out).unwrap().unwrap().rows;
    assert_eq!(integers(got.column(2)), [Some(1), None, Some(3)]);
    assert_eq!(got.column(3).as_string_view(), &StringViewArray::from(vec![Some("x"), None, Some("z")]));
    assert_eq!(integers(got.column(4)), [Some(1), Some(2), Some(1)]);
    assert_eq!(out.counters.expanded, 1);
}

#[test]
fn a_map_gives_keys_and_values_and_the_place_has_the_declared_type() {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringViewBuilder::new(), Int64Builder::new());
    for pairs in [&[("a", Some(1)), ("b", None)][..], &[], &[("c", Some(3))]] {
        for (key, value) in pairs {
            builder.keys().append_value(key);
            builder.values().append_option(*value);
        }
        builder.append(true).unwrap();
    }
    let map: ArrayRef = Arc::new(builder.finish());
    let elements = vec![("key", DataType::Utf8View), ("value", DataType::Int64), ("place", DataType::Int32)];
    let plan = plan::Unnest { ordinality: true, ..plan(map.data_type(), elements, false, true) };
    let got = UnnestOperator::new(plan).push(batch(map, 0), &mut Output::default()).unwrap().unwrap().rows;
    assert_eq!(got.column(2).as_string_view(), &StringViewArray::from(vec![Some("a"), Some("b"), None, Some("c")]));
    assert_eq!(integers(got.column(3)), [Some(1), None, None, Some(3)]);
    assert_eq!(got.column(4).as_ref(), &Int32Array::from(vec![Some(1), Some(2), None, Some(1)]) as &dyn Array);
}

#[test]
fn what_is_no_list_is_an_error() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let operator = UnnestOperator::new(plan(column.data_type(), vec![], false, false)).push(batch(column, 0), &mut Output::default());
    assert_eq!(operator.unwrap_err().message(), "UNNEST of Int64, which is no list");
}
