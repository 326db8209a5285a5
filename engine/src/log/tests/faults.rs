//! Disks that fail. Invariant: after a failed sync nothing is acknowledged any more; a full disk only pauses.

use std::sync::atomic::Ordering;

use super::*;
use crate::contract::Ticket;
use crate::error::{ErrorKind, Result};
use crate::limits::{APPEND_PENDING_BYTES_MAX, DISK_CHECK_INTERVAL_MS};

/// Waits until `progress` of partition 0 says failed.
fn wait_for_failure(log: &Log) -> Arc<str> {
    for _ in 0..2_000 {
        if let Some(reason) = log.progress(0).borrow().failed.clone() {
            return reason;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the partition did not fail");
}

/// Appends the numbers from `next` on until `done` likes a result, which is returned.
fn append_until(log: &Log, next: &mut u64, done: impl Fn(&Result<Ticket>) -> bool) -> Result<Ticket> {
    for _ in 0..4_000 {
        let result = log.append(&record("d", next.to_string().as_bytes()));
        *next += u64::from(result.is_ok());
        if done(&result) {
            return result;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("appending never did what the test waits for");
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_nothing_is_taken() {
    let disk = SimDisk::default();
    let logs = open(&disk, 1 << 20);
    let log = stream(&logs);
    append_frames(&log, 0..3);
    disk.faults.sync_fails.store(true, Ordering::Relaxed);
    log.append(&record("d", b"3")).unwrap();
    assert!(wait_for_failure(&log).contains("sync"));
    disk.faults.sync_fails.store(false, Ordering::Relaxed);
    assert_eq!(log.append(&record("d", b"4")).unwrap_err().kind(), ErrorKind::Internal);
    assert!(!log.wait(0, 3, Duration::from_millis(50)));
    assert_eq!(log.bounds(0), 0..3);
    assert_eq!(read_frames(&log), 3);
    assert!(logs.problems()[0].contains("telemetry/0"));
    logs.close();
    let logs = open(&disk.crash(|| false), 1 << 20);
    assert_eq!(read_frames(&stream(&logs)), 3);
}

#[test]
fn a_panic_of_the_writer_fails_the_partition() {
    let disk = SimDisk::default();
    let log = stream(&open(&disk, 1 << 20));
    append_frames(&log, 0..1);
    disk.faults.write_panics.store(true, Ordering::Relaxed);
    log.append(&record("d", b"1")).unwrap();
    assert!(wait_for_failure(&log).contains("panicked"));
    assert_eq!(log.append(&record("d", b"2")).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(log.bounds(0), 0..1);
}

#[test]
fn a_full_disk_pauses_and_goes_on_by_itself_with_the_same_offsets() {
    let disk = SimDisk::default();
    let logs = open(&disk, 700);
    let log = stream(&logs);
    append_frames(&log, 0..4);
    let mut next = 4;
    for _ in 0..3 {
        disk.faults.full.store(true, Ordering::Relaxed);
        let durable = log.bounds(0).end;
        let refusal = append_until(&log, &mut next, |result| result.is_err()).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Unavailable);
        assert_eq!(log.bounds(0).end, durable);
        assert!(log.progress(0).borrow().failed.is_none());
        assert_eq!(read_frames(&log), durable);
        disk.faults.full.store(false, Ordering::Relaxed);
        assert!(log.wait(0, next - 1, LONG));
        append_until(&log, &mut next, |result| result.is_ok()).unwrap();
        append_frames(&log, next..next + 5);
        next += 5;
    }
    assert_eq!(read_frames(&log), next);
    logs.close();
    let logs = open(&disk, 700);
    assert_eq!(read_frames(&stream(&logs)), next);
}

#[test]
fn what_a_full_disk_refuses_does_not_wake_the_writer() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::default()));
    let logs = Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), config(1 << 20)).unwrap();
    let log = stream(&logs);
    append_frames(&log, 0..1);
    disk.faults.taken.store(u64::MAX - 1, Ordering::Relaxed);
    clock.pass(Duration::from_millis(2 * DISK_CHECK_INTERVAL_MS));
    let mut next = 1;
    append_until(&log, &mut next, |result| result.is_err()).unwrap_err();
    let before = disk.faults.looks.load(Ordering::Relaxed);
    for _ in 0..200 {
        assert!(log.append(&record("d", b"x")).is_err());
        std::thread::sleep(Duration::from_millis(1));
    }
    let looks = disk.faults.looks.load(Ordering::Relaxed) - before;
    assert!(looks < 50, "the writer looked {looks} times for room");
    disk.faults.taken.store(0, Ordering::Relaxed);
    append_until(&log, &mut next, |result| result.is_ok()).unwrap();
    assert!(log.wait(0, next - 1, LONG), "and it looks by itself");
}

