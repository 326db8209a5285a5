//! Tables with a primary key. Invariant checked: whatever was interrupted, the table shows of each key the newest row, as a map would.

use std::collections::BTreeMap;

use arrow::array::Int64Array;
use arrow::datatypes::Int64Type;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::changes::{Changes, RowKind};
use crate::limits::LAKE_BUCKETS;

mod rules;

type Key = (String, i64);
type Values = (Option<Micros>, Option<String>);
type Model = BTreeMap<Key, Values>;
type Change = (RowKind, Key, Values);

fn keyed_spec(name: &str) -> TableSpec {
    let schema = Schema::new(vec![
        Field::new("ts", crate::time::timestamp_type(), true),
        Field::new("site", DataType::Utf8View, false),
        Field::new("note", DataType::Utf8View, true),
        Field::new("slot", DataType::Int64, false),
    ]);
    TableSpec { schema: Arc::new(schema), primary_key: vec!["slot".into(), "site".into()], ..spec(name) }
}

fn batch(changes: &[Change]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(changes.iter().map(|c| c.2.0).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(changes.iter().map(|c| Some(&c.1.0)).collect::<StringViewArray>()),
        Arc::new(changes.iter().map(|c| c.2.1.as_deref()).collect::<StringViewArray>()),
        Arc::new(changes.iter().map(|c| Some(c.1.1)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(keyed_spec("x").schema, columns).unwrap()
}

fn feed(sink: &mut dyn Sink, changes: &[Change]) {
    sink.change(&Changes::new(batch(changes), changes.iter().map(|c| c.0).collect())).unwrap();
}

/// Rows of sites called `names`, added.
fn rows_of(names: &[&str], time: Micros, note: &str) -> Vec<Change> {
    names.iter().map(|n| (RowKind::Insert, ((*n).to_owned(), 1), (Some(time), Some(note.to_owned())))).collect()
}

fn delete(mut changes: Vec<Change>) -> Vec<Change> {
    changes.iter_mut().for_each(|c| c.0 = RowKind::Delete);
    changes
}

fn epoch(sink: &mut dyn Sink, epoch: u64, changes: &[Change]) -> PreCommit {
    feed(sink, changes);
    let prepared = sink.prepare(epoch).unwrap();
    sink.commit(&prepared).unwrap();
    prepared
}

fn model_of(files: &[TableFile]) -> Model {
    let mut model = Model::new();
    for file in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap().build().unwrap();
        for batch in reader.map(Result::unwrap) {
            let text = |name: &str| arrow::compute::cast(&batch[name], &DataType::Utf8View).unwrap();
            let (sites, notes) = (text("site"), text("note"));
            let (times, slots) = (batch["ts"].as_primitive::<TimestampMicrosecondType>(), batch["slot"].as_primitive::<Int64Type>());
            for i in 0..batch.num_rows() {
                let note = notes.as_string_view().is_valid(i).then(|| notes.as_string_view().value(i).to_owned());
                let values = (times.is_valid(i).then(|| times.value(i)), note);
                let key = (sites.as_string_view().value(i).to_owned(), slots.value(i));
                assert!(model.insert(key, values).is_none(), "no key is there twice");
            }
        }
    }
    model
}

fn model(table: &LakeTable) -> Model {
    let snapshot = table.snapshot().unwrap();
    let model = model_of(&snapshot.files);
    assert_eq!(snapshot.rows, model.len() as u64);
    model
}

fn apply(model: &mut Model, (kind, key, values): &Change) {
    if kind.adds() {
        model.insert(key.clone(), values.clone());
    } else {
        model.remove(key);
    }
}

/// Changes as a query makes them, and some that none would.
fn random_changes(rng: &mut StdRng, model: &Model) -> Vec<Change> {
    let (mut model, mut changes) = (model.clone(), Vec::new());
    for _ in 0..rng.random_range(0..40) {
        let key = (format!("site-{}", rng.random_range(0..12)), rng.random_range(0..3));
        let time = rng.random_bool(0.9).then(|| rng.random_range(0..3 * DAY));
        let new = (time, rng.random_bool(0.5).then(|| "n".repeat(rng.random_range(0..30))));
        let some = match (rng.random_range(0..5), model.get(&key).cloned()) {
            (0, old) => vec![(RowKind::Delete, key, old.unwrap_or_default())],
            (1 | 2, Some(old)) => vec![(RowKind::UpdateBefore, key.clone(), old), (RowKind::UpdateAfter, key, new)],
            (3, Some(old)) => {
                let moved = (key.0.clone(), key.1 + 1);
                vec![(RowKind::UpdateBefore, key, old), (RowKind::UpdateAfter, moved, new)]
            }
            _ => vec![(RowKind::Insert, key, new)],
        };
        some.iter().for_each(|change| apply(&mut model, change));
        changes.extend(some);
    }
    changes
}

type Open = (Box<dyn Sink>, Arc<LakeTable>, Arc<Lake>);

/// A job with one sink, which may die at any time.
struct Job {
    world: World,
    /// The newest stored checkpoint.
    stored: Option<PreCommit>,
    /// Gone in this order, the lake last.
    open: Option<Open>,
}

impl Job {
    fn new() -> Self {
        let world = World::new();
        world.open().unwrap().create(keyed_spec("latest")).unwrap();
        let mut job = Self { world, stored: None, open: None };
        job.restart();
        job
    }

    /// Dies, with its process, and comes back.
    fn restart(&mut self) {
        self.open = None;
        let lake = self.world.open().unwrap();
        let table = lake.table("warm", "latest").unwrap();
        self.open = Some((self.resumed(&table), table, lake));
    }

    /// Dies without its process, and comes back.
    fn resume(&mut self) {
        let sink = self.resumed(self.table());
        self.open.as_mut().unwrap().0 = sink;
    }

    fn resumed(&self, table: &Arc<LakeTable>) -> Box<dyn Sink> {
        let mut sink = table.sink("job/main").unwrap();
        match &self.stored {
            Some(prepared) => sink.recover(prepared).unwrap(),
            None => sink.start().unwrap(),
        }
        sink
    }

    fn table(&self) -> &Arc<LakeTable> {
        &self.open.as_ref().unwrap().1
    }

    fn sink(&mut self) -> &mut dyn Sink {
        self.open.as_mut().unwrap().0.as_mut()
    }

    /// Hands changes over in pieces of any size.
    fn feed(&mut self, rng: &mut StdRng, mut changes: &[Change]) {
        while !changes.is_empty() {
            let (now, then) = changes.split_at(rng.random_range(1..=changes.len()));
            feed(self.sink(), now);
            changes = then;
        }
    }
}

/// Every way to be interrupted, at random, over many epochs.
fn random_run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut job, mut want) = (Job::new(), Model::new());
    for epoch in 1..=31 {
        let before = job.table().snapshot().unwrap();
        let changes = random_changes(&mut rng, &want);
        job.feed(&mut rng, &changes);
        let way = if epoch == 31 { 7 } else { rng.random_range(0..8) };
        if way == 0 {
            job.resume();
            job.feed(&mut rng, &changes);
        }
        if way == 1 {
            let lost = random_changes(&mut rng, &want);
            job.feed(&mut rng, &lost);
        }
        let mut prepared = job.sink().prepare(epoch).unwrap();
        assert_eq!(model(job.table()), want, "prepared rows are invisible");
        if way == 1 {
            // The checkpoint was not stored.
            job.restart();
            assert_eq!(model(job.table()), want);
            job.feed(&mut rng, &changes);
            prepared = job.sink().prepare(epoch).unwrap();
        }
        job.stored = Some(prepared.clone());
        match way {
            2 => job.restart(),
            3 => job.resume(),
            4 => {
                job.sink().commit(&prepared).unwrap();
                job.restart();
                job.resume();
            }
            5 => {
                job.sink().commit(&prepared).unwrap();
                job.sink().commit(&prepared).unwrap();
            }
            _ => job.sink().commit(&prepared).unwrap(),
        }
        changes.iter().for_each(|change| apply(&mut want, change));
        assert_eq!(model(job.table()), want, "seed {seed}, epoch {epoch}, way {way}");
        assert!(job.table().snapshot().unwrap().files.len() <= LAKE_BUCKETS as usize);
        assert!(before.files.iter().all(|f| f.path.exists()), "readers of the version before go on");
    }
    let (_, table, lake) = job.open.as_ref().unwrap();
    assert!(table.orphans(i64::MAX / 2, &[]).unwrap().is_empty(), "what was staged in vain is gone");
    assert!(lake.verify(0).unwrap().findings.iter().all(|f| f.problem == Problem::ManifestMissing));
}

