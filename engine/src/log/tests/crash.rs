//! Power cuts and restarts. Invariant: what was durable is there afterwards, in order; what was not may be there or not.

use std::sync::atomic::Ordering;

use super::*;
use crate::log::inspect;

#[test]
fn offsets_go_on_after_a_restart_and_an_idle_restart_changes_nothing() {
    let disk = SimDisk::default();
    let mut next = 0;
    for _ in 0..4 {
        let logs = open(&disk, 700);
        let log = stream(&logs);
        assert_eq!(read_frames(&log), next);
        append_frames(&log, next..next + 9);
        next += 9;
        logs.close();
        assert_eq!(log.append(&record("d", b"x")).unwrap_err().kind(), crate::error::ErrorKind::Unavailable);
    }
    assert!(segment_files(&disk).len() > 3);
    let before = disk.files();
    open(&disk, 700).close();
    assert_eq!(disk.files(), before);
    assert_eq!(inspect::verify(&disk, Path::new("log"), &Floors::default()).unwrap().problems, []);
}

#[test]
fn opening_reads_of_sealed_segments_only_header_and_trailer() {
    let disk = SimDisk::default();
    let logs = open(&disk, 3_000);
    let log = stream(&logs);
    for _ in 0..200 {
        let ticket = log.append(&record("d", &[1; 2_900])).unwrap();
        assert!(log.wait(0, ticket.offset, LONG));
    }
    logs.close();
    let before = disk.faults.bytes_read.load(Ordering::Relaxed);
    let logs = open(&disk, 3_000);
    assert_eq!(stream(&logs).bounds(0), 0..200);
    let read = disk.faults.bytes_read.load(Ordering::Relaxed) - before;
    assert!(read < 200 * (64 + 72) + 8_000, "{read} bytes were read");
}

/// A record that was written but not synced when the process died is served after the restart, so it must last from then on.
#[test]
fn what_a_restart_serves_survives_a_power_cut() {
    let disk = SimDisk::default();
    let logs = open(&disk, 1 << 20);
    let log = stream(&logs);
    append_frames(&log, 0..1);
    let written = || disk.files().into_values().map(|bytes| bytes.iter().filter(|b| **b != 0).count()).sum::<usize>();
    let before = written();
    disk.faults.sync_hangs.store(true, Ordering::Relaxed);
    log.append(&record("d", b"1")).unwrap();
    until("it is written", || written() != before);
    let killed = disk.kill();
    let lost = killed.kill().crash(|| false);
    disk.faults.sync_hangs.store(false, Ordering::Relaxed);
    assert_eq!(read_frames(&stream(&open(&lost, 1 << 20))), 1, "it was not durable when the process died");
    let logs = open(&killed, 1 << 20);
    assert_eq!(read_frames(&stream(&logs)), 2);
    let after = killed.crash(|| false);
    assert_eq!(read_frames(&stream(&open(&after, 1 << 20))), 2);
}

