//! Records that `ciborium` wrote, and bytes that nobody did. Invariant: a record in CBOR is what the same record in JSON is.

use arrow::datatypes::{DataType, Field};
use ciborium::Value as Item;
use proptest::prelude::*;
use std::sync::Arc;

use super::*;
use crate::contract::Decoded;
use crate::decode::testing::{column, lines, records};

fn schema() -> DecodeSchema {
    let list = |t| DataType::List(Arc::new(Field::new_list_field(t, true)));
    let columns = vec![
        column("t", DataType::Float64, true),
        column("n", DataType::Int64, true),
        column("s", DataType::Utf8View, true),
        column("on", DataType::Boolean, true),
        column("ts", crate::time::timestamp_type(), true),
        column("list", list(DataType::Float64), true),
        column(
            "row",
            DataType::Struct(vec![Field::new("a", DataType::Int32, true), Field::new("b", list(DataType::Utf8View), true)].into()),
            true,
        ),
        column("raw", DataType::Binary, true),
        column("d", DataType::Decimal128(8, 2), true),
        column("6", DataType::Int64, true),
    ];
    DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None, options: Default::default() }
}

fn decode(format: &str, payloads: &[impl AsRef<[u8]>]) -> Decoded {
    crate::decode::open(format, schema()).unwrap().decode(&records("pump-1", payloads)).unwrap()
}

fn bytes(item: &Item) -> Vec<u8> {
    let mut room = vec![0; 1 << 16];
    let mut rest = room.as_mut_slice();
    ciborium::into_writer(item, &mut rest).unwrap();
    let left = rest.len();
    room.truncate(room.len() - left);
    room
}

fn map(members: &[(&str, Item)]) -> Item {
    Item::Map(members.iter().map(|(k, v)| (Item::Text((*k).to_owned()), v.clone())).collect())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn items_are_taken_as_declared() {
    let tag = |tag, item| Item::Tag(tag, Box::new(item));
    let decimal = |exponent: i64, mantissa: i64| tag(4, Item::Array(vec![Item::Integer(exponent.into()), Item::Integer(mantissa.into())]));
    let good = [
        map(&[
            ("t", Item::Float(21.5)),
            ("n", Item::Integer((-5).into())),
            ("s", Item::Text("ä".into())),
            ("on", Item::Bool(true)),
            ("x", Item::Null),
        ]),
        map(&[("ts", tag(1, Item::Integer(1_767_225_600.into()))), ("d", decimal(-3, 12_345)), ("raw", Item::Bytes(vec![1, 255]))]),
        map(&[("ts", tag(1, Item::Float(0.25))), ("d", decimal(2, 3)), ("t", Item::Integer(1.into()))]),
        map(&[("ts", tag(0, Item::Text("2026-01-02T03:04:05Z".into()))), ("s", Item::Float(1.5))]),
        Item::Tag(
            55_799,
            Box::new(map(&[("list", Item::Array(vec![Item::Float(1.0), Item::Null])), ("row", map(&[("a", Item::Integer(7.into()))]))])),
        ),
        Item::Map(vec![(Item::Integer(6.into()), Item::Integer(8.into()))]),
    ];
    let mut payloads: Vec<Vec<u8>> = good.iter().map(bytes).collect();
    // Without lengths: {"row": {"b": ["streaming"]}, "raw": h'0102'} in pieces.
    payloads.push(hex("bf 63726f77 bf 6162 9f 7f 65 73747265 61 64 6d696e67 ff ff ff 63726177 5f 4101 4102 ff ff"));
    let decoded = decode("cbor", &payloads);
    assert_eq!(decoded.rejects, []);
    assert_eq!(
        lines(&decoded.rows),
        [
            r#"{"t":21.5,"n":-5,"s":"ä","on":true}"#,
            r#"{"ts":"2026-01-01T00:00:00Z","raw":"01ff","d":12.35}"#,
            r#"{"t":1.0,"ts":"1970-01-01T00:00:00.250Z","d":300.00}"#,
            r#"{"s":"1.5","ts":"2026-01-02T03:04:05Z"}"#,
            r#"{"list":[1.0,null],"row":{"a":7}}"#,
            r#"{"6":8}"#,
            r#"{"row":{"b":["streaming"]},"raw":"0102"}"#,
        ]
    );
}

#[test]
fn bad_records_are_rejected_with_the_reason() {
    let deep = [vec![0xa1, 0x61, b'x'], vec![0x81; 70], vec![0x01]].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (bytes(&map(&[("t", Item::Text("hot".into()))])), "column t: expected DOUBLE, found \"hot\""),
        (bytes(&map(&[("row", map(&[("a", Item::Integer(3_000_000_000_i64.into()))]))])), "column row.a: expected INT, found 3000000000"),
        (bytes(&map(&[("t", Item::Float(f64::NAN))])), "column t: expected DOUBLE, found NaN"),
        (bytes(&Item::Array(vec![])), "broken CBOR at byte 0: expected a map"),
        (hex("a1"), "broken CBOR at byte 1: the payload ends in the middle"),
        (hex("a16174"), "broken CBOR at byte 3: the payload ends in the middle"),
        (hex("a0a0"), "broken CBOR: 1 bytes follow the record"),
        (hex("a1 6174 1c"), "broken CBOR at byte 3: this begins no item"),
        (hex("a1 6174 7affffffff"), "broken CBOR at byte 8: the payload ends in the middle"),
        (hex("a1 6174 9bffffffffffffffff"), "broken CBOR at byte 12: the payload ends in the middle"),
        (hex("a1 61ff 01"), "broken CBOR at byte 3: the text before is not UTF-8"),
        (hex("a1 f6 01"), "broken CBOR at byte 2: a name is a text or a whole number"),
        (hex("a1 6174 ff"), "broken CBOR at byte 4: the item before has no value"),
        (hex("a1 6174 c1 6161"), "broken CBOR at byte 6: the item before does not fit its tag"),
        (deep, "CBOR is nested deeper than 64"),
    ];
    for (payload, wanted) in cases {
        let reasons: Vec<String> = decode("cbor", &[&payload]).rejects.into_iter().map(|r| r.reason).collect();
        assert_eq!(reasons, [wanted], "{payload:02x?}");
    }
}

