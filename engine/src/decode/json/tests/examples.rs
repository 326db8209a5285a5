//! What becomes of a record, by example. Invariant: what we do differently from other readers of JSON on purpose is here.

use super::*;

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
        ("ts", "\"0000-01-01T00:00:00+01:00\"", "TIMESTAMP", "\"0000-01-01T00:00:00+01:00\""),
        ("ts", "\"9999-12-31T23:59:59-01:00\"", "TIMESTAMP", "\"9999-12-31T23:59:59-01:00\""),
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
fn one_mark_of_a_byte_order_is_skipped() {
    let payloads =
        ["\u{feff}{\"int\":1}", "{\"int\":2}", "\u{feff} {\"int\":3,\"text\":\"a text that is longer than a view\"}", "\u{feff}[]"];
    let decoded = decode(&schema(), &payloads);
    let reason = "broken JSON at byte 3: expected an object, found '['".to_owned();
    assert_eq!(decoded.rejects, [Reject { offset: 3, reason }]);
    let ints: Vec<_> = decoded.rows.column(3).as_primitive::<arrow::datatypes::Int32Type>().iter().collect();
    assert_eq!(ints, [Some(1), Some(2), Some(3)]);
    assert_eq!(decoded.rows.column(7).as_string_view().value(2), "a text that is longer than a view");
    assert_eq!(decode(&schema(), &["\u{feff}\u{feff}{}", " \u{feff}{}"]).rejects.len(), 2);
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
        options: Default::default(),
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
        options: Default::default(),
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
    let schema = DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None, options: Default::default() };
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
    let one = |c: DecodeColumn, identity| {
        open("json", DecodeSchema { columns: vec![c], projection: vec![0], identity, options: Default::default() }).err().unwrap()
    };
    let e = one(column("body", DataType::Duration(TimeUnit::Second), true, Source::Payload), None);
    assert_eq!(e.message(), "column body: format json cannot give Duration(s)");
    let e = one(column("topic", DataType::Int64, true, Source::Topic), None);
    assert_eq!(e.message(), "metadata column topic is STRING, not BIGINT");
    let e = one(column("device_id", DataType::Int64, true, Source::Payload), Some(0));
    assert_eq!(e.message(), "column device_id holds the device's id: it must be a STRING of the payload");
}