#[test]
fn a_tail_torn_at_any_byte_leaves_exactly_what_was_durable_before() {
    let disk = SimDisk::default();
    let logs = open(&disk, 1 << 20);
    append_frames(&stream(&logs), 0..5);
    let running = disk.copy();
    let path = segment_files(&running).remove(0);
    let bytes = running.files().remove(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    let start = end - (48 + 16 + 1 + 1 + 1);
    for cut in start..=end {
        for zeros in [0, 100] {
            let torn = running.copy();
            let mut tail = bytes[..cut].to_vec();
            tail.resize(cut + zeros, 0);
            torn.overwrite(&path, tail);
            let logs = open(&torn, 1 << 20);
            assert_eq!(logs.problems(), [] as [String; 0], "cut at {cut}");
            let whole = if cut == end { 5 } else { 4 };
            assert_eq!(read_frames(&stream(&logs)), whole, "cut at {cut}");
            let copies = torn.files().into_keys().filter(|p| p.extension().is_some_and(|e| e == "torn")).count();
            assert_eq!(copies, usize::from(cut > start && cut < end), "cut at {cut}");
            assert_eq!(logs.torn_bytes() > 0, copies > 0, "cut at {cut}");
            logs.close();
            let once = torn.files();
            open(&torn, 1 << 20).close();
            assert_eq!(torn.files(), once, "cut at {cut}");
            let logs = open(&torn, 1 << 20);
            append_frames(&stream(&logs), whole..whole + 2);
            assert_eq!(read_frames(&stream(&logs)), whole + 2);
        }
    }
}

#[test]
fn of_torn_tails_a_bounded_number_of_copies_is_kept() {
    let mut disk = SimDisk::default();
    let copies = |disk: &SimDisk| disk.files().into_keys().filter_map(|p| segment::torn_at(&p)).collect::<std::collections::BTreeSet<_>>();
    let mut made = std::collections::BTreeSet::new();
    let mut next = 0;
    for _ in 0..11 {
        let logs = open(&disk, 1 << 20);
        made.extend(copies(&disk));
        append_frames(&stream(&logs), next..next + 2);
        let running = disk.copy();
        damage_the_end(&running);
        (disk, next) = (running, next + 1);
    }
    open(&disk, 1 << 20).close();
    made.extend(copies(&disk));
    let newest: std::collections::BTreeSet<_> = made.iter().rev().take(8).copied().collect();
    assert_eq!((made.len(), copies(&disk)), (11, newest));
}

#[test]
fn a_device_keeps_its_order_under_eight_producers_and_a_power_cut() {
    let disk = SimDisk::default();
    let settings = LogConfig { partitions_default: 3, ..config(200_000) };
    let clock = Arc::new(SimClock::default());
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), settings.clone()).unwrap();
    let log = stream(&logs);
    let tickets: Vec<_> = std::thread::scope(|scope| {
        let produce = |thread: usize| {
            let log = &log;
            move || -> Vec<_> {
                let device = format!("device-{thread}");
                (0..3_000u64).map(|n| (log.append(&record(&device, &n.to_le_bytes())).unwrap(), thread, n)).collect()
            }
        };
        let threads: Vec<_> = (0..8).map(|t| scope.spawn(produce(t))).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let durable: Vec<_> = (0..3).map(|p| log.progress(p).borrow().durable).collect();
    let mut coin = 7u32;
    let after = disk.crash(|| {
        coin = coin.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        coin >> 31 == 1
    });
    let logs = Logs::open(Path::new("log"), Arc::new(after), clock, settings).unwrap();
    assert_eq!(logs.problems(), [] as [String; 0]);
    let log = stream(&logs);
    let mut found = BTreeMap::new();
    for partition in 0..3 {
        let mut from = 0;
        while let Some(records) = log.read(partition, from).unwrap() {
            for e in &records.entries {
                let n = u64::from_le_bytes(records.slice(&e.payload).try_into().unwrap());
                let before = found.insert((partition, e.offset), (records.text(&e.device).to_owned(), n));
                assert!(before.is_none());
            }
            from = records.end();
        }
        assert!(from >= durable[partition as usize]);
    }
    let mut last = BTreeMap::new();
    for (device, n) in found.values() {
        assert!(last.insert(device, *n).is_none_or(|before| before + 1 == *n), "{device} out of order at {n}");
    }
    for (ticket, thread, n) in tickets {
        if ticket.offset < durable[ticket.partition as usize] {
            assert_eq!(found[&(ticket.partition, ticket.offset)], (format!("device-{thread}"), n));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cuts the power again and again while records are in flight, each time with other sectors and names surviving.
    #[test]
    fn no_power_cut_loses_or_reorders_what_was_durable(rounds in prop::collection::vec((1u64..30, any::<u64>(), 0u8..4), 1..5)) {
        let mut disk = SimDisk::default();
        let mut at_least = 0;
        for (count, seed, odds) in rounds {
            let logs = open(&disk, 900);
            prop_assert_eq!(logs.problems(), Vec::<String>::new());
            let log = stream(&logs);
            let next = read_frames(&log);
            prop_assert!(next >= at_least, "{} records were durable, {} are left", at_least, next);
            append_frames(&log, next..next + count);
            for n in 0..count {
                let number = next + count + n;
                log.append(&record("d", number.to_string().as_bytes())).unwrap();
            }
            at_least = log.progress(0).borrow().durable;
            let mut coin = seed | 1;
            disk = disk.crash(|| {
                coin ^= coin << 13;
                coin ^= coin >> 7;
                coin ^= coin << 17;
                coin % 4 < u64::from(odds)
            });
        }
    }
}
