//! Rows that carry a record's origin: cold rows, late rows, rejects. Invariant: every record given gets its row or rows, in
//! offset order, and its payload byte for byte: as text if it is UTF-8, else as bytes.
//!
//! ```text
//! cold  _partition _offset _device_id _received_at _topic _content_type _producer_epoch _producer_sequence _reject
//!       <declared columns, NULL in rejects> _payload _payload_raw
//! late  _partition _offset _device_id _received_at event_time watermark reason payload payload_raw
//! dlq   _partition _offset _device_id _received_at _topic job reason payload payload_raw
//! ```
//!
//! A row that failed behind the exchange has no record: its origin is NULL, and its payload are its values, as JSON.
//!
//! Text columns are views into the bytes of the log; nothing is copied until Parquet encodes it.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::batch::{ContentType, Entry, FailedRow, ProducerSequence, Records, Reject};
use crate::contract::Decoded;
use crate::contract::operator::LateRows;
use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::json;
use crate::lake::schema::stored;
use crate::time::{Micros, SECOND, timestamp_type};

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, false))
}

fn nullable(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn origin() -> Vec<FieldRef> {
    vec![
        field("_partition", DataType::Int32),
        field("_offset", DataType::Int64),
        field("_device_id", DataType::Utf8View),
        field("_received_at", timestamp_type()),
    ]
}

/// Columns of the cold table of a stream with these declared columns; times of day are texts there.
pub fn cold_schema(declared: &Schema) -> SchemaRef {
    let mut fields = origin();
    fields.extend([
        field("_topic", DataType::Utf8View),
        nullable("_content_type", DataType::Utf8View),
        nullable("_producer_epoch", DataType::Int64),
        nullable("_producer_sequence", DataType::Int64),
        nullable("_reject", DataType::Utf8View),
    ]);
    fields.extend(declared.fields().iter().map(|f| nullable(f.name(), stored(f.data_type()))));
    fields.extend([nullable("_payload", DataType::Utf8View), nullable("_payload_raw", DataType::Binary)]);
    Arc::new(Schema::new(fields))
}

/// Columns of a job's table of late rows.
pub fn late_schema() -> SchemaRef {
    let mut fields = origin();
    fields.extend([
        field("event_time", timestamp_type()),
        field("watermark", timestamp_type()),
        // Rows of 0.1.0 have none.
        nullable("reason", DataType::Utf8View),
        nullable("payload", DataType::Utf8View),
        nullable("payload_raw", DataType::Binary),
    ]);
    Arc::new(Schema::new(fields))
}

/// Columns of a table's dead letters.
pub fn dlq_schema() -> SchemaRef {
    let mut fields: Vec<FieldRef> = origin().iter().map(|f| nullable(f.name(), f.data_type().clone())).collect();
    fields.extend([
        nullable("_topic", DataType::Utf8View),
        nullable("job", DataType::Utf8View),
        field("reason", DataType::Utf8View),
        nullable("payload", DataType::Utf8View),
        nullable("payload_raw", DataType::Binary),
    ]);
    Arc::new(Schema::new(fields))
}

/// One cold row for each decoded row and each reject. `schema` is `cold_schema` of the columns of `decoded`. Errors: `Internal`
/// if the decoder lost a record or made one up, `Invalid` if the columns do not fit.
pub fn cold_rows(schema: &SchemaRef, records: &Records, decoded: &Decoded) -> Result<RecordBatch> {
    let Decoded { rows, offsets, rejects, .. } = decoded;
    if rejects.is_empty() && records.entries.iter().map(|e| &e.offset).eq(offsets.values().iter()) {
        // Each record is one row, as nearly always.
        let reasons = new_null_array(&DataType::Utf8View, offsets.len());
        return cold(schema, records, records.entries.iter(), reasons, rows.columns().to_vec());
    }
    let merged = merge(records, decoded)?;
    let entries = merged.iter().map(|row| &records.entries[row.entry]);
    let reasons: StringViewArray = merged.iter().map(|row| row.reject.map(|i| rejects[i].reason.as_str())).collect();
    let mut values = rows.columns().to_vec();
    if !rejects.is_empty() {
        let indices: UInt32Array = merged.iter().map(|row| row.row).collect();
        values = values.iter().map(|column| Ok(take(column, &indices, None)?)).collect::<Result<_>>()?;
    }
    cold(schema, records, entries, Arc::new(reasons), values)
}

/// Cold rows of these entries with these values.
fn cold<'a>(
    schema: &SchemaRef,
    records: &Records,
    entries: impl ExactSizeIterator<Item = &'a Entry> + Clone,
    reasons: ArrayRef,
    values: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    let mut columns = origin_columns(records, entries.clone())?;
    columns.push(text(records, entries.clone().map(|e| &e.topic))?);
    columns.push(content_types(entries.clone())?);
    let numbered = entries.clone().any(|e| e.producer.is_some());
    let number = |part: fn(ProducerSequence) -> i64| -> ArrayRef {
        match numbered {
            true => Arc::new(entries.clone().map(|e| e.producer.map(part)).collect::<Int64Array>()),
            false => new_null_array(&DataType::Int64, entries.len()),
        }
    };
    columns.extend([number(|p| p.epoch.into()), number(|p| p.sequence as i64), reasons]);
    for column in values {
        let wanted = stored(column.data_type());
        columns.push(if *column.data_type() == wanted { column } else { cast(&column, &wanted)? });
    }
    columns.extend(payloads(records, entries)?);
    finish(schema, columns)
}

