//! The format `raw`: the whole payload is one column. Invariant: the value is the payload, byte for byte.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, make_view};
use arrow::datatypes::{DataType, SchemaRef};

use super::Format;
use super::assemble::{assemble, strings};
use super::schema::{DecodeSchema, Source};
use crate::batch::{Records, Reject, type_name};
use crate::contract::{Decoded, Decoder};
use crate::error::{Error, Result};

/// The format.
pub(super) static FORMAT: Format =
    Format { name: "raw", about: "The whole payload as one STRING or BYTES column.", options: &[], open, attributes: None, columns: None };

fn open(schema: DecodeSchema) -> Result<Box<dyn Decoder>> {
    let payload: Vec<usize> = (0..schema.columns.len()).filter(|&i| schema.columns[i].source == Source::Payload).collect();
    let ([only], None) = (payload.as_slice(), schema.identity) else {
        return Err(Error::invalid(format!("format raw has one column for the payload, not {}", payload.len()))
            .hint("declare one STRING or BYTES column, and take device_id as a METADATA column"));
    };
    let field = &schema.columns[*only].field;
    let text = match field.data_type() {
        DataType::Utf8View => true,
        DataType::Binary => false,
        other => {
            return Err(Error::invalid(format!("column {}: format raw gives STRING or BYTES, not {}", field.name(), type_name(other))));
        }
    };
    let output = schema.output();
    Ok(Box::new(RawDecoder { schema, output, text, kept: Vec::new() }))
}

struct RawDecoder {
    schema: DecodeSchema,
    output: SchemaRef,
    text: bool,
    kept: Vec<u32>,
}

impl Decoder for RawDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        self.kept.clear();
        let mut rejects = Vec::new();
        for (index, entry) in records.entries.iter().enumerate() {
            let checked = if self.text { std::str::from_utf8(records.slice(&entry.payload)).map(|_| ()) } else { Ok(()) };
            match checked {
                Ok(()) => self.kept.push(index as u32),
                Err(e) => {
                    let reason = format!("payload is not UTF-8 from byte {}", e.valid_up_to());
                    rejects.push(Reject { offset: entry.offset, reason });
                }
            }
        }
        let kept = &self.kept;
        assemble(&self.schema, &self.output, records, kept, rejects, |_| {
            let ranges = kept.iter().map(|&i| &records.entries[i as usize].payload);
            if self.text {
                let views = ranges.map(|r| make_view(records.slice(r), 0, r.start)).collect();
                return strings(views, std::slice::from_ref(&records.bytes), None);
            }
            let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(ranges.map(|r| records.slice(r))));
            Ok(array)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Field;

    use super::super::schema::DecodeColumn;
    use super::super::testing::records;
    use super::*;

    fn decode(data_type: DataType, payloads: &[&[u8]]) -> Decoded {
        let column = DecodeColumn { field: Arc::new(Field::new("body", data_type, true)), source: Source::Payload, time_unit: 1 };
        let schema = DecodeSchema { columns: vec![column], projection: vec![0], identity: None, options: Default::default() };
        super::super::open("raw", schema).unwrap().decode(&records("pump-1", payloads)).unwrap()
    }

    #[test]
    fn the_payload_is_the_value() {
        let payloads: [&[u8]; 4] = [b"", b"short", b"longer than an inline view", &[b'a', 0xff, 0xfe]];
        let bytes = decode(DataType::Binary, &payloads);
        assert_eq!(bytes.rows.column(0).as_binary::<i32>().iter().flatten().collect::<Vec<_>>(), payloads);
        let text = decode(DataType::Utf8View, &payloads);
        assert_eq!(text.rows.column(0).as_string_view().iter().flatten().collect::<Vec<_>>(), ["", "short", "longer than an inline view"]);
        assert_eq!(text.rejects, [Reject { offset: 3, reason: "payload is not UTF-8 from byte 1".into() }]);
    }
}
