//! The law of `LogStore`, checked over every implementor. Invariant: nothing in here knows how a log is built.

use std::sync::Arc;
use std::time::Duration;

use super::sim::{SimClock, SimDisk};
use super::{Durability, LogConfig, Logs, MemoryLog};
use crate::batch::{ContentType, ProducerSequence, Record};
use crate::contract::{Arrival, LogStore};
use crate::error::ErrorKind;
use crate::ids::{Name, partition_of};
use crate::limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, RECORD_PAYLOAD_BYTES_MAX};

const LONG: Duration = Duration::from_secs(20);

fn check_all(check: impl Fn(&dyn LogStore, &SimClock)) {
    let clock = Arc::new(SimClock::default());
    check(&MemoryLog::new(3, clock.clone(), Durability::AtOnce), &clock);
    let clock = Arc::new(SimClock::default());
    let config = LogConfig { segment_bytes: 20_000, partitions_default: 3, ..LogConfig::default() };
    let logs = Logs::open("log".as_ref(), Arc::new(SimDisk::default()), clock.clone(), config).unwrap();
    check(&*logs.stream(&Name::new("telemetry").unwrap()).unwrap(), &clock);
}

fn record<'a>(device: &'a str, payload: &'a [u8]) -> Record<'a> {
    Record { device, topic: "devices/x/telemetry", content_type: ContentType::Json, producer: None, payload }
}

#[test]
fn offsets_are_dense_and_records_come_back_byte_for_byte() {
    check_all(|log, clock| {
        let mut expected = vec![Vec::new(); 3];
        for i in 0..2_000u32 {
            clock.set(i64::from(i / 7));
            let device = format!("device-{}", i % 50);
            let producer = (i % 3 == 0).then_some(ProducerSequence { epoch: 3, sequence: u64::from(i) << 40 });
            let payload = i.to_le_bytes().repeat(i as usize % 40);
            let own = Record { producer, topic: &format!("devices/{device}/telemetry"), ..record(&device, &payload) };
            let ticket = log.append(&own).unwrap();
            assert_eq!(ticket.partition, partition_of(&device, 3));
            let list = &mut expected[ticket.partition as usize];
            assert_eq!(ticket.offset, list.len() as u64);
            list.push((device, payload, i64::from(i / 7), producer));
        }
        for (partition, expected) in (0u32..).zip(expected) {
            let end = expected.len() as u64;
            assert!(log.wait(partition, end - 1, LONG));
            assert_eq!(log.bounds(partition), 0..end);
            assert_eq!(log.progress(partition).borrow().durable, end);
            let mut from = 0;
            while let Some(records) = log.read(partition, from).unwrap() {
                assert!(records.entries.len() <= BATCH_ROWS_MAX && records.bytes.len() <= BATCH_BYTES_MAX);
                for entry in &records.entries {
                    let (device, payload, received, producer) = &expected[from as usize];
                    assert_eq!((entry.offset, entry.received), (from, *received));
                    assert_eq!(records.text(&entry.device), device);
                    assert_eq!(records.text(&entry.topic), format!("devices/{device}/telemetry"));
                    assert_eq!(records.slice(&entry.payload), payload);
                    assert_eq!((entry.producer, entry.content_type), (*producer, ContentType::Json));
                    from += 1;
                }
            }
            assert_eq!(from, end);
            for from in (0..end).rev().step_by(37) {
                assert_eq!(log.read(partition, from).unwrap().unwrap().entries[0].offset, from);
            }
            assert!(log.read(partition, end + 5).unwrap().is_none());
            assert!(!log.wait(partition, end, Duration::from_millis(1)));
        }
    });
}

#[test]
fn a_record_sent_again_is_stored_once() {
    check_all(|log, _| {
        let send = |sequence: u64| {
            let producer = Some(ProducerSequence { epoch: 1, sequence });
            log.append(&Record { producer, ..record("d", &sequence.to_le_bytes()) }).unwrap()
        };
        let first = send(7);
        assert_eq!((first.arrival, send(8).arrival, send(10).arrival), (Arrival::New, Arrival::New, Arrival::AfterGap));
        let again = send(7);
        assert_eq!(again.arrival, Arrival::Duplicate);
        assert!(again.partition == first.partition && again.offset >= first.offset);
        assert_eq!((send(9).arrival, send(9).arrival), (Arrival::New, Arrival::Duplicate));
        assert!(log.wait(first.partition, 3, LONG));
        assert_eq!(log.bounds(first.partition), 0..4);
    });
}

#[test]
fn time_finds_the_first_record_at_or_after_it() {
    check_all(|log, clock| {
        for i in 0..600i64 {
            clock.set(i / 3 * 10);
            log.append(&record("d", &[0; 200])).unwrap();
        }
        let partition = partition_of("d", 3);
        assert!(log.wait(partition, 599, LONG));
        for (time, offset) in [(-5, 0), (0, 0), (1, 3), (10, 3), (1_000, 300), (1_001, 303), (1_990, 597), (1_991, 600)] {
            assert_eq!(log.offset_at(partition, time).unwrap(), offset, "time {time}");
        }
        assert_eq!(log.offset_at((partition + 1) % 3, 0).unwrap(), 0);
    });
}

#[test]
fn the_clock_may_go_back_but_receive_times_do_not() {
    check_all(|log, clock| {
        for now in [50, 20, 60, -9] {
            clock.set(now);
            log.append(&record("d", b"")).unwrap();
        }
        let partition = partition_of("d", 3);
        assert!(log.wait(partition, 3, LONG));
        let records = log.read(partition, 0).unwrap().unwrap();
        let first = records.entries[0].received;
        assert_eq!(first, 50);
        let mut received = Vec::new();
        let mut from = 0;
        while let Some(records) = log.read(partition, from).unwrap() {
            received.extend(records.entries.iter().map(|e| e.received));
            from = records.end();
        }
        assert_eq!(received, [50, 50, 60, 60]);
    });
}

#[test]
fn what_is_too_large_or_not_there_is_invalid() {
    check_all(|log, _| {
        let large = vec![0; RECORD_PAYLOAD_BYTES_MAX + 1];
        assert_eq!(log.append(&record("d", &large)).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(log.append(&record(&"d".repeat(129), b"")).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(log.read(3, 0).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(log.bounds(3), 0..0);
        assert!(log.progress(3).borrow().failed.is_some());
        log.append(&record("d", &large[1..])).unwrap();
        assert!(log.wait(partition_of("d", 3), 0, LONG));
    });
}

#[test]
fn memory_becomes_durable_when_told_and_forgets_only_what_is_not_pinned() {
    let log = MemoryLog::new(1, Arc::new(SimClock::default()), Durability::OnFlush);
    for _ in 0..4 {
        log.append(&record("d", b"x")).unwrap();
    }
    assert!(log.read(0, 0).unwrap().is_none());
    log.flush();
    assert_eq!(log.read(0, 1).unwrap().unwrap().entries.len(), 3);
    log.pin("job", 0, 2);
    log.retain_from(0, 4);
    assert_eq!(log.bounds(0), 2..4);
    assert_eq!(log.read(0, 1).unwrap_err().kind(), ErrorKind::Invalid);
    log.unpin("job");
    log.retain_from(0, 4);
    assert_eq!(log.bounds(0), 4..4);
    log.append(&record("d", b"never")).unwrap();
    log.fail("pulled");
    log.flush();
    assert_eq!(log.bounds(0), 4..4);
    assert_eq!(log.append(&record("d", b"x")).unwrap_err().kind(), ErrorKind::Internal);
}
