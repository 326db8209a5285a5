//! What a table with a primary key refuses, and what it says of itself. Invariant checked: a refusal changes nothing.

use super::*;

#[test]
fn one_job_at_a_time_writes_a_key() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(keyed_spec("latest")).unwrap();
    let mut first = table.sink("first").unwrap();
    epoch(first.as_mut(), 1, &rows_of(&["a", "b"], DAY, "first"));
    assert_eq!(table.sink("second").err().unwrap().kind(), ErrorKind::Conflict);
    assert!(table.sink("first").is_ok(), "its own next run");
    feed(first.as_mut(), &rows_of(&["a"], DAY, "pending"));
    let pending = first.prepare(2).unwrap();
    drop(first);

    let mut second = table.sink("second").unwrap();
    second.start().unwrap();
    epoch(second.as_mut(), 1, &rows_of(&["a", "c"], DAY, "second"));
    let notes: Vec<_> = model(&table).into_iter().map(|(k, v)| (k.0, v.1.unwrap())).collect();
    let want = [("a", "second"), ("b", "first"), ("c", "second")];
    assert_eq!(notes, want.map(|(k, v)| (k.to_owned(), v.to_owned())), "it goes on with the rows that are there");
    drop(second);
    let before = model(&table);
    let e = table.sink("first").unwrap().recover(&pending).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.message().contains("replaced by somebody else"), "{e}");
    // A bucket that was empty when it was prepared.
    let other = PreCommit { removes: Vec::new(), ..pending };
    let e = table.sink("first").unwrap().recover(&other).unwrap_err();
    assert!(e.message().contains("written by somebody else"), "{e}");
    assert_eq!(model(&table), before);
}

#[test]
fn buckets_from_before_a_column_could_be_null_are_gone_on_from() {
    let world = World::new();
    let lake = world.open().unwrap();
    let spec = keyed_spec("latest");
    let strict = spec.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(false)).collect::<Vec<_>>();
    let strict = TableSpec { schema: Arc::new(Schema::new(strict)), ..keyed_spec("latest") };
    let first = epoch(lake.create(strict).unwrap().sink("job").unwrap().as_mut(), 1, &rows_of(&["a", "b"], DAY, "first"));
    let table = lake.create(spec).unwrap();
    let mut sink = table.sink("job").unwrap();
    sink.recover(&first).unwrap();
    epoch(sink.as_mut(), 2, &[(RowKind::Insert, ("b".to_owned(), 1), (Some(DAY), None))]);
    let notes: Vec<_> = model(&table).into_iter().map(|(key, values)| (key.0, values.1)).collect();
    assert_eq!(notes, [("a".to_owned(), Some("first".to_owned())), ("b".to_owned(), None)]);
}

#[test]
fn a_second_process_that_wrote_meanwhile_is_noticed() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(keyed_spec("latest")).unwrap();
    let foreign = LakeTable::open(&table.environment, Namespace::Warm, Name::new("latest").unwrap()).unwrap();
    let (mut ours, mut theirs) = (table.sink("ours").unwrap(), foreign.sink("theirs").unwrap());
    feed(ours.as_mut(), &rows_of(&["a"], DAY, "ours"));
    let late = ours.prepare(1).unwrap();
    epoch(theirs.as_mut(), 1, &rows_of(&["a"], DAY, "theirs"));
    assert_eq!(ours.commit(&late).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(ours.commit(&late).unwrap_err().kind(), ErrorKind::Conflict, "also once the log was read again");
    assert_eq!(model(&foreign).into_values().next().unwrap().1.unwrap(), "theirs");
}

