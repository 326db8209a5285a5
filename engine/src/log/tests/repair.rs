//! Repair after damage. Invariant: it keeps every record that is whole, tells readers which are not, and changes nothing that
//! nobody accepted.

use std::ops::Range;

use super::*;
use crate::error::ErrorKind;
use crate::log::Floor;
use crate::log::inspect;
use crate::log::repair::{examine, repair};

const FRAME: usize = 48 + 16 + 2;

/// A closed log of 60 frames in several segments.
fn sample() -> SimDisk {
    let disk = SimDisk::default();
    let logs = open(&disk, 900);
    append_frames(&stream(&logs), 0..60);
    logs.close();
    disk
}

fn telemetry() -> Name {
    Name::new("telemetry").unwrap()
}

/// Repairs what is damaged, accepting everything, and returns what was lost.
fn repaired(disk: &SimDisk) -> Vec<Range<u64>> {
    let name = telemetry();
    let place = (&name, 0);
    let examined = examine(disk, Path::new("log"), place, None).unwrap();
    assert!(!examined.problems.is_empty());
    let before = disk.files();
    if !examined.lost.is_empty() {
        assert_eq!(repair(disk, Path::new("log"), place, None, &[], 5).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(disk.files(), before, "nothing is changed that nobody accepted");
    }
    let lost = repair(disk, Path::new("log"), place, None, &examined.lost, 5).unwrap().lost;
    let clean = examine(disk, Path::new("log"), place, None).unwrap();
    assert_eq!((clean.problems.len(), clean.lost.len()), (0, 0), "{:?}", clean.problems);
    assert_eq!(inspect::verify(disk, Path::new("log"), &Floors::default()).unwrap().problems, []);
    lost
}

/// Opens the log, reads it, appends and reads again: every offset but the lost ones holds its record.
fn check(disk: &SimDisk, end: u64, lost: &[Range<u64>]) {
    let logs = open(disk, 900);
    assert_eq!(logs.problems(), [] as [String; 0]);
    let log = stream(&logs);
    assert_eq!(log.bounds(0), 0..end);
    append_frames(&log, end..end + 3);
    for start in 0..end {
        let mut from = start;
        let mut told = Vec::new();
        while let Some(records) = log.read(0, from).unwrap() {
            for entry in &records.entries {
                assert_eq!(records.slice(&entry.payload), entry.offset.to_string().as_bytes());
                assert_eq!(entry.offset, from);
                from += 1;
            }
            if let Some(range) = records.lost {
                assert_eq!(range.start, from);
                from = range.end;
                told.push(range);
            }
        }
        assert_eq!(from, end + 3);
        let expected: Vec<_> = lost.iter().filter(|l| l.end > start).map(|l| l.start.max(start)..l.end).collect();
        assert_eq!(told, expected, "read from {start}");
    }
    assert!(log.offset_at(0, i64::MAX).unwrap() == end + 3);
}

#[test]
fn one_damaged_frame_of_a_sealed_segment_costs_that_frame() {
    let disk = sample();
    let path = segment_files(&disk).remove(1);
    let mut bytes = disk.files().remove(&path).unwrap();
    let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    bytes[64 + 2 * FRAME + 50] ^= 4;
    disk.overwrite(&path, bytes.clone());
    let lost = repaired(&disk);
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].end - lost[0].start, 1);
    assert!(lost[0].start > first);
    check(&disk, 60, &lost);
    let old = disk.files().remove(&segment::with_suffix(&path, "damaged")).unwrap();
    assert_eq!(old, bytes, "the old file is kept");
    assert!(disk.files().keys().any(|p| p.ends_with("repairs.jsonl")));
}

#[test]
fn a_segment_that_is_gone_becomes_a_gap_that_readers_are_told() {
    let disk = sample();
    let paths = segment_files(&disk);
    let base = |at: usize| paths[at].file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    disk.remove(&paths[1]).unwrap();
    disk.remove(&paths[2]).unwrap();
    disk.sync_dir(paths[1].parent().unwrap()).unwrap();
    let logs = open(&disk, 900);
    assert_eq!(logs.problems().len(), 1);
    logs.close();
    let lost = repaired(&disk);
    assert_eq!((lost.len(), lost[0].clone()), (1, base(1)..base(3)));
    check(&disk, 60, &lost);
}

#[test]
fn a_damaged_header_or_footer_costs_no_record() {
    for (at, byte) in [(0usize, 3usize), (1, 60), (2, 50)] {
        let disk = sample();
        let path = segment_files(&disk).remove(at);
        let mut bytes = disk.files().remove(&path).unwrap();
        bytes[byte] ^= 1;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        disk.overwrite(&path, bytes);
        assert_eq!(repaired(&disk), [] as [Range<u64>; 0]);
        check(&disk, 60, &[]);
    }
}

#[test]
fn a_newest_segment_nobody_can_read_gives_up_no_more_than_it_can_have_held() {
    let disk = sample();
    let path = segment_files(&disk).pop().unwrap();
    let base: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let bytes = disk.files().remove(&path).unwrap();
    disk.overwrite(&path, vec![9; bytes.len()]);
    let lost = repaired(&disk);
    assert_eq!((lost.len(), lost[0].start), (1, base));
    assert!(lost[0].end >= 60, "{lost:?}");
    check(&disk, lost[0].end, &lost);
}

