//! Retention over a whole log. Invariant: readers are told that a record is gone, and nothing pinned goes.

use super::*;
use crate::error::ErrorKind;
use crate::log::repair::repair;
use crate::log::{Retained, inspect};

#[test]
fn bytes_go_down_to_the_limit_but_not_past_a_pin() {
    let disk = SimDisk::default();
    let settings = LogConfig { retention_bytes: Some(1_000), ..config(400) };
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), Arc::new(SimClock::default()), settings.clone()).unwrap();
    let log = stream(&logs);
    append_frames(&log, 0..40);
    let all = segment_files(&disk).len();
    log.pin("job", 0, 7);
    log.pin("other", 0, 34);
    let retained = logs.upkeep().unwrap();
    assert!(retained.segments >= 1);
    let start = log.bounds(0).start;
    assert!(start > 0 && start <= 7, "{start}");
    assert_eq!(retained.records, start);
    assert_eq!(log.overdue(0), 34, "this far it would go without the pins");
    log.unpin("job");
    logs.upkeep().unwrap();
    assert_eq!(log.bounds(0).start, 34);
    assert_eq!(log.overdue(0), 0, "what is kept now is not too much");
    assert!(log.bytes() <= 1_000);
    assert!(segment_files(&disk).len() < all);
    assert_eq!(logs.upkeep().unwrap(), Retained::default());
    let gone = log.read(0, 0).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Invalid);
    assert!(gone.to_string().contains("no longer kept"));
    let kept = log.bounds(0);
    assert_eq!(read_frames(&log), 40);
    logs.close();
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), Arc::new(SimClock::default()), settings).unwrap();
    assert_eq!(stream(&logs).bounds(0), kept);
    assert!(disk.files().keys().all(|p| p.extension().is_none_or(|e| e != "deleted")));
}

#[test]
fn a_limit_is_for_the_stream_however_its_records_lie_in_its_partitions() {
    let disk = SimDisk::default();
    let open = |retention_bytes| {
        let settings = LogConfig { retention_bytes: Some(retention_bytes), partitions_default: 4, ..config(400) };
        Logs::open(Path::new("log"), Arc::new(disk.clone()), Arc::new(SimClock::default()), settings).unwrap()
    };
    let logs = open(u64::MAX);
    let log = stream(&logs);
    for number in 0..40 {
        // All of one device, and so in one partition.
        let ticket = log.append(&record("d", format!("{number}").as_bytes())).unwrap();
        assert!(log.wait(ticket.partition, ticket.offset, LONG));
    }
    let bytes = log.bytes();
    logs.close();
    drop((log, logs));
    let logs = open(2 * bytes);
    assert_eq!(logs.upkeep().unwrap(), Retained::default());
    logs.close();
    drop(logs);
    let logs = open(bytes / 2);
    assert!(logs.upkeep().unwrap().segments > 0);
    let kept = stream(&logs).bytes();
    assert!(kept <= bytes / 2 && kept > bytes / 4, "{kept} of {bytes}");
}

#[test]
fn a_partition_that_cannot_be_cleaned_up_does_not_keep_the_others_from_it() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::default()));
    let settings = LogConfig { retention_bytes: Some(1_000), partitions_default: 2, ..config(400) };
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), settings).unwrap();
    for name in ["one", "two"] {
        let log = logs.stream(&Name::new(name).unwrap()).unwrap();
        for number in 0..80 {
            let ticket = log.append(&record(&format!("d{}", number % 16), b"0")).unwrap();
            assert!(log.wait(ticket.partition, ticket.offset, LONG));
        }
    }
    let starts = |name: &str| {
        let log = logs.stream(&Name::new(name).unwrap()).unwrap();
        [0, 1].map(|partition| log.bounds(partition).start)
    };
    // Its segments: their names begin with a zero.
    *lock(&disk.faults.stuck) = Some(format!("{}/0", segment::partition_dir(Path::new("log/one"), 0).display()));
    clock.pass(Duration::from_secs(1));
    assert!(logs.upkeep().unwrap_err().to_string().contains("injected"));
    assert!(starts("one")[0] == 0 && starts("one")[1] > 0, "{:?}", starts("one"));
    assert!(starts("two").iter().all(|start| *start > 0), "{:?}", starts("two"));
    assert_eq!(logs.scrubbed().rounds, 1, "and what is sealed is read again");
    *lock(&disk.faults.stuck) = None;
    logs.upkeep().unwrap();
    assert!(starts("one")[0] > 0);
}

