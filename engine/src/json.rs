//! Values as JSON text. Invariant: what is written is what format `json` reads: bytes are base64, decimals are numbers, times are ISO
//! texts; every type has a form, nested ones too.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericBinaryArray, OffsetSizeTrait, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, WriterBuilder, make_encoder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::Result;

/// A writer of rows, one object each.
pub fn builder() -> WriterBuilder {
    WriterBuilder::new().with_encoder_factory(Arc::new(BytesAsBase64))
}

/// Each value of a column as JSON text.
pub fn values(column: &ArrayRef) -> Result<StringArray> {
    let field = Arc::new(Field::new("value", column.data_type().clone(), true));
    let options = EncoderOptions::default().with_encoder_factory(Arc::new(BytesAsBase64)).with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, column.as_ref(), &options)?;
    let mut text = |row: usize| {
        let mut bytes = Vec::new();
        encoder.encode(row, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok((0..column.len()).map(|row| column.is_valid(row).then(|| text(row))).collect())
}

/// The same; texts and bytes without their quotes.
pub fn texts(column: &ArrayRef) -> Result<StringArray> {
    Ok(values(column)?.iter().map(|value| value.map(bare)).collect())
}

fn bare(value: &str) -> &str {
    value.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(value)
}

/// Each row as one object; what is NULL is in it.
pub fn objects(rows: &RecordBatch) -> Result<Vec<String>> {
    let mut writer: LineDelimitedWriter<_> = builder().with_explicit_nulls(true).build(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    // Within an object no line ends: texts have theirs escaped.
    Ok(String::from_utf8_lossy(&writer.into_inner()).lines().map(str::to_owned).collect())
}

#[derive(Debug)]
struct BytesAsBase64;

impl EncoderFactory for BytesAsBase64 {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> std::result::Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder> = match array.data_type() {
            DataType::Binary => Box::new(Base64(array.as_binary::<i32>())),
            DataType::LargeBinary => Box::new(Base64(array.as_binary::<i64>())),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Base64<'a, O: OffsetSizeTrait>(&'a GenericBinaryArray<O>);

impl<O: OffsetSizeTrait> Encoder for Base64<'_, O> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(STANDARD.encode(self.0.value(row)).as_bytes());
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Date32Array, Decimal128Array, StructArray, Time64MicrosecondArray};

    use super::*;

    fn columns() -> Vec<(&'static str, ArrayRef)> {
        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(&[1, 2, 255]), None]));
        let field = Arc::new(Field::new("bytes", DataType::Binary, true));
        vec![
            ("price", Arc::new(Decimal128Array::from(vec![Some(-1205), None]).with_precision_and_scale(8, 2).unwrap())),
            ("day", Arc::new(Date32Array::from(vec![Some(1), None]))),
            ("at", Arc::new(Time64MicrosecondArray::from(vec![Some(3_723_000_500), None]))),
            ("row", Arc::new(StructArray::from(vec![(field, bytes.clone())]))),
            ("raw", bytes),
        ]
    }

    #[test]
    fn every_type_has_a_form() {
        let mut writer: LineDelimitedWriter<_> = builder().build(Vec::new());
        writer.write(&RecordBatch::try_from_iter(columns()).unwrap()).unwrap();
        writer.finish().unwrap();
        assert_eq!(
            String::from_utf8(writer.into_inner()).unwrap(),
            "{\"price\":-12.05,\"day\":\"1970-01-02\",\"at\":\"01:02:03.000500\",\"row\":{\"bytes\":\"AQL/\"},\"raw\":\"AQL/\"}\n{\"row\":{}}\n"
        );
    }

    #[test]
    fn rows_are_objects_of_a_line() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a\n\"b\""), None]));
        let rows = RecordBatch::try_from_iter([("text", texts)]).unwrap();
        assert_eq!(objects(&rows).unwrap(), [r#"{"text":"a\n\"b\""}"#, r#"{"text":null}"#]);
    }

    #[test]
    fn values_alone_are_texts() {
        let texts: Vec<Vec<Option<String>>> =
            columns().iter().map(|(_, c)| texts(c).unwrap().iter().map(|t| t.map(str::to_owned)).collect()).collect();
        assert_eq!(texts[3], [Some("{\"bytes\":\"AQL/\"}".to_owned()), Some("{\"bytes\":null}".to_owned())]);
        assert_eq!(texts[4], [Some("AQL/".to_owned()), None]);
        let said: ArrayRef = Arc::new(StringArray::from(vec![Some("a \"b\""), None]));
        assert_eq!(values(&said).unwrap(), StringArray::from(vec![Some(r#""a \"b\"""#), None]));
    }
}