/// A closed log of 600 frames in segments of several sectors.
fn large_sample() -> SimDisk {
    let disk = SimDisk::default();
    let logs = open(&disk, 16_000);
    append_frames(&stream(&logs), 0..600);
    logs.close();
    disk
}

#[test]
fn a_bad_sector_costs_the_frames_in_it() {
    let disk = large_sample();
    let path = segment_files(&disk).remove(1);
    disk.spoil(&path, 5_000..5_001);
    let lost = repaired(&disk);
    assert_eq!(lost.len(), 1);
    assert!((60..=65).contains(&(lost[0].end - lost[0].start)), "{lost:?}");
    check(&disk, 600, &lost);
}

#[test]
fn a_bad_sector_at_the_end_is_never_taken_for_the_end() {
    let disk = large_sample();
    let path = segment_files(&disk).pop().unwrap();
    let bytes = disk.files().remove(&path).unwrap();
    let last = bytes.iter().rposition(|b| *b != 0).unwrap();
    disk.spoil(&path, last..last + 1);
    let lost = repaired(&disk);
    assert!(lost.len() == 1 && lost[0].start < 600 && lost[0].end >= 600, "{lost:?}");
    check(&disk, lost[0].end, &lost);
}

#[test]
fn a_whole_log_and_a_torn_tail_need_no_repair() {
    let disk = sample();
    let name = telemetry();
    assert_eq!(examine(&disk, Path::new("log"), (&name, 0), None).unwrap().problems.len(), 0);
    let logs = open(&disk, 1 << 20);
    append_frames(&stream(&logs), 60..64);
    let running = disk.copy();
    damage_the_end(&running);
    assert_eq!(examine(&running, Path::new("log"), (&name, 0), None).unwrap().problems.len(), 0);
}

/// The newest frame, of a log that was not closed, does not validate: it looks like a torn tail.
fn torn_at_the_end() -> SimDisk {
    let disk = SimDisk::default();
    let logs = open(&disk, 900);
    append_frames(&stream(&logs), 0..60);
    let running = disk.copy();
    damage_the_end(&running);
    running
}

#[test]
fn what_a_job_has_read_is_never_cut_as_a_torn_tail_and_its_offsets_are_not_used_again() {
    // The newest segment is gone with its name: what is left is whole.
    let without_newest = sample();
    let newest = segment_files(&without_newest).pop().unwrap();
    without_newest.remove(&newest).unwrap();
    let base: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let name = telemetry();
    let floor = Floor { offset: 60, reader: "job hot".to_owned() };
    let mut floors = Floors::default();
    floors.add(&name, 0, floor.clone());
    floors.add(&name, 0, Floor { offset: 3, reader: "job slow".to_owned() });
    assert_eq!((floors.of(&name, 0), floors.of(&name, 1)), (Some(&floor), None));
    let open_read = |disk: &SimDisk| {
        let clock = Arc::new(SimClock::default());
        Logs::open_read(Path::new("log"), Arc::new(disk.clone()), clock, config(900), floors.clone()).unwrap()
    };
    for (disk, end) in [(torn_at_the_end(), 59), (without_newest, base)] {
        let segments = || segment_files(&disk).into_iter().filter_map(|path| disk.files().remove(&path)).collect::<Vec<_>>();
        let before = segments();
        for _ in 0..2 {
            let logs = open_read(&disk);
            let problems = logs.problems();
            assert!(problems.len() == 1 && problems[0].contains("job hot has read all before offset 60"), "{problems:?}");
            let log = stream(&logs);
            assert_eq!((log.bounds(0), read_frames(&log)), (0..end, end), "what is before is served");
            assert_eq!(log.append(&record("d", b"x")).unwrap_err().kind(), ErrorKind::Internal);
            assert_eq!(logs.poisoned(), None, "a new start would change nothing");
            logs.close();
        }
        assert_eq!(segments(), before, "nothing is cut");
        let told = inspect::verify(&disk, Path::new("log"), &floors).unwrap().problems;
        assert_eq!((told.len(), told[0].offsets.clone()), (1, end..60), "{told:?}");
        assert_eq!(inspect::verify(&disk, Path::new("log"), &Floors::default()).unwrap().problems, [], "the files alone do not tell");

        let examined = examine(&disk, Path::new("log"), (&name, 0), Some(&floor)).unwrap();
        assert_eq!(examined.lost.iter().map(|l| (l.start, l.end)).collect::<Vec<_>>(), [(end, 60)]);
        assert_eq!(examine(&disk, Path::new("log"), (&name, 0), None).unwrap().problems.len(), 0);
        repair(&disk, Path::new("log"), (&name, 0), Some(&floor), &examined.lost, 5).unwrap();
        let logs = open_read(&disk);
        assert_eq!(logs.problems(), [] as [String; 0]);
        logs.close();
        check(&disk, 60, &examined.lost);
    }
}

#[test]
fn a_stream_that_is_gone_and_made_anew_does_not_begin_with_offsets_that_were_read() {
    let mut floors = Floors::default();
    floors.add(&telemetry(), 0, Floor { offset: 7, reader: "savepoint 'a'".to_owned() });
    let disk = Arc::new(SimDisk::default());
    let logs = Logs::open_read(Path::new("log"), disk, Arc::new(SimClock::default()), config(900), floors).unwrap();
    assert_eq!(stream(&logs).append(&record("d", b"x")).unwrap_err().kind(), ErrorKind::Internal);
    assert!(logs.problems()[0].contains("savepoint 'a' has read all before offset 7"), "{:?}", logs.problems());
}
