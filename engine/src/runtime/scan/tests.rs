//! Readers of one partition beside each other. Invariant checked: each gets every record once, with the columns that it asked for and
//! the rejects, whatever the others do; what they can share is decoded once.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type};
use proptest::prelude::*;

use super::ring::{Progress, Ring, Shared, Turn};
use super::*;
use crate::batch::{ContentType, Record, Records};
use crate::contract::{Clock, Decoded, LogStore};
use crate::decode;
use crate::ids::{Name, Offset};
use crate::limits::BATCH_ROWS_MAX;
use crate::log::{Durability, MemoryLog};
use crate::plan::{Column, ColumnSource, Scan};
use crate::runtime::query::decode_schema;
use crate::system::SystemClock;

/// Columns `a`, `b` and `c`: the offset, and that times 10 and 100; every seventh record is broken.
fn scan(projection: &[usize]) -> Scan {
    let column =
        |name: &str| Column { field: Arc::new(Field::new(name, DataType::Int64, true)), source: ColumnSource::Payload, time_unit: 1 };
    Scan {
        stream: Name::new("s").unwrap(),
        table: Name::new("t").unwrap(),
        format: "json".to_owned(),
        format_options: std::collections::BTreeMap::new(),
        columns: vec![column("a"), column("b"), column("c")],
        projection: projection.to_vec(),
        row_time: None,
        watermark: None,
        future_tolerance: 0,
        idle_timeout: 0,
        start: None,
    }
}

