//! Records for the tests of formats. Invariant: they look as if read from the log: device, topic, payload, one after another,
//! with other bytes between.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field};

use super::{DecodeColumn, Source};
use crate::batch::{ContentType, Entry, Records};

/// A column of the payload, its times in milliseconds.
pub(super) fn column(name: &str, data_type: DataType, nullable: bool) -> DecodeColumn {
    DecodeColumn { field: Arc::new(Field::new(name, data_type, nullable)), source: Source::Payload, time_unit: 1_000 }
}

/// Rows as lines of JSON, without NULLs.
pub(super) fn lines(rows: &RecordBatch) -> Vec<String> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(rows).unwrap();
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap().lines().map(str::to_owned).collect()
}

/// Records of partition 3, at offsets 0, 1, 2, …, received a second apart.
pub(super) fn records(device: &str, payloads: &[impl AsRef<[u8]>]) -> Records {
    let mut bytes: Vec<u8> = Vec::new();
    let mut put = |part: &[u8]| {
        bytes.push(0xff);
        let start = bytes.len() as u32;
        bytes.extend_from_slice(part);
        start..bytes.len() as u32
    };
    let entry = |(i, payload): (usize, &[u8])| Entry {
        offset: i as u64,
        received: 1_767_225_600_123_456 + i as i64 * 1_000_000,
        device: put(device.as_bytes()),
        topic: put(format!("devices/{device}/telemetry").as_bytes()),
        payload: put(payload),
        content_type: ContentType::Json,
        producer: None,
    };
    let entries = payloads.iter().map(AsRef::as_ref).enumerate().map(entry).collect();
    Records { partition: 3, bytes: Buffer::from_vec(bytes), entries, lost: None }
}
