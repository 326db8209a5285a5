//! Messages that `prost` wrote, and bytes that nobody did. Invariant: a table with the text of a schema and one with its descriptor
//! read the same.

use arrow::datatypes::{DataType, Field, Fields};
use proptest::prelude::*;
use prost_reflect::prost::Message;
use std::sync::Arc;

use super::*;
use crate::contract::Decoded;
use crate::decode::DecodeColumn;
use crate::decode::testing::{column, lines, records};

const SCHEMA: &str = r#"
syntax = "proto3";
package plant;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Reading {
  string device = 1;
  double t = 2;
  optional double humidity = 3;
  sint64 n = 4;
  uint64 big = 5;
  bool on = 6;
  google.protobuf.Timestamp ts = 7;
  google.protobuf.DoubleValue limit = 8;
  State state = 9;
  repeated double list = 10;
  map<string, int64> sensors = 11;
  Inner row = 12;
  bytes raw = 13;
  oneof either { int32 left = 14; string right = 15; }
  float f = 16;
  enum State { OFF = 0; ON = 1; }
  message Inner { int32 a = 1; repeated Inner more = 2; }
}
"#;

fn columns() -> Vec<DecodeColumn> {
    let item = |t| Arc::new(Field::new_list_field(t, true));
    let pair = Fields::from(vec![Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Int64, true)]);
    let leaf = DataType::Struct(vec![Field::new("a", DataType::Int32, true)].into());
    let row = DataType::Struct(vec![Field::new("a", DataType::Int32, true), Field::new("more", DataType::List(item(leaf)), true)].into());
    vec![
        column("device", DataType::Utf8View, false),
        column("t", DataType::Float64, true),
        column("humidity", DataType::Float64, true),
        column("n", DataType::Int64, true),
        column("big", DataType::Decimal128(20, 0), true),
        column("on", DataType::Boolean, true),
        column("ts", crate::time::timestamp_type(), true),
        column("limit", DataType::Float64, true),
        column("state", DataType::Utf8View, true),
        column("list", DataType::List(item(DataType::Float64)), true),
        column("sensors", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false), true),
        column("row", row, true),
        column("raw", DataType::Binary, true),
        column("left", DataType::Int32, true),
        column("f", DataType::Float32, true),
    ]
}

fn open_with(options: &[(&str, &str)], columns: Vec<DecodeColumn>) -> Result<Box<dyn Decoder>> {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    crate::decode::open("protobuf", DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None, options })
}

fn decode(payloads: &[impl AsRef<[u8]>]) -> Decoded {
    open_with(&[("protobuf.schema", SCHEMA)], columns()).unwrap().decode(&records("pump-1", payloads)).unwrap()
}

fn reading(fields: &[(&str, Item)]) -> Vec<u8> {
    let (pool, _) = compile(SCHEMA).unwrap();
    let mut message = DynamicMessage::new(pool.get_message_by_name("plant.Reading").unwrap());
    fields.iter().for_each(|(name, item)| message.set_field_by_name(name, item.clone()));
    message.encode_to_vec()
}

/// A message of the schema.
fn inner(name: &str, fields: &[(&str, Item)]) -> Item {
    let (pool, _) = compile(SCHEMA).unwrap();
    let mut message = DynamicMessage::new(pool.get_message_by_name(name).unwrap());
    fields.iter().for_each(|(name, item)| message.set_field_by_name(name, item.clone()));
    Item::Message(message)
}

