//! Small files into sorted ones. Invariant checked: a seal moves rows and changes none.

use arrow::array::Date32Array;

use super::*;

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
    assert!(lake.maintain(2 * DAY + HOUR - 1).unwrap().compacted.is_empty(), "no day is over");
    let report = lake.maintain(2 * DAY + HOUR).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let sealed: Vec<_> = report.compacted.iter().map(|d| (d.date.as_str(), d.replaced, d.merged, d.sealed, d.rows)).collect();
    assert_eq!(sealed, [("1970-01-02", 5, 0, 1, 5)]);
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
    assert!(lake.verify(in_two_days()).unwrap().findings.iter().all(|f| f.problem == Problem::ManifestMissing));
}

#[test]
fn files_from_before_and_after_a_column_could_be_null_are_sealed_together() {
    let world = World::new();
    let lake = world.open().unwrap();
    run(lake.create(spec_with([false; 3])).unwrap().sink("job").unwrap().as_mut(), 1, &two_days(1));
    let table = lake.create(spec_with([true; 3])).unwrap();
    let mut sink = table.sink("job").unwrap();
    run(sink.as_mut(), 2, &two_days(2));
    // Its day is that of the writing.
    run(sink.as_mut(), 3, &rows(&[("pump-3", None, 3.0)]));
    let before = contents(&table);
    let sealed: Vec<_> = table.seal(SealScope::All, 0).unwrap().into_iter().map(|day| (day.replaced, day.rows)).collect();
    assert_eq!(sealed, [(2, 2), (2, 2), (1, 1)]);
    assert_eq!(contents(&table), before);
}

#[test]
fn sealed_rows_lie_by_the_columns_that_a_table_names_then_by_device_and_time() {
    let world = World::new();
    let lake = world.open().unwrap();
    let sited = |columns: &[&str]| {
        let mut fields = spec("sited").schema.fields().to_vec();
        fields.push(Arc::new(Field::new("site", DataType::Utf8View, true)));
        fields.push(Arc::new(Field::new("day", DataType::Date32, true)));
        let sort_columns = columns.iter().map(|&name| name.to_owned()).collect();
        TableSpec { schema: Arc::new(Schema::new(fields)), sort_columns, ..spec("sited") }
    };
    let table = lake.create(sited(&["site", "day"])).unwrap();
    let mut sink = table.sink("job").unwrap();
    for (epoch, site) in [(1, Some("west")), (2, None), (3, Some("east"))] {
        let readings = rows(&[("pump-2", Some(DAY + 1), 1.0), ("pump-1", Some(DAY + 3), 2.0), ("pump-1", Some(DAY + 2), 3.0)]);
        let mut columns = readings.columns().to_vec();
        columns.push(Arc::new([site; 3].into_iter().collect::<StringViewArray>()));
        columns.push(Arc::new(Date32Array::from(vec![Some(1), Some(2), Some(2)])));
        run(sink.as_mut(), epoch, &RecordBatch::try_new(table.columns().clone(), columns).unwrap());
    }
    let before = table.snapshot().unwrap().rows;
    assert_eq!(table.seal(SealScope::All, 0).unwrap().len(), 1);
    let snapshot = table.snapshot().unwrap();
    assert_eq!((snapshot.files.len(), snapshot.rows), (1, before));
    let file = &snapshot.files[0].path;
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let sites = arrow::compute::cast(&batches[0]["site"], &DataType::Utf8View).unwrap();
    let sites: Vec<Option<&str>> = sites.as_string_view().iter().collect();
    assert_eq!(sites, [None, None, None, Some("east"), Some("east"), Some("east"), Some("west"), Some("west"), Some("west")]);
    let values: Vec<String> = read(file).into_iter().map(|row| row.2).collect();
    assert_eq!(values, ["1", "3", "2"].repeat(3), "by site, day, device and time");
    // What readers skip files by.
    let commit = table.path().join("_delta_log").join(format!("{:020}.json", snapshot.version));
    let commit = std::fs::read_to_string(commit).unwrap().replace('\\', "");
    for bounds in [r#""day":"1970-01-02","device_id":"pump-1","site":"east""#, r#""day":"1970-01-03","device_id":"pump-2","site":"west""#] {
        assert!(commit.contains(bounds), "{commit}");
    }
    let e = lake.create(sited(&["day"])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.message().contains("its rows lie by (site, day, device_id, ts)"), "{e}");
    drop((sink, table, lake));
    let again = world.open().unwrap().create(sited(&["site", "day"])).unwrap();
    assert_eq!(again.snapshot().unwrap().version, snapshot.version);
}

