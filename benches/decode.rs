//! Payloads to columns, on one core: JSON, all seven columns and three of them, beside arrow-json; Avro. Invariant: all read the same
//! readings; figures are records a second.

mod support;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::fleet::{AVRO_SCHEMA, Reading};
use support::{READINGS, json, records};
use thalweg_engine::batch::Records;
use thalweg_engine::decode::{self, DecodeColumn, DecodeSchema, Source};
use thalweg_engine::time::timestamp_type;

fn fields() -> Vec<Field> {
    let types =
        [DataType::Utf8View, timestamp_type(), DataType::Float64, DataType::Float64, DataType::Int64, DataType::Utf8View, DataType::Int64];
    let names = ["device_id", "ts", "temperature", "humidity", "battery", "status", "seq"];
    names.into_iter().zip(types).map(|(name, data_type)| Field::new(name, data_type, true)).collect()
}

fn ours(format: &str, records: &[Records], columns: usize) -> usize {
    let column = |f: Field| DecodeColumn { field: Arc::new(f), source: Source::Payload, time_unit: 1_000 };
    let options = match format {
        "avro" => [("avro.schema".to_owned(), AVRO_SCHEMA.to_owned())].into(),
        _ => Default::default(),
    };
    let schema = DecodeSchema {
        columns: fields().into_iter().map(column).collect(),
        projection: (0..columns).collect(),
        identity: Some(0),
        options,
    };
    let mut decoder = decode::open(format, schema).expect("a decoder");
    records.iter().map(|r| decoder.decode(r).expect("total").rows.num_rows()).sum()
}

fn theirs(lines: &[Vec<u8>], columns: usize) -> usize {
    let schema = Arc::new(Schema::new(fields()[..columns].to_vec()));
    let mut decoder = arrow::json::ReaderBuilder::new(schema).with_batch_size(1 << 16).build_decoder().expect("a decoder");
    let rows = |lines: &Vec<u8>| {
        decoder.decode(lines).expect("JSON");
        decoder.flush().expect("JSON").map_or(0, |batch| batch.num_rows())
    };
    lines.iter().map(rows).sum()
}

fn benchmark(c: &mut Criterion) {
    let (json, avro) = (json(), records(Reading::avro));
    let line = |r: &Records| r.entries.iter().flat_map(|e| [r.slice(&e.payload), b"\n"].concat()).collect::<Vec<u8>>();
    let lines: Vec<Vec<u8>> = json.iter().map(line).collect();
    assert_eq!([ours("json", &json, 7), ours("avro", &avro, 7), theirs(&lines, 7)], [READINGS as usize; 3]);
    let mut group = c.benchmark_group("decode");
    group.sample_size(20).throughput(Throughput::Elements(READINGS));
    for columns in [7, 3] {
        group.bench_function(format!("json, {columns} of 7 columns"), |b| b.iter(|| ours("json", &json, columns)));
        group.bench_function(format!("arrow-json, {columns} of 7 columns"), |b| b.iter(|| theirs(&lines, columns)));
        group.bench_function(format!("avro, {columns} of 7 columns"), |b| b.iter(|| ours("avro", &avro, columns)));
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