#[test]
fn messages_are_read_as_declared() {
    let timestamp = inner("google.protobuf.Timestamp", &[("seconds", Item::I64(1_767_225_600)), ("nanos", Item::I32(123_456_789))]);
    let leaf = inner("plant.Reading.Inner", &[("a", Item::I32(2))]);
    let full = reading(&[
        ("device", Item::String("pump-ä".into())),
        ("t", Item::F64(21.5)),
        ("humidity", Item::F64(0.0)),
        ("n", Item::I64(-7)),
        ("big", Item::U64(u64::MAX)),
        ("on", Item::Bool(true)),
        ("ts", timestamp),
        ("limit", inner("google.protobuf.DoubleValue", &[("value", Item::F64(3.5))])),
        ("state", Item::EnumNumber(1)),
        ("list", Item::List(vec![Item::F64(1.0), Item::F64(2.0)])),
        ("sensors", Item::Map([(MapKey::String("b".into()), Item::I64(2)), (MapKey::String("a".into()), Item::I64(1))].into())),
        ("row", inner("plant.Reading.Inner", &[("a", Item::I32(1)), ("more", Item::List(vec![leaf]))])),
        ("raw", Item::Bytes(vec![1, 255].into())),
        ("left", Item::I32(0)),
        ("f", Item::F32(0.1)),
    ]);
    let almost_empty = reading(&[("device", Item::String("x".into())), ("state", Item::EnumNumber(9))]);
    let decoded = decode(&[full, almost_empty]);
    assert_eq!(decoded.rejects, []);
    assert_eq!(
        lines(&decoded.rows),
        [
            concat!(
                r#"{"device":"pump-ä","t":21.5,"humidity":0.0,"n":-7,"big":18446744073709551615,"on":true,"ts":"2026-01-01T00:00:00.123Z","#,
                r#""limit":3.5,"state":"ON","list":[1.0,2.0],"sensors":{"a":1,"b":2},"row":{"a":1,"more":[{"a":2}]},"raw":"01ff","left":0,"f":0.1}"#
            ),
            r#"{"device":"x","t":0.0,"n":0,"big":0,"on":false,"state":"9","list":[],"sensors":{},"raw":"","f":0.0}"#,
        ]
    );
}

#[test]
fn bad_messages_are_rejected_with_the_reason() {
    let reasons = |payload: &[u8]| decode(&[payload]).rejects.into_iter().map(|r| r.reason).collect::<Vec<_>>();
    assert!(reasons(&[0xff])[0].starts_with("broken protobuf: "), "{:?}", reasons(&[0xff]));
    assert!(reasons(&[0x0a, 0x7f, b'x'])[0].starts_with("broken protobuf: "));
    assert_eq!(reasons(b""), Vec::<String>::new(), "a message of defaults has no bytes");
    assert_eq!(reasons(&reading(&[("t", Item::F64(f64::NAN))])), ["column t: expected DOUBLE, found NaN"]);
    let far = inner("google.protobuf.Timestamp", &[("seconds", Item::I64(i64::MAX))]);
    assert!(reasons(&reading(&[("ts", far)]))[0].starts_with("column ts: expected TIMESTAMP, found "));
    // Messages inside of messages without end.
    let mut deep = vec![];
    for _ in 0..200 {
        let mut more = vec![0x12];
        prost_reflect::prost::encoding::encode_varint(deep.len() as u64, &mut more);
        deep = [more, deep].concat();
    }
    let mut payload = vec![0x62];
    prost_reflect::prost::encoding::encode_varint(deep.len() as u64, &mut payload);
    assert!(reasons(&[payload, deep].concat())[0].contains("recursion limit"));
}

#[test]
fn a_descriptor_reads_as_its_schema() {
    let (pool, _) = compile(SCHEMA).unwrap();
    let text = STANDARD.encode(pool.encode_to_vec());
    let payloads = [reading(&[("device", Item::String("a".into())), ("t", Item::F64(1.0))])];
    let options = [("protobuf.descriptor", text.as_str()), ("protobuf.message", "plant.Reading")];
    let decoded = open_with(&options, columns()).unwrap().decode(&records("pump-1", &payloads)).unwrap();
    assert_eq!(decoded.rows, decode(&payloads).rows);
    assert!(open_with(&[("protobuf.descriptor", text.as_str())], columns()).is_ok(), "there is one message");
}

