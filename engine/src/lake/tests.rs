//! The lake as its callers see it: crash, recover, seal, read. Invariant: each test works on a lake of its own.

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
use crate::limits::RECENT_FILES_MAX;
use crate::time::{DAY, Micros, SECOND};

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

    fn open(&self) -> crate::error::Result<Arc<Lake>> {
        Lake::open(&self.directory.path().join("lake"), self.clock.clone(), self.runtime.handle().clone())
    }
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
        time_column: Some("ts".into()),
        sort_columns: Vec::new(),
        about,
    }
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

#[test]
fn prepared_rows_are_invisible_until_committed_and_survive_a_restart() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job/readings").unwrap();
    sink.start().unwrap();
    sink.write(&two_days(1)).unwrap();
    sink.write(&rows(&[("pump-3", None, 9.0)])).unwrap();
    let prepared = sink.prepare(1).unwrap();
    assert_eq!((prepared.previous, prepared.files.len(), prepared.event_time_max), (0, 3, Some(2 * DAY + SECOND)));
    assert_eq!(table.snapshot().unwrap().rows, 0);
    assert_eq!(parquet_files(&table.path().join("recent")).len(), 3, "durable, but nobody sees them");
    sink.commit(&prepared).unwrap();
    sink.commit(&prepared).unwrap();
    let snapshot = table.snapshot().unwrap();
    assert_eq!((snapshot.rows, snapshot.version, snapshot.event_time_max), (3, 1, Some(2 * DAY + SECOND)));
    let dates: Vec<_> = snapshot.files.iter().map(|f| f.date.as_str()).collect();
    assert_eq!(dates, ["1970-01-02", "1970-01-03", "1970-01-11"], "a NULL time goes to the day of writing");
    assert_eq!(snapshot.schema.fields().last().unwrap().name(), "date");
    let (before, state) = (contents(&table), (snapshot.rows, snapshot.bytes));
    drop((sink, table, lake));

    let lake = world.open().unwrap();
    let table = lake.table("warm", "readings").unwrap();
    assert_eq!(contents(&table), before);
    let snapshot = table.snapshot().unwrap();
    assert_eq!((snapshot.rows, snapshot.bytes), state);
    assert_eq!(table.about(), spec("readings").about);
    assert_eq!(table.time_column(), Some("ts"));
}

#[test]
fn a_crash_between_prepare_and_commit_loses_and_repeats_nothing() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    run(sink.as_mut(), 1, &two_days(1));
    let nothing = sink.prepare(2).unwrap();
    assert!(nothing.files.is_empty());
    assert_eq!(nothing.previous, 1);
    sink.commit(&nothing).unwrap();
    sink.write(&two_days(3)).unwrap();
    let prepared = sink.prepare(3).unwrap();
    assert_eq!(prepared.previous, 1);
    sink.write(&two_days(4)).unwrap();
    sink.prepare(4).unwrap();
    drop((sink, table, lake));

    // The stored checkpoint is 3; what was staged for 4 was never part of one.
    let lake = world.open().unwrap();
    let table = lake.table("warm", "readings").unwrap();
    let mut sink = table.sink("job").unwrap();
    sink.recover(&prepared).unwrap();
    sink.recover(&prepared).unwrap();
    assert_eq!(table.snapshot().unwrap().rows, 4);
    run(sink.as_mut(), 4, &two_days(5));
    assert_eq!(table.snapshot().unwrap().rows, 6);
    let staged = parquet_files(&table.path().join("recent"));
    assert_eq!(staged.len(), 6, "the abandoned attempt at epoch 4 was replaced");
    assert!(contents(&table).iter().all(|(_, t, _)| t.unwrap() % DAY != 4 * SECOND));
}

#[test]
fn a_lake_that_does_not_fit_the_checkpoint_stops_the_job() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    let first = run(sink.as_mut(), 1, &two_days(1));
    let second = run(sink.as_mut(), 2, &two_days(2));
    let mut again = table.sink("job").unwrap();
    again.recover(&second).unwrap();
    let corrupt = |result: crate::error::Result<()>, part: &str| {
        let e = result.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        assert!(e.message().contains(part), "{e}");
    };
    corrupt(again.recover(&first), "ahead of the checkpoint");
    corrupt(again.recover(&PreCommit { epoch: 5, previous: 4, ..second.clone() }), "lost commits");
    corrupt(again.recover(&PreCommit { epoch: 3, previous: 0, files: Vec::new(), ..second.clone() }), "ahead of the checkpoint");
    corrupt(table.sink("job").unwrap().start(), "no checkpoint");
    table.sink("another job").unwrap().start().unwrap();
    assert_eq!(table.snapshot().unwrap().rows, 4, "nothing was changed");
}

