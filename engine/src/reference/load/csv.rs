//! CSV with a header line. Invariant: columns are matched by the header's names, so their order and further columns do not
//! matter; an empty cell is NULL.

use std::borrow::Cow;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::{ReferenceFormat, cell, without_mark};
use crate::error::{Error, Result};
use crate::limits::REFERENCE_ROWS_MAX;

/// The format.
pub(super) static FORMAT: ReferenceFormat =
    ReferenceFormat { name: "csv", about: "Comma-separated values with a header line; an empty cell is NULL.", load };

fn load(bytes: &[u8], schema: &SchemaRef) -> Result<RecordBatch> {
    let bytes = without_mark(bytes);
    let (header, _) = Format::default().with_header(true).infer_schema(Cursor::new(bytes), Some(0)).map_err(broken)?;
    let names: Vec<&str> = header.fields().iter().map(|f| f.name().trim()).collect();
    let places = schema.fields().iter().map(|f| place_of(f.name(), &names)).collect::<Result<Vec<usize>>>()?;
    let all_text = Schema::new(names.iter().map(|n| Field::new(*n, DataType::Utf8, true)).collect::<Vec<_>>());
    let reader =
        ReaderBuilder::new(Arc::new(all_text)).with_header(true).with_batch_size(8192).build(Cursor::new(bytes)).map_err(broken)?;
    let mut batches = Vec::new();
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(broken)?;
        rows += batch.num_rows();
        if rows > REFERENCE_ROWS_MAX {
            return Err(Error::invalid(format!("more than the {REFERENCE_ROWS_MAX} rows allowed")));
        }
        batches.push(batch);
    }
    let columns = schema.fields().iter().zip(places).map(|(field, place)| {
        let cells = batches.iter().flat_map(|b| b.column(place).as_string::<i32>().iter());
        let cells = cells.map(|text| text.filter(|t| !t.is_empty()).map(Cow::Borrowed));
        cell::column(field, cells, &|row| format!("line {}", row + 2))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &RecordBatchOptions::new().with_row_count(Some(rows)))?)
}

fn place_of(name: &str, header: &[&str]) -> Result<usize> {
    let mut places = (0..header.len()).filter(|&i| header[i] == name);
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (Some(_), Some(_)) => Err(Error::invalid(format!("line 1: column {name} is in the header twice"))),
        (None, _) => {
            let shown: String = header.join(", ").chars().take(200).collect();
            Err(Error::invalid(format!("line 1: column {name} is not in the header")).hint(format!("the header has: {shown}")))
        }
    }
}

fn broken(error: ArrowError) -> Error {
    match error {
        ArrowError::CsvError(message) | ArrowError::ParseError(message) => Error::invalid(message),
        other => Error::invalid(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("device_id", DataType::Utf8View, false),
            Field::new("threshold", DataType::Float64, true),
            Field::new("since", crate::time::timestamp_type(), true),
            Field::new("active", DataType::Boolean, true),
            Field::new("floor", DataType::Int32, true),
        ]))
    }

    #[test]
    fn columns_are_matched_by_name() {
        let file = b"\xef\xbb\xbffloor,active,note,threshold, device_id ,since\n\
            3,true,\"a, \"\"b\"\"\",21.5,pump-1,2026-01-02T03:04:05Z\n-1,FALSE,,,\"pump, the second of its kind\",1767225600000\n";
        let rows = load(file, &schema()).unwrap();
        let mut plain = rows.columns().to_vec();
        plain[2] = arrow::compute::cast(&plain[2], &DataType::Int64).unwrap();
        let names: Vec<&str> = vec!["d", "t", "s", "a", "f"];
        let shown = pretty_format_batches(&[RecordBatch::try_from_iter(names.into_iter().zip(plain)).unwrap()]).unwrap().to_string();
        let cells: Vec<Vec<&str>> = shown.lines().filter(|l| l.starts_with('|')).map(|l| l.split('|').map(str::trim).collect()).collect();
        assert_eq!(cells[1][1..6], ["pump-1", "21.5", "1767323045000000", "true", "3"]);
        assert_eq!(cells[2][1..6], ["pump, the second of its kind", "", "1767225600000000", "false", "-1"]);
    }

    #[test]
    fn decimals_dates_times_and_bytes_are_read() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("price", DataType::Decimal128(6, 2), true),
            Field::new("day", DataType::Date32, true),
            Field::new("at", DataType::Time64(arrow::datatypes::TimeUnit::Microsecond), true),
            Field::new("raw", DataType::Binary, true),
        ]));
        let rows = load(b"id,price,day,at,raw\n1,12.345,2026-01-02,06:30,AQI=\n2,,,,\n", &schema).unwrap();
        let shown = pretty_format_batches(&[rows]).unwrap().to_string();
        let cells: Vec<&str> = shown.lines().nth(3).unwrap().split('|').map(str::trim).collect();
        assert_eq!(cells[1..6], ["1", "12.35", "2026-01-02", "06:30:00", "0102"]);
        let message = |line: &str| load(format!("id,price,day,at,raw\n{line}\n").as_bytes(), &schema).unwrap_err().to_string();
        assert_eq!(message("1,cheap,,,"), "line 2, column price: expected DECIMAL(6, 2), found \"cheap\"");
        assert_eq!(message("1,,2026-02-30,,"), "line 2, column day: expected DATE, found \"2026-02-30\"");
    }

    #[test]
    fn errors_name_line_and_column() {
        let message = |file: &str| load(file.as_bytes(), &schema()).unwrap_err().to_string();
        let header = "device_id,threshold,since,active,floor\n";
        assert_eq!(message(&format!("{header}a,1,,,\nb,hot,,,\n")), "line 3, column threshold: expected DOUBLE, found \"hot\"");
        assert_eq!(message(&format!("{header}a,1,,,3000000000\n")), "line 2, column floor: expected INT, found \"3000000000\"");
        assert_eq!(message(&format!("{header},1,,,\n")), "line 2, column device_id: declared NOT NULL, but has no value");
        assert!(message("device_id,since\n").starts_with("line 1: column threshold is not in the header (hint: the header has: device_id"));
        assert_eq!(message("device_id,device_id,threshold,since,active,floor\n"), "line 1: column device_id is in the header twice");
        assert!(message(&format!("{header}a,1\n")).contains("line 2"), "{}", message(&format!("{header}a,1\n")));
        assert!(message("").contains("not in the header"));
    }
}