#[test]
fn columns_follow_from_the_schema() {
    let of = |text: &str| crate::decode::declared("protobuf", &[("protobuf.schema".to_owned(), text.to_owned())].into());
    let inferred = of(r#"
        syntax = "proto3";
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/wrappers.proto";
        message Reading {
          string device_id = 1;
          google.protobuf.Timestamp ts = 2;
          optional double v = 3;
          float f = 4;
          sint32 n = 5;
          uint64 big = 6;
          repeated int64 list = 7;
          map<int32, Place> places = 8;
          Place place = 9;
          google.protobuf.BoolValue on = 10;
          oneof either { bytes raw = 11; Kind kind = 12; }
          enum Kind { OFF = 0; }
          message Place { string room = 1; repeated uint32 shelves = 2; }
        }"#);
    let inferred = inferred.unwrap().unwrap();
    let columns: Vec<String> = inferred.columns.iter().map(|(name, t)| format!("{name} {}", crate::batch::type_name(t))).collect();
    assert_eq!(
        columns,
        [
            "device_id STRING",
            "ts TIMESTAMP",
            "v DOUBLE",
            "f FLOAT",
            "n INT",
            "big DECIMAL(20, 0)",
            "list ARRAY<BIGINT>",
            "places MAP<STRING, ROW<room STRING, shelves ARRAY<BIGINT>>>",
            "place ROW<room STRING, shelves ARRAY<BIGINT>>",
            "on BOOLEAN",
            "raw BYTES",
            "kind STRING",
        ]
    );
    assert_eq!(inferred.event_time, Some(1));
    let refused = |text: &str| of(text).unwrap_err().message().to_owned();
    assert_eq!(refused(SCHEMA), "option 'protobuf.schema': field more contains itself");
    assert_eq!(refused("syntax = \"proto3\"; message A {} message B {}"), "option 'protobuf.message' is missing");
    let tree = "syntax = \"proto3\"; message A { A next = 1; }";
    assert_eq!(refused(tree), "option 'protobuf.schema': field next contains itself");
    let empty = "syntax = \"proto3\"; message A { B b = 1; message B {} }";
    assert_eq!(refused(empty), "option 'protobuf.schema': field b has no fields");
}

#[test]
fn schemas_that_do_not_fit_are_refused() {
    let refused = |options: &[(&str, &str)]| open_with(options, columns()).err().unwrap().to_string();
    assert!(refused(&[]).starts_with("format protobuf needs one of"));
    assert!(refused(&[("protobuf.schema", "message {")]).starts_with("option 'protobuf.schema': "));
    assert!(refused(&[("protobuf.schema", "import \"other.proto\";")]).contains("other.proto"));
    assert!(refused(&[("protobuf.descriptor", "%")]).starts_with("option 'protobuf.descriptor': "));
    let two = "syntax = \"proto3\"; message A {} message B {}";
    assert_eq!(refused(&[("protobuf.schema", two)]), "option 'protobuf.message' is missing (hint: the schema has: A, B)");
    let named = refused(&[("protobuf.schema", two), ("protobuf.message", "C")]);
    assert_eq!(named, "option 'protobuf.message': 'C' is not in the schema (hint: it has: A, B)");
    let other = refused(&[("protobuf.schema", "syntax = \"proto3\"; message A { string devise = 1; }")]);
    assert_eq!(other, "column device: message A has no such field (hint: is it devise?)");
}

#[test]
fn fields_of_rows_that_the_message_lacks_are_refused() {
    let text = r#"
        syntax = "proto3";
        import "google/protobuf/timestamp.proto";
        message House {
          Room room = 1;
          repeated Room rooms = 2;
          map<string, Room> named = 3;
          google.protobuf.Timestamp ts = 4;
          message Room { int32 number = 1; }
        }"#;
    let opened = |name: &str, data_type: DataType| {
        let options = [("protobuf.schema", text), ("protobuf.message", "House")];
        open_with(&options, vec![column(name, data_type, true)]).map(drop).map_err(|e| e.to_string())
    };
    let row = |name: &str| DataType::Struct(vec![Field::new(name, DataType::Int32, true)].into());
    let list = |t: DataType| DataType::List(Arc::new(Field::new_list_field(t, true)));
    let map = |t: DataType| {
        let pair = Fields::from(vec![Field::new("key", DataType::Utf8View, false), Field::new("value", t, true)]);
        DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false)
    };
    let absent = |path: &str| Err(format!("column {path}: message House.Room has no such field (hint: is it number?)"));
    assert_eq!(opened("room", row("number")), Ok(()));
    assert_eq!(opened("room", row("numbr")), absent("room.numbr"));
    assert_eq!(opened("rooms", list(row("numbr"))), absent("rooms.numbr"));
    assert_eq!(opened("named", map(row("numbr"))), absent("named.numbr"));
    assert_eq!(opened("named", row("any")), Ok(()), "a map may have any");
    assert_eq!(opened("ts", crate::time::timestamp_type()), Ok(()));
}

proptest! {
    #[test]
    fn any_bytes_become_a_row_or_a_reject(place in any::<prop::sample::Index>(), byte in any::<u8>(), noise in proptest::collection::vec(any::<u8>(), 0..20)) {
        let leaf = inner("plant.Reading.Inner", &[("a", Item::I32(2))]);
        let mut bytes = reading(&[("device", Item::String("pump".into())), ("row", leaf), ("list", Item::List(vec![Item::F64(1.0)]))]);
        let at = place.index(bytes.len());
        bytes[at] = byte;
        let decoded = decode(&[bytes, noise]);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), 2);
    }
}
