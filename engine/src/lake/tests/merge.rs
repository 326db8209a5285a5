//! Small files into larger ones while their day lasts. Invariant checked: a day has few files at any time and each row once, whatever is
//! interrupted; nothing that may be merged again lies where a glob reads.

use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::limits::{RECENT_FILES_MAX, SEAL_ROWS_MAX, SEAL_ROWS_MIN};

/// Rows of an epoch on the first day, the later device first.
fn one_day(epoch: u64) -> RecordBatch {
    let t = Some(epoch as i64 * SECOND);
    rows(&[("pump-2", t, epoch as f64), ("pump-1", t, epoch as f64 + 0.5)])
}

/// So many rows of one device, a microsecond after another.
fn many(first: Micros, count: u64) -> RecordBatch {
    let devices: ArrayRef = Arc::new(std::iter::repeat_n(Some("pump-1"), count as usize).collect::<StringViewArray>());
    let times = TimestampMicrosecondArray::from_iter_values(first..first + count as i64).with_timezone("UTC");
    let values = Float64Array::from_iter_values((0..count).map(|n| (n % 100) as f64));
    RecordBatch::try_new(spec("x").schema, vec![devices, Arc::new(times), Arc::new(values)]).unwrap()
}

/// Commits of one more file than a day may have.
fn too_many(sink: &mut dyn Sink) {
    for epoch in 1..=RECENT_FILES_MAX as u64 + 1 {
        run(sink, epoch, &one_day(epoch));
    }
}

fn is_merged(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with('m')
}

fn merged_files(table: &LakeTable) -> Vec<PathBuf> {
    parquet_files(&table.path().join("recent")).into_iter().filter(|path| is_merged(path)).collect()
}

#[test]
fn a_day_of_many_commits_has_few_files_and_each_row_once() {
    let world = World::today();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    let mut done = Vec::new();
    for epoch in 1..=130u64 {
        run(sink.as_mut(), epoch, &one_day(epoch));
        if epoch.is_multiple_of(20) {
            let report = lake.maintain(HOUR).unwrap();
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            done.extend(report.compacted.into_iter().map(|day| (epoch, day.replaced, day.merged, day.sealed, day.rows)));
        }
    }
    // The two files of 120 rows are too few to be merged with each other.
    assert_eq!(done, [(60, 60, 1, 0, 120), (120, 60, 1, 0, 120)]);
    let snapshot = table.snapshot().unwrap();
    assert_eq!((snapshot.files.len(), snapshot.rows, snapshot.event_time_max), (2 + 10, 260, Some(130 * SECOND)));
    assert!(parquet_files(&table.path().join("data")).is_empty(), "a glob never sees what is written again");
    assert_eq!(contents(&table).len(), 260);
    for file in snapshot.files.iter().filter(|f| is_merged(&f.path)) {
        assert!(!file.is_sealed());
        let order: Vec<_> = read(&file.path).into_iter().map(|row| (row.0, row.1)).collect();
        assert!(order.len() == 120 && order.is_sorted());
    }
    assert!(lake.verify(in_two_days()).unwrap().findings.iter().all(|f| f.problem == Problem::ManifestMissing));

    let before = contents(&table);
    drop((sink, table, lake));
    let lake = world.open().unwrap();
    let table = lake.table("warm", "readings").unwrap();
    assert_eq!(contents(&table), before);
    let over = lake.maintain(DAY + HOUR).unwrap().compacted;
    assert_eq!((over[0].replaced, over[0].merged, over[0].sealed, over[0].rows), (12, 0, 1, 260));
    assert_eq!(contents(&table), before);
    assert_eq!(read(&table.snapshot().unwrap().files[0].path).into_iter().collect::<BTreeSet<_>>(), before);
}