#[test]
fn the_table_is_the_map_whatever_is_interrupted() {
    (0..6).for_each(random_run);
}

#[test]
fn added_rows_replace_those_of_their_keys() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(keyed_spec("latest")).unwrap();
    let mut sink = table.sink("job").unwrap();
    sink.start().unwrap();
    for note in ["old", "new"] {
        sink.write(&batch(&rows_of(&["a", "b"], DAY, note))).unwrap();
    }
    let prepared = sink.prepare(1).unwrap();
    assert_eq!((prepared.event_time_max, prepared.removes.len()), (Some(DAY), 0));
    sink.commit(&prepared).unwrap();
    let notes: Vec<_> = model(&table).into_values().map(|v| v.1.unwrap()).collect();
    assert_eq!(notes, ["new", "new"]);
    let snapshot = table.snapshot().unwrap();
    assert_eq!((snapshot.event_time_max, snapshot.schema.fields().len()), (Some(DAY), 4), "it has no column 'date'");
    let version = snapshot.version;
    let same = epoch(sink.as_mut(), 2, &rows_of(&["a", "b"], DAY, "new"));
    assert!(same.is_empty());
    assert_eq!(table.snapshot().unwrap().version, version, "nothing changed: nothing is committed");
}

#[test]
fn a_table_loses_its_last_row_and_gets_others() {
    let mut job = Job::new();
    let some = rows_of(&["a", "b", "c"], DAY, "x");
    epoch(job.sink(), 1, &some);
    feed(job.sink(), &delete(some.clone()));
    let prepared = job.sink().prepare(2).unwrap();
    assert!(prepared.files.is_empty() && !prepared.is_empty());
    job.stored = Some(prepared.clone());
    job.restart();
    let snapshot = job.table().snapshot().unwrap();
    assert_eq!((snapshot.rows, snapshot.files.len(), snapshot.version), (0, 0, 2));
    job.sink().commit(&prepared).unwrap();
    job.restart();
    assert_eq!(job.table().snapshot().unwrap().version, 2, "it was committed once");
    epoch(job.sink(), 3, &some[..1]);
    assert_eq!(model(job.table()).len(), 1);
}

