//! Tests of the whole decoder: by example, against arrow-json and serde_json, and on broken bytes. Invariant: an oracle is
//! never asked about what we deliberately do differently; those cases are examples here.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use proptest::prelude::*;

use crate::batch::Reject;
use crate::contract::{Decoded, Decoder};
use crate::decode::testing::records;
use crate::decode::{DecodeColumn, DecodeSchema, Source, open};
use crate::time::{MILLISECOND, timestamp_type};

fn column(name: &str, data_type: DataType, nullable: bool, source: Source) -> DecodeColumn {
    DecodeColumn { field: Arc::new(Field::new(name, data_type, nullable)), source, time_unit: MILLISECOND }
}

fn types() -> Vec<(&'static str, DataType)> {
    vec![
        ("flag", DataType::Boolean),
        ("tiny", DataType::Int8),
        ("small", DataType::Int16),
        ("int", DataType::Int32),
        ("big", DataType::Int64),
        ("float", DataType::Float32),
        ("double", DataType::Float64),
        ("text", DataType::Utf8View),
        ("ts", timestamp_type()),
    ]
}

fn schema() -> DecodeSchema {
    let columns: Vec<_> = types().into_iter().map(|(name, t)| column(name, t, true, Source::Payload)).collect();
    DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None }
}

fn decoder(schema: &DecodeSchema) -> Box<dyn Decoder> {
    open("json", schema.clone()).unwrap()
}

fn decode(schema: &DecodeSchema, payloads: &[impl AsRef<[u8]>]) -> Decoded {
    decoder(schema).decode(&records("pump-1", payloads)).unwrap()
}

/// The only column's only value as text; the reason if the record is rejected.
fn one(name: &str, json: &str) -> Result<Option<String>, String> {
    let declared = types().into_iter().find(|(n, _)| *n == name).unwrap();
    let schema = DecodeSchema { columns: vec![column(name, declared.1, true, Source::Payload)], projection: vec![0], identity: None };
    let decoded = decode(&schema, &[format!("{{\"{name}\":{json}}}")]);
    if let Some(reject) = decoded.rejects.first() {
        return Err(reject.reason.clone());
    }
    let mut values = decoded.rows.column(0).clone();
    if name == "ts" {
        values = cast(&values, &DataType::Int64).unwrap();
    }
    Ok(values.is_valid(0).then(|| arrow::util::display::array_value_to_string(&values, 0).unwrap()))
}