#[test]
fn a_full_disk_that_cannot_be_put_right_fails_the_partition() {
    let disk = SimDisk::default();
    let log = stream(&open(&disk, 1 << 20));
    append_frames(&log, 0..1);
    disk.faults.full.store(true, Ordering::Relaxed);
    disk.faults.cut_fails.store(true, Ordering::Relaxed);
    log.append(&record("d", b"1")).unwrap();
    assert!(wait_for_failure(&log).contains("cut"));
}

#[test]
fn closing_on_a_full_disk_ends_and_keeps_what_was_durable() {
    let disk = SimDisk::default();
    let logs = open(&disk, 1 << 20);
    let log = stream(&logs);
    append_frames(&log, 0..2);
    disk.faults.full.store(true, Ordering::Relaxed);
    log.append(&record("d", b"2")).unwrap();
    logs.close();
    assert!(log.progress(0).borrow().failed.is_some());
    let logs = open(&disk.crash(|| true), 1 << 20);
    assert_eq!(read_frames(&stream(&logs)), 2);
}

#[test]
fn too_much_waiting_is_refused_and_then_taken_again() {
    let disk = SimDisk::default();
    let log = stream(&open(&disk, 1 << 30));
    append_frames(&log, 0..1);
    disk.faults.sync_hangs.store(true, Ordering::Relaxed);
    let large = vec![7; 200_000];
    let mut taken = 0;
    let refusal = loop {
        match log.append(&record("d", &large)) {
            Ok(_) => taken += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(refusal.kind(), ErrorKind::Unavailable);
    let per_group = APPEND_PENDING_BYTES_MAX / large.len();
    assert!((per_group - 1..=2 * per_group).contains(&taken), "{taken} of {per_group}");
    assert_eq!(log.bounds(0), 0..1);
    disk.faults.sync_hangs.store(false, Ordering::Relaxed);
    assert!(log.wait(0, taken as u64, LONG));
    assert!(log.append(&record("d", &large)).is_ok());
}

#[test]
fn records_that_come_during_a_sync_share_the_next_one() {
    let disk = SimDisk::default();
    let log = stream(&open(&disk, 1 << 30));
    append_frames(&log, 0..1);
    let before = disk.faults.syncs.load(Ordering::Relaxed);
    disk.faults.sync_hangs.store(true, Ordering::Relaxed);
    for _ in 0..10_000 {
        log.append(&record("d", b"0")).unwrap();
    }
    disk.faults.sync_hangs.store(false, Ordering::Relaxed);
    assert!(log.wait(0, 10_000, LONG));
    let syncs = disk.faults.syncs.load(Ordering::Relaxed) - before;
    assert!(syncs <= 2, "{syncs} syncs: one for the first group, one for all that came meanwhile");
}

#[test]
fn a_disk_of_another_machine_is_refused() {
    let disk = SimDisk::default();
    disk.faults.on_network.store(true, Ordering::Relaxed);
    let e = Logs::open(Path::new("log"), Arc::new(disk), Arc::new(SimClock::default()), config(900)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert!(e.to_string().contains("the log cannot lie on NFS"), "{e}");
}