/// One row for each late row; `records` hold the records they came from. Errors: `Internal` if one is not among them.
pub fn late_rows(records: &Records, late: &LateRows) -> Result<RecordBatch> {
    let entries = late.offsets.values().iter().map(|&o| find(records, o)).collect::<Result<Vec<_>>>()?;
    let entries = entries.iter().copied();
    let mut columns = origin_columns(records, entries.clone())?;
    columns.push(times(late.times.iter().copied()));
    columns.push(times(late.watermarks.iter().copied()));
    let reasons = late.times.iter().zip(&late.watermarks).map(|(&time, &watermark)| Some(behind(time, watermark)));
    columns.push(Arc::new(reasons.collect::<StringViewArray>()));
    columns.extend(payloads(records, entries)?);
    finish(&late_schema(), columns)
}

/// Why a row is late, in seconds.
fn behind(time: Micros, watermark: Micros) -> String {
    format!("late: {} s behind the watermark", watermark.saturating_sub(time) as f64 / SECOND as f64)
}

/// One row for each reject; `job` names the job that rejected it, `None` the decoder. Errors: `Internal` if a rejected record is
/// not among `records`.
pub fn dlq_rows(records: &Records, job: Option<&str>, rejects: &[Reject]) -> Result<RecordBatch> {
    let entries = rejects.iter().map(|r| find(records, r.offset)).collect::<Result<Vec<_>>>()?;
    let entries = entries.iter().copied();
    let mut columns = origin_columns(records, entries.clone())?;
    columns.push(text(records, entries.clone().map(|e| &e.topic))?);
    columns.push(Arc::new(rejects.iter().map(|_| job).collect::<StringViewArray>()));
    columns.push(Arc::new(rejects.iter().map(|r| Some(r.reason.as_str())).collect::<StringViewArray>()));
    columns.extend(payloads(records, entries)?);
    finish(&dlq_schema(), columns)
}

/// One row for each row that `job` could not compute behind the exchange. Columns that no query can name are left out of the payload.
pub fn failed_rows(job: &str, failed: &[FailedRow]) -> Result<RecordBatch> {
    let schema = dlq_schema();
    let origin = |name: &str| -> Result<ArrayRef> { Ok(new_null_array(schema.field_with_name(name)?.data_type(), failed.len())) };
    let mut columns =
        ["_partition", "_offset", "_device_id", "_received_at", "_topic"].map(origin).into_iter().collect::<Result<Vec<_>>>()?;
    columns.push(Arc::new(failed.iter().map(|_| Some(job)).collect::<StringViewArray>()));
    columns.push(Arc::new(failed.iter().map(|f| Some(f.reason.as_str())).collect::<StringViewArray>()));
    let payloads = failed.iter().map(|f| values(&f.row)).collect::<Result<Vec<_>>>()?;
    columns.push(Arc::new(payloads.iter().map(|p| Some(p.as_str())).collect::<StringViewArray>()));
    columns.push(new_null_array(&DataType::Binary, failed.len()));
    finish(&schema, columns)
}