#[test]
fn there_is_a_directory_of_sealed_files_before_there_are_any() {
    let world = World::new();
    let lake = world.open().unwrap();
    let keyed = TableSpec { primary_key: vec!["device_id".into()], ..spec("keyed") };
    let data = [spec("readings"), keyed].map(|spec| lake.create(spec).unwrap().path().join("data"));
    let are_there = || data.each_ref().map(|path| path.is_dir());
    assert_eq!(are_there(), [true, false]);
    lake.refresh_catalog().unwrap();
    let table: Value = serde_json::from_slice(&std::fs::read(data[0].with_file_name("_meta").join("table.json")).unwrap()).unwrap();
    let recipe = table["how_to_read"]["pyarrow"].as_str().unwrap();
    assert!(recipe.ends_with(".to_table()  # sealed files only: the newest hours are missing, at first all"), "{recipe}");
    // As an earlier build left it.
    drop(lake);
    std::fs::remove_dir(&data[0]).unwrap();
    world.open().unwrap();
    assert_eq!(are_there(), [true, false]);
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
fn a_sealed_file_of_several_row_groups_is_sorted_over_all() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    let half = crate::limits::ROW_GROUP_ROWS as i64 / 2 + 7;
    let devices: ArrayRef = Arc::new(std::iter::repeat_n(Some("pump-1"), half as usize).collect::<StringViewArray>());
    for epoch in 0..2 {
        // The later rows come first.
        let times = TimestampMicrosecondArray::from_iter_values((0..half).map(|n| DAY + 2 * n + 1 - epoch)).with_timezone("UTC");
        let values = Float64Array::from_iter_values((0..half).map(|n| (2 * n + 1 - epoch) as f64));
        let batch = RecordBatch::try_new(table.columns().clone(), vec![devices.clone(), Arc::new(times), Arc::new(values)]);
        run(sink.as_mut(), epoch as u64 + 1, &batch.unwrap());
    }
    assert_eq!(table.seal(SealScope::All, 0).unwrap()[0].sealed, 1);
    let file = &table.snapshot().unwrap().files[0];
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap();
    assert_eq!(reader.metadata().num_row_groups(), 2);
    let values: Vec<f64> =
        reader.build().unwrap().flat_map(|b| b.unwrap()["value"].as_primitive::<Float64Type>().values().to_vec()).collect();
    assert!(values.iter().copied().eq((0..2 * half).map(|n| n as f64)));
}

#[test]
fn a_day_that_cannot_be_sealed_keeps_neither_the_others_nor_the_removal_of_files_from_being_done() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    run(sink.as_mut(), 1, &two_days(1));
    table.seal(SealScope::All, 0).unwrap();
    let replaced = parquet_files(&table.path().join("recent"));
    run(sink.as_mut(), 2, &two_days(2));
    let damaged = parquet_files(&table.path().join("recent")).into_iter().find(|path| !replaced.contains(path)).unwrap();
    std::fs::write(&damaged, "no Parquet").unwrap();
    let report = lake.maintain(world.clock.now() + HOUR).unwrap();
    assert!(report.failures[0].to_string().contains("lake file"), "{:?}", report.failures);
    assert!(replaced.iter().all(|path| !path.exists()));
    let recent: Vec<_> = table.snapshot().unwrap().files.iter().filter(|f| !f.is_sealed()).map(|f| f.path.clone()).collect();
    assert_eq!(recent, [damaged], "the other day is sealed");
}

#[test]
fn upkeep_that_somebody_waits_for_begins_no_other_day() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    run(table.sink("job").unwrap().as_mut(), 1, &two_days(1));
    lake.end_upkeep();
    assert_eq!(lake.maintain(10 * DAY).unwrap().compacted, []);
    assert_eq!(table.seal(SealScope::All, 10 * DAY).unwrap(), []);
    drop((table, lake));
    assert_eq!(world.open().unwrap().maintain(10 * DAY).unwrap().compacted.len(), 2, "it is done after the next start");
}

#[test]
fn a_table_that_was_opened_anew_is_sealed_by_its_new_self_alone() {
    let world = World::new();
    let lake = world.open().unwrap();
    let old = lake.create(spec_with([false, true, false])).unwrap();
    run(old.sink("job").unwrap().as_mut(), 1, &two_days(1));
    let new = lake.create(spec_with([true; 3])).unwrap();
    assert_eq!(old.seal(SealScope::All, 0).unwrap(), []);
    assert_eq!(new.seal(SealScope::All, 0).unwrap().len(), 2);
    assert_eq!(contents(&new).len(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn rows_of_many_days_hold_few_descriptors() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let mut sink = table.sink("job").unwrap();
    for day in 0..200 {
        sink.write(&rows(&[("pump-1", Some(day * DAY), 1.0)])).unwrap();
    }
    let scratch = lake.root().join("_scratch");
    let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let open = links.filter(|to| to.starts_with(&scratch)).count();
    assert!(open <= 2 * crate::limits::LAKE_PARTITIONS_OPEN_MAX, "{open}");
    let prepared = sink.prepare(1).unwrap();
    sink.commit(&prepared).unwrap();
    assert_eq!(contents(&table).len(), 200);
}