#[test]
fn values_are_taken_as_declared() {
    for (name, json, wanted) in [
        ("double", "21.5", "21.5"),
        ("double", "\" 21.5 \"", "21.5"),
        ("double", "-0", "-0.0"),
        ("double", r#""2\u0031""#, "21.0"),
        ("double", "12345678901234567890123", "1.2345678901234568e22"),
        ("float", "0.1", "0.1"),
        ("big", "-9223372036854775808", "-9223372036854775808"),
        ("int", "\"42\"", "42"),
        ("int", "4.20e1", "42"),
        ("tiny", "-128", "-128"),
        ("flag", "false", "false"),
        ("text", r#""a\n\u00e4\ud83d\ude00""#, "a\nä😀"),
        ("text", "\"plain text that is longer than a view\"", "plain text that is longer than a view"),
        ("text", r#""escaped text \"longer\" than a view""#, "escaped text \"longer\" than a view"),
        ("text", "\"\"", ""),
        ("text", "1.50", "1.50"),
        ("text", "true", "true"),
        ("text", "{\"a\": [1, {\"b\":\"}\"}]}", "{\"a\": [1, {\"b\":\"}\"}]}"),
        ("ts", "\"2026-01-01T00:00:00.1239Z\"", "1767225600123000"),
        ("ts", "\"2026-01-01 02:00:00.123+02:00\"", "1767225600123000"),
        ("ts", "1767225600123", "1767225600123000"),
        ("ts", "1767225600123.9", "1767225600123000"),
        ("ts", "-0.5", "-1000"),
    ] {
        assert_eq!(one(name, json), Ok(Some(wanted.to_owned())), "{name}: {json}");
    }
    for (name, _) in types() {
        assert_eq!(one(name, "null"), Ok(None), "{name}");
    }
}

#[test]
fn what_does_not_fit_is_rejected_with_column_type_and_value() {
    for (name, json, wanted, found) in [
        ("double", "\"hot\"", "DOUBLE", "\"hot\""),
        ("double", "1e999", "DOUBLE", "1e999"),
        ("double", "true", "DOUBLE", "true"),
        ("double", "\"\"", "DOUBLE", "\"\""),
        ("double", "\"NaN\"", "DOUBLE", "\"NaN\""),
        ("float", "1e39", "FLOAT", "1e39"),
        ("int", "1.5", "INT", "1.5"),
        ("int", "2147483648", "INT", "2147483648"),
        ("int", "[1]", "INT", "[1]"),
        ("big", "9223372036854775808", "BIGINT", "9223372036854775808"),
        ("small", "-32769", "SMALLINT", "-32769"),
        ("tiny", "128", "TINYINT", "128"),
        ("flag", "1", "BOOLEAN", "1"),
        ("flag", "\"true\"", "BOOLEAN", "\"true\""),
        ("ts", "\"yesterday\"", "TIMESTAMP", "\"yesterday\""),
        ("ts", "1e18", "TIMESTAMP", "1e18"),
        ("ts", "{\"a\":1}", "TIMESTAMP", "{\"a\":1}"),
        ("int", "\"0123456789012345678901234567890123456789\"", "INT", "\"012345678901234567890123456789012345678…"),
    ] {
        assert_eq!(one(name, json), Err(format!("column {name}: expected {wanted}, found {found}")), "{name}: {json}");
    }
}

#[test]
fn broken_records_are_rejected_with_the_place() {
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", "payload is empty"),
        (b"  ", "broken JSON at byte 2: expected an object, found the end"),
        (b"[1]", "broken JSON at byte 0: expected an object, found '['"),
        (b"{\"int\":1", "broken JSON at byte 8: expected ',' or '}', found the end"),
        (b"{\"int\":1}x", "broken JSON at byte 9: expected the end of the payload, found 'x'"),
        (b"{\"int\" 1}", "broken JSON at byte 7: expected ':', found '1'"),
        (b"{\"int\":}", "column"),
        (b"{int:1}", "broken JSON at byte 1: expected an attribute name in quotes, found 'i'"),
        (b"{\"int\":1,}", "broken JSON at byte 9: expected an attribute name in quotes, found '}'"),
        (b"{\"int\":01}", "broken JSON at byte 8: expected a number without leading zeros, found '1'"),
        (b"{\"double\":NaN}", "broken JSON at byte 10: expected a value, found 'N'"),
        (b"{\"double\":-Infinity}", "broken JSON at byte 11: expected a digit, found 'I'"),
        (b"{\"text\":\"a\nb\"}", "broken JSON at byte 10: expected the end of a string, found '\u{fffd}'"),
        (b"{\"text\":\"a", "broken JSON at byte 10: expected the end of a string, found the end"),
        (b"{\"x\":\"\\q\"}", "broken JSON at byte 6: expected a valid escape, found '\\'"),
        (b"{\"x\":[1,{\"a\":tru}]}", "broken JSON at byte 13: expected a value, found 't'"),
        (b"{\"x\":[1 2]}", "broken JSON at byte 8: expected ',' or ']', found '2'"),
        (b"{\"x\":\"\xff\"}", "payload is not UTF-8 at byte 6"),
        (deep.as_bytes(), "JSON is nested deeper than 64 at byte 68"),
    ];
    for (payload, wanted) in cases {
        let decoded = decode(&schema(), &[payload]);
        assert_eq!(decoded.rows.num_rows(), 0);
        let wanted = if wanted == "column" { "broken JSON at byte 7: expected a value, found '}'" } else { wanted };
        assert_eq!(decoded.rejects, [Reject { offset: 0, reason: wanted.to_owned() }], "{}", String::from_utf8_lossy(payload));
    }
}

#[test]
fn the_last_of_equal_attributes_counts_and_names_may_be_escaped() {
    let payloads = [
        r#"{"int":1,"int":2}"#,
        r#"{"int":null,"int":3}"#,
        r#"{"int":4,"int":null}"#,
        r#"{"in\u0074":5,"Int":6}"#,
        r#"{"int":7,"INT":8}"#,
        "{}",
        " \r\n\t{ \"int\" : 9 , \"y\" : [ ] } ",
    ];
    let decoded = decode(&schema(), &payloads);
    assert_eq!(decoded.rejects, []);
    let ints: Vec<_> = decoded.rows.column(3).as_primitive::<arrow::datatypes::Int32Type>().iter().collect();
    assert_eq!(ints, [Some(2), Some(3), None, Some(5), Some(7), None, Some(9)]);
}

#[test]
fn a_rejected_record_leaves_nothing_behind() {
    let schema = DecodeSchema {
        columns: vec![
            column("a", DataType::Int64, true, Source::Payload),
            column("b", DataType::Utf8View, true, Source::Payload),
            column("c", DataType::Float64, false, Source::Payload),
        ],
        projection: vec![0, 1],
        identity: None,
    };
    let payloads = [
        r#"{"a":1,"b":"this is a long string \u0041","c":"x"}"#,
        r#"{"a":null,"b":null,"c":null}"#,
        r#"{"a":2,"b":"x","c":1}"#,
        r#"{"c":1}"#,
        r#"{"a":3}"#,
        r#"{"a":4,"b":"long enough to be borrowed","c":1}"#,
    ];
    let mut decoder = decoder(&schema);
    for _ in 0..2 {
        let decoded = decoder.decode(&records("pump-1", &payloads)).unwrap();
        assert_eq!(decoded.rows.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(2), None, Some(4)]);
        let texts: Vec<_> = decoded.rows.column(1).as_string_view().iter().collect();
        assert_eq!(texts, [Some("x"), None, Some("long enough to be borrowed")]);
        assert_eq!(decoded.offsets.values().to_vec(), [2, 3, 5]);
        let reasons: Vec<(u64, &str)> = decoded.rejects.iter().map(|r| (r.offset, r.reason.as_str())).collect();
        let missing = "column c: declared NOT NULL, but missing or null";
        assert_eq!(reasons, [(0, "column c: expected DOUBLE, found \"x\""), (1, missing), (4, missing)]);
    }
}

#[test]
fn the_identity_must_be_the_device_that_sent_the_record() {
    let mut schema = DecodeSchema {
        columns: vec![column("device_id", DataType::Utf8View, true, Source::Payload), column("x", DataType::Int64, true, Source::Payload)],
        projection: vec![0],
        identity: Some(0),
    };
    let payloads = [
        r#"{"device_id":"pump-1","x":1}"#,
        r#"{"device_id":"pump-2"}"#,
        r#"{"x":1}"#,
        r#"{"device_id":null}"#,
        r#"{"device_id":"pump\u002d1"}"#,
        r#"{"device_id":"pump-11"}"#,
        r#"{"device_id":7}"#,
    ];
    let missing = "attribute device_id is missing: the record came from device pump-1";
    let other = |says: &str| format!("attribute device_id says {says} but the record came from device \"pump-1\"");
    let wanted = [(1, other("\"pump-2\"")), (2, missing.into()), (3, missing.into()), (5, other("\"pump-11\"")), (6, other("7"))];
    for projection in [vec![0], vec![1], vec![]] {
        schema.projection = projection;
        let decoded = decode(&schema, &payloads);
        assert_eq!(decoded.rejects.into_iter().map(|r| (r.offset, r.reason)).collect::<Vec<_>>(), wanted);
        assert_eq!(decoded.rows.num_rows(), 2);
        if schema.projection == [0] {
            assert_eq!(decoded.rows.column(0).as_string_view().iter().collect::<Vec<_>>(), [Some("pump-1"); 2]);
        }
    }
}

#[test]
fn metadata_comes_from_the_log() {
    let columns = vec![
        column("topic", DataType::Utf8View, true, Source::Topic),
        column("int", DataType::Int32, true, Source::Payload),
        column("device", DataType::Utf8View, false, Source::DeviceId),
        column("at", timestamp_type(), false, Source::ReceivedAt),
        column("partition", DataType::Int64, false, Source::Partition),
        column("offset", DataType::Int64, false, Source::Offset),
    ];
    let schema = DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None };
    let decoded = decode(&schema, &["{\"int\":1}", "[]", "{\"topic\":5}"]);
    assert_eq!(decoded.rejects.len(), 1);
    let texts = |i: usize| decoded.rows.column(i).as_string_view().iter().flatten().collect::<Vec<_>>();
    assert_eq!((texts(0), texts(2)), (vec!["devices/pump-1/telemetry"; 2], vec!["pump-1"; 2]));
    let numbers = |i: usize| cast(decoded.rows.column(i), &DataType::Int64).unwrap().as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(numbers(3), [1_767_225_600_123_000, 1_767_225_602_123_000], "cut down to milliseconds");
    assert_eq!((numbers(4), numbers(5)), (vec![3, 3], vec![0, 2]));
    assert_eq!(decoded.received.values().to_vec(), [1_767_225_600_123_456, 1_767_225_602_123_456]);
}

