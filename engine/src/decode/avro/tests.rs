//! Records that `apache-avro` wrote, and bytes that nobody did. Invariant: what the library writes for a schema is read back.

use apache_avro::types::Value as Item;
use apache_avro::{Days, Decimal, Duration, GenericSingleObjectWriter, Millis, Months, to_avro_datum};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use proptest::prelude::*;
use std::sync::Arc;

use super::*;
use crate::contract::Decoded;
use crate::decode::DecodeColumn;
use crate::decode::testing::{column, lines, records};

const SCHEMA: &str = r#"{
  "type": "record", "name": "Reading", "namespace": "plant", "fields": [
    {"name": "device", "type": "string"},
    {"name": "t", "type": ["null", "double"]},
    {"name": "n", "type": "long"},
    {"name": "small", "type": "int"},
    {"name": "f", "type": "float"},
    {"name": "on", "type": "boolean"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "at", "type": {"type": "int", "logicalType": "time-millis"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OFF", "ON", "FAULT"]}},
    {"name": "list", "type": {"type": "array", "items": ["null", "double"]}},
    {"name": "map", "type": {"type": "map", "values": "long"}},
    {"name": "row", "type": {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "int"}, {"name": "s", "type": "plant.State"}]}},
    {"name": "raw", "type": {"type": "fixed", "name": "Two", "size": 2}},
    {"name": "other", "type": ["null", "plant.Inner", {"type": "fixed", "name": "Twelve", "size": 12, "logicalType": "duration"}]},
    {"name": "tree", "type": ["null", {"type": "record", "name": "Tree", "fields": [{"name": "next", "type": ["null", "Tree"]}]}]}
  ]}"#;

fn columns() -> Vec<DecodeColumn> {
    let item = |t| Arc::new(Field::new_list_field(t, true));
    let pair = Fields::from(vec![Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Int64, true)]);
    let row = Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("s", DataType::Utf8View, true)]);
    vec![
        column("device", DataType::Utf8View, false),
        column("t", DataType::Float64, true),
        column("n", DataType::Int64, true),
        column("f", DataType::Float32, true),
        column("on", DataType::Boolean, true),
        column("ts", crate::time::timestamp_type(), true),
        column("day", DataType::Date32, true),
        column("at", DataType::Time64(TimeUnit::Microsecond), true),
        column("price", DataType::Decimal128(8, 2), true),
        column("state", DataType::Utf8View, true),
        column("list", DataType::List(item(DataType::Float64)), true),
        column("map", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false), true),
        column("row", DataType::Struct(row), true),
        column("raw", DataType::Binary, true),
    ]
}

/// All of these columns, read by this schema of Avro.
pub(super) fn schema(columns: Vec<DecodeColumn>, text: &str) -> DecodeSchema {
    let options = [("avro.schema".to_owned(), text.to_owned())].into();
    DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None, options }
}

fn decode(payloads: &[impl AsRef<[u8]>]) -> Decoded {
    super::super::open("avro", schema(columns(), SCHEMA)).unwrap().decode(&records("pump-1", payloads)).unwrap()
}

fn reasons(payloads: &[impl AsRef<[u8]>]) -> Vec<String> {
    decode(payloads).rejects.into_iter().map(|r| r.reason).collect()
}

fn parsed() -> AvroSchema {
    AvroSchema::parse_str(SCHEMA).unwrap()
}

