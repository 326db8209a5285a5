//! Lines by example, and lines that the crate `csv` of Arrow wrote. Invariant: what one of them writes, the other reads.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::*;
use crate::contract::Decoded;
use crate::decode::testing::{column, lines, records};
use crate::decode::{DecodeColumn, Source};

fn columns() -> Vec<DecodeColumn> {
    vec![
        column("device", DataType::Utf8View, false),
        DecodeColumn { source: Source::Offset, ..column("offset", DataType::Int64, true) },
        column("t", DataType::Float64, true),
        column("on", DataType::Boolean, true),
        column("ts", crate::time::timestamp_type(), true),
        column("d", DataType::Decimal128(6, 2), true),
    ]
}

fn decode(options: &[(&str, &str)], payloads: &[impl AsRef<[u8]>]) -> Decoded {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let columns = columns();
    let schema = DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None, options };
    crate::decode::open("csv", schema).unwrap().decode(&records("pump-1", payloads)).unwrap()
}

#[test]
fn cells_are_taken_by_position() {
    let decoded = decode(
        &[],
        &["pump,21.5,true,2026-01-02T03:04:05.678Z,7.125\r\n", "\"a, \"\"b\"\"\",,FALSE,1767225600000", "x", "\"\",1,,,,more,\"cells\"\n"],
    );
    assert_eq!(decoded.rejects, []);
    assert_eq!(
        lines(&decoded.rows),
        [
            r#"{"device":"pump","offset":0,"t":21.5,"on":true,"ts":"2026-01-02T03:04:05.678Z","d":7.13}"#,
            r#"{"device":"a, \"b\"","offset":1,"on":false,"ts":"2026-01-01T00:00:00Z"}"#,
            r#"{"device":"x","offset":2}"#,
            r#"{"device":"","offset":3,"t":1.0}"#,
        ]
    );
}

#[test]
fn bad_lines_are_rejected_with_the_reason() {
    let payloads: [&[u8]; 9] = [b"", b"a,hot", b",1", b"\"a", b"\"a\"b,1", b"a\nb", b"a,1\n\n", b"a,\xff", b"a,1,yes"];
    let reasons: Vec<String> = decode(&[], &payloads).rejects.into_iter().map(|r| r.reason).collect();
    assert_eq!(
        reasons,
        [
            "payload is empty",
            "column t: expected DOUBLE, found \"hot\"",
            "column device: declared NOT NULL, but missing or null",
            "broken CSV at byte 0: the quote is not closed",
            "broken CSV at byte 3: expected ',' or the end after a quote, found \"b\"",
            "broken CSV: a record is one line, and there are more",
            "broken CSV: a record is one line, and there are more",
            "payload is not UTF-8 at byte 2",
            "column on: expected BOOLEAN, found \"yes\"",
        ]
    );
}

#[test]
fn the_mark_of_a_byte_order_is_no_part_of_a_cell() {
    let decoded = decode(&[], &["\u{feff}pump,1", "\u{feff}\"a, b\",2\r\n", "\u{feff}\"a", "a,,,,,\u{feff}"]);
    assert_eq!(decoded.rejects.len(), 1);
    assert_eq!(decoded.rejects[0].reason, "broken CSV at byte 3: the quote is not closed");
    let wanted = [r#"{"device":"pump","offset":0,"t":1.0}"#, r#"{"device":"a, b","offset":1,"t":2.0}"#, r#"{"device":"a","offset":3}"#];
    assert_eq!(lines(&decoded.rows), wanted);
}

#[test]
fn options_change_the_characters() {
    let options = [("csv.field-delimiter", "\\t"), ("csv.quote-character", "'"), ("csv.null-literal", "n/a")];
    let decoded = decode(&options, &["'it''s'\t1.5\tn/a", "'n/a'\tn/a", "\"x\"\t2"]);
    assert_eq!(decoded.rejects, []);
    let wanted = [r#"{"device":"it's","offset":0,"t":1.5}"#, r#"{"device":"n/a","offset":1}"#, r#"{"device":"\"x\"","offset":2,"t":2.0}"#];
    assert_eq!(lines(&decoded.rows), wanted);
    let wrong = |options: &[(&str, &str)]| {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let schema = DecodeSchema { columns: columns(), projection: vec![], identity: None, options };
        crate::decode::open("csv", schema).err().unwrap().to_string()
    };
    assert!(wrong(&[("csv.field-delimiter", ";;")]).starts_with("option 'csv.field-delimiter': \";;\" is not one character"));
    assert!(wrong(&[("csv.field-delimiter", "\"")]).contains("is the delimiter"));
    assert_eq!(
        wrong(&[("csv.delimiter", ";")]),
        "option 'csv.delimiter' is not known to format csv (hint: did you mean 'csv.field-delimiter'?)"
    );
}

proptest! {
    #[test]
    fn what_arrow_writes_is_read(cells in proptest::collection::vec("[a-c,;\"'\r\n ä]{0,6}", 1..5)) {
        let fields: Vec<Field> = (0..cells.len()).map(|i| Field::new(format!("c{i}"), DataType::Utf8, true)).collect();
        let arrays = cells.iter().map(|c| Arc::new(StringArray::from(vec![c.as_str()])) as _).collect();
        let rows = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), arrays).unwrap();
        let mut line = Vec::new();
        arrow::csv::WriterBuilder::new().with_header(false).build(&mut line).write(&rows).unwrap();

        let columns: Vec<DecodeColumn> = (0..cells.len()).map(|i| column(&format!("c{i}"), DataType::Utf8View, true)).collect();
        let options = [("csv.null-literal".to_owned(), "NULL".to_owned())].into();
        let schema = DecodeSchema { projection: (0..cells.len()).collect(), columns, identity: None, options };
        let decoded = crate::decode::open("csv", schema).unwrap().decode(&records("pump-1", &[line])).unwrap();
        prop_assert_eq!(&decoded.rejects, &vec![]);
        let got: Vec<&str> = decoded.rows.columns().iter().map(|c| c.as_string_view().value(0)).collect();
        prop_assert_eq!(got, cells);
    }

    #[test]
    fn any_bytes_become_a_row_or_a_reject(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 1..6)) {
        let decoded = decode(&[], &payloads);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), payloads.len());
    }
}