#[test]
fn staged_files_that_changed_are_not_committed() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    sink.write(&two_days(1)).unwrap();
    let prepared = sink.prepare(1).unwrap();
    let path = table.path().join(&prepared.files[0].path);
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    assert_eq!(sink.recover(&prepared).unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(sink.recover(&prepared).unwrap_err().kind(), ErrorKind::Corrupt);
    let mut outside = prepared.clone();
    outside.files[0].path = "../../../etc/passwd".into();
    assert_eq!(sink.recover(&outside).unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(&path, &good).unwrap();
    sink.recover(&prepared).unwrap();
    assert_eq!(table.snapshot().unwrap().rows, 2);
}

#[test]
fn several_jobs_write_one_table() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    std::thread::scope(|scope| {
        for job in 0..2 {
            let table = table.clone();
            scope.spawn(move || {
                let mut sink = table.sink(&format!("job-{job}")).unwrap();
                for epoch in 1..=20 {
                    let batch = rows(&[("pump-1", Some(DAY + (job * 100 + epoch as i64) * SECOND), epoch as f64)]);
                    run(sink.as_mut(), epoch, &batch);
                }
            });
        }
    });
    assert_eq!(table.snapshot().unwrap().version, 40);
    assert_eq!(contents(&table).len(), 40);
    assert!(table.path().join("_delta_log/_last_checkpoint").exists(), "the log is checkpointed on the way");
    drop((table, lake));
    let lake = world.open().unwrap();
    let table = lake.table("warm", "readings").unwrap();
    assert_eq!(contents(&table).len(), 40);
    assert_eq!(table.sink("job-1").unwrap().prepare(20).unwrap_err().kind(), ErrorKind::Invalid, "epoch 20 is in the log");
}

#[test]
fn a_seal_moves_rows_and_changes_none() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    for epoch in 1..=5 {
        run(sink.as_mut(), epoch, &two_days(epoch));
    }
    let before = contents(&table);
    let old = table.snapshot().unwrap();
    assert!(lake.maintain(2 * DAY + HOUR - 1).unwrap().sealed.is_empty(), "no day is over");
    let report = lake.maintain(2 * DAY + HOUR).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let sealed: Vec<_> = report.sealed.iter().map(|s| (s.date.as_str(), s.replaced, s.files, s.rows)).collect();
    assert_eq!(sealed, [("1970-01-02", 5, 1, 5)]);
    assert_eq!(contents(&table), before);
    assert_eq!(table.seal(SealScope::All, 0).unwrap().len(), 1);
    assert_eq!(contents(&table), before);
    let now = table.snapshot().unwrap();
    assert!(now.files.iter().all(TableFile::is_sealed));
    assert_eq!((now.files.len(), now.rows, now.event_time_max), (2, 10, old.event_time_max));
    let glob: Vec<Row> = parquet_files(&table.path().join("data")).iter().flat_map(|p| read(p)).collect();
    assert_eq!(glob.len(), 10);
    assert_eq!(glob.into_iter().collect::<BTreeSet<_>>(), before, "a glob over the sealed files is the table");
    let order: Vec<_> = read(&now.files[0].path).into_iter().map(|r| (r.0, r.1)).collect();
    assert!(order.is_sorted());

    assert!(old.files.iter().all(|f| f.path.exists()), "readers of the old version go on");
    assert_eq!(lake.maintain(world.clock.now() + HOUR - SECOND).unwrap().files_removed, 0);
    assert_eq!(lake.maintain(world.clock.now() + HOUR).unwrap().files_removed, 10);
    assert!(parquet_files(&table.path().join("recent")).is_empty());
    run(sink.as_mut(), 6, &two_days(6));
    drop((sink, table, lake));
    let lake = world.open().unwrap();
    assert_eq!(contents(&lake.table("warm", "readings").unwrap()).len(), 12);
    assert!(lake.verify(100 * DAY).unwrap().findings.iter().all(|f| f.problem == Problem::ManifestMissing));
}