/// The values of a row as one JSON object. Of columns with the same name the later ones get a number.
fn values(row: &RecordBatch) -> Result<String> {
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in row.schema_ref().fields().iter().zip(row.columns()) {
        if field.name().starts_with('$') {
            continue;
        }
        let is_free = |name: &String| fields.iter().all(|f| f.name() != name);
        let numbered = (1..=fields.len()).map(|n| format!("{}{n}", field.name()));
        let name = std::iter::once(field.name().clone()).chain(numbered).find(is_free).unwrap_or_default();
        fields.push(Arc::new(field.as_ref().clone().with_name(name)));
        columns.push(column.clone());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(row.num_rows()));
    let known = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    Ok(json::objects(&known)?.into_iter().next().unwrap_or_default())
}

/// Where one cold row comes from.
struct ColdRow {
    entry: usize,
    row: Option<u32>,
    reject: Option<usize>,
}

/// Walks entries, decoded rows and rejects together; all three are in offset order.
fn merge(records: &Records, decoded: &Decoded) -> Result<Vec<ColdRow>> {
    let offsets = decoded.offsets.values();
    let mut rows = Vec::with_capacity(offsets.len() + decoded.rejects.len());
    let (mut row, mut reject) = (0, 0);
    for (entry, Entry { offset, .. }) in records.entries.iter().enumerate() {
        let before = rows.len();
        while offsets.get(row) == Some(offset) {
            rows.push(ColdRow { entry, row: Some(row as u32), reject: None });
            row += 1;
        }
        while decoded.rejects.get(reject).is_some_and(|r| r.offset == *offset) {
            rows.push(ColdRow { entry, row: None, reject: Some(reject) });
            reject += 1;
        }
        if rows.len() == before {
            return Err(Error::internal(format!("the decoder lost the record at offset {offset} of partition {}", records.partition)));
        }
    }
    if row < offsets.len() || reject < decoded.rejects.len() {
        return Err(Error::internal(format!("the decoder gave rows of records that partition {} does not have here", records.partition)));
    }
    Ok(rows)
}

fn find(records: &Records, offset: Offset) -> Result<&Entry> {
    let missing = || Error::internal(format!("offset {offset} of partition {} is not among the records read", records.partition));
    records.find(offset).ok_or_else(missing)
}

fn origin_columns<'a>(records: &Records, entries: impl ExactSizeIterator<Item = &'a Entry> + Clone) -> Result<Vec<ArrayRef>> {
    let partition = i32::try_from(records.partition).map_err(|_| Error::invalid("a partition number is too large"))?;
    Ok(vec![
        Arc::new(Int32Array::from_value(partition, entries.len())),
        Arc::new(Int64Array::from_iter_values(entries.clone().map(|e| e.offset as i64))),
        text(records, entries.clone().map(|e| &e.device))?,
        times(entries.map(|e| e.received)),
    ])
}

fn times(values: impl Iterator<Item = Micros>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

/// The media type of each entry; they share the bytes of the few that there are.
fn content_types<'a>(entries: impl Iterator<Item = &'a Entry>) -> Result<ArrayRef> {
    let names: StringViewArray = (0..=u8::MAX).map(|number| ContentType::from_byte(number).media_type()).collect();
    let numbers = UInt32Array::from_iter_values(entries.map(|e| u32::from(e.content_type as u8)));
    Ok(take(&names, &numbers, None)?)
}

/// A text part of each entry; the log has checked that it is UTF-8.
fn text<'a>(records: &Records, parts: impl ExactSizeIterator<Item = &'a Range<u32>>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(parts.len());
    let block = builder.append_block(records.bytes.clone());
    for range in parts {
        builder.try_append_view(block, range.start, range.end - range.start)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// The payloads as text, and those that are not text as bytes.
fn payloads<'a>(records: &Records, entries: impl ExactSizeIterator<Item = &'a Entry> + Clone) -> Result<[ArrayRef; 2]> {
    let mut texts = StringViewBuilder::with_capacity(entries.len());
    let block = texts.append_block(records.bytes.clone());
    for entry in entries.clone() {
        let Range { start, end } = entry.payload;
        if texts.try_append_view(block, start, end - start).is_err() {
            texts.append_null();
        }
    }
    let texts = texts.finish();
    let raw: ArrayRef = match texts.null_count() {
        0 => new_null_array(&DataType::Binary, texts.len()),
        _ => Arc::new(entries.enumerate().map(|(i, e)| texts.is_null(i).then(|| records.slice(&e.payload))).collect::<BinaryArray>()),
    };
    Ok([Arc::new(texts), raw])
}