fn item(t: Option<f64>, n: i64, list: Vec<Option<f64>>, tree: bool) -> Item {
    let optional = |x: Option<f64>| x.map_or(Item::Union(0, Box::new(Item::Null)), |x| Item::Union(1, Box::new(Item::Double(x))));
    let fields = [
        ("device", Item::String("pump-ä".into())),
        ("t", optional(t)),
        ("n", Item::Long(n)),
        ("small", Item::Int((n % 1000) as i32)),
        ("f", Item::Float(0.1)),
        ("on", Item::Boolean(n % 2 == 0)),
        ("ts", Item::TimestampMicros(1_767_225_600_123_456)),
        ("day", Item::Date(20_454)),
        ("at", Item::TimeMillis(3_723_004)),
        ("price", Item::Decimal(Decimal::from((n % 100_000).to_be_bytes()))),
        ("state", Item::Enum(2, "FAULT".into())),
        ("list", Item::Array(list.into_iter().map(optional).collect())),
        ("map", Item::Map([("k".to_owned(), Item::Long(n))].into())),
        ("row", Item::Record(vec![("a".into(), Item::Int(7)), ("s".into(), Item::Enum(1, "ON".into()))])),
        ("raw", Item::Fixed(2, vec![1, 255])),
        ("other", Item::Union(2, Box::new(Item::Duration(Duration::new(Months::new(1), Days::new(2), Millis::new(3)))))),
        ("tree", {
            let leaf = Item::Record(vec![("next".into(), Item::Union(0, Box::new(Item::Null)))]);
            let tree_item = Item::Record(vec![("next".into(), Item::Union(1, Box::new(leaf)))]);
            if tree { Item::Union(1, Box::new(tree_item)) } else { Item::Union(0, Box::new(Item::Null)) }
        }),
    ];
    Item::Record(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn datum(item: Item) -> Vec<u8> {
    to_avro_datum(&parsed(), item).unwrap()
}

#[test]
fn records_of_the_schema_are_read() {
    let payloads = [datum(item(Some(21.5), -12, vec![Some(1.0), None], true)), datum(item(None, 4, vec![], false))];
    let decoded = decode(&payloads);
    assert_eq!(decoded.rejects, []);
    let rest = r#""ts":"2026-01-01T00:00:00.123Z","day":"2026-01-01","at":"01:02:03.004""#;
    let end = r#""row":{"a":7,"s":"ON"},"raw":"01ff"}"#;
    assert_eq!(
        lines(&decoded.rows),
        [
            format!(
                r#"{{"device":"pump-ä","t":21.5,"n":-12,"f":0.1,"on":true,{rest},"price":-0.12,"state":"FAULT","list":[1.0,null],"map":{{"k":-12}},{end}"#
            ),
            format!(r#"{{"device":"pump-ä","n":4,"f":0.1,"on":true,{rest},"price":0.04,"state":"FAULT","list":[],"map":{{"k":4}},{end}"#),
        ]
    );
}

#[test]
fn single_objects_are_read_if_they_are_of_the_schema() {
    let mut framed = Vec::new();
    let mut writer = GenericSingleObjectWriter::new_with_capacity(&parsed(), 64).unwrap();
    writer.write_value(item(Some(1.0), 2, vec![], false), &mut framed).unwrap();
    assert_eq!(framed[..2], MARKER);
    let decoded = decode(&[framed.clone(), datum(item(Some(1.0), 2, vec![], false))]);
    assert_eq!(decoded.rejects, []);
    let rows = lines(&decoded.rows);
    assert_eq!(rows[0], rows[1]);
    framed[5] ^= 1;
    let reason = reasons(&[framed]).remove(0);
    assert!(reason.contains("its fingerprint is not that of 'avro.schema'"), "{reason}");
}

#[test]
fn uuids_of_fixed_bytes_are_bytes_by_any_name() {
    let text = r#"{"type":"record","name":"R","fields":[
        {"name":"id","type":{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}}, {"name":"parent","type":"Id"}, {"name":"n","type":"int"}]}"#;
    let columns = vec![column("id", DataType::Binary, true), column("parent", DataType::Binary, true), column("n", DataType::Int32, true)];
    let payload = [[1_u8; 16].as_slice(), &[0xff; 16], &[14]].concat();
    let decoded = super::super::open("avro", schema(columns, text)).unwrap().decode(&records("pump-1", &[payload])).unwrap();
    assert_eq!(decoded.rejects, []);
    assert_eq!(lines(&decoded.rows), [format!(r#"{{"id":"{}","parent":"{}","n":7}}"#, "01".repeat(16), "ff".repeat(16))]);
}

#[test]
fn a_decimal_of_fixed_bytes_is_one_by_its_name_too() {
    let text = r#"{"type":"record","name":"R","fields":[
        {"name":"price","type":{"type":"fixed","name":"Money","size":8,"logicalType":"decimal","precision":8,"scale":2}},
        {"name":"cost","type":"Money"}]}"#;
    let columns = vec![column("price", DataType::Decimal128(8, 2), true), column("cost", DataType::Decimal128(8, 2), true)];
    let payload = [123_i64.to_be_bytes(), (-5_i64).to_be_bytes()].concat();
    let decoded = super::super::open("avro", schema(columns, text)).unwrap().decode(&records("pump-1", &[payload])).unwrap();
    assert_eq!(decoded.rejects, []);
    assert_eq!(lines(&decoded.rows), [r#"{"price":1.23,"cost":-0.05}"#]);
}

#[test]
fn bad_records_are_rejected_with_the_reason() {
    let good = datum(item(Some(21.5), 1, vec![], false));
    let mut cut = good.clone();
    cut.pop();
    assert_eq!(reasons(&[cut]), [format!("broken Avro at byte {}: the record ends in the middle", good.len() - 1)]);
    assert_eq!(reasons(&[[good.as_slice(), &[0]].concat()]), ["broken Avro: 1 bytes follow the record"]);
    assert_eq!(reasons(&[[0x01_u8; 3]]), ["broken Avro at byte 1: a length is below 0"]);
    assert_eq!(reasons(&[[0xff_u8; 12]]), ["broken Avro at byte 10: a number has more than 64 bits"]);
    assert_eq!(reasons(&[[0x02_u8, 0xff, 0]]), ["broken Avro at byte 2: the text before is not UTF-8"]);
    assert_eq!(reasons(&[[0x02_u8, b'a', 8, 0]]), ["broken Avro at byte 3: the union has no such branch"]);
    assert_eq!(reasons(&[datum(item(Some(f64::NAN), 1, vec![], false))]), ["column t: expected DOUBLE, found NaN"]);
    let header = [0_u8, 0, 0, 0, 7];
    let registered = reasons(&[[header.as_slice(), &good].concat(), [header.as_slice(), &good[1..]].concat()]);
    assert!(registered[0].ends_with("; the record has the header of a schema registry before it, which is not read"), "{registered:?}");
    assert!(!registered[1].contains("registry"), "{registered:?}");
    let list = reasons(&[datum(item(None, 1, vec![Some(1.0), Some(f64::INFINITY)], false))]);
    assert_eq!(list, ["column list[1]: expected DOUBLE, found inf"]);
}

#[test]
fn values_without_bytes_and_endless_trees_are_bounded() {
    let nulls = r#"{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"array","items":"null"}}]}"#;
    let columns = || vec![column("x", DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))), true)];
    let mut decoder = super::super::open("avro", schema(columns(), nulls)).unwrap();
    // A block of 2^62 NULLs.
    let bomb = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00];
    let rejects = decoder.decode(&records("pump-1", &[bomb])).unwrap().rejects;
    assert_eq!(rejects[0].reason, "a record of 11 bytes has more than 1035 items that take none");
    // A thousand of them are fine: zigzag of 1000, then the end of the list.
    assert_eq!(decoder.decode(&records("pump-1", &[[0xd0, 0x0f, 0x00]])).unwrap().rejects, []);

    let tree = r#"{"type":"record","name":"R","fields":[{"name":"x","type":["null",{"type":"record","name":"T","fields":[{"name":"n","type":["null","T"]}]}]}]}"#;
    let columns = vec![column("x", DataType::Struct(vec![Field::new("n", DataType::Utf8View, true)].into()), true)];
    let mut decoder = super::super::open("avro", schema(columns, tree)).unwrap();
    let rejects = decoder.decode(&records("pump-1", &[vec![0x02; 100_000]])).unwrap().rejects;
    assert_eq!(rejects[0].reason, "Avro is nested deeper than 64");
}

