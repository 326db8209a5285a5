//! Data as it moves: records of the log, and batches of rows. Invariant: nothing in here is per row on the heap; a batch is
//! columns over shared buffers, and its rows know the log offset they came from.
//!
//! ```text
//! Records   bytes:   ...[device|topic|payload][device|topic|payload]...      as they stand in the log
//!           entries: (offset, received, ranges into bytes)
//! Batch     columns: what the plan asked for     offsets: one a row, to find the record again (late, rejected)
//! ```

use std::ops::Range;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use crate::ids::{Offset, Partition};
use crate::time::Micros;

/// What a payload is, as its sender said. The numbers are on disk: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum ContentType {
    /// Not said; taken as the format that the table declares.
    #[default]
    Unknown = 0,
    /// `application/json`.
    Json = 1,
    /// `text/csv`.
    Csv = 2,
    /// `application/octet-stream`.
    Binary = 3,
    /// `application/cbor`.
    Cbor = 4,
    /// `application/avro`.
    Avro = 5,
    /// `application/protobuf`.
    Protobuf = 6,
}

impl ContentType {
    /// The number on disk back to a value; unknown numbers are `Unknown`.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Json,
            2 => Self::Csv,
            3 => Self::Binary,
            4 => Self::Cbor,
            5 => Self::Avro,
            6 => Self::Protobuf,
            _ => Self::Unknown,
        }
    }

    /// From a media type such as `application/json; charset=utf-8`.
    pub fn from_media_type(text: &str) -> Self {
        match text.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "application/json" | "application/x-ndjson" | "application/jsonl" => Self::Json,
            "text/csv" => Self::Csv,
            "application/octet-stream" => Self::Binary,
            "application/cbor" => Self::Cbor,
            "application/avro" | "avro/binary" => Self::Avro,
            "application/protobuf" | "application/x-protobuf" | "application/vnd.google.protobuf" => Self::Protobuf,
            _ => Self::Unknown,
        }
    }

    /// The media type; `None` when unknown.
    pub fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Json => Some("application/json"),
            Self::Csv => Some("text/csv"),
            Self::Binary => Some("application/octet-stream"),
            Self::Cbor => Some("application/cbor"),
            Self::Avro => Some("application/avro"),
            Self::Protobuf => Some("application/protobuf"),
        }
    }
}

/// Identity of a record given by its producer: the same (device, epoch, sequence) is the same record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerSequence {
    /// Changes when the device starts to count anew.
    pub epoch: u32,
    /// Counts the device's records within the epoch.
    pub sequence: u64,
}

/// One record on its way into the log, borrowed from where it was received.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Device that sent it: authenticated, not claimed.
    pub device: &'a str,
    /// Topic it was published to.
    pub topic: &'a str,
    /// What the payload is.
    pub content_type: ContentType,
    /// Given by producers that number their records.
    pub producer: Option<ProducerSequence>,
    /// The payload, byte for byte.
    pub payload: &'a [u8],
}

/// Where one record's parts lie in `Records::bytes`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Offset in the partition.
    pub offset: Offset,
    /// When the log received it; never decreases within a partition.
    pub received: Micros,
    /// Device id.
    pub device: Range<u32>,
    /// Topic.
    pub topic: Range<u32>,
    /// Payload.
    pub payload: Range<u32>,
    /// What the payload is.
    pub content_type: ContentType,
    /// Producer's number, if given.
    pub producer: Option<ProducerSequence>,
}

/// Consecutive records of one partition, read from the log.
#[derive(Debug, Clone)]
pub struct Records {
    /// Partition they belong to.
    pub partition: Partition,
    /// The bytes that the entries point into; string columns borrow from it without copying.
    pub bytes: Buffer,
    /// The records in offset order, at least one unless some are lost.
    pub entries: Vec<Entry>,
    /// Instead of entries: offsets whose records are lost for ever, as an operator has accepted; none of them comes again.
    pub lost: Option<Range<Offset>>,
}

impl Records {
    /// The bytes of one part of an entry.
    pub fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    /// Text of one part of an entry; parts that the log checked to be UTF-8 (device, topic) always are.
    pub fn text(&self, range: &Range<u32>) -> &str {
        std::str::from_utf8(self.slice(range)).unwrap_or("\u{fffd}")
    }

    /// The entry of `offset`, if it is among these.
    pub fn find(&self, offset: Offset) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&offset, |e| e.offset).ok()?;
        self.entries.get(at)
    }

    /// The offset after the last record.
    pub fn end(&self) -> Offset {
        let lost = self.lost.as_ref().map_or(0, |lost| lost.end);
        self.entries.last().map_or(lost, |e| e.offset + 1)
    }
}

/// Rows inside a partition's chain.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Columns as the plan names them.
    pub rows: RecordBatch,
    /// Log offset of each row.
    pub offsets: UInt64Array,
    /// Watermark that stood before each row, in microseconds; `None` if no row of the batch lies at or behind it, which
    /// means that no row can be late.
    pub watermarks: Option<arrow::array::Int64Array>,
}

/// A record or row that could not be used, and why. It never stops a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Which record.
    pub offset: Offset,
    /// What was wrong and where, for a person: `column temperature: expected DOUBLE, found "hot"`.
    pub reason: String,
}

/// A row behind the exchange that could not be computed, and why. It comes from several records, or from one that nobody knows any more.
#[derive(Debug, Clone)]
pub struct FailedRow {
    /// The row alone, as the step got it that failed.
    pub row: RecordBatch,
    /// What was wrong, for a person.
    pub reason: String,
}

/// The SQL of a column's type, which declares it: `DOUBLE`, `ARRAY<DECIMAL(5, 2)>`. A type without one gives its Arrow name.
pub fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES",
        DataType::Timestamp(_, _) => "TIMESTAMP",
        DataType::Time32(_) | DataType::Time64(_) => "TIME(6)",
        DataType::Date32 => "DATE",
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        DataType::List(item) | DataType::LargeList(item) => return format!("ARRAY<{}>", type_name(item.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                return format!("MAP<{}, {}>", type_name(fields[0].data_type()), type_name(fields[1].data_type()));
            }
            other => return other.to_string(),
        },
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|f| format!("{} {}", column_name(f.name()), type_name(f.data_type()))).collect();
            return format!("ROW<{}>", fields.join(", "));
        }
        other => return other.to_string(),
    };
    name.to_owned()
}

/// A name as SQL writes it: in back quotes unless it is a word.
fn column_name(name: &str) -> String {
    let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if word && !name.is_empty() { name.to_owned() } else { format!("`{name}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_survive_the_disk_and_their_names() {
        for number in 0..=u8::MAX {
            let content_type = ContentType::from_byte(number);
            assert!(content_type == ContentType::Unknown || content_type as u8 == number);
            if let Some(name) = content_type.media_type() {
                assert_eq!(ContentType::from_media_type(&format!("{name}; charset=utf-8")), content_type);
            }
        }
        assert_eq!(ContentType::from_byte(6), ContentType::Protobuf);
    }
}
