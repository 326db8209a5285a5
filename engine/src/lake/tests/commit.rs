//! Rows on their way in: prepared, committed, recovered. Invariant checked: each row is there once, whatever was interrupted.

use super::*;

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
    let dates: Vec<_> = snapshot.files.iter().filter_map(|f| f.date.as_deref()).collect();
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
    let dates: Vec<String> = table.snapshot().unwrap().files.iter().filter_map(|f| f.date.clone()).collect();
    assert_eq!(dates, ["1970-01-01", "1970-01-11"]);
}

#[test]
fn an_owner_that_was_replaced_changes_nothing_more() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    run(sink.as_mut(), 1, &two_days(1));
    sink.write(&two_days(2)).unwrap();
    let prepared = sink.prepare(2).unwrap();
    assert_eq!(world.open().unwrap_err().kind(), ErrorKind::Conflict, "the lock holds");
    std::fs::remove_file(lake.root().join("_lock")).unwrap();

    let newer = world.open().unwrap();
    let fenced = |result: crate::error::Result<()>| {
        let e = result.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict);
        assert!(e.message().contains("taken the lake") && e.message().contains("fence is 2, ours 1"), "{e}");
    };
    fenced(sink.commit(&prepared));
    fenced(sink.commit(&prepared));
    fenced(sink.prepare(3).map(|_| ()));
    fenced(lake.create(spec("others")).map(|_| ()));
    fenced(lake.maintain(100 * DAY).map(|_| ()));
    fenced(lake.clean(100 * DAY).map(|_| ()));
    fenced(lake.remove_orphans(100 * DAY, &[]).map(|_| ()));
    fenced(lake.refresh_catalog());
    fenced(table.seal(SealScope::All, 100 * DAY).map(|_| ()));
    fenced(lake.check_owned());
    newer.check_owned().unwrap();
    let mut sink = newer.table("warm", "readings").unwrap().sink("job").unwrap();
    sink.recover(&prepared).unwrap();
    run(sink.as_mut(), 3, &two_days(3));
    assert_eq!(newer.table("warm", "readings").unwrap().snapshot().unwrap().rows, 6);
}

#[test]
fn two_owners_that_prepare_the_same_epoch_do_not_replace_each_others_files() {
    let world = World::new();
    let lake = world.open().unwrap();
    let mut older = lake.create(spec("readings")).unwrap().sink("job").unwrap();
    older.write(&two_days(1)).unwrap();
    let theirs = older.prepare(1).unwrap();
    std::fs::remove_file(lake.root().join("_lock")).unwrap();
    let newer = world.open().unwrap();
    let table = newer.table("warm", "readings").unwrap();
    let mut sink = table.sink("job").unwrap();
    sink.write(&two_days(2)).unwrap();
    let ours = sink.prepare(1).unwrap();
    assert!(theirs.files.iter().all(|file| ours.files.iter().all(|own| own.path != file.path)));

    // The older one's checkpoint came first: the newer one goes on from it.
    sink.recover(&theirs).unwrap();
    assert_eq!(older.commit(&theirs).unwrap_err().kind(), ErrorKind::Conflict);
    run(sink.as_mut(), 2, &two_days(3));
    assert_eq!(contents(&table).len(), 4);
    assert_eq!(parquet_files(&table.path().join("recent")).len(), 4, "what was prepared for nothing is gone");
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
