//! The JSON decoder beside arrow-json, on one core. Invariant: both read the same readings from memory, in turns, into columns of the
//! same types and batches of the same size, and each round checks that both saw every row.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use thalweg_engine::batch::Records;
use thalweg_engine::contract::LogStore;
use thalweg_engine::decode::{self, DecodeColumn, DecodeSchema, Source};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::log::{LogConfig, Logs};
use thalweg_engine::system::{RealDisk, SystemClock};
use thalweg_engine::time::timestamp_type;

const RECORDS: usize = 500_000;
const ROUNDS: usize = 9;
/// Columns of the narrow reading.
const THREE: [usize; 3] = [0, 1, 2];

/// Prints rows a second of both, for all seven columns and for three of them.
pub fn compare(dir: &Path) -> Result<()> {
    let records = records(dir)?;
    let rows: usize = records.iter().map(|r| r.entries.len()).sum();
    let lines: Vec<Vec<u8>> = records.iter().map(lines).collect();
    let all: Vec<usize> = (0..7).collect();
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for (slot, columns) in [(0, all.as_slice()), (2, &THREE)] {
            let began = Instant::now();
            check(ours(&records, columns)?, rows)?;
            times[slot].push(began.elapsed().as_secs_f64());
            let began = Instant::now();
            check(theirs(&lines, columns)?, rows)?;
            times[slot + 1].push(began.elapsed().as_secs_f64());
        }
    }
    let [all, arrow_all, three, arrow_three] = times.map(|mut t| {
        t.sort_by(f64::total_cmp);
        rows as f64 / t[t.len() / 2]
    });
    println!("all={all:.0} arrow_all={arrow_all:.0} three={three:.0} arrow_three={arrow_three:.0}");
    Ok(())
}

fn check(seen: usize, rows: usize) -> Result<()> {
    if seen == rows { Ok(()) } else { Err(Error::internal(format!("{seen} of {rows} rows were decoded"))) }
}

/// The first readings of the log, as it gives them.
fn records(dir: &Path) -> Result<Vec<Records>> {
    let logs = Logs::open(&dir.join("log"), Arc::new(RealDisk), Arc::new(SystemClock::new()), LogConfig::default())?;
    let log = logs.stream(&Name::new("telemetry")?)?;
    let (mut all, mut from, mut rows) = (Vec::new(), 0, 0);
    while let Some(records) = log.read(0, from)? {
        from = records.end();
        rows += records.entries.len();
        all.push(records);
        if rows >= RECORDS {
            break;
        }
    }
    logs.close();
    Ok(all)
}

fn lines(records: &Records) -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in &records.entries {
        lines.extend_from_slice(records.slice(&entry.payload));
        lines.push(b'\n');
    }
    lines
}

fn fields() -> Vec<Field> {
    let field = |name, data_type| Field::new(name, data_type, true);
    vec![
        field("device_id", DataType::Utf8View),
        field("ts", timestamp_type()),
        field("temperature", DataType::Float64),
        field("humidity", DataType::Float64),
        field("battery", DataType::Int64),
        field("status", DataType::Utf8View),
        field("seq", DataType::Int64),
    ]
}

fn ours(records: &[Records], projection: &[usize]) -> Result<usize> {
    let column = |f: Field| DecodeColumn { field: Arc::new(f), source: Source::Payload, time_unit: 1_000 };
    let columns = fields().into_iter().map(column).collect();
    let schema = DecodeSchema { columns, projection: projection.to_vec(), identity: Some(0), options: Default::default() };
    let mut decoder = decode::open("json", schema)?;
    let mut rows = 0;
    for records in records {
        rows += black_box(decoder.decode(records)?).rows.num_rows();
    }
    Ok(rows)
}

fn theirs(lines: &[Vec<u8>], projection: &[usize]) -> Result<usize> {
    let fields = fields();
    let schema: SchemaRef = Arc::new(Schema::new(projection.iter().map(|&i| fields[i].clone()).collect::<Vec<_>>()));
    let mut rows = 0;
    let mut decoder = ReaderBuilder::new(schema).with_batch_size(1 << 16).build_decoder()?;
    for lines in lines {
        decoder.decode(lines)?;
        rows += black_box(decoder.flush()?).map_or(0, |b| b.num_rows());
    }
    Ok(rows)
}