#[test]
fn replaced_files_stay_for_an_hour() {
    let mut job = Job::new();
    epoch(job.sink(), 1, &rows_of(&["a"], DAY, "1"));
    let old = job.table().snapshot().unwrap();
    job.stored = Some(epoch(job.sink(), 2, &rows_of(&["a"], DAY, "2")));
    let maintain = |job: &Job, now| job.open.as_ref().unwrap().2.maintain(now).unwrap();
    let (now, files) = (job.world.clock.now(), |job: &Job| parquet_files(&job.table().path().join("keyed")).len());
    let report = maintain(&job, now + HOUR - SECOND);
    assert!(report.failures.is_empty() && report.compacted.is_empty() && report.files_removed == 0);
    assert_eq!(model_of(&old.files).len(), 1, "an older version can be read");
    assert_eq!(maintain(&job, now + HOUR).files_removed, 1);
    assert_eq!(files(&job), 1);
    assert_eq!(job.table().seal(SealScope::All, 100 * DAY).unwrap(), [], "no bucket is ever sealed");

    // What came due while nobody ran goes at the start.
    job.stored = Some(epoch(job.sink(), 3, &rows_of(&["a"], DAY, "3")));
    assert_eq!(files(&job), 2);
    job.world.clock.0.fetch_add(HOUR, Ordering::Relaxed);
    job.restart();
    assert_eq!(files(&job), 1);
    // Staged and never committed.
    feed(job.sink(), &rows_of(&["a"], DAY, "4"));
    let staged = job.sink().prepare(4).unwrap();
    let (_, table, lake) = job.open.as_ref().unwrap();
    let orphans = |keep: &[PreCommit]| table.orphans(i64::MAX / 2, keep).unwrap().len();
    assert_eq!((orphans(&[staged]), orphans(&[])), (0, 1));
    assert!(lake.verify(i64::MAX / 2).unwrap().findings.iter().any(|f| f.problem == Problem::Orphan));
}
