//! Columns that go through builders: decimals, dates, bytes, and all that is nested. Invariant: whether a record is good does not
//! depend on which of them are wanted.

use arrow::datatypes::{FieldRef, Fields};

use super::*;
use crate::decode::testing::lines;

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

fn nested() -> Vec<(&'static str, DataType)> {
    let pairs = Fields::from(vec![Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Float64, true)]);
    let row = Fields::from(vec![Field::new("b", DataType::List(item(DataType::Float64)), true), Field::new("c", timestamp_type(), true)]);
    vec![
        ("price", DataType::Decimal128(8, 2)),
        ("day", DataType::Date32),
        ("at", DataType::Time64(TimeUnit::Microsecond)),
        ("image", DataType::Binary),
        ("tags", DataType::List(item(DataType::Utf8View))),
        ("sensors", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pairs), false)), false)),
        ("a", DataType::Struct(row)),
        ("n", DataType::Int64),
    ]
}

fn nested_schema() -> DecodeSchema {
    let columns: Vec<_> = nested().into_iter().map(|(name, t)| column(name, t, true, Source::Payload)).collect();
    DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None, options: Default::default() }
}

/// The good rows as JSON again, and the reasons.
fn through(payloads: &[&str]) -> (Vec<String>, Vec<String>) {
    let decoded = decode(&nested_schema(), payloads);
    (lines(&decoded.rows), decoded.rejects.into_iter().map(|r| r.reason).collect())
}

#[test]
fn nested_values_are_taken_as_declared() {
    let (rows, rejects) = through(&[
        r#"{"price":"12.345","day":"2026-01-02","at":"01:02:03.4567","image":"AQID","n":1}"#,
        r#"{"tags":["a\u0041", 1.50, true, null, {"x": [1]}],"price":1e3,"image":""}"#,
        r#"{"sensors":{"t":1.5,"p":null,"t":2},"a":{"x":[{}],"c":"2026-01-02T03:04:05.6789Z","b":[1,"2",null]}}"#,
        r#"{"tags":[],"sensors":{},"a":{}}"#,
        r#"{"tags":null,"tags":["last"],"a":{"b":[1]},"a":null}"#,
    ]);
    assert_eq!(rejects, Vec::<String>::new());
    assert_eq!(
        rows,
        [
            r#"{"price":12.35,"day":"2026-01-02","at":"01:02:03.456","image":"010203","n":1}"#,
            r#"{"price":1000.00,"image":"","tags":["aA","1.50","true",null,"{\"x\": [1]}"]}"#,
            r#"{"sensors":{"t":2.0},"a":{"b":[1.0,2.0,null],"c":"2026-01-02T03:04:05.678Z"}}"#,
            r#"{"tags":[],"sensors":{},"a":{}}"#,
            r#"{"tags":["last"]}"#,
        ]
    );
}

#[test]
fn what_does_not_fit_is_rejected_with_its_path() {
    for (payload, wanted) in [
        (r#"{"a":{"b":[1,2,3,"hot"]}}"#, "column a.b[3]: expected DOUBLE, found \"hot\""),
        (r#"{"a":{"c":"soon"}}"#, "column a.c: expected TIMESTAMP, found \"soon\""),
        (r#"{"a":[1, 2]}"#, "column a: expected ROW<b ARRAY<DOUBLE>, c TIMESTAMP>, found [1, 2]"),
        (r#"{"sensors":{"t":[]}}"#, "column sensors['t']: expected DOUBLE, found []"),
        (r#"{"tags":{"a":1}}"#, "column tags: expected ARRAY<STRING>, found {\"a\":1}"),
        (r#"{"price":"1000000"}"#, "column price: expected DECIMAL(8, 2), found \"1000000\""),
        (r#"{"price":"0x1"}"#, "column price: expected DECIMAL(8, 2), found \"0x1\""),
        (r#"{"day":"2026-02-30"}"#, "column day: expected DATE, found \"2026-02-30\""),
        (r#"{"day":20000}"#, "column day: expected DATE, found 20000"),
        (r#"{"at":"25:00"}"#, "column at: expected TIME(6), found \"25:00\""),
        (r#"{"image":"%"}"#, "column image: expected BYTES, found \"%\""),
        (r#"{"a":{"b":[1,2}}"#, "broken JSON at byte 14: expected ',' or ']', found '}'"),
        (r#"{"a":{"b":[tru]}}"#, "broken JSON at byte 11: expected a value, found 't'"),
        (r#"{"a":{b:1}}"#, "broken JSON at byte 6: expected an attribute name in quotes, found 'b'"),
    ] {
        assert_eq!(through(&[payload]), (Vec::new(), vec![wanted.to_owned()]), "{payload}");
    }
    let deep = format!("{{\"tags\":{}{}}}", "[".repeat(64), "]".repeat(64));
    assert_eq!(through(&[&deep]).1, ["JSON is nested deeper than 64 at byte 71"]);
}

/// A record of the nested columns, good or bad.
fn record() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![Just("null"), Just("1.5"), Just("\"2\""), Just("\"x\""), Just("true"), Just("\"2026-01-02\"")];
    let any = leaf.prop_map(str::to_owned).prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|v| format!("[{}]", v.join(","))),
            proptest::collection::vec(("[bct]", inner), 0..3)
                .prop_map(|v| format!("{{{}}}", v.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(","))),
        ]
    });
    let name = proptest::sample::select(nested().into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    proptest::collection::vec((name, any), 0..3)
        .prop_map(|v| format!("{{{}}}", v.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(",")))
}

proptest! {
    #[test]
    fn nested_records_are_good_or_bad_whatever_is_wanted_and_however_batched(
        payloads in proptest::collection::vec(record(), 1..12),
        wanted in proptest::collection::vec(any::<bool>(), 8),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = decode(&nested_schema(), &payloads);
        prop_assert_eq!(all.rows.num_rows() + all.rejects.len(), payloads.len());
        let projection: Vec<usize> = (0..8).filter(|&i| wanted[i]).collect();
        let some = decode(&DecodeSchema { projection: projection.clone(), ..nested_schema() }, &payloads);
        prop_assert_eq!(&some.rejects, &all.rejects);
        prop_assert_eq!(&some.rows, &all.rows.project(&projection).unwrap());
        let mut decoder = decoder(&nested_schema());
        let (first, second) = payloads.split_at(cut.index(payloads.len()));
        let parts = [first, second].map(|p| decoder.decode(&records("pump-1", p)).unwrap().rows);
        prop_assert_eq!(&arrow::compute::concat_batches(all.rows.schema_ref(), &parts).unwrap(), &all.rows);
        // Each alone gives the same row.
        for (row, offset) in all.offsets.values().iter().enumerate() {
            let alone = decode(&nested_schema(), &payloads[*offset as usize..=*offset as usize]);
            prop_assert_eq!(&alone.rows, &all.rows.slice(row, 1));
        }
    }
}
