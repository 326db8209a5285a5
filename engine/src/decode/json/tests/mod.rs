//! Tests of the whole decoder: by example, and against others. Invariant: all of them go through `decode::open`, as a job does.

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

mod examples;
mod nested;
mod oracles;

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
    DecodeSchema { projection: (0..columns.len()).collect(), columns, identity: None, options: Default::default() }
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
    let schema = DecodeSchema {
        columns: vec![column(name, declared.1, true, Source::Payload)],
        projection: vec![0],
        identity: None,
        options: Default::default(),
    };
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