#[test]
fn many_small_files_are_sealed_before_the_day_is_over() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    for epoch in 1..=RECENT_FILES_MAX as u64 + 1 {
        run(sink.as_mut(), epoch, &rows(&[("pump-1", Some(epoch as i64), 1.0)]));
    }
    let report = lake.maintain(HOUR).unwrap();
    assert_eq!(report.sealed[0].replaced, RECENT_FILES_MAX + 1);
    assert_eq!(contents(&table).len(), RECENT_FILES_MAX + 1);
}

#[test]
fn a_crashed_seal_leaves_no_rows_behind_for_a_glob() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    run(table.sink("job").unwrap().as_mut(), 1, &two_days(1));
    table.seal(SealScope::Date("1970-01-02"), 0).unwrap();
    let sealed = parquet_files(&table.path().join("data"));
    let unfinished = sealed[0].with_file_name("e00000002-s0.parquet");
    std::fs::copy(&sealed[0], &unfinished).unwrap();
    drop((table, lake));
    world.open().unwrap();
    assert!(!unfinished.exists());
    assert!(sealed[0].exists());
}

#[test]
fn the_manifests_say_what_is_in_the_lake() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    run(table.sink("job").unwrap().as_mut(), 1, &two_days(1));
    let column = ColumnEntry { name: "device_id".into(), sql_type: "STRING".into(), nullable: false };
    let reference = Reference {
        name: Name::new("pumps").unwrap(),
        path: "pumps.csv".into(),
        columns: vec![column],
        rows: 7,
        sha256: "ab".into(),
        loaded_at: DAY,
        about: spec("x").about,
    };
    lake.register_reference(reference.clone()).unwrap();
    lake.refresh_catalog().unwrap();
    let parse = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(lake.root().join(path)).unwrap()).unwrap() };
    let catalog = parse("_catalog/catalog.json");
    let dataset = &catalog["datasets"][0];
    assert_eq!((&dataset["owner"], &dataset["rows"], &dataset["delta_version"]), (&"operations".into(), &2.into(), &1.into()));
    assert_eq!(dataset["schema"][3], serde_json::json!({ "name": "date", "type": "DATE", "nullable": true }));
    assert_eq!(dataset["freshness"]["event_time_max"], "1970-01-03T00:00:01Z");
    assert_eq!(dataset["defaulted"][0], "owner");
    let reference_entry = &catalog["datasets"][1];
    assert_eq!((&reference_entry["kind"], &reference_entry["sha256"]), (&"reference".into(), &"ab".into()));
    let package = parse("warm/datapackage.json");
    assert_eq!(package["resources"][0]["x-lake"]["owner"], "operations");
    assert_eq!(parse("warm/readings/_meta/table.json"), *dataset);
    assert!(lake.verify(0).unwrap().findings.is_empty());

    let unowned = Reference { about: About::default(), ..reference };
    assert_eq!(lake.register_reference(unowned).unwrap_err().kind(), ErrorKind::Invalid);
    drop((table, lake));
    let lake = world.open().unwrap();
    lake.refresh_catalog().unwrap();
    let catalog: Value = serde_json::from_slice(&std::fs::read(lake.root().join("_catalog/catalog.json")).unwrap()).unwrap();
    assert_eq!(catalog["datasets"][1]["name"], "pumps", "references are remembered");
}

#[test]
fn verify_finds_what_is_broken() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    run(sink.as_mut(), 1, &two_days(1));
    run(sink.as_mut(), 2, &two_days(2));
    sink.write(&two_days(3)).unwrap();
    let staged = sink.prepare(3).unwrap();
    lake.refresh_catalog().unwrap();
    assert!(lake.verify(0).unwrap().findings.is_empty());
    let files = &table.snapshot().unwrap().files;
    let length = std::fs::metadata(&files[0].path).unwrap().len();
    File::options().write(true).open(&files[0].path).unwrap().set_len(length - 10).unwrap();
    std::fs::remove_file(&files[1].path).unwrap();
    let far = i64::MAX / 2;
    let problems = |now| -> Vec<_> { lake.verify(now).unwrap().findings.into_iter().map(|f| f.problem).collect() };
    assert_eq!(problems(far), [Problem::FileDamaged, Problem::FileMissing, Problem::Orphan, Problem::Orphan]);

    assert!(lake.remove_orphans(far, std::slice::from_ref(&staged)).unwrap().is_empty(), "a checkpoint may still commit them");
    assert_eq!(lake.remove_orphans(far, &[]).unwrap().len(), 2);
    std::fs::write(table.path().join("_delta_log/00000000000000000001.json"), "{\"add\":").unwrap();
    assert_eq!(problems(0), [Problem::CommitDamaged, Problem::FileDamaged, Problem::FileMissing]);
}

