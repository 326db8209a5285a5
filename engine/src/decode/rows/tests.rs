//! What every format that hands out values has in common, by the example of CBOR. Invariant checked: whether a record is good depends
//! on the record alone.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type};
use ciborium::Value as Item;
use proptest::prelude::*;

use super::*;
use crate::decode::testing::{column, lines, records};

fn schema() -> DecodeSchema {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let columns = vec![
        column("device_id", DataType::Utf8View, true),
        DecodeColumn { source: Source::Offset, ..column("offset", DataType::Int64, true) },
        column("n", DataType::Int64, false),
        column("list", list, true),
        column("text", DataType::Utf8View, true),
    ];
    DecodeSchema { projection: vec![0, 1, 2, 3, 4], columns, identity: Some(0), options: Default::default() }
}

fn bytes(members: &[(&str, Item)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let map = Item::Map(members.iter().map(|(k, v)| (Item::Text((*k).to_owned()), v.clone())).collect());
    ciborium::into_writer(&map, &mut bytes).unwrap();
    bytes
}

fn decode(schema: DecodeSchema, payloads: &[Vec<u8>]) -> Decoded {
    crate::decode::open("cbor", schema).unwrap().decode(&records("pump-1", payloads)).unwrap()
}

fn int(n: i64) -> Item {
    Item::Integer(n.into())
}

fn text(text: &str) -> Item {
    Item::Text(text.to_owned())
}

#[test]
fn attributes_that_nobody_declared_are_ignored_and_missing_ones_are_null() {
    let device = ("device_id", text("pump-1"));
    let payloads = [
        bytes(&[("n", int(1)), device.clone(), ("other", Item::Array(vec![int(1)]))]),
        bytes(&[device.clone(), ("n", text("hot")), ("n", int(2))]),
        bytes(&[device.clone(), ("n", int(3)), ("n", Item::Null)]),
        bytes(&[device.clone(), ("text", text("x"))]),
        bytes(&[("n", int(4)), ("text", text("a text that is longer than a view"))]),
        bytes(&[("n", int(5)), ("device_id", text("pump-2"))]),
        bytes(&[("n", int(6)), device.clone(), ("list", Item::Array(vec![int(1), Item::Null])), ("list", Item::Null)]),
        bytes(&[("n", Item::Null), ("n", int(7)), device]),
    ];
    let decoded = decode(schema(), &payloads);
    assert_eq!(lines(&decoded.rows), [r#"{"device_id":"pump-1","offset":0,"n":1}"#, r#"{"device_id":"pump-1","offset":6,"n":6}"#,]);
    let reasons: Vec<(u64, &str)> = decoded.rejects.iter().map(|r| (r.offset, r.reason.as_str())).collect();
    let missing = "column n: declared NOT NULL, but missing or null";
    assert_eq!(
        reasons,
        [
            (1, "column n: expected BIGINT, found \"hot\""),
            (2, missing),
            (3, missing),
            (4, "attribute device_id is missing: the record came from device pump-1"),
            (5, "attribute device_id says \"pump-2\" but the record came from device \"pump-1\""),
            (7, missing),
        ]
    );
}

/// A record, often a good one.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![4 => any::<i64>().prop_map(int), 1 => Just(text("x")), 1 => Just(Item::Null)];
    let list = proptest::collection::vec(number.clone(), 0..3).prop_map(Item::Array);
    let words = prop_oneof!["[a-z]{0,20}".prop_map(Item::Text), Just(Item::Bytes(vec![1]))];
    let device = prop_oneof![9 => Just(text("pump-1")), 1 => Just(text("pump-2"))];
    let all = (device, number, proptest::option::of(list), proptest::option::of(words), any::<bool>());
    all.prop_map(|(device, n, list, words, cut)| {
        let members = [Some(("device_id", device)), Some(("n", n)), list.map(|l| ("list", l)), words.map(|w| ("text", w))];
        let mut bytes = bytes(&members.into_iter().flatten().collect::<Vec<_>>());
        if cut && bytes.len().is_multiple_of(7) {
            bytes.pop();
        }
        bytes
    })
}

proptest! {
    #[test]
    fn a_record_is_good_or_bad_whatever_is_wanted_and_however_batched(
        payloads in proptest::collection::vec(record(), 1..16),
        wanted in proptest::collection::vec(any::<bool>(), 5),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = decode(schema(), &payloads);
        prop_assert_eq!(all.rows.num_rows() + all.rejects.len(), payloads.len());
        prop_assert_eq!(all.rows.column(1).as_primitive::<Int64Type>().values().iter().map(|o| *o as u64).collect::<Vec<_>>(), all.offsets.values().to_vec());
        let projection: Vec<usize> = (0..5).filter(|&i| wanted[i]).collect();
        let some = decode(DecodeSchema { projection: projection.clone(), ..schema() }, &payloads);
        prop_assert_eq!(&some.rejects, &all.rejects);
        prop_assert_eq!(&some.rows, &all.rows.project(&projection).unwrap());

        let mut decoder = crate::decode::open("cbor", schema()).unwrap();
        let (first, second) = payloads.split_at(cut.index(payloads.len()));
        let parts = [first, second].map(|p| decoder.decode(&records("pump-1", p)).unwrap().rows);
        let parts = parts.map(|p| p.project(&[0, 2, 3, 4]).unwrap());
        let whole = all.rows.project(&[0, 2, 3, 4]).unwrap();
        prop_assert_eq!(&arrow::compute::concat_batches(whole.schema_ref(), &parts).unwrap(), &whole);
    }
}
