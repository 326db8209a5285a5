//! The tables of a lake together: made, found, described, verified. Invariant checked: one table's damage is told and is nobody
//! else's.

use super::*;

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
fn what_keeps_a_lake_from_being_opened_is_told_with_its_place() {
    let world = World::new();
    let root = world.directory.path().join("lake");
    std::fs::write(&root, "no directory").unwrap();
    let e = world.open().unwrap_err();
    assert!(e.message().starts_with(&format!("lake {}: ", root.display())), "{e}");
}

#[test]
fn columns_may_become_nullable_and_nothing_else() {
    let world = World::new();
    let lake = world.open().unwrap();
    let strict = || spec_with([false, true, false]);
    let table = lake.create(strict()).unwrap();
    run(table.sink("job").unwrap().as_mut(), 1, &two_days(1));
    drop(table);
    let wide = lake.create(spec_with([true; 3])).unwrap();
    assert!(wide.columns().fields().iter().all(|f| f.is_nullable()));
    assert_eq!((wide.snapshot().unwrap().version, contents(&wide).len()), (2, 2), "the rows stay");
    run(wide.sink("job").unwrap().as_mut(), 2, &two_days(2));
    assert_eq!(contents(&lake.table("warm", "readings").unwrap()).len(), 4);
    assert_eq!(lake.create(strict()).unwrap_err().kind(), ErrorKind::Conflict, "rows may be NULL by now");
}

#[test]
fn late_rows_may_get_new_columns_and_results_do_not() {
    let world = World::new();
    let lake = world.open().unwrap();
    let [old, new] = late_specs();
    run(lake.create(old.clone()).unwrap().sink("job").unwrap().as_mut(), 1, &two_days(1));
    let table = lake.create(new.clone()).unwrap();
    let names: Vec<&str> = table.schema().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["device_id", "reason", "ts", "value", "date"]);
    run(table.sink("job").unwrap().as_mut(), 2, &with_reason(&two_days(2)));
    assert_eq!(table.seal(SealScope::All, world.clock.now()).unwrap().len(), 2);
    for file in &table.snapshot().unwrap().files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap().build().unwrap();
        let rows: Vec<RecordBatch> = reader.map(|rows| rows.unwrap()).collect();
        assert_eq!((rows.len(), rows[0].num_rows(), rows[0]["reason"].null_count()), (1, 2, 1));
        assert_eq!((rows[0]["ts"].null_count(), rows[0]["value"].null_count()), (0, 0));
    }
    assert_eq!(lake.create(old).unwrap_err().kind(), ErrorKind::Conflict, "columns do not go");
    lake.create(spec("readings")).unwrap();
    let results = TableSpec { namespace: Namespace::Warm, ..new };
    assert_eq!(lake.create(results).unwrap_err().kind(), ErrorKind::Conflict);
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

    lake.retain_references(|name| name.as_str() == "others").unwrap();
    drop(lake);
    let lake = world.open().unwrap();
    lake.refresh_catalog().unwrap();
    let catalog: Value = serde_json::from_slice(&std::fs::read(lake.root().join("_catalog/catalog.json")).unwrap()).unwrap();
    assert_eq!(catalog["datasets"].as_array().unwrap().len(), 1, "until they are dropped");
}

#[test]
fn a_table_that_was_removed_by_hand_leaves_the_manifests() {
    let world = World::new();
    let lake = world.open().unwrap();
    lake.create(TableSpec { namespace: Namespace::Late, ..spec("readings") }).unwrap();
    let table = lake.create(spec("readings")).unwrap();
    lake.create(spec("others")).unwrap();
    lake.refresh_catalog().unwrap();
    std::fs::remove_dir_all(table.path()).unwrap();
    std::fs::remove_dir_all(lake.root().join("late/readings")).unwrap();
    drop((table, lake));
    let lake = world.open().unwrap();
    lake.refresh_catalog().unwrap();
    assert!(!lake.root().join("late/datapackage.json").exists());
    let package: Value = serde_json::from_slice(&std::fs::read(lake.root().join("warm/datapackage.json")).unwrap()).unwrap();
    let names: Vec<_> = package["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["others"]);
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

#[cfg(target_os = "linux")]
#[test]
fn a_table_that_cannot_be_looked_at_hides_no_other() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let lake = world.open().unwrap();
    for name in ["others", "readings"] {
        run(lake.create(spec(name)).unwrap().sink("job").unwrap().as_mut(), 1, &two_days(1));
    }
    lake.refresh_catalog().unwrap();
    let [others, readings] = ["others", "readings"].map(|name| lake.table("warm", name).unwrap());
    std::fs::write(others.path().join("recent").join(std::ffi::OsStr::from_bytes(b"\xff.parquet")), "").unwrap();
    std::fs::remove_file(&readings.snapshot().unwrap().files[0].path).unwrap();
    let findings = lake.verify(0).unwrap().findings;
    let found: Vec<_> = findings.iter().map(|f| (f.table.as_str(), f.problem)).collect();
    assert_eq!(found, [("warm.others", Problem::Unusable), ("warm.readings", Problem::FileMissing)]);
}

#[test]
fn a_damaged_table_is_reported_and_the_others_are_served() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    run(table.sink("job").unwrap().as_mut(), 1, &two_days(1));
    run(lake.create(spec("others")).unwrap().sink("job").unwrap().as_mut(), 1, &two_days(1));
    let commit = table.path().join("_delta_log/00000000000000000001.json");
    let file = table.snapshot().unwrap().files[0].path.clone();
    drop((table, lake));
    let (good_commit, good_file) = (std::fs::read(&commit).unwrap(), std::fs::read(&file).unwrap());
    let check = |part: &str| {
        let lake = world.open().unwrap();
        assert_eq!(lake.tables().iter().map(|t| t.full_name()).collect::<Vec<_>>(), ["warm.others"]);
        assert_eq!(lake.damaged().iter().map(DamagedTable::full_name).collect::<Vec<_>>(), ["warm.readings"]);
        for error in [lake.table("warm", "readings").unwrap_err(), lake.create(spec("readings")).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.message().contains(part) && error.message().contains("warm.readings"), "{error}");
        }
        lake.refresh_catalog().unwrap();
        let findings = lake.verify(0).unwrap().findings;
        assert_eq!(findings.iter().map(|f| (f.table.as_str(), f.problem)).collect::<Vec<_>>(), [("warm.readings", Problem::Unusable)]);
    };
    std::fs::write(&commit, "").unwrap();
    check("it is empty");
    std::fs::write(&commit, good_commit).unwrap();
    std::fs::write(&file, vec![0; good_file.len()]).unwrap();
    check("not a whole Parquet file");
    std::fs::write(&file, good_file).unwrap();
    assert!(world.open().unwrap().damaged().is_empty());
}