/// A value of JSON.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e6..1e6_f64).prop_map(|x| (x * 8.0).round() / 8.0).prop_map(Into::into),
        "[a-z0-9]{0,14}".prop_map(Into::into),
        Just("2026-01-02T03:04:05.678Z".into()),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            proptest::collection::hash_map("[ab]", inner, 0..3).prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

fn item(value: &serde_json::Value) -> Item {
    Item::serialized(value).unwrap()
}

proptest! {
    #[test]
    fn records_are_those_of_json(rows in proptest::collection::vec(
        proptest::collection::btree_map(proptest::sample::select(vec!["t", "n", "on", "ts", "list", "row", "d", "x"]), value(), 0..4), 1..10,
    )) {
        let json: Vec<Vec<u8>> = rows.iter().map(|r| serde_json::to_vec(r).unwrap()).collect();
        let cbor: Vec<Vec<u8>> = rows.iter().map(|r| bytes(&map(&r.iter().map(|(k, v)| (*k, item(v))).collect::<Vec<_>>()))).collect();
        let (json, cbor) = (decode("json", &json), decode("cbor", &cbor));
        // Texts of nested values exist in JSON only.
        prop_assume!(!json.rows.schema().fields().is_empty());
        let offsets = |d: &Decoded| d.offsets.values().to_vec();
        let texts = |r: &std::collections::BTreeMap<&str, serde_json::Value>| r.get("row").is_some_and(|row| {
            row.get("b").and_then(|b| b.as_array()).is_some_and(|b| b.iter().any(|v| v.is_array() || v.is_object()))
        });
        if !rows.iter().any(texts) {
            prop_assert_eq!(offsets(&cbor), offsets(&json));
            prop_assert_eq!(lines(&cbor.rows), lines(&json.rows));
        }
    }

    #[test]
    fn any_bytes_become_a_row_or_a_reject(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6), head in any::<bool>()) {
        let payloads: Vec<Vec<u8>> = payloads.into_iter().map(|p| if head { [&[0xbf, 0x61, b't'], p.as_slice()].concat() } else { p }).collect();
        let decoded = decode("cbor", &payloads);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), payloads.len());
    }
}
