//! What goes on beside appending. Invariant: it finds damage without being asked, and makes what will be needed.

use super::*;
use crate::limits::{DISK_CHECK_INTERVAL_MS, DISK_SCARCE_BYTES, INDEXES_LOADED_MAX, SCRUB_BYTES_PER_SECOND, ZERO_PIECE_BYTES};
use crate::log::{ahead, inspect};

#[test]
fn scrubbing_reads_every_sealed_segment_and_reports_damage_until_it_is_gone() {
    let disk = SimDisk::default();
    let clock = Arc::new(SimClock::default());
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), config(900)).unwrap();
    let log = stream(&logs);
    append_frames(&log, 0..60);
    let sealed = segment_files(&disk).len() as u64 - 1;
    clock.pass(Duration::from_secs(1));
    logs.upkeep().unwrap();
    assert_eq!(logs.problems(), [] as [String; 0]);
    assert_eq!((logs.scrubbed().segments, logs.scrubbed().rounds), (sealed, 1));

    let path = segment_files(&disk).remove(2);
    let good = disk.files().remove(&path).unwrap();
    let mut bad = good.clone();
    bad[200] ^= 1;
    disk.overwrite(&path, bad);
    clock.pass(Duration::from_secs(1));
    logs.upkeep().unwrap();
    assert!(logs.problems()[0].contains("telemetry/0") && logs.problems()[0].contains("offsets"), "{:?}", logs.problems());
    assert_eq!(logs.damaged_segments(), 1);
    assert!(logs.poisoned().is_none(), "damage to old records does not stop new ones");
    append_frames(&log, 60..62);
    disk.overwrite(&path, good);
    clock.pass(Duration::from_secs(1));
    logs.upkeep().unwrap();
    assert_eq!(logs.damaged_segments(), 0);
    assert_eq!(logs.problems(), [] as [String; 0]);
}

#[test]
fn a_bad_sector_is_damage_of_its_segment_and_the_others_are_read_all_the_same() {
    let disk = SimDisk::default();
    let clock = Arc::new(SimClock::default());
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), config(900)).unwrap();
    append_frames(&stream(&logs), 0..60);
    let mut files = segment_files(&disk);
    let sealed = files.len() as u64 - 1;
    disk.spoil(&files[1], 100..101);
    disk.spoil(&files[2], 0..1);
    let mut bad = disk.files().remove(&files[3]).unwrap();
    bad[200] ^= 1;
    disk.overwrite(&files[3], bad);
    clock.pass(Duration::from_secs(1));
    logs.upkeep().unwrap();
    assert_eq!((logs.scrubbed().segments, logs.scrubbed().rounds), (sealed, 1));
    let problems = logs.problems();
    for (problem, file) in problems.iter().zip(files.drain(1..4)) {
        assert!(problem.contains(&file.display().to_string()), "{problem}");
    }
    assert!(problems.len() == 3 && problems[0].contains("a bad sector"), "{problems:?}");
}

#[test]
fn nobody_who_asks_how_the_log_is_waits_for_scrubbing() {
    let disk = SimDisk::default();
    let clock = Arc::new(SimClock::default());
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), config(900)).unwrap();
    append_frames(&stream(&logs), 0..60);
    clock.pass(Duration::from_secs(1));
    disk.faults.read_hangs.store(true, std::sync::atomic::Ordering::Relaxed);
    let (sender, answer) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| logs.upkeep());
        std::thread::sleep(Duration::from_millis(100));
        scope.spawn(|| sender.send((logs.problems(), logs.scrubbed().segments)));
        let answer = answer.recv_timeout(LONG);
        disk.faults.read_hangs.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(answer, Ok((vec![], 0)));
    });
    assert!(logs.scrubbed().segments > 0);
}

#[test]
fn scrubbing_keeps_to_its_rate() {
    let disk = SimDisk::default();
    let clock = Arc::new(SimClock::default());
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), config(30_000)).unwrap();
    let log = stream(&logs);
    for _ in 0..100 {
        let ticket = log.append(&record("d", &[1; 9_000])).unwrap();
        assert!(log.wait(0, ticket.offset, LONG));
    }
    let per_pass = Duration::from_millis(10);
    for pass in 1..5 {
        clock.pass(per_pass);
        logs.upkeep().unwrap();
        assert!(logs.scrubbed().bytes <= SCRUB_BYTES_PER_SECOND / 100 * pass, "pass {pass}");
    }
    assert!(logs.scrubbed().bytes > 0);
}