#[test]
fn columns_that_json_cannot_give_are_refused() {
    let one = |c: DecodeColumn, identity| open("json", DecodeSchema { columns: vec![c], projection: vec![0], identity }).err().unwrap();
    let e = one(column("body", DataType::BinaryView, true, Source::Payload), None);
    assert_eq!(e.message(), "column body: format json cannot give BYTES");
    let e = one(column("topic", DataType::Int64, true, Source::Topic), None);
    assert_eq!(e.message(), "metadata column topic is STRING, not BIGINT");
    let e = one(column("device_id", DataType::Int64, true, Source::Payload), Some(0));
    assert_eq!(e.message(), "column device_id holds the device's id: it must be a STRING of the payload");
}

/// JSON text of a value that fits the type.
fn fitting(data_type: &DataType) -> BoxedStrategy<String> {
    let quoted = |s: String| serde_json::to_string(&s).unwrap();
    let ascii = |s: String| {
        let escape = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format_units(c) };
        format!("\"{}\"", s.chars().map(escape).collect::<String>())
    };
    let fits = match data_type {
        DataType::Boolean => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        DataType::Int8 => any::<i8>().prop_map(|n| n.to_string()).boxed(),
        DataType::Int16 => any::<i16>().prop_map(|n| n.to_string()).boxed(),
        DataType::Int32 => any::<i32>().prop_map(|n| format!("\"{n}\"")).boxed(),
        DataType::Int64 => any::<i64>().prop_map(|n| n.to_string()).boxed(),
        DataType::Float32 => (-1e30_f32..1e30).prop_map(|x| x.to_string()).boxed(),
        DataType::Float64 => prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| format!("{x:?}")),
            (-100_000_i64..100_000, 0_u32..6).prop_map(|(n, places)| format!("{:.*}", places as usize, n as f64 / 100.0)),
        ]
        .boxed(),
        DataType::Utf8View => prop_oneof![any::<String>().prop_map(quoted), any::<String>().prop_map(ascii)].boxed(),
        _ => (0_i64..4_000_000_000_000).prop_map(|ms| format!("\"{}\"", crate::time::format(ms * MILLISECOND))).boxed(),
    };
    prop_oneof![9 => fits, 1 => Just("null".to_owned())].boxed()
}