fn finish(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema.clone(), columns).map_err(|e| Error::invalid(format!("rows do not fit their table: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Float64Array, UInt64Array};
    use arrow::buffer::Buffer;
    use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

    fn records(payloads: &[&[u8]]) -> Records {
        let (mut bytes, mut entries) = (Vec::new(), Vec::new());
        let mut put = |part: &[u8]| {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(part);
            start..bytes.len() as u32
        };
        for (i, payload) in payloads.iter().enumerate() {
            let device = put(format!("a-device-with-a-long-name-{i}").as_bytes());
            let (topic, payload) = (put(b"devices/d/telemetry"), put(payload));
            let producer = (i == 0).then_some(ProducerSequence { epoch: 3, sequence: 9 });
            let received = 1_000 + i as i64;
            entries.push(Entry { offset: 10 + i as u64, received, device, topic, payload, content_type: ContentType::Json, producer });
        }
        Records { partition: 2, bytes: Buffer::from_vec(bytes), entries, lost: None }
    }

    fn decoded(values: &[f64], offsets: &[u64], rejects: &[(u64, &str)]) -> Decoded {
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        Decoded {
            rows: RecordBatch::try_from_iter([("v", column)]).unwrap(),
            offsets: UInt64Array::from(offsets.to_vec()),
            received: Int64Array::from(vec![0; offsets.len()]),
            rejects: rejects.iter().map(|(offset, reason)| Reject { offset: *offset, reason: (*reason).to_owned() }).collect(),
        }
    }

    #[test]
    fn rejects_stand_where_their_records_stood() {
        let records = records(&[b"{\"v\":1}", b"hot", b"[{\"v\":3},{\"v\":4}]", b"\xff\x00"]);
        let decoded = decoded(&[1.0, 3.0, 4.0], &[10, 12, 12], &[(11, "not json"), (13, "not utf-8")]);
        let schema = cold_schema(&decoded.rows.schema());
        let rows = cold_rows(&schema, &records, &decoded).unwrap();
        assert_eq!(rows.num_rows(), 5);
        let offsets: Vec<_> = rows["_offset"].as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(offsets, [10, 11, 12, 12, 13]);
        let values: Vec<_> = rows["v"].as_primitive::<Float64Type>().iter().collect();
        assert_eq!(values, [Some(1.0), None, Some(3.0), Some(4.0), None]);
        let reasons: Vec<_> = rows["_reject"].as_string_view().iter().collect();
        assert_eq!(reasons, [None, Some("not json"), None, None, Some("not utf-8")]);
        let payloads: Vec<_> = rows["_payload"].as_string_view().iter().collect();
        assert_eq!(payloads[1], Some("hot"));
        assert_eq!(payloads[4], None);
        assert_eq!(rows["_payload_raw"].as_binary::<i32>().value(4), b"\xff\x00");
        assert!(rows["_payload_raw"].is_null(0));
        assert_eq!(rows["_device_id"].as_string_view().value(4), "a-device-with-a-long-name-3");
        assert_eq!(rows["_producer_sequence"].as_primitive::<Int64Type>().iter().collect::<Vec<_>>()[..2], [Some(9), None]);
        assert!(rows["_partition"].as_primitive::<Int32Type>().values().iter().all(|&p| p == 2));
    }

    #[test]
    fn good_records_are_a_row_each_or_several() {
        let mut records = records(&[b"1", b"2", b"3"]);
        records.entries[1].content_type = ContentType::Unknown;
        records.entries[2].content_type = ContentType::Csv;
        let good = decoded(&[1.0, 2.0, 3.0], &[10, 11, 12], &[]);
        let schema = cold_schema(&good.rows.schema());
        let rows = cold_rows(&schema, &records, &good).unwrap();
        let types: Vec<_> = rows["_content_type"].as_string_view().iter().collect();
        assert_eq!(types, [Some("application/json"), None, Some("text/csv")]);
        let numbers = |rows: &RecordBatch, name: &str| rows[name].as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        assert_eq!(numbers(&rows, "_producer_epoch"), [Some(3), None, None]);
        assert_eq!(rows["v"].as_primitive::<Float64Type>().values().to_vec(), [1.0, 2.0, 3.0]);
        assert_eq!((rows["_reject"].null_count(), rows["_payload_raw"].null_count(), rows["_payload"].null_count()), (3, 3, 0));

        records.entries[0].producer = None;
        let several = decoded(&[1.0, 2.0, 2.5, 3.0], &[10, 11, 11, 12], &[]);
        let rows = cold_rows(&schema, &records, &several).unwrap();
        assert_eq!(numbers(&rows, "_offset"), [Some(10), Some(11), Some(11), Some(12)]);
        assert_eq!(numbers(&rows, "_producer_sequence"), [None; 4]);
        assert_eq!(rows["v"].as_primitive::<Float64Type>().values().to_vec(), [1.0, 2.0, 2.5, 3.0]);
        assert_eq!(rows["_payload"].as_string_view().iter().collect::<Vec<_>>(), [Some("1"), Some("2"), Some("2"), Some("3")]);
    }

    #[test]
    fn times_of_day_are_archived_as_texts() {
        let records = records(&[b"1", b"2"]);
        let mut decoded = decoded(&[1.0], &[10], &[(11, "bad")]);
        let noon: ArrayRef = Arc::new(arrow::array::Time64MicrosecondArray::from(vec![43_200_500_000]));
        decoded.rows = RecordBatch::try_from_iter([("at", noon)]).unwrap();
        let schema = cold_schema(&decoded.rows.schema());
        let rows = cold_rows(&schema, &records, &decoded).unwrap();
        assert_eq!(rows["at"].as_string_view().iter().collect::<Vec<_>>(), [Some("12:00:00.500"), None]);
    }

    #[test]
    fn a_record_that_the_decoder_lost_is_an_error() {
        let records = records(&[b"1", b"2"]);
        let lost = decoded(&[1.0], &[10], &[]);
        assert!(cold_rows(&cold_schema(&lost.rows.schema()), &records, &lost).unwrap_err().message().contains("offset 11"));
        let invented = decoded(&[1.0, 2.0, 3.0], &[10, 11, 12], &[]);
        assert!(cold_rows(&cold_schema(&invented.rows.schema()), &records, &invented).is_err());
    }

    #[test]
    fn late_and_rejected_rows_find_their_records() {
        let records = records(&[b"a", b"b", b"\xfe"]);
        let late = LateRows { offsets: UInt64Array::from(vec![12, 10]), times: vec![5, 6], watermarks: vec![3_200_005, 6] };
        let rows = late_rows(&records, &late).unwrap();
        assert_eq!(rows.schema(), late_schema());
        let reasons = [Some("late: 3.2 s behind the watermark"), Some("late: 0 s behind the watermark")];
        assert_eq!(rows["reason"].as_string_view().iter().collect::<Vec<_>>(), reasons);
        assert_eq!(rows["payload"].as_string_view().iter().collect::<Vec<_>>(), [None, Some("a")]);
        assert_eq!(rows["payload_raw"].as_binary::<i32>().value(0), b"\xfe");

        let rejects = [Reject { offset: 11, reason: "too far ahead".into() }];
        let rows = dlq_rows(&records, Some("site_10s"), &rejects).unwrap();
        assert_eq!(rows["reason"].as_string_view().value(0), "too far ahead");
        assert_eq!(rows["job"].as_string_view().value(0), "site_10s");
        assert_eq!(rows["_topic"].as_string_view().value(0), "devices/d/telemetry");
        assert_eq!(rows["_offset"].as_primitive::<Int64Type>().value(0), 11);
        let unknown = [Reject { offset: 99, reason: String::new() }];
        assert!(dlq_rows(&records, None, &unknown).is_err());
    }

    #[test]
    fn rows_that_failed_behind_the_exchange_keep_their_values() {
        let (a, b): (ArrayRef, ArrayRef) = (Arc::new(Float64Array::from(vec![1.5])), Arc::new(Float64Array::from(vec![None])));
        let fields = ["v", "v", "$rowtime"].map(|n| Field::new(n, DataType::Float64, true));
        let row = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![a.clone(), b, a]).unwrap();
        let rows = failed_rows("sums", &[FailedRow { row, reason: "divide by zero".into() }]).unwrap();
        assert_eq!(rows["payload"].as_string_view().value(0), "{\"v\":1.5,\"v1\":null}");
        assert_eq!((rows["job"].as_string_view().value(0), rows["reason"].as_string_view().value(0)), ("sums", "divide by zero"));
        assert!(["_partition", "_offset", "_device_id", "_received_at", "_topic"].iter().all(|c| rows[*c].null_count() == 1));
    }
}