#[test]
fn readers_of_a_version_before_a_merge_go_on_for_the_history() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    too_many(table.sink("job").unwrap().as_mut());
    let (old, rows) = (table.snapshot().unwrap(), contents(&table));
    assert_eq!(lake.maintain(HOUR).unwrap().compacted[0].replaced, RECENT_FILES_MAX + 1);
    assert_eq!(table.snapshot().unwrap().files.len(), 1);
    assert_eq!(lake.clean(world.clock.now() + HOUR - SECOND).unwrap().files_removed, 0);
    assert_eq!(old.files.iter().flat_map(|f| read(&f.path)).collect::<BTreeSet<_>>(), rows);
    assert_eq!(lake.clean(world.clock.now() + HOUR).unwrap().files_removed, RECENT_FILES_MAX + 1);
    assert_eq!(merged_files(&table), parquet_files(&table.path().join("recent")));
    assert_eq!(contents(&table), rows);
}

#[test]
fn what_is_enough_for_a_sealed_file_is_sealed_while_the_day_lasts() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    let part = SEAL_ROWS_MAX / 8;
    for epoch in 1..=RECENT_FILES_MAX as u64 + 1 {
        let count = if epoch > 8 { 1 } else { part };
        run(sink.as_mut(), epoch, &many((epoch * part) as i64, count));
    }
    let day = lake.maintain(HOUR).unwrap().compacted.remove(0);
    let others = RECENT_FILES_MAX + 1 - 8;
    assert_eq!((day.replaced, day.merged, day.sealed, day.rows), (8 + others, 1, 1, SEAL_ROWS_MAX + others as u64));
    let snapshot = table.snapshot().unwrap();
    let files: Vec<_> = snapshot.files.iter().map(|f| (f.is_sealed(), f.rows)).collect();
    assert_eq!(files, [(true, SEAL_ROWS_MAX), (false, others as u64)]);
    assert_eq!(parquet_files(&table.path().join("data")), [snapshot.files[0].path.clone()]);
}

#[test]
fn files_of_one_class_are_merged_when_they_are_wanted_to_be_however_few_they_are() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    for epoch in 1..=7 {
        run(sink.as_mut(), epoch, &one_day(epoch));
    }
    assert_eq!(table.seal(SealScope::Alike, 10 * DAY).unwrap(), []);
    assert_eq!(table.snapshot().unwrap().version, 7, "nothing is committed for nothing");
    run(sink.as_mut(), 8, &one_day(8));
    let day = table.seal(SealScope::Alike, 10 * DAY).unwrap().remove(0);
    assert_eq!((day.replaced, day.merged, day.sealed, day.rows), (8, 1, 0, 16));
    assert_eq!(contents(&table).len(), 16);
}

#[test]
fn files_from_before_and_after_a_new_column_are_merged_and_sealed_together() {
    let world = World::new();
    let lake = world.open().unwrap();
    let [old, new] = late_specs();
    let table = lake.create(old).unwrap();
    let mut sink = table.sink("job").unwrap();
    for epoch in 1..=10 {
        run(sink.as_mut(), epoch, &many(epoch as i64, 1));
    }
    assert_eq!(table.seal(SealScope::Alike, HOUR).unwrap()[0].merged, 1);
    drop((sink, table));
    let table = lake.create(new).unwrap();
    let mut sink = table.sink("job").unwrap();
    // Sealed or not, rows, and how many of the first ten and of all have no reason.
    let found = || -> Vec<(bool, usize, usize, usize)> {
        let describe = |file: &TableFile| {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap().build().unwrap();
            let rows: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
            let reasons = &rows[0]["reason"];
            (file.is_sealed(), reasons.len(), reasons.slice(0, 10).null_count(), reasons.null_count())
        };
        table.snapshot().unwrap().files.iter().map(describe).collect()
    };
    for epoch in 11..=20 {
        run(sink.as_mut(), epoch, &with_reason(&many(epoch as i64, 1)));
    }
    assert_eq!(table.seal(SealScope::Alike, HOUR).unwrap()[0].replaced, 11, "the merged one as well");
    assert_eq!(found(), [(false, 20, 10, 10)]);
    run(sink.as_mut(), 21, &with_reason(&many(21, 1)));
    assert_eq!(table.seal(SealScope::All, HOUR).unwrap()[0].replaced, 2);
    assert_eq!(found(), [(true, 21, 10, 10)]);
}

