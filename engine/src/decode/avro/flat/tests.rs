//! Records straight into columns beside the row decoder. Invariant: both give the same rows and rejects, whatever is wanted and however
//! records are broken.

use std::sync::Arc;

use apache_avro::rabin::Rabin;
use apache_avro::types::Value as Item;
use apache_avro::{Decimal, Schema as AvroSchema, to_avro_datum};
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::decode::avro::tests::schema;
use crate::decode::avro::{AvroReader, MARKER, open};
use crate::decode::rows;
use crate::decode::testing::{column, records};

const FLAT: &str = r#"{"type": "record", "name": "Flat", "fields": [
    {"name": "device", "type": "string"},
    {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "t", "type": ["null", "double"]},
    {"name": "f", "type": "float"},
    {"name": "n", "type": ["long", "null"]},
    {"name": "extra", "type": ["null", "string"]},
    {"name": "small", "type": "int"},
    {"name": "on", "type": "boolean"},
    {"name": "text", "type": ["null", "string"]}]}"#;

/// Every kind of field; what ends in `extra` is not declared.
const TYPES: &str = r#"{"type": "record", "name": "Types", "fields": [
    {"name": "tiny", "type": "int"},
    {"name": "short", "type": ["null", "int"]},
    {"name": "num", "type": "int"},
    {"name": "wide", "type": ["long", "null"]},
    {"name": "single", "type": ["null", "float"]},
    {"name": "rounded", "type": "double"},
    {"name": "count", "type": "long"},
    {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
    {"name": "since", "type": ["null", "long"]},
    {"name": "int_extra", "type": ["null", "int"]},
    {"name": "at", "type": {"type": "int", "logicalType": "time-millis"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OFF", "LONGER_THAN_A_VIEW"]}},
    {"name": "float_extra", "type": "float"},
    {"name": "raw", "type": ["bytes", "null"]},
    {"name": "list", "type": {"type": "array", "items": ["null", "int"]}},
    {"name": "list_extra", "type": {"type": "array", "items": "string"}},
    {"name": "either", "type": ["null", "int", "string"]},
    {"name": "text_extra", "type": "string"},
    {"name": "day_extra", "type": {"type": "int", "logicalType": "date"}}]}"#;

/// The columns of `FLAT`, of which some are not wanted.
fn flat(identity: bool) -> DecodeSchema {
    let columns = vec![
        column("device", DataType::Utf8View, true),
        column("ts", crate::time::timestamp_type(), false),
        column("t", DataType::Float64, true),
        column("f", DataType::Float64, true),
        column("n", DataType::Int64, true),
        column("small", DataType::Int64, true),
        column("on", DataType::Boolean, false),
        column("text", DataType::Utf8View, true),
    ];
    DecodeSchema { projection: vec![0, 1, 2, 4, 7, 6], identity: identity.then_some(0), ..schema(columns, FLAT) }
}

/// The columns of `TYPES`.
fn types() -> DecodeSchema {
    let item = arrow::datatypes::Field::new_list_field(DataType::Int32, true);
    let columns = vec![
        column("tiny", DataType::Int8, true),
        column("short", DataType::Int16, true),
        column("num", DataType::Int32, false),
        column("wide", DataType::Int32, true),
        column("single", DataType::Float32, true),
        column("rounded", DataType::Float32, true),
        column("count", DataType::Float64, true),
        column("day", DataType::Date32, false),
        column("since", crate::time::timestamp_type(), true),
        column("at", DataType::Time64(TimeUnit::Microsecond), true),
        column("price", DataType::Decimal128(6, 1), true),
        column("state", DataType::Utf8View, true),
        column("raw", DataType::Binary, true),
        column("list", DataType::List(Arc::new(item)), true),
        column("either", DataType::Utf8View, true),
    ];
    schema(columns, TYPES)
}

/// A record of `TYPES`; `wild` says which field has the number `big`, if one has.
fn typed(n: i32, big: i64, wild: u8, null: bool) -> Item {
    let int = |place: u8| if wild == place { big as i32 } else { n };
    let long = |place: u8| if wild == place { big } else { i64::from(n) };
    let float = |place: u8| if wild == place { f32::from_bits(big as u32) } else { n as f32 / 8.0 };
    let double = |place: u8| if wild == place { f64::from_bits(big as u64) } else { f64::from(n) / 10.0 };
    let branch = |at: u32, item: Item| Item::Union(at, Box::new(item));
    let optional = |at: u32, item: Item| if null { branch(1 - at, Item::Null) } else { branch(at, item) };
    let fields = [
        ("tiny", Item::Int(int(0))),
        ("short", optional(1, Item::Int(int(1)))),
        ("num", Item::Int(int(2))),
        ("wide", optional(0, Item::Long(long(3)))),
        ("single", optional(1, Item::Float(float(4)))),
        ("rounded", Item::Double(double(5))),
        ("count", Item::Long(long(6))),
        ("day", if wild == 7 { branch(0, Item::Null) } else { branch(1, Item::Date(int(8))) }),
        ("since", optional(1, Item::Long(long(12)))),
        ("int_extra", optional(1, Item::Int(int(9)))),
        ("at", Item::TimeMillis(if wild == 10 { big as i32 } else { n.abs() })),
        ("price", Item::Decimal(Decimal::from(long(11).to_be_bytes()))),
        ("state", if n < 0 { Item::Enum(0, "OFF".to_owned()) } else { Item::Enum(1, "LONGER_THAN_A_VIEW".to_owned()) }),
        ("float_extra", Item::Float(f32::NAN)),
        ("raw", optional(0, Item::Bytes(vec![0xff; n.unsigned_abs() as usize % 4]))),
        ("list", Item::Array(vec![branch(1, Item::Int(n)), branch(0, Item::Null)])),
        ("list_extra", Item::Array(vec![Item::String("a".to_owned()); n.unsigned_abs() as usize % 3])),
        (
            "either",
            match n % 3 {
                0 => branch(0, Item::Null),
                1 => branch(1, Item::Int(n)),
                _ => branch(2, Item::String("ä".to_owned())),
            },
        ),
        ("text_extra", Item::String("ä".repeat(n.unsigned_abs() as usize % 20))),
        ("day_extra", Item::Date(i32::MAX)),
    ];
    Item::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

fn reader(schema: &DecodeSchema) -> AvroReader {
    let fields: Vec<FieldRef> = schema.columns.iter().map(|c| c.field.clone()).collect();
    AvroReader::new(&schema.options["avro.schema"], &fields).unwrap()
}

/// Checks that both decoders give the same. Returns the number of rows.
fn agree(schema: DecodeSchema, payloads: &[Vec<u8>]) -> std::result::Result<usize, TestCaseError> {
    let reader = reader(&schema);
    let mut slow = rows::open(schema.clone(), "avro", |_, _| Ok(Box::new(reader))).unwrap();
    let mut fast = open(schema).unwrap();
    let mut rows = 0;
    // The second batch finds what the first has left.
    for payloads in [&payloads[payloads.len() / 2..], payloads] {
        let records = records("pump-1", payloads);
        let (fast, slow) = (fast.decode(&records).unwrap(), slow.decode(&records).unwrap());
        prop_assert_eq!(fast.rows.columns(), slow.rows.columns());
        prop_assert_eq!(fast.offsets, slow.offsets);
        prop_assert_eq!(fast.rejects, slow.rejects);
        rows = fast.rows.num_rows();
    }
    Ok(rows)
}

/// Most often the payload itself.
fn damaged(mut payload: Vec<u8>, how: u8, place: prop::sample::Index, byte: u8, schema: &AvroSchema) -> Vec<u8> {
    match how {
        1 => {
            let at = place.index(payload.len());
            payload[at] = byte;
        }
        2 => payload.truncate(place.index(payload.len())),
        3 => payload.push(byte),
        4 => payload = [MARKER.as_slice(), &schema.fingerprint::<Rabin>().bytes, &payload].concat(),
        _ => {}
    }
    payload
}

proptest! {
    #[test]
    fn plain_records_are_read_as_others_are(
        values in prop::collection::vec(
            (0..4_usize, any::<i64>(), prop::option::of(any::<f64>()), any::<f32>(), prop::option::of(any::<i64>()), any::<i32>(), any::<bool>(),
             prop::option::of("[a-zä]{0,20}"), any::<(prop::sample::Index, u8)>(), 0..8_u8),
            1..40,
        ),
        identity: bool,
    ) {
        let parsed = AvroSchema::parse_str(FLAT).unwrap();
        let optional = |at: u32, value: Option<Item>| match value {
            Some(value) => Item::Union(at, Box::new(value)),
            None => Item::Union(1 - at, Box::new(Item::Null)),
        };
        let payloads: Vec<Vec<u8>> = values.into_iter().map(|(device, ts, t, f, n, small, on, text, (place, byte), how)| {
            let item = Item::Record([
                ("device", Item::String(["pump-1", "pump-2", "", "a device with a long name"][device].to_owned())),
                ("ts", Item::TimestampMicros(if how == 0 { ts } else { ts % 1_000_000_000_000_000 })),
                ("t", optional(1, t.map(Item::Double))),
                ("f", Item::Float(f)),
                ("n", optional(0, n.map(Item::Long))),
                ("extra", optional(1, text.clone().map(Item::String))),
                ("small", Item::Int(small)),
                ("on", Item::Boolean(on)),
                ("text", optional(1, text.map(Item::String))),
            ].map(|(name, value)| (name.to_owned(), value)).to_vec());
            damaged(to_avro_datum(&parsed, item).unwrap(), how, place, byte, &parsed)
        }).collect();
        agree(flat(identity), &payloads)?;
    }

    #[test]
    fn records_of_all_types_are_read_as_others_are(
        values in prop::collection::vec(
            (-100..100_i32, any::<i64>(), 0..24_u8, any::<bool>(), any::<(prop::sample::Index, u8)>(), 0..12_u8),
            1..20,
        ),
        wanted in prop::collection::vec(any::<bool>(), 15),
    ) {
        let parsed = AvroSchema::parse_str(TYPES).unwrap();
        let payloads: Vec<Vec<u8>> = values.into_iter().map(|(n, big, wild, null, (place, byte), how)| {
            damaged(to_avro_datum(&parsed, typed(n, big, wild, null)).unwrap(), how, place, byte, &parsed)
        }).collect();
        let projection = (0..wanted.len()).filter(|&i| wanted[i]).collect();
        agree(DecodeSchema { projection, ..types() }, &payloads)?;
    }
}

#[test]
fn numbers_fit_up_to_the_ends_of_their_columns() {
    let good_of = |field: &str, data_type: DataType, items: Vec<Item>| {
        let text = format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "x", "type": "{field}"}}]}}"#);
        let parsed = AvroSchema::parse_str(&text).unwrap();
        let payload = |item| to_avro_datum(&parsed, Item::Record(vec![("x".to_owned(), item)])).unwrap();
        let payloads: Vec<Vec<u8>> = items.into_iter().map(payload).collect();
        agree(schema(vec![column("x", data_type, true)], &text), &payloads).unwrap()
    };
    for (data_type, min, max) in [
        (DataType::Int8, i32::from(i8::MIN), i32::from(i8::MAX)),
        (DataType::Int16, i32::from(i16::MIN), i32::from(i16::MAX)),
        (DataType::Int32, i32::MIN, i32::MAX),
    ] {
        let longs = [min, max].map(i64::from).into_iter().chain([i64::from(min) - 1, i64::from(max) + 1, i64::MIN, i64::MAX]);
        assert_eq!(good_of("long", data_type.clone(), longs.map(Item::Long).collect()), 2, "{data_type}");
        assert_eq!(good_of("int", data_type, vec![Item::Int(min), Item::Int(max)]), 2);
    }
    let floats = [f32::MAX, -0.0, f32::MIN_POSITIVE / 3.0, f32::NAN, f32::INFINITY];
    assert_eq!(good_of("float", DataType::Float32, floats.map(Item::Float).to_vec()), 3);
    // Half a unit beyond the greatest, and what becomes 0.
    let beyond = f64::from(f32::MAX) * (1.0 + 1e-7);
    let doubles = [f64::from(f32::MAX), -1e-300, 0.1, -beyond, f64::MAX, f64::NAN, f64::NEG_INFINITY];
    assert_eq!(good_of("double", DataType::Float32, doubles.map(Item::Double).to_vec()), 3);
}

/// Stands where the row decoder would, and reads nothing.
struct Unused;

impl Decoder for Unused {
    fn decode(&mut self, _: &Records) -> Result<Decoded> {
        Err(Error::internal("a good record was left to the row decoder"))
    }
}

#[test]
fn good_records_need_no_row_decoder() {
    let (schema, parsed) = (types(), AvroSchema::parse_str(TYPES).unwrap());
    let AvroReader { nodes, fingerprint, places } = reader(&schema);
    let mut decoder = FlatDecoder::open(schema, nodes, &places, fingerprint, Box::new(Unused));
    let payloads: Vec<Vec<u8>> =
        [(5, false), (-7, true), (99, false)].map(|(n, null)| to_avro_datum(&parsed, typed(n, 0, 24, null)).unwrap()).to_vec();
    assert_eq!(decoder.decode(&records("pump-1", &payloads)).unwrap().rows.num_rows(), 3);
}
