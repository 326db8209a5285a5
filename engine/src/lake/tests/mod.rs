//! The lake as its callers see it: commit and recover, seal, open and describe. Invariant: each test works on a lake of its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::*;
use crate::contract::{Clock, PreCommit, Sink};
use crate::error::ErrorKind;
use crate::ids::Name;
use crate::system::SystemClock;
use crate::time::{DAY, Micros, SECOND};

mod commit;
mod directory;
mod keyed;
mod merge;
mod seal;
mod types;

const HOUR: Micros = 3600 * SECOND;

#[derive(Debug)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Micros {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.now() as u64)
    }
}

/// A lake that can be closed and opened again.
struct World {
    directory: tempfile::TempDir,
    runtime: Runtime,
    clock: Arc<TestClock>,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { directory: tempfile::tempdir().unwrap(), runtime, clock: Arc::new(TestClock(AtomicI64::new(10 * DAY))) }
    }

    /// With the time of the machine: by that the Delta library forgets what was removed, whatever the clock of the test says.
    fn today() -> Self {
        let world = Self::new();
        world.clock.0.store(SystemClock::new().now(), Ordering::Relaxed);
        world
    }

    fn open(&self) -> crate::error::Result<Arc<Lake>> {
        Lake::open(&self.directory.path().join("lake"), self.clock.clone(), self.runtime.handle().clone())
    }
}

/// When what was written now and never committed is old enough to go: the machine says when that was, not the clock of the test.
fn in_two_days() -> Micros {
    SystemClock::new().now() + 2 * DAY
}

fn spec(name: &str) -> TableSpec {
    let schema = Schema::new(vec![
        Field::new("device_id", DataType::Utf8View, false),
        Field::new("ts", crate::time::timestamp_type(), true),
        Field::new("value", DataType::Float64, true),
    ]);
    let about = About {
        owner: "operations".into(),
        description: "pump readings".into(),
        source: "stream telemetry".into(),
        retention: "forever".into(),
        defaulted: vec!["owner".into()],
        ..About::default()
    };
    TableSpec {
        namespace: Namespace::Warm,
        name: Name::new(name).unwrap(),
        schema: Arc::new(schema),
        primary_key: Vec::new(),
        time_column: Some("ts".into()),
        sort_columns: Vec::new(),
        about,
    }
}

/// The table `readings` with columns that may be NULL or not.
fn spec_with(nullable: [bool; 3]) -> TableSpec {
    let spec = spec("readings");
    let fields = spec.schema.fields().iter().zip(nullable).map(|(field, null)| field.as_ref().clone().with_nullable(null));
    TableSpec { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), ..spec }
}

/// A table of late rows, before and after it got a column.
fn late_specs() -> [TableSpec; 2] {
    let old = TableSpec { namespace: Namespace::Late, ..spec("readings") };
    let mut fields = old.schema.fields().to_vec();
    fields.insert(1, Arc::new(Field::new("reason", DataType::Utf8View, true)));
    let new = TableSpec { schema: Arc::new(Schema::new(fields)), ..old.clone() };
    [old, new]
}

/// The same rows with a value in that column.
fn with_reason(rows: &RecordBatch) -> RecordBatch {
    let [_, new] = late_specs();
    let reasons: ArrayRef = Arc::new(std::iter::repeat_n(Some("late"), rows.num_rows()).collect::<StringViewArray>());
    let mut columns = rows.columns().to_vec();
    columns.insert(1, reasons);
    RecordBatch::try_new(new.schema, columns).unwrap()
}

fn rows(values: &[(&str, Option<Micros>, f64)]) -> RecordBatch {
    let devices: ArrayRef = Arc::new(values.iter().map(|v| Some(v.0)).collect::<StringViewArray>());
    let times: ArrayRef = Arc::new(values.iter().map(|v| v.1).collect::<TimestampMicrosecondArray>().with_timezone("UTC"));
    let numbers: ArrayRef = Arc::new(values.iter().map(|v| Some(v.2)).collect::<Float64Array>());
    RecordBatch::try_new(spec("x").schema, vec![devices, times, numbers]).unwrap()
}

/// Rows of an epoch: one a day on two days.
fn two_days(epoch: u64) -> RecordBatch {
    let t = epoch as i64 * SECOND;
    rows(&[("pump-2", Some(DAY + t), epoch as f64), ("pump-1", Some(2 * DAY + t), epoch as f64 + 0.5)])
}

fn run(sink: &mut dyn Sink, epoch: u64, batch: &RecordBatch) -> PreCommit {
    sink.write(batch).unwrap();
    let prepared = sink.prepare(epoch).unwrap();
    sink.commit(&prepared).unwrap();
    prepared
}

type Row = (String, Option<Micros>, String);

fn read(path: &Path) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut out = Vec::new();
    for batch in reader.map(Result::unwrap) {
        let devices = arrow::compute::cast(&batch["device_id"], &DataType::Utf8View).unwrap();
        let times = batch["ts"].as_primitive::<TimestampMicrosecondType>();
        let values = batch["value"].as_primitive::<Float64Type>();
        for i in 0..batch.num_rows() {
            let time = times.is_valid(i).then(|| times.value(i));
            out.push((devices.as_string_view().value(i).to_owned(), time, values.value(i).to_string()));
        }
    }
    out
}

fn contents(table: &LakeTable) -> BTreeSet<Row> {
    let rows: Vec<Row> = table.snapshot().unwrap().files.iter().flat_map(|f| read(&f.path)).collect();
    let set: BTreeSet<Row> = rows.iter().cloned().collect();
    assert_eq!(set.len(), rows.len(), "no row is there twice");
    set
}

fn parquet_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() {
            found.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    found
}