fn format_units(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Any JSON text, for attributes that nobody declared.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(" , "))),
            proptest::collection::vec(("[a-z]{0,3}", inner), 0..4)
                .prop_map(|v| format!("{{{}}}", v.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(","))),
        ]
    })
}

/// A record of fitting attributes, a few missing, in any order, with other attributes between.
fn record() -> impl Strategy<Value = String> {
    let declared: Vec<_> =
        types().into_iter().map(|(name, t)| proptest::option::weighted(0.8, fitting(&t).prop_map(move |v| (name.to_owned(), v)))).collect();
    let others = proptest::collection::vec(("x[a-z]{0,4}", any_json()), 0..3);
    let space = proptest::sample::select(vec!["", " ", "\n\t "]);
    (declared, others, space, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(declared, others, space, turn, shuffled)| {
        let mut all: Vec<(String, String)> = declared.into_iter().flatten().chain(others).collect();
        if shuffled && !all.is_empty() {
            let by = turn.index(all.len());
            all.rotate_left(by);
        }
        let members: Vec<String> = all.iter().map(|(k, v)| format!("\"{k}\"{space}:{space}{v}")).collect();
        format!("{space}{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
    })
}

/// What arrow-json makes of the records; of their texts serde_json, because arrow-json 59 joins surrogate pairs beyond the
/// second plane wrongly.
fn oracle(payloads: &[String]) -> RecordBatch {
    let plain = |t: DataType| if t == timestamp_type() { DataType::Timestamp(TimeUnit::Microsecond, None) } else { t };
    let fields: Vec<Field> = types().into_iter().map(|(n, t)| Field::new(n, plain(t), true)).collect();
    let builder = arrow::json::ReaderBuilder::new(Arc::new(Schema::new(fields))).with_coerce_primitive(true);
    let mut decoder = builder.with_batch_size(payloads.len() + 1).build_decoder().unwrap();
    for payload in payloads {
        assert_eq!(decoder.decode(payload.as_bytes()).unwrap(), payload.len());
    }
    decoder.flush().unwrap().unwrap()
}

proptest! {
    #[test]
    fn good_records_are_as_arrow_json_reads_them(payloads in proptest::collection::vec(record(), 1..20)) {
        let decoded = decode(&schema(), &payloads);
        prop_assert_eq!(&decoded.rejects, &vec![]);
        let wanted = oracle(&payloads);
        for i in 0..wanted.num_columns() {
            let got = cast(decoded.rows.column(i), wanted.column(i).data_type()).unwrap();
            if let Some(texts) = got.as_string_view_opt() {
                let parsed = payloads.iter().map(|p| serde_json::from_str::<serde_json::Value>(p).unwrap());
                let wanted: Vec<Option<String>> = parsed.map(|p| p.get("text").and_then(|t| t.as_str()).map(str::to_owned)).collect();
                prop_assert_eq!(texts.iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>(), wanted);
            } else {
                prop_assert_eq!(&got, wanted.column(i), "column {}", types()[i].0);
            }
        }
    }

    #[test]
    fn mutated_records_are_rejected_if_serde_json_rejects_them(
        record in record(),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:\\ue0-.n".to_vec())], any::<bool>()), 0..3),
    ) {
        let mut bytes = record.into_bytes();
        for (place, byte, insert) in mutations {
            let at = place.index(bytes.len());
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        let decoded = decode(&schema(), &[&bytes]);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), 1);
        match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes) {
            Ok(_) => {
                let type_error = decoded.rejects.iter().all(|r| r.reason.starts_with("column "));
                prop_assert!(type_error, "{:?}: {}", decoded.rejects, String::from_utf8_lossy(&bytes));
            }
            Err(e) => prop_assert!(decoded.rejects.len() == 1 || e.to_string().contains("out of range"), "{e}: {}", String::from_utf8_lossy(&bytes)),
        }
    }

    #[test]
    fn a_record_is_good_or_bad_whatever_is_wanted_and_however_batched(
        payloads in proptest::collection::vec(prop_oneof![4 => record().prop_map(String::into_bytes), 1 => proptest::collection::vec(any::<u8>(), 0..40), 1 => "\\{\"(int|flag|ts|text)\":(1|true|\"x\"|null|1.5)\\}".prop_map(String::into_bytes)], 1..12),
        wanted in proptest::collection::vec(any::<bool>(), 9),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = decode(&schema(), &payloads);
        let mut offsets: Vec<u64> = all.offsets.values().iter().copied().chain(all.rejects.iter().map(|r| r.offset)).collect();
        offsets.sort_unstable();
        prop_assert_eq!(offsets, (0..payloads.len() as u64).collect::<Vec<_>>(), "every record once");
        prop_assert!(all.offsets.values().is_sorted() && all.rejects.is_sorted_by_key(|r| r.offset));

        let projection: Vec<usize> = (0..9).filter(|&i| wanted[i]).collect();
        let some = decode(&DecodeSchema { projection: projection.clone(), ..schema() }, &payloads);
        prop_assert_eq!(&some.rejects, &all.rejects);
        prop_assert_eq!(&some.rows, &all.rows.project(&projection).unwrap());

        let at = cut.index(payloads.len());
        let mut one_decoder = decoder(&schema());
        let parts = [&payloads[..at], &payloads[at..]].map(|p| one_decoder.decode(&records("pump-1", p)).unwrap().rows);
        prop_assert_eq!(&arrow::compute::concat_batches(all.rows.schema_ref(), &parts).unwrap(), &all.rows);
    }
}