#[test]
fn rows_without_a_key_are_refused_by_name() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(keyed_spec("latest")).unwrap();
    let schema: Vec<_> = table.columns().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let good = batch(&rows_of(&["a"], DAY, "x"));
    let mut columns = good.columns().to_vec();
    columns[1] = Arc::new(StringViewArray::from(vec![None::<&str>]));
    let bad = RecordBatch::try_new(Arc::new(Schema::new(schema)), columns).unwrap();
    let e = table.sink("job").unwrap().write(&bad).unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::Invalid, "warm.latest: column 'site' has NULL, but is NOT NULL"));

    let appended = lake.create(spec("readings")).unwrap();
    let changes = Changes::new(two_days(1), vec![RowKind::Insert, RowKind::Delete]);
    assert_eq!(appended.sink("job").unwrap().change(&changes).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn a_key_is_declared_once_and_known_to_the_catalog() {
    let world = World::new();
    let lake = world.open().unwrap();
    let refused = |change: fn(&mut TableSpec), kind: ErrorKind, part: &str| {
        let mut changed = keyed_spec("latest");
        change(&mut changed);
        let e = lake.create(changed).unwrap_err();
        assert_eq!(e.kind(), kind);
        assert!(e.message().contains(part), "{e}");
    };
    refused(|s| s.primary_key = vec!["nothing".into()], ErrorKind::Invalid, "column 'nothing' of the primary key does not exist");
    refused(|s| s.primary_key = vec!["note".into()], ErrorKind::Invalid, "column 'note' of the primary key may be NULL");
    refused(|s| s.primary_key.push("slot".into()), ErrorKind::Invalid, "column 'slot' of the primary key comes twice");
    refused(|s| s.namespace = Namespace::Late, ErrorKind::Invalid, "only tables of results");
    let table = lake.create(keyed_spec("latest")).unwrap();
    lake.create(keyed_spec("latest")).unwrap();
    refused(|s| s.primary_key = vec!["slot".into()], ErrorKind::Conflict, "its primary key is (slot, site)");
    refused(|s| s.primary_key.clear(), ErrorKind::Conflict, "its primary key is (slot, site)");
    assert_eq!((table.snapshot().unwrap().version, table.primary_key()), (0, vec!["slot".to_owned(), "site".to_owned()]));

    epoch(table.sink("job").unwrap().as_mut(), 1, &rows_of(&["a", "b"], DAY, "x"));
    lake.refresh_catalog().unwrap();
    let catalog: Value = serde_json::from_slice(&std::fs::read(lake.root().join("_catalog/catalog.json")).unwrap()).unwrap();
    let dataset = &catalog["datasets"][0];
    assert_eq!((&dataset["primary_key"], &dataset["partitioning"]), (&serde_json::json!(["slot", "site"]), &serde_json::json!([])));
    assert_eq!(dataset["schema"].as_array().unwrap().len(), 4);
    assert!(dataset["how_to_read"]["pyarrow"].is_null());
    assert!(lake.verify(0).unwrap().findings.is_empty());
    let (_, commit) = (drop((table, lake)), world.directory.path().join("lake/warm/latest/_delta_log/00000000000000000000.json"));
    let text = std::fs::read_to_string(&commit).unwrap();
    assert!(text.contains(r#""partitionColumns":[]"#) && text.contains(r#""lake.buckets":"16""#), "{text}");
    // A table of another number of buckets keeps it.
    std::fs::write(&commit, text.replace(r#""lake.buckets":"16""#, r#""lake.buckets":"64""#)).unwrap();
    let lake = world.open().unwrap();
    let table = lake.create(keyed_spec("latest")).unwrap();
    assert_eq!((table.layout.key.as_ref().unwrap().buckets, table.snapshot().unwrap().version), (64, 1));
}

#[test]
fn files_that_are_no_buckets_are_not_taken_for_rows() {
    let mut job = Job::new();
    let stored = epoch(job.sink(), 1, &rows_of(&["a"], DAY, "x"));
    let file = job.table().snapshot().unwrap().files[0].relative.clone();
    let commit = job.table().path().join("_delta_log/00000000000000000001.json");
    let moved = file.replace("-b", "-b9");
    std::fs::rename(job.table().path().join(&file), job.table().path().join(&moved)).unwrap();
    job.open = None;
    let text = std::fs::read_to_string(&commit).unwrap();
    std::fs::write(&commit, text.replace(&file, &moved)).unwrap();
    let lake = job.world.open().unwrap();
    let e = lake.table("warm", "latest").unwrap().sink("job/main").unwrap().recover(&stored).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
    assert!(e.message().contains("not the only file of a bucket"), "{e}");
}

#[test]
fn checkpoints_from_before_there_were_keys_are_read() {
    let old = r#"{"app_id":"a","epoch":4,"previous":2,"files":[],"event_time_max":null}"#;
    let prepared: PreCommit = serde_json::from_str(old).unwrap();
    assert!(prepared.is_empty());
    assert_eq!(serde_json::to_string(&prepared).unwrap(), old, "and written as they were");
}