#[test]
fn names_that_cannot_be_synced_fail_the_partition() {
    let disk = SimDisk::default();
    let settings = LogConfig { retention_bytes: Some(1_000), ..config(400) };
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), Arc::new(SimClock::default()), settings).unwrap();
    let log = stream(&logs);
    // The one after a new segment's second: the writer has nothing left to write down.
    append_frames(&log, 0..41);
    let all = segment_files(&disk).len();
    disk.faults.dir_sync_fails.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(logs.upkeep().unwrap_err().to_string().contains("injected"));
    until("the partition fails", || logs.poisoned().is_some_and(|reason| reason.contains("sync log/telemetry/000")));
    assert_eq!(log.append(&record("d", b"41")).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(segment_files(&disk).len(), all - 1);
    disk.faults.dir_sync_fails.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(logs.upkeep().unwrap(), Retained::default(), "no other segment goes before the next start");
    logs.close();
    let logs = open(&disk.crash(|| false), 400);
    let log = stream(&logs);
    assert_eq!((logs.problems(), log.bounds(0).start, read_frames(&log)), (vec![], 0, 41), "what was not durably removed is there again");
}

#[test]
fn a_hard_limit_goes_past_pins_and_says_what_was_lost() {
    let disk = SimDisk::default();
    let settings = LogConfig { retention_bytes: Some(500), retention_bytes_hard: Some(1_000), ..config(400) };
    let logs = Logs::open(Path::new("log"), Arc::new(disk), Arc::new(SimClock::default()), settings).unwrap();
    let log = stream(&logs);
    append_frames(&log, 0..40);
    log.pin("forgotten", 0, 7);
    let retained = logs.upkeep().unwrap();
    let start = log.bounds(0).start;
    assert!(start > 7 && log.bytes() > 500 && log.bytes() <= 1_000, "{start}, {} bytes", log.bytes());
    assert_eq!((retained.records, retained.unread, log.dropped_unread()), (start, start - 7, start - 7));
    assert_eq!(logs.dropped_unread(), start - 7);
    assert_eq!(logs.upkeep().unwrap(), Retained::default(), "below the hard limit pins hold");
    let problems = logs.problems();
    assert!(problems[0].contains(&format!("{} records", start - 7)), "{problems:?}");
    assert!(log.read(0, 7).unwrap_err().to_string().contains("no longer kept"));
}

#[test]
fn who_keeps_much_from_retention_is_told_until_it_is_gone() {
    let disk = SimDisk::default();
    let settings = LogConfig { retention_bytes: Some(1_000), ..config(400) };
    let logs = Logs::open(Path::new("log"), Arc::new(disk), Arc::new(SimClock::default()), settings).unwrap();
    let log = stream(&logs);
    append_frames(&log, 0..40);
    let due = |logs: &Logs| {
        logs.upkeep().unwrap();
        (log.overdue(0), logs.problems())
    };
    log.pin("job#1", 0, 7);
    log.pin("savepoint s", 0, 2);
    let (overdue, problems) = due(&logs);
    assert!(overdue > 7 && problems.len() == 1, "{overdue} {problems:?}");
    assert!(
        problems[0].starts_with("retention of telemetry/0 waits for 'savepoint s' at offset 2, 0.0 MiB: DROP SAVEPOINT 's'"),
        "{problems:?}"
    );
    log.unpin("savepoint s");
    let (_, problems) = due(&logs);
    assert!(problems[0].contains("'job#1' at offset 7") && problems[0].ends_with("DROP JOB job give its place up"), "{problems:?}");
    // A little behind is not worth a word: one segment, or what is little beside what is kept.
    log.pin("job#1", 0, overdue - 1);
    let (still, problems) = due(&logs);
    assert_eq!((still, problems), (overdue, vec![]));
    log.unpin("job#1");
    assert_eq!(due(&logs), (0, vec![]));
}