#[test]
fn schemas_that_do_not_fit_are_refused() {
    let refused = |text: &str| super::super::open("avro", schema(columns(), text)).err().unwrap().to_string();
    assert!(refused("{").starts_with("option 'avro.schema': "), "{}", refused("{"));
    assert!(refused("\"long\"").starts_with("option 'avro.schema': it must be a record (hint: "));
    let other = r#"{"type":"record","name":"R","fields":[{"name":"devise","type":"string"}]}"#;
    assert_eq!(refused(other), "column device: the Avro schema has no such field (hint: is it devise?)");
}

#[test]
fn fields_of_rows_that_the_schema_lacks_are_refused() {
    let room = r#"{"type":"record","name":"Room","fields":[{"name":"number","type":"int"}]}"#;
    let opened = |field: &str, data_type: DataType| {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{field}}}]}}"#);
        super::super::open("avro", schema(vec![column("x", data_type, true)], &text)).map(drop).map_err(|e| e.to_string())
    };
    let row = |name: &str, t: DataType| DataType::Struct(vec![Field::new(name, t, true)].into());
    let list = |t: DataType| DataType::List(Arc::new(Field::new_list_field(t, true)));
    let absent = |path: &str| Err(format!("column x{path}: the Avro schema has no such field (hint: is it number?)"));
    assert_eq!(opened(room, row("number", DataType::Int32)), Ok(()));
    assert_eq!(opened(room, row("numbr", DataType::Int32)), absent(".numbr"));
    assert_eq!(opened(&format!("[\"null\",{room}]"), row("numbr", DataType::Int32)), absent(".numbr"));
    let rooms = format!(r#"{{"type":"record","name":"House","fields":[{{"name":"rooms","type":{{"type":"array","items":{room}}}}}]}}"#);
    assert_eq!(opened(&rooms, row("rooms", list(row("numbr", DataType::Int32)))), absent(".rooms.numbr"));
    assert_eq!(opened(r#"{"type":"map","values":"int"}"#, row("any", DataType::Int32)), Ok(()));
    assert_eq!(opened(&format!("[{room},{{\"type\":\"map\",\"values\":\"int\"}}]"), row("any", DataType::Int32)), Ok(()));
}

#[test]
fn columns_follow_from_the_schema() {
    let of = |text: &str| crate::decode::declared("avro", &[("avro.schema".to_owned(), text.to_owned())].into());
    let inferred = of(r#"{"type": "record", "name": "R", "fields": [
        {"name": "device_id", "type": "string"},
        {"name": "ts", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "n", "type": "int"},
        {"name": "f", "type": "float"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}},
        {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
        {"name": "sensors", "type": {"type": "map", "values": "double"}},
        {"name": "place", "type": {"type": "record", "name": "Place", "fields": [
            {"name": "room", "type": "string"}, {"name": "day", "type": {"type": "int", "logicalType": "date"}}]}},
        {"name": "second_place", "type": "Place"},
        {"name": "nothing", "type": "null"}]}"#);
    let inferred = inferred.unwrap().unwrap();
    let columns: Vec<String> = inferred.columns.iter().map(|(name, t)| format!("{name} {}", crate::batch::type_name(t))).collect();
    assert_eq!(
        columns,
        [
            "device_id STRING",
            "ts TIMESTAMP",
            "n INT",
            "f FLOAT",
            "price DECIMAL(8, 2)",
            "tags ARRAY<STRING>",
            "sensors MAP<STRING, DOUBLE>",
            "place ROW<room STRING, day DATE>",
            "second_place ROW<room STRING, day DATE>",
            "nothing STRING",
        ]
    );
    assert_eq!(inferred.event_time, Some(1));
    let refused = |text: &str| of(text).unwrap_err().message().to_owned();
    assert_eq!(refused(SCHEMA), "option 'avro.schema': field other has values of several types");
    let tree = r#"{"type":"record","name":"T","fields":[{"name":"next","type":["null","T"]}]}"#;
    assert_eq!(refused(tree), "option 'avro.schema': field next contains itself");
    let doubled = (1..15).fold(r#"{"type":"record","name":"R0","fields":[{"name":"a","type":"int"}]}"#.to_owned(), |inner, i| {
        let again = i - 1;
        format!(r#"{{"type":"record","name":"R{i}","fields":[{{"name":"a","type":{inner}}},{{"name":"b","type":"R{again}"}}]}}"#)
    });
    assert_eq!(refused(&doubled), "option 'avro.schema': there are more than 10000 fields");
    let missing = crate::decode::declared("avro", &Default::default()).unwrap_err();
    assert_eq!(missing.message(), "option 'avro.schema' of the format is missing");
}

#[test]
fn numbers_in_twos_complement() {
    for n in [0, 1, -1, 127, 128, -128, -129, i64::MAX, i64::MIN] {
        assert_eq!(wire::signed(&n.to_be_bytes()), Some(n.into()));
        assert_eq!(wire::signed(&i128::from(n).to_be_bytes()), Some(n.into()));
    }
    assert_eq!([wire::signed(&[]), wire::signed(&[0x80])], [Some(0), Some(-128)]);
    for n in [i128::MAX, i128::MIN, i128::MAX >> 1, i128::MIN >> 1] {
        assert_eq!(wire::signed(&n.to_be_bytes()), Some(n));
    }
    assert_eq!([wire::signed(&[0x7f; 17]), wire::signed(&[&[0][..], &[0x80; 16]].concat())], [None, None]);
}

/// Numbers whose text is exact.
fn eighths() -> impl Strategy<Value = f64> {
    (-1_000_000_i32..1_000_000).prop_map(|n| f64::from(n) / 8.0)
}

proptest! {
    #[test]
    fn what_the_library_writes_is_read(
        rows in proptest::collection::vec((proptest::option::of(eighths()), any::<i64>(), proptest::collection::vec(proptest::option::of(eighths()), 0..4)), 1..6),
    ) {
        let payloads: Vec<Vec<u8>> = rows.iter().map(|(t, n, list)| datum(item(*t, *n, list.clone(), true))).collect();
        let decoded = decode(&payloads);
        prop_assert_eq!(&decoded.rejects, &vec![]);
        for (line, (t, n, list)) in lines(&decoded.rows).iter().zip(&rows) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            prop_assert_eq!(line.get("t").and_then(serde_json::Value::as_f64), *t);
            prop_assert_eq!(line["n"].as_i64(), Some(*n));
            let found: Vec<Option<f64>> = line["list"].as_array().unwrap().iter().map(serde_json::Value::as_f64).collect();
            prop_assert_eq!(&found, list);
        }
    }

    #[test]
    fn mutated_records_become_rows_or_rejects(n in any::<i64>(), place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = datum(item(Some(1.0), n, vec![Some(2.0)], true));
        let at = place.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let decoded = decode(&[bytes]);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), 1);
    }
}
