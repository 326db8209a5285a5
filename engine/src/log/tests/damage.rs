//! Damaged bytes. Invariant: damage to what was durable is reported, with its place; nothing is cut off because of it.

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::log::inspect;

const DIR: &str = "log";

/// A log with two sealed segments and a newest one, as it lies after a crash or after a clean end.
fn three_segments(clean: bool) -> SimDisk {
    let disk = SimDisk::default();
    let logs = open(&disk, 400);
    append_frames(&stream(&logs), 0..14);
    if clean {
        logs.close();
    }
    let copy = disk.copy();
    assert_eq!(segment_files(&copy).len(), 3);
    copy
}

#[test]
fn every_flipped_bit_of_a_sealed_segment_is_found() {
    let good = three_segments(true);
    assert_eq!(inspect::verify(&good, Path::new(DIR), &Floors::default()).unwrap().problems, []);
    let path = segment_files(&good).remove(0);
    let bytes = good.files().remove(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let bad = good.copy();
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        bad.overwrite(&path, flipped);
        let problems = inspect::verify(&bad, Path::new(DIR), &Floors::default()).unwrap().problems;
        assert!(problems.iter().any(|p| p.file == path), "bit {bit}: {problems:?}");
        // Serving it gives the right records or an error, never wrong ones.
        let logs = open(&bad, 400);
        let log = stream(&logs);
        let mut from = log.bounds(0).start;
        while let Ok(Some(records)) = log.read(0, from) {
            for entry in &records.entries {
                assert_eq!(records.slice(&entry.payload), from.to_string().as_bytes(), "bit {bit}");
                from += 1;
            }
        }
    }
}

#[test]
fn a_damaged_frame_before_a_durable_one_is_refused_not_cut_off() {
    let disk = SimDisk::default();
    let logs = open(&disk, 1 << 20);
    append_frames(&stream(&logs), 0..6);
    let bad = disk.copy();
    let path = segment_files(&bad).remove(0);
    let mut bytes = bad.files().remove(&path).unwrap();
    let frame = 48 + 16 + 3;
    bytes[64 + 2 * frame + 60] ^= 1;
    bad.overwrite(&path, bytes);
    let before = bad.files();
    let logs = open(&bad, 1 << 20);
    let problems = logs.problems();
    assert!(problems[0].contains(&format!("at byte {}; offsets 2 to 3 are damaged", 64 + 2 * frame)), "{problems:?}");
    let log = stream(&logs);
    assert_eq!(log.bounds(0), 0..2);
    assert_eq!(log.read(0, 0).unwrap().unwrap().entries.len(), 2);
    assert_eq!(log.append(&record("d", b"x")).unwrap_err().kind(), ErrorKind::Internal);
    assert!(log.progress(0).borrow().failed.is_some());
    logs.close();
    assert_eq!(bad.files(), before);
    let problem = inspect::verify(&bad, Path::new(DIR), &Floors::default()).unwrap().problems.remove(0);
    assert_eq!((problem.byte, problem.offsets), (64 + 2 * frame as u64, 2..3));
}

#[test]
fn a_segment_of_a_later_version_is_refused_and_left_alone() {
    let disk = SimDisk::default();
    let logs = open(&disk, 1 << 20);
    append_frames(&stream(&logs), 0..3);
    let newer = disk.copy();
    let path = segment_files(&newer).remove(0);
    let mut bytes = newer.files().remove(&path).unwrap();
    bytes[8] += 1;
    let checksum = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    newer.overwrite(&path, bytes);
    let before = newer.files();
    let logs = open(&newer, 1 << 20);
    let problems = logs.problems();
    let wanted = "log has version 2, this program knows 1 (hint: use the version of thalweg that wrote it";
    assert!(problems[0].contains(wanted), "{problems:?}");
    assert_eq!(stream(&logs).append(&record("d", b"x")).unwrap_err().kind(), ErrorKind::Internal);
    logs.close();
    assert_eq!(newer.files(), before);
}

#[test]
fn after_a_clean_end_even_the_last_frame_cannot_be_taken_for_torn() {
    let disk = SimDisk::default();
    let logs = open(&disk, 1 << 20);
    append_frames(&stream(&logs), 0..3);
    logs.close();
    let path = segment_files(&disk).remove(0);
    let bytes = disk.files().remove(&path).unwrap();
    let frame = 48 + 16 + 3;
    for bit in (64 + 2 * frame) * 8..(64 + 3 * frame) * 8 {
        let bad = disk.copy();
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        bad.overwrite(&path, flipped);
        assert!(!open(&bad, 1 << 20).problems().is_empty(), "bit {bit}");
    }
}

#[test]
fn missing_files_are_noticed() {
    use crate::contract::Disk as _;
    let good = three_segments(true);
    let files = segment_files(&good);
    let without = |path: &Path| {
        let disk = good.copy();
        disk.remove(path).unwrap();
        open(&disk, 400).problems()
    };
    assert!(without(&files[1])[0].contains("should come next"));
    assert!(without(&files[0])[0].contains("offsets 0 to"));
    let disk = good.copy();
    for path in &files {
        disk.remove(path).unwrap();
    }
    assert!(open(&disk, 400).problems()[0].contains("no segment"));
    let disk = good.copy();
    let meta = Path::new("log/telemetry/stream.json");
    disk.remove(meta).unwrap();
    let logs = open(&disk, 400);
    assert_eq!(logs.stream(&Name::new("telemetry").unwrap()).unwrap_err().kind(), ErrorKind::Corrupt);
    let disk = good.copy();
    let text = String::from_utf8(disk.files().remove(meta).unwrap()).unwrap();
    disk.overwrite(meta, text.replace("\"partitions\":1", "\"partitions\":2").into_bytes());
    assert!(open(&disk, 400).problems()[0].contains("checksum"));
}