#[test]
fn the_next_segment_is_there_before_it_is_needed_and_gone_if_it_is_not() {
    let disk = SimDisk::default();
    let logs = open(&disk, 4_000);
    let log = stream(&logs);
    let made = |disk: &SimDisk| disk.files().into_keys().find(|p| p.ends_with(ahead::FILE_NAME));
    let mut next = 0;
    while log.bytes() <= 2_200 {
        append_frames(&log, next..next + 1);
        next += 1;
    }
    for _ in 0..2_000 {
        if made(&disk).is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(segment_files(&disk).len(), 1);
    assert!(made(&disk).is_some());
    while segment_files(&disk).len() == 1 {
        append_frames(&log, next..next + 1);
        next += 1;
    }
    assert!(made(&disk).is_none(), "it became the segment");
    let newest = segment_files(&disk).pop().unwrap();
    assert_eq!(disk.files()[&newest].len(), 4_000, "with its zeros");
    append_frames(&log, next..next + 30);
    logs.close();
    assert!(made(&disk).is_none());
    assert_eq!(read_frames(&stream(&open(&disk, 4_000))), next + 30);
    assert_eq!(inspect::verify(&disk, Path::new("log"), &Floors::default()).unwrap().problems, []);
}

#[test]
fn the_next_segment_is_given_back_where_space_is_scarce() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::default()));
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), config(4_000)).unwrap();
    let log = stream(&logs);
    let made = || disk.files().into_keys().any(|p| p.ends_with(ahead::FILE_NAME));
    let until = |wanted: bool| {
        let start = std::time::Instant::now();
        while made() != wanted && start.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(made(), wanted);
    };
    let mut next = 0;
    let mut fill = |segments: usize, bytes: u64| {
        while segment_files(&disk).len() < segments || log.bytes() < bytes {
            append_frames(&log, next..next + 1);
            next += 1;
        }
        next
    };
    let look = |free: u64| {
        disk.faults.taken.store(u64::MAX - free, std::sync::atomic::Ordering::Relaxed);
        clock.pass(Duration::from_millis(2 * DISK_CHECK_INTERVAL_MS));
    };
    fill(1, 2_200);
    until(true);
    look(DISK_SCARCE_BYTES - 1);
    fill(1, 2_300);
    until(false);
    fill(2, 6_500);
    assert!(!made(), "the writer makes its own");
    look(u64::MAX);
    let all = fill(3, 10_500);
    until(true);
    assert_eq!(read_frames(&log), all);
}

#[test]
fn the_next_segment_grows_as_this_one_fills() {
    const SEGMENT: u64 = 1 << 20;
    let disk = SimDisk::default();
    let logs = open(&disk, SEGMENT);
    let log = stream(&logs);
    let made = |disk: &SimDisk| disk.files().into_iter().find(|(p, _)| p.ends_with(ahead::FILE_NAME)).map_or(0, |(_, b)| b.len() as u64);
    for next in 0.. {
        let ticket = log.append(&record("d", &[1; 20_000])).unwrap();
        assert!(log.wait(0, ticket.offset, LONG));
        if segment_files(&disk).len() > 1 {
            break;
        }
        let due = (log.bytes().saturating_sub(SEGMENT / 8) * 4 / 3).next_multiple_of(ZERO_PIECE_BYTES as u64).min(SEGMENT);
        let start = std::time::Instant::now();
        while made(&disk) < due && start.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(made(&disk), due, "after record {next}, {} bytes", log.bytes());
    }
    let newest = segment_files(&disk).pop().unwrap();
    assert_eq!(disk.files()[&newest].len() as u64, SEGMENT, "with its zeros");
}

#[test]
fn a_failed_disk_is_told_from_one_that_was_damaged_before() {
    let disk = SimDisk::default();
    let logs = open(&disk, 1 << 20);
    let log = stream(&logs);
    append_frames(&log, 0..2);
    disk.faults.sync_fails.store(true, std::sync::atomic::Ordering::Relaxed);
    log.append(&record("d", b"2")).unwrap();
    for _ in 0..2_000 {
        if logs.poisoned().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(logs.poisoned().unwrap().contains("sync"));
    let path = segment_files(&disk).remove(0);
    disk.overwrite(&path, vec![9; 500]);
    let logs = open(&disk.copy(), 1 << 20);
    assert_eq!((logs.problems().len(), logs.poisoned()), (1, None));
}

#[test]
fn of_sealed_segments_only_the_indexes_that_were_loaded_last_take_memory() {
    let disk = SimDisk::default();
    let logs = open(&disk, 600);
    let log = stream(&logs);
    append_frames(&log, 0..300);
    let loaded = || log.sealed().iter().filter(|(_, segment)| segment.has_index()).count();
    assert!(log.sealed().len() > INDEXES_LOADED_MAX * 2, "{} segments", log.sealed().len());
    assert_eq!(loaded(), 0, "a segment that is sealed gives its own back");
    assert_eq!(read_frames(&log), 300);
    assert_eq!(loaded(), INDEXES_LOADED_MAX);
    for offset in (0..300).rev() {
        assert_eq!(log.read(0, offset).unwrap().unwrap().entries[0].offset, offset);
        assert!(loaded() <= INDEXES_LOADED_MAX);
    }
}