#[test]
fn age_goes_segment_by_segment_and_reaches_an_idle_one() {
    let disk = SimDisk::default();
    let clock = Arc::new(SimClock::default());
    let settings = LogConfig { retention: Some(Duration::from_secs(10)), ..config(400) };
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), settings).unwrap();
    let log = stream(&logs);
    for second in 0..30 {
        clock.set(second * crate::time::SECOND);
        clock.pass(Duration::from_secs(1));
        append_frames(&log, second.cast_unsigned()..second.cast_unsigned() + 1);
    }
    logs.upkeep().unwrap();
    let start = log.bounds(0).start;
    assert!((10..=19).contains(&start), "{start}");
    // The clock jumps by a century, and back: what is young stays.
    clock.set(4_000_000_000 * crate::time::SECOND);
    assert_eq!(logs.upkeep().unwrap().segments, 0);
    append_frames(&log, 30..34);
    clock.set(100 * crate::time::SECOND);
    assert_eq!(logs.upkeep().unwrap().segments, 0);
    // Receive times go on far in the future now; what is old goes all the same.
    until("what is old goes", || {
        clock.pass(Duration::from_secs(30));
        logs.upkeep().unwrap();
        log.bounds(0).start == 34
    });
    assert_eq!(log.bounds(0), 34..34);
    append_frames(&log, 34..36);
    assert_eq!(read_frames(&log), 36);
}

#[test]
fn after_a_start_a_jump_of_the_clock_takes_half_the_retention_to_delete_all() {
    let disk = SimDisk::default();
    append_frames(&stream(&open(&disk, 400)), 0..30);
    let clock = Arc::new(SimClock::default());
    let settings = LogConfig { retention: Some(Duration::from_secs(10)), ..config(400) };
    let logs = Logs::open(Path::new("log"), Arc::new(disk.kill()), clock.clone(), settings).unwrap();
    let log = stream(&logs);
    clock.set(4_000_000_000 * crate::time::SECOND);
    assert_eq!(logs.upkeep().unwrap().segments, 1);
    assert_eq!(logs.upkeep().unwrap().segments, 0, "time has to pass");
    for second in 1..=5 {
        clock.pass(Duration::from_secs(1));
        logs.upkeep().unwrap();
        let start = log.bounds(0).start;
        assert!(start.abs_diff(second * 6) <= 4, "{start} of 30 after {second} s of 5");
    }
}

#[test]
fn oldest_segments_that_retention_did_not_remove_are_told_and_can_be_given_up() {
    let disk = SimDisk::default();
    let settings = LogConfig { retention_bytes: Some(2_000), ..config(400) };
    let open =
        |disk: &SimDisk| Logs::open(Path::new("log"), Arc::new(disk.clone()), Arc::new(SimClock::default()), settings.clone()).unwrap();
    let problems = |disk: &SimDisk| inspect::verify(disk, Path::new("log"), &Floors::default()).unwrap().problems;
    let logs = open(&disk);
    append_frames(&stream(&logs), 0..80);
    assert!(logs.upkeep().unwrap().segments > 0);
    let start = stream(&logs).bounds(0).start;
    logs.close();
    let disk = disk.crash(|| false);
    let logs = open(&disk);
    assert_eq!((logs.problems(), problems(&disk)), (vec![], vec![]), "retention did that");
    logs.close();

    let earlier = disk.copy();
    earlier.remove(Path::new("log/telemetry/000/start")).unwrap();
    let files = segment_files(&disk);
    let base: u64 = files[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    for path in &files[..2] {
        disk.remove(path).unwrap();
        earlier.remove(path).unwrap();
    }
    let logs = open(&earlier);
    assert_eq!((logs.problems(), problems(&earlier)), (vec![], vec![]), "a log of an earlier build cannot tell");
    logs.close();

    let (name, lost) = (Name::new("telemetry").unwrap(), start..base);
    let found: Vec<_> = problems(&disk).into_iter().map(|p| p.offsets).collect();
    assert_eq!(found, std::slice::from_ref(&lost));
    let logs = open(&disk);
    assert!(logs.problems()[0].contains(&format!("offsets {start} to {base} are gone")), "{:?}", logs.problems());
    append_frames(&stream(&logs), 80..82);
    logs.close();

    let repaired = repair(&disk, Path::new("log"), (&name, 0), None, std::slice::from_ref(&lost), 5).unwrap();
    assert_eq!(repaired.lost, std::slice::from_ref(&lost));
    let logs = open(&disk);
    assert_eq!((logs.problems(), problems(&disk)), (vec![], vec![]));
    let log = stream(&logs);
    assert_eq!((log.bounds(0), log.read(0, start).unwrap().unwrap().lost), (start..82, Some(lost)));
}