#[test]
fn what_a_crash_leaves_of_a_merge_is_an_orphan_that_no_sink_takes_for_its_own() {
    let world = World::today();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    too_many(sink.as_mut());
    lake.maintain(HOUR).unwrap();
    sink.write(&one_day(60)).unwrap();
    let prepared = sink.prepare(60).unwrap();
    let merged = merged_files(&table);
    let unfinished = merged[0].with_file_name("m00000002-o1-s0.parquet");
    std::fs::copy(&merged[0], &unfinished).unwrap();
    let before = contents(&table);
    drop((sink, table, lake));
    let lake = world.open().unwrap();
    let table = lake.table("warm", "readings").unwrap();
    assert_eq!(contents(&table), before);
    let mut sink = table.sink("job").unwrap();
    sink.recover(&prepared).unwrap();
    run(sink.as_mut(), 61, &one_day(61));
    assert!(unfinished.exists(), "what a sink cleans up is its own");
    assert_eq!(lake.remove_orphans(in_two_days(), &[]).unwrap(), [unfinished]);
    assert_eq!(merged_files(&table), merged);
    assert_eq!(contents(&table).len(), before.len() + 4);
}

/// One commit to be sealed, forty to become one file, eight to become another, in that order.
fn of_three_classes(sink: &mut dyn Sink) {
    for epoch in 1..=RECENT_FILES_MAX as u64 + 1 {
        let count = if epoch == 1 { SEAL_ROWS_MIN + 1 } else { [1, 600][usize::from(epoch > 41)] };
        run(sink, epoch, &many(epoch as i64, count));
    }
}

#[test]
fn a_merge_that_fails_leaves_the_day_as_it_was() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    of_three_classes(table.sink("job").unwrap().as_mut());
    let before = table.snapshot().unwrap();
    // Where the last of the new files goes: seen when the others are written.
    let obstacle = before.files[0].path.with_file_name("m00000001-o1-s2.parquet");
    std::fs::create_dir(&obstacle).unwrap();
    assert_eq!(lake.maintain(HOUR).unwrap().failures.len(), 1);
    assert_eq!(table.snapshot().unwrap().version, before.version);
    assert!(parquet_files(&table.path().join("data")).is_empty() && merged_files(&table).is_empty(), "what was written is gone");
    std::fs::remove_dir(obstacle).unwrap();
    let day = lake.maintain(HOUR).unwrap().compacted.remove(0);
    assert_eq!((day.replaced, day.merged, day.sealed, day.rows), (RECENT_FILES_MAX + 1, 2, 1, before.rows));
    assert_eq!(table.snapshot().unwrap().rows, before.rows);
}

#[test]
fn a_file_whose_pages_cannot_be_read_keeps_no_others_from_being_merged() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    of_three_classes(table.sink("job").unwrap().as_mut());
    let before = table.snapshot().unwrap();
    // A good footer, and pages that cannot be read.
    let damaged = &before.files[RECENT_FILES_MAX].path;
    let good = std::fs::read(damaged).unwrap();
    let mut bad = good.clone();
    bad[4..20].fill(0xff);
    std::fs::write(damaged, bad).unwrap();
    let report = lake.maintain(HOUR).unwrap();
    assert!(report.failures[0].to_string().contains("lake file"), "{:?}", report.failures);
    // Seven others of its class are too few; one file is sealed, and one merged.
    let after = table.snapshot().unwrap();
    assert_eq!((after.version, after.files.len(), after.rows), (before.version + 1, 1 + 1 + 8, before.rows));
    let written = (parquet_files(&table.path().join("data")).len(), merged_files(&table).len());
    assert_eq!(written, (1, 1), "what was written for nothing is gone");
    assert!(after.file(&before.files[RECENT_FILES_MAX].relative).is_some());
    std::fs::write(damaged, good).unwrap();
    assert_eq!(table.seal(SealScope::Alike, HOUR).unwrap()[0].replaced, 8);
    assert_eq!(table.snapshot().unwrap().rows, before.rows);
}