struct Bench {
    log: Arc<MemoryLog>,
    clock: Arc<dyn Clock>,
    scans: SharedScans,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(SystemClock::new());
        Self { log: Arc::new(MemoryLog::new(1, clock.clone(), Durability::AtOnce)), clock, scans: SharedScans::default() }
    }

    fn feed(&self, records: u64) {
        let end = self.log.bounds(0).end;
        for i in end..end + records {
            let payload = if i % 7 == 6 { "{".to_owned() } else { format!(r#"{{"a":{i},"b":{},"c":{}}}"#, i * 10, i * 100) };
            let record = Record { device: "d", topic: "t", content_type: ContentType::Json, producer: None, payload: payload.as_bytes() };
            self.log.append(&record).unwrap();
        }
    }

    fn reader(&self, projection: &[usize], at: Offset) -> ScanReader {
        let log: Arc<dyn LogStore> = self.log.clone();
        self.scans.reader(&log, &scan(projection), (0, at), Company::Awaited, &self.clock).unwrap()
    }
}

fn next(reader: &mut ScanReader, from: Offset) -> Option<(Arc<Records>, Decoded)> {
    match reader.next(from).unwrap()? {
        Read::Rows(records, decoded) => Some((records, *decoded)),
        Read::Lost(lost) => panic!("{lost:?} are not lost"),
    }
}

/// Checks what was read from `from` on, and returns the offset after it.
fn check(projection: &[usize], from: Offset, (records, decoded): &(Arc<Records>, Decoded)) -> Offset {
    let end = records.end();
    assert!(records.entries.iter().map(|e| e.offset).eq(from..end));
    assert!(decoded.rejects.iter().map(|r| r.offset).eq((from..end).filter(|o| o % 7 == 6)));
    let good: Vec<Offset> = (from..end).filter(|o| o % 7 != 6).collect();
    assert_eq!(decoded.offsets.values(), good.as_slice());
    assert_eq!((decoded.received.len(), decoded.rows.num_columns()), (good.len(), projection.len()));
    for (column, &of) in decoded.rows.columns().iter().zip(projection) {
        let want = good.iter().map(|&o| (o * 10_u64.pow(of as u32)) as i64);
        assert!(column.as_primitive::<Int64Type>().values().iter().copied().eq(want), "column {of}");
    }
    end
}

#[test]
fn one_decodes_for_all_and_who_comes_into_the_middle_goes_on_with_them() {
    let bench = Bench::new();
    bench.feed(100);
    let (mut a, mut b, mut c) = (bench.reader(&[0, 2], 0), bench.reader(&[1], 0), bench.reader(&[0, 1, 2], 40));
    let of_a = next(&mut a, 0).unwrap();
    assert_eq!(check(&[0, 2], 0, &of_a), 100);
    bench.feed(100);
    let of_b = next(&mut b, 0).unwrap();
    assert_eq!(check(&[1], 0, &of_b), 100, "what came later is not in the batch");
    assert!(Arc::ptr_eq(&of_a.0, &of_b.0));
    assert_eq!(check(&[0, 1, 2], 40, &next(&mut c, 40).unwrap()), 100);
    let of_c = next(&mut c, 100).unwrap();
    assert_eq!(check(&[0, 1, 2], 100, &of_c), 200);
    for (reader, columns) in [(&mut a, vec![0, 2]), (&mut b, vec![1])] {
        let of_it = next(reader, 100).unwrap();
        assert_eq!(check(&columns, 100, &of_it), 200);
        assert!(Arc::ptr_eq(&of_c.0, &of_it.0));
        assert!(next(reader, 200).is_none());
    }
    drop((a, b));
    bench.feed(10);
    assert_eq!(check(&[0, 1, 2], 200, &next(&mut c, 200).unwrap()), 210, "alone again");
}

#[test]
fn a_reader_with_more_columns_than_a_batch_has_reads_for_itself() {
    let bench = Bench::new();
    bench.feed(50);
    let (mut a, mut b) = (bench.reader(&[0], 0), bench.reader(&[0], 0));
    check(&[0], 0, &next(&mut a, 0).unwrap());
    let mut late = bench.reader(&[0, 1], 0);
    assert_eq!(check(&[0, 1], 0, &next(&mut late, 0).unwrap()), 50);
    assert_eq!(check(&[0], 0, &next(&mut b, 0).unwrap()), 50);
}

#[test]
fn another_declaration_of_the_stream_is_decoded_apart() {
    let bench = Bench::new();
    bench.feed(20);
    let mut a = bench.reader(&[0], 0);
    let log: Arc<dyn LogStore> = bench.log.clone();
    let mut declared = scan(&[0]);
    declared.columns.pop();
    let mut b = bench.scans.reader(&log, &declared, (0, 0), Company::Awaited, &bench.clock).unwrap();
    let (of_a, of_b) = (next(&mut a, 0).unwrap(), next(&mut b, 0).unwrap());
    assert!(!Arc::ptr_eq(&of_a.0, &of_b.0));
    check(&[0], 0, &of_b);
}

#[test]
fn an_error_of_the_one_who_reads_is_its_own() {
    let bench = Bench::new();
    bench.feed(20);
    let (mut a, mut b) = (bench.reader(&[0], 0), bench.reader(&[0], 0));
    bench.log.retain_from(0, 10);
    assert!(a.next(0).is_err_and(|e| e.to_string().contains("no longer kept")));
    assert!(b.next(0).is_err());
    assert_eq!(check(&[0], 10, &next(&mut b, 10).unwrap()), 20);
}

#[test]
fn a_reader_that_stands_still_stops_nobody() {
    let bench = Bench::new();
    let batches = 12;
    bench.feed(batches * BATCH_ROWS_MAX as u64);
    let (mut a, mut b, mut still) = (bench.reader(&[0, 1, 2], 0), bench.reader(&[0], 0), bench.reader(&[2], 0));
    let (mut at_a, mut at_b) = (0, 0);
    for _ in 0..batches {
        at_a = check(&[0, 1, 2], at_a, &next(&mut a, at_a).unwrap());
        at_b = check(&[0], at_b, &next(&mut b, at_b).unwrap());
    }
    assert!(next(&mut a, at_a).is_none() && next(&mut b, at_b).is_none());
    let mut at = 0;
    while let Some(read) = next(&mut still, at) {
        at = check(&[2], at, &read);
    }
    assert_eq!(at, at_a);
}

/// Two batches that a reader led while another one, of this company, stood at the beginning; the ring keeps no more than one.
fn led(company: Company) -> (Ring, [u64; 2], [Arc<Shared>; 2]) {
    let bench = Bench::new();
    let mut decoder = decode::open("json", decode_schema(&scan(&[0]))).unwrap();
    let ring = Ring::new(1);
    let (leader, slow) = (ring.join(0, &[0], Company::Awaited), ring.join(0, &[0], company));
    let batches = [0, 10].map(|from| {
        bench.feed(10);
        let records = Arc::new(bench.log.read(0, from).unwrap().unwrap());
        let shared = Arc::new(Shared { decoded: decoder.decode(&records).unwrap(), records, columns: Arc::from([0]) });
        assert!(matches!(ring.turn(leader, from, &[0], Progress::Live), Turn::Lead(_)));
        ring.give(leader, from, Some((shared.clone(), Duration::ZERO)));
        shared
    });
    (ring, [leader, slow], batches)
}

#[test]
fn what_is_kept_is_bounded_and_the_newest_is_there_until_all_have_it() {
    let (ring, [_, slow], batches) = led(Company::Awaited);
    assert_eq!(batches.each_ref().map(Arc::strong_count), [1, 2]);
    assert!(matches!(ring.turn(slow, 0, &[0], Progress::Live), Turn::Alone), "the first had to go");
    ring.passed(slow, 10);
    assert!(matches!(ring.turn(slow, 10, &[0], Progress::Live), Turn::Take(taken) if Arc::ptr_eq(&taken, &batches[1])));
    assert_eq!(batches.each_ref().map(Arc::strong_count), [1, 1], "all have it");
}

#[test]
fn nothing_is_kept_for_an_archive_that_fell_behind_until_it_is_near() {
    let (ring, [leader, archive], batches) = led(Company::Background);
    assert_eq!(batches.each_ref().map(Arc::strong_count), [1, 1]);
    assert!(matches!(ring.turn(leader, 20, &[0], Progress::Live), Turn::Alone));
    assert!(matches!(ring.turn(archive, 0, &[0], Progress::CatchingUp), Turn::Alone));
    assert!(matches!(ring.turn(archive, 20, &[0], Progress::CatchingUp), Turn::Lead(_)));
}

#[test]
fn an_archive_that_keeps_up_reads_for_itself_and_the_others_read_without_it() {
    let ring = Ring::new(usize::MAX);
    let [leader, archive] = [Company::Awaited, Company::Background].map(|company| ring.join(0, &[0], company));
    assert!(matches!(ring.turn(archive, 0, &[0], Progress::Live), Turn::Alone));
    assert!(matches!(ring.turn(leader, 0, &[0], Progress::Live), Turn::Alone), "nobody follows it");
    let other = ring.join(0, &[0], Company::Awaited);
    assert!(matches!(ring.turn(leader, 10, &[0], Progress::Live), Turn::Lead(_)), "the other one does");
    assert!(matches!(ring.turn(archive, 10, &[0], Progress::Live), Turn::Alone), "also from what comes for others");
    ring.leave(other);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Each reader on a thread of its own, from anywhere, with pauses; records come meanwhile.
    #[test]
    fn every_reader_gets_every_record_once(
        readers in prop::collection::vec((prop::sample::subsequence(vec![0, 1, 2], 1..=3), 0_u64..300, 0_u64..3), 1..6),
        feeds in prop::collection::vec(1_u64..200, 1..12),
    ) {
        let bench = Bench::new();
        bench.feed(300);
        let end = 300 + feeds.iter().sum::<u64>();
        std::thread::scope(|scope| {
            for (columns, at, pause) in readers {
                let mut reader = bench.reader(&columns, at);
                scope.spawn(move || {
                    let mut at = at;
                    while at < end {
                        match next(&mut reader, at) {
                            Some(read) => at = check(&columns, at, &read),
                            None => std::thread::yield_now(),
                        }
                        std::thread::sleep(Duration::from_micros(pause * 200));
                    }
                });
            }
            for records in feeds {
                bench.feed(records);
                std::thread::sleep(Duration::from_micros(300));
            }
        });
    }
}