#[test]
fn verification_reports_what_cannot_be_read_and_goes_on() {
    for bytes in [0..1, 100..101] {
        let disk = three_segments(true);
        let files = segment_files(&disk);
        disk.spoil(&files[0], bytes);
        let mut bad = disk.files().remove(&files[1]).unwrap();
        bad[100] ^= 1;
        disk.overwrite(&files[1], bad);
        let verified = inspect::verify(&disk, Path::new(DIR), &Floors::default()).unwrap();
        let found: Vec<_> = verified.problems.iter().map(|p| (p.file.clone(), p.what.contains("a bad sector"))).collect();
        assert!(found.contains(&(files[0].clone(), true)) && found.contains(&(files[1].clone(), false)), "{:?}", verified.problems);
        assert!(verified.records > 0, "the newest was read");
    }
}

#[test]
fn one_damaged_stream_leaves_the_others_alone() {
    let disk = three_segments(true);
    let logs = open(&disk, 400);
    let other = Name::new("other").unwrap();
    logs.stream(&other).unwrap().append(&record("d", b"0")).unwrap();
    logs.close();
    disk.overwrite(Path::new("log/telemetry/stream.json"), b"{".to_vec());
    let logs = open(&disk, 400);
    assert_eq!(logs.problems().len(), 1);
    assert_eq!(logs.streams(), [other.clone(), Name::new("telemetry").unwrap()]);
    append_frames(&logs.stream(&other).unwrap(), 1..3);
}

#[test]
fn a_damaged_index_is_made_anew() {
    let disk = three_segments(true);
    let path = segment_files(&disk).remove(0);
    let mut bytes = disk.files().remove(&path).unwrap();
    let mark = bytes.len() - 72 - 24;
    bytes[mark] ^= 0xff;
    disk.overwrite(&path, bytes);
    let logs = open(&disk, 400);
    assert_eq!(logs.problems(), [] as [String; 0]);
    assert_eq!(read_frames(&stream(&logs)), 14);
}

#[test]
fn inspection_shows_segments_and_records_while_the_log_is_open() {
    use std::ops::ControlFlow;
    let disk = SimDisk::default();
    let logs = open(&disk, 400);
    append_frames(&stream(&logs), 0..14);
    let (dir, name) = (Path::new(DIR), Name::new("telemetry").unwrap());
    let infos = inspect::segments(&disk, dir).unwrap();
    let shown: Vec<_> = infos.iter().map(|i| (i.offsets.clone(), i.sealed)).collect();
    assert_eq!(shown.len(), 3);
    assert_eq!((shown[0].0.start, shown[2].0.end), (0, 14));
    assert_eq!(shown.iter().map(|s| s.1).collect::<Vec<_>>(), [true, true, false]);
    let mut seen = Vec::new();
    inspect::records(&disk, dir, (&name, 0), 5, &mut |records| {
        seen.extend(records.entries.iter().map(|e| e.offset));
        if seen.len() < 4 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    assert_eq!(seen, [5, 6, 7, 8]);
    let verified = inspect::verify(&disk, dir, &Floors::default()).unwrap();
    assert_eq!((verified.segments, verified.records, verified.problems), (3, 14, Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes in any file: opening ends in an answer, and opening again in the same one.
    #[test]
    fn recovery_is_total_and_idempotent(
        clean in any::<bool>(),
        edits in prop::collection::vec((0usize..3, any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..80), 0u8..3), 1..4),
    ) {
        let disk = three_segments(clean);
        let files = segment_files(&disk);
        for (file, at, bytes, how) in edits {
            let mut content = disk.files().remove(&files[file]).unwrap();
            if !content.is_empty() {
                let at = at.index(content.len());
                match how {
                    0 => content.truncate(at),
                    1 => drop(content.splice(at..at, bytes)),
                    _ => content.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = from),
                }
            }
            disk.overwrite(&files[file], content);
        }
        inspect::verify(&disk, Path::new(DIR), &Floors::default()).unwrap();
        let logs = open(&disk, 400);
        let (problems, bounds) = (logs.problems(), stream(&logs).bounds(0));
        let mut from = bounds.start;
        while let Ok(Some(records)) = stream(&logs).read(0, from) {
            for entry in &records.entries {
                let expected = from.to_string();
                prop_assert_eq!(records.slice(&entry.payload), expected.as_bytes());
                from += 1;
            }
        }
        logs.close();
        drop(logs);
        let once = disk.files();
        let logs = open(&disk, 400);
        prop_assert_eq!((logs.problems(), stream(&logs).bounds(0)), (problems, bounds));
        logs.close();
        prop_assert_eq!(disk.files(), once);
    }
}