#[test]
fn a_table_whose_last_commit_is_damaged_is_not_opened() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    run(table.sink("job").unwrap().as_mut(), 1, &two_days(1));
    let commit = table.path().join("_delta_log/00000000000000000001.json");
    let file = table.snapshot().unwrap().files[0].path.clone();
    drop((table, lake));
    let (good_commit, good_file) = (std::fs::read(&commit).unwrap(), std::fs::read(&file).unwrap());
    std::fs::write(&commit, "").unwrap();
    assert_eq!(world.open().unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(&commit, good_commit).unwrap();
    std::fs::write(&file, vec![0; good_file.len()]).unwrap();
    assert_eq!(world.open().unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(&file, good_file).unwrap();
    world.open().unwrap();
}

#[test]
fn tables_are_created_once_and_found_by_name() {
    let world = World::new();
    let lake = world.open().unwrap();
    assert_eq!(world.open().unwrap_err().kind(), ErrorKind::Conflict, "the lake has one owner");
    let table = lake.create(spec("readings")).unwrap();
    lake.create(spec("readings")).unwrap();
    assert_eq!(table.snapshot().unwrap().version, 0, "nothing changed");
    let mut renamed = spec("readings");
    renamed.about.owner = "energy".into();
    lake.create(renamed).unwrap();
    assert_eq!((table.about().owner.as_str(), table.snapshot().unwrap().version), ("energy", 1));
    let mut other = spec("readings");
    other.schema = Arc::new(Schema::new(vec![Field::new("ts", crate::time::timestamp_type(), true)]));
    let e = lake.create(other).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    let mut untimed = spec("untimed");
    untimed.time_column = Some("value".into());
    assert_eq!(lake.create(untimed).unwrap_err().kind(), ErrorKind::Invalid);
    let e = lake.table("warm", "reading").unwrap_err();
    assert_eq!((e.kind(), e.hint_text()), (ErrorKind::NotFound, Some("did you mean warm.readings?")));
    assert!(table.sink("maint/warm.readings").is_err(), "reserved for maintenance");
    let mut sink = table.sink("job").unwrap();
    let wrong: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let wrong = RecordBatch::try_from_iter([("device_id", wrong)]).unwrap();
    assert_eq!(sink.write(&wrong).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_sink_works_from_inside_the_runtime() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    world.runtime.block_on(async {
        run(table.sink("job").unwrap().as_mut(), 1, &two_days(1));
    });
    assert_eq!(table.snapshot().unwrap().rows, 2);
}

#[test]
fn times_out_of_range_do_not_break_the_table() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let batch = rows(&[("a", Some(i64::MAX), 1.0), ("b", Some(i64::MIN), 2.0), ("c", Some(0), 3.0)]);
    run(table.sink("job").unwrap().as_mut(), 1, &batch);
    drop((table, lake));
    let lake = world.open().unwrap();
    let table = lake.table("warm", "readings").unwrap();
    assert_eq!(contents(&table).len(), 3);
    let dates: Vec<String> = table.snapshot().unwrap().files.iter().map(|f| f.date.clone()).collect();
    assert_eq!(dates, ["1970-01-01", "1970-01-11"]);
}

#[test]
fn a_second_owner_of_a_sink_is_fenced_off_and_others_are_not() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    // A handle that does not hear of the other's commits, as another process would have.
    let foreign = LakeTable::open(&table.environment, Namespace::Warm, Name::new("readings").unwrap()).unwrap();
    let (mut ours, mut theirs) = (table.sink("job").unwrap(), foreign.sink("job").unwrap());
    ours.write(&two_days(1)).unwrap();
    let late = ours.prepare(2).unwrap();
    run(theirs.as_mut(), 1, &two_days(2));
    assert_eq!(ours.commit(&late).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(ours.commit(&late).unwrap_err().kind(), ErrorKind::Corrupt, "the log has been read again");
    assert_eq!(table.snapshot().unwrap().rows, 2);
    run(foreign.sink("third job").unwrap().as_mut(), 1, &two_days(3));
    run(table.sink("fourth job").unwrap().as_mut(), 1, &two_days(4));
    assert_eq!(table.snapshot().unwrap().rows, 6, "commits of other jobs are taken in");
}