#[test]
fn a_file_that_cannot_be_opened_keeps_no_others_from_being_merged() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    too_many(table.sink("job").unwrap().as_mut());
    let damaged = table.snapshot().unwrap().files[7].path.clone();
    std::fs::write(&damaged, "no Parquet").unwrap();
    let report = lake.maintain(HOUR).unwrap();
    assert!(report.failures[0].to_string().contains("lake file"), "{:?}", report.failures);
    let after = table.snapshot().unwrap();
    assert_eq!(after.files.iter().map(|f| (f.path == damaged, f.rows)).collect::<Vec<_>>(), [(true, 2), (false, 96)]);
    assert!(lake.maintain(HOUR).unwrap().failures.is_empty(), "two files are not too many");
    // Nothing else is left to merge; and a day is sealed whole.
    for scope in [SealScope::Alike, SealScope::All] {
        assert!(table.seal(scope, HOUR).unwrap_err().to_string().contains("lake file"));
    }
    assert_eq!(table.snapshot().unwrap().version, after.version);
    assert!(parquet_files(&table.path().join("data")).is_empty());
}

/// A clock that lets another process take the lake over when it is next asked, once it is told where the fence is, and which directory that
/// one removes.
#[derive(Debug, Default)]
struct Overtaken {
    fence: Mutex<Option<PathBuf>>,
    removed: Mutex<Option<PathBuf>>,
}

impl Clock for Overtaken {
    fn now(&self) -> Micros {
        if let Some(fence) = self.fence.lock().unwrap().take() {
            std::fs::write(fence, "2\n").unwrap();
            self.removed.lock().unwrap().take().into_iter().for_each(|path| std::fs::remove_dir_all(path).unwrap());
        }
        10 * DAY
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn an_owner_that_was_replaced_before_its_commit_takes_back_only_what_nobody_can_have_replaced() {
    for (scope, merged) in [(SealScope::Alike, 1), (SealScope::All, 0)] {
        let (world, clock) = (World::new(), Arc::new(Overtaken::default()));
        let lake = Lake::open(&world.directory.path().join("lake"), clock.clone(), world.runtime.handle().clone()).unwrap();
        let table = lake.create(spec("readings")).unwrap();
        let mut sink = table.sink("job").unwrap();
        for epoch in 1..=8 {
            run(sink.as_mut(), epoch, &one_day(epoch));
        }
        *clock.fence.lock().unwrap() = Some(lake.root().join("_fence"));
        let refused = table.seal(scope, HOUR).unwrap_err();
        assert!(refused.kind() == ErrorKind::Conflict && refused.message().contains("taken the lake"), "{refused}");
        assert_eq!(merged_files(&table).len(), merged);
        assert!(parquet_files(&table.path().join("data")).is_empty());
        assert_eq!(contents(&table).len(), 16);
    }
}

#[test]
fn why_a_commit_failed_is_told_also_if_what_was_written_for_it_cannot_be_removed() {
    let (world, clock) = (World::new(), Arc::new(Overtaken::default()));
    let lake = Lake::open(&world.directory.path().join("lake"), clock.clone(), world.runtime.handle().clone()).unwrap();
    let table = lake.create(spec("readings")).unwrap();
    run(table.sink("job").unwrap().as_mut(), 1, &one_day(1));
    *clock.removed.lock().unwrap() = Some(table.path().join("data"));
    *clock.fence.lock().unwrap() = Some(lake.root().join("_fence"));
    let refused = table.seal(SealScope::All, HOUR).unwrap_err();
    assert!(refused.kind() == ErrorKind::Conflict && refused.message().contains("taken the lake"), "{refused}");
}

#[test]
fn a_merge_of_files_that_somebody_else_replaced_is_refused() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    too_many(table.sink("job").unwrap().as_mut());
    let before = contents(&table);
    // A handle whose commits the other does not hear of, as another process would have.
    let foreign = LakeTable::open(&table.environment, Namespace::Warm, Name::new("readings").unwrap()).unwrap();
    assert_eq!(foreign.seal(SealScope::All, HOUR).unwrap()[0].sealed, 1);
    assert_eq!(table.seal(SealScope::Due, HOUR).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(merged_files(&table).is_empty(), "what it wrote is gone");
    assert_eq!(contents(&table), before);
    assert_eq!(table.snapshot().unwrap().files.len(), 1, "the log has been read again");
    assert_eq!(table.seal(SealScope::Due, HOUR).unwrap(), []);
}
