//! Records sent twice. Invariant: what is known by its sequence is stored once, over restarts, rolls and power cuts, and is
//! acknowledged only when the record it repeats is durable.

use super::*;
use crate::batch::ProducerSequence;
use crate::contract::Arrival;

fn send(log: &Log, device: &str, epoch: u32, sequence: u64) -> (u64, Arrival) {
    let payload = format!("{device}/{epoch}/{sequence}");
    let producer = Some(ProducerSequence { epoch, sequence });
    let ticket = log.append(&Record { producer, ..record(device, payload.as_bytes()) }).unwrap();
    (ticket.offset, ticket.arrival)
}

/// How often each payload is in the log.
fn stored(log: &Log) -> BTreeMap<Vec<u8>, u64> {
    let mut found = BTreeMap::new();
    let mut from = log.bounds(0).start;
    while let Some(records) = log.read(0, from).unwrap() {
        for entry in &records.entries {
            *found.entry(records.slice(&entry.payload).to_vec()).or_default() += 1;
        }
        from = records.end();
    }
    found
}

#[test]
fn a_repeated_record_waits_for_the_one_it_repeats() {
    let disk = SimDisk::default();
    let log = stream(&open(&disk, 1 << 20));
    append_frames(&log, 0..3);
    disk.faults.sync_hangs.store(true, std::sync::atomic::Ordering::Relaxed);
    let first = send(&log, "d", 1, 10);
    let again = send(&log, "d", 1, 10);
    assert_eq!((first.1, again.1), (Arrival::New, Arrival::Duplicate));
    assert!(again.0 >= first.0);
    assert_eq!(log.progress(0).borrow().durable, 3, "neither is acknowledged");
    disk.faults.sync_hangs.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(log.wait(0, again.0, LONG));
    assert_eq!(log.bounds(0), 0..4);
}

#[test]
fn everything_sent_again_after_each_restart_is_stored_once() {
    let disk = SimDisk::default();
    let mut sent = 0;
    for round in 0..6u64 {
        let logs = open(&disk, 3_000);
        let log = stream(&logs);
        for sequence in 0..sent {
            assert_eq!(send(&log, &format!("d{}", sequence % 7), 1, sequence / 7).1, Arrival::Duplicate, "round {round}");
        }
        for sequence in sent..sent + 60 {
            let (offset, arrival) = send(&log, &format!("d{}", sequence % 7), 1, sequence / 7);
            assert_eq!((offset, arrival), (sequence, Arrival::New));
            assert!(log.wait(0, offset, LONG));
        }
        sent += 60;
        if round == 3 {
            let start = segment_files(&disk).len();
            assert!(start > 3, "the snapshot spans segments");
        }
        logs.close();
    }
    let found = stored(&stream(&open(&disk, 3_000)));
    assert_eq!((found.len() as u64, found.values().max()), (sent, Some(&1)));
}

/// A closed log with the records 0 to 79 of device `d`, and where it keeps what it knows of them.
fn eighty_records() -> (SimDisk, PathBuf) {
    let disk = SimDisk::default();
    let logs = open(&disk, 600);
    let log = stream(&logs);
    for sequence in 0..80 {
        let (offset, _) = send(&log, "d", 1, sequence);
        assert!(log.wait(0, offset, LONG));
    }
    logs.close();
    let snapshot = disk.files().into_keys().find(|p| p.ends_with("producers.snap")).unwrap();
    (disk, snapshot)
}

#[test]
fn without_its_snapshot_the_same_is_known() {
    let (disk, snapshot) = eighty_records();
    for bytes in [Vec::new(), vec![7; 100]] {
        let copy = disk.copy();
        copy.overwrite(&snapshot, bytes);
        let log = stream(&open(&copy, 600));
        for sequence in 0..80 {
            assert_eq!(send(&log, "d", 1, sequence).1, Arrival::Duplicate);
        }
        assert_eq!(send(&log, "d", 1, 80).1, Arrival::New);
    }
    disk.spoil(&snapshot, 0..8);
    let logs = open(&disk, 600);
    assert_eq!(logs.problems(), [] as [String; 0], "one that cannot be read is no worse than one that is damaged");
    assert_eq!(send(&stream(&logs), "d", 1, 79).1, Arrival::Duplicate);
}

#[test]
fn records_that_cannot_be_read_at_the_start_do_not_end_the_process() {
    let (disk, snapshot) = eighty_records();
    disk.overwrite(&snapshot, Vec::new());
    disk.spoil(&segment_files(&disk)[0], 70..71);
    let logs = open(&disk, 600);
    assert!(logs.problems()[0].contains("a bad sector"), "{:?}", logs.problems());
    assert_eq!(logs.poisoned(), None, "the next start would find the same");
}

#[test]
fn what_retention_takes_from_an_idle_log_is_known_after_a_restart() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::default()));
    let settings = LogConfig { retention: Some(Duration::from_secs(10)), ..config(1 << 20) };
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), settings).unwrap();
    let log = stream(&logs);
    for sequence in 0..5 {
        let (offset, _) = send(&log, "d", 1, sequence);
        assert!(log.wait(0, offset, LONG));
    }
    let has_snapshot = || disk.files().into_keys().any(|p| p.ends_with("producers.snap"));
    *lock(&disk.faults.full_for) = Some("producers".to_owned());
    until("retention takes the idle segment", || {
        clock.pass(Duration::from_secs(30));
        logs.upkeep().unwrap();
        log.bounds(0).start == 5
    });
    assert!(!has_snapshot());
    *lock(&disk.faults.full_for) = None;
    until("the producers are written down once there is room", has_snapshot);
    let log = stream(&open(&disk.copy(), 1 << 20));
    assert_eq!(log.bounds(0), 5..5);
    assert_eq!((send(&log, "d", 1, 4).1, send(&log, "d", 1, 5).1), (Arrival::Duplicate, Arrival::New));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// A device that sends again whatever was not acknowledged before the power went: each record is there once.
    #[test]
    fn a_power_cut_neither_loses_nor_doubles_numbered_records(rounds in prop::collection::vec((1u64..40, any::<u64>(), 0u8..4), 1..6)) {
        let mut disk = SimDisk::default();
        let (mut sent, mut acknowledged) = (0, 0);
        for (count, seed, odds) in rounds {
            let logs = open(&disk, 1_500);
            prop_assert_eq!(logs.problems(), Vec::<String>::new());
            let log = stream(&logs);
            let mut last = 0;
            for sequence in acknowledged..sent {
                last = send(&log, "d", 1, sequence).0;
            }
            for sequence in sent..sent + count {
                last = send(&log, "d", 1, sequence).0;
                if sequence % 3 == 0 {
                    prop_assert!(log.wait(0, last, LONG));
                    acknowledged = sequence + 1;
                }
            }
            sent += count;
            if seed % 2 == 0 {
                prop_assert!(log.wait(0, last, LONG));
                acknowledged = sent;
            }
            let mut coin = seed | 1;
            disk = disk.crash(|| {
                coin ^= coin << 13;
                coin ^= coin >> 7;
                coin ^= coin << 17;
                coin % 4 < u64::from(odds)
            });
        }
        let log = stream(&open(&disk, 1_500));
        let found = stored(&log);
        prop_assert!(found.values().all(|n| *n == 1));
        for sequence in 0..acknowledged {
            prop_assert!(found.contains_key(format!("d/1/{sequence}").as_bytes()), "{}", sequence);
        }
    }
}
