//! How fast the log takes records and gives them back, beside what the disk itself can do. Invariant: both are measured in one
//! run, in turns, on the same disk, over the same number of bytes; a figure without its ratio says little.
//!
//! `THALWEG_BENCH_DIR` names a directory on the disk to measure (default: below the target directory), `THALWEG_BENCH_GIB` the
//! size of the log that is recovered (default 2).

#[path = "../src/cli/publish/raw.rs"]
mod raw;

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::LogStore;
use thalweg_engine::ids::{Name, partition_of};
use thalweg_engine::limits::SEGMENT_BYTES_DEFAULT;
use thalweg_engine::log::{Log, LogConfig, Logs};
use thalweg_engine::system::{RealDisk, SystemClock};

const PRODUCERS: usize = 64;
/// Records that one producer sends before it waits for them.
const IN_FLIGHT: usize = 256;
const PAYLOAD_BYTES: usize = 130;
/// What such a record takes in the log, about.
const STORED_BYTES: f64 = 170.0;
const ROUND_RECORDS: u64 = 2_000_000;
const ROUNDS: usize = 5;
/// What a log has to take on any disk that allows it, in records a second.
const FLOOR_RATE: f64 = 1_000_000.0;
/// Longest latency that is told from a longer one, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;
const MIB: f64 = 1024.0 * 1024.0;

fn main() {
    let root = std::env::var_os("THALWEG_BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let dir = root.join(format!("log-append-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory to measure in");
    let rate = throughput(&dir);
    latency(&dir, rate * 0.2);
    latency(&dir, FLOOR_RATE * 0.2);
    read_back(&dir);
    recovery(&dir);
    memory(&dir);
    std::fs::remove_dir_all(&dir).expect("the directory can be removed");
}

fn open(dir: &Path, partitions: u32) -> (Arc<Logs>, Arc<Log>) {
    let config = LogConfig { partitions_default: partitions, ..LogConfig::default() };
    let logs = Logs::open(dir, Arc::new(RealDisk), Arc::new(SystemClock::new()), config).expect("the log opens");
    let log = logs.stream(&Name::new("telemetry").expect("a name")).expect("the stream opens");
    (logs, log)
}

/// As a server has by default: one a core.
fn partitions() -> u32 {
    std::thread::available_parallelism().map_or(1, usize::from) as u32
}

fn payload(n: u64) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [b'.'; PAYLOAD_BYTES];
    payload[..20].copy_from_slice(format!("{n:020}").as_bytes());
    payload
}

/// A record of about the size that devices send, device and topic included.
fn append(log: &Log, device: &str, topic: &str, n: u64) -> (u32, u64) {
    let record = Record { device, topic, content_type: ContentType::Json, producer: None, payload: &payload(n) };
    loop {
        match log.append(&record) {
            Ok(ticket) => return (ticket.partition, ticket.offset),
            // Too much is waiting for the disk.
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Durable records a second of 64 producers against `write` and `fdatasync` of as many bytes; returns the former.
fn throughput(dir: &Path) -> f64 {
    let (logs, log) = open(&dir.join("throughput"), partitions());
    let (mut records, mut ours, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (bytes, start) = (log.bytes(), Instant::now());
        produce(&log, ROUND_RECORDS);
        let seconds = start.elapsed().as_secs_f64();
        let bytes = log.bytes() - bytes;
        let raw_seconds = raw::write(&dir.join(format!("raw-{round}")), bytes).expect("a disk that can be written");
        records.push(ROUND_RECORDS as f64 / seconds);
        ours.push(bytes as f64 / MIB / seconds);
        raw.push(bytes as f64 / MIB / raw_seconds);
        println!("  round {round}: {:.0} records/s, {:.0} MiB/s; raw {:.0} MiB/s", records[round], ours[round], raw[round]);
    }
    logs.close();
    let (records, ours, raw) = (median(records), median(ours), median(raw));
    println!(
        "append, {PRODUCERS} producers, {PAYLOAD_BYTES} bytes, durable: {records:.0} records/s = {ours:.0} MiB/s, {:.2} of raw {raw:.0} MiB/s",
        ours / raw
    );
    records
}

/// All producers together send `records` records; returns when all of them are durable.
fn produce(log: &Log, records: u64) {
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let sent = &sent;
            scope.spawn(move || {
                let device = format!("device-{producer:05}");
                let topic = format!("devices/{device}/telemetry");
                loop {
                    let first = sent.fetch_add(IN_FLIGHT as u64, Ordering::Relaxed);
                    if first >= records {
                        return;
                    }
                    let mut last = (0, 0);
                    for n in first..first + IN_FLIGHT as u64 {
                        last = append(log, &device, &topic, n);
                    }
                    while !log.wait(last.0, last.1, Duration::from_secs(1)) {}
                }
            });
        }
    });
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, 3).expect("a histogram")
}

/// Acknowledgement latency at `rate` records a second, and in turns: of a bare fdatasync, of plain loops at the same rate, and of one loop
/// that writes a record at a time with nothing beside it. Each bare fdatasync counts once; all others are weighted by time, as somebody
/// sees them who comes at any moment. Measured once every partition has filled its first segment, which is the only one without zeros ahead.
fn latency(dir: &Path, rate: f64) {
    let (logs, log) = open(&dir.join(format!("latency-{rate:.0}")), partitions());
    let zeros = |name: String, bytes| raw::zeros(&dir.join(name), bytes).expect("a disk that can be written");
    let bare = zeros("bare".to_owned(), 8 << 20);
    let files: Vec<File> = (0..partitions()).map(|n| zeros(format!("plain-{n}"), SEGMENT_BYTES_DEFAULT)).collect();
    while log.bytes() < u64::from(partitions()) * SEGMENT_BYTES_DEFAULT * 9 / 8 {
        paced(&log, rate, Duration::from_secs(1), &mut histogram());
    }
    let (mut acknowledged, mut synced, mut plain, mut alone) = (histogram(), histogram(), histogram(), histogram());
    for _ in 0..ROUNDS {
        raw::sync(&bare, &mut synced).expect("a disk that can be written");
        plain_loops(&files[..1], 1.0, Duration::from_secs(3), &mut alone);
        plain_loops(&files, rate, Duration::from_secs(3), &mut plain);
        paced(&log, rate, Duration::from_secs(3), &mut acknowledged);
    }
    logs.close();
    let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let (ours, bare, floor, idle) = (ms(&acknowledged, 0.99), ms(&synced, 0.99), ms(&plain, 0.99), ms(&alone, 0.99));
    println!(
        "acknowledgement at {rate:.0} records/s: p50 {:.2} ms, p99 {ours:.2} ms = {:.2} x fdatasync (p50 {:.2} ms, p99 {bare:.2} ms) \
         = {:.2} x plain loops (p50 {:.2} ms, p99 {floor:.2} ms) = {:.2} x one loop alone (p50 {:.2} ms, p99 {idle:.2} ms)",
        ms(&acknowledged, 0.5),
        ours / bare,
        ms(&synced, 0.5),
        ours / floor,
        ms(&plain, 0.5),
        ours / idle,
        ms(&alone, 0.5),
    );
}

/// What a group commit cannot beat: a thread a file that writes what would have come since its last write, and makes it durable.
/// Microseconds from the moment at which a record would have come.
fn plain_loops(files: &[File], rate: f64, time: Duration, latency: &mut Histogram<u64>) {
    let (shared, bytes) = (Mutex::new(latency), vec![b'.'; SEGMENT_BYTES_DEFAULT as usize]);
    std::thread::scope(|scope| {
        for file in files {
            let (shared, bytes) = (&shared, &bytes);
            scope.spawn(move || {
                let (mut own, start) = (histogram(), Instant::now());
                let (mut at, mut from) = (0, Duration::ZERO);
                while from < time {
                    let until = start.elapsed();
                    let came = ((until - from).as_secs_f64() * rate / files.len() as f64).max(1.0);
                    let length = ((came * STORED_BYTES) as usize).min(bytes.len());
                    at = if at + length > bytes.len() { 0 } else { at };
                    file.write_all_at(&bytes[..length], at as u64).expect("a write");
                    file.sync_data().expect("a sync");
                    at += length;
                    // Records come evenly, as many as time has passed: sixteen stand for all of a group.
                    let (end, gap) = (start.elapsed(), (until - from) / 16);
                    (0..16).for_each(|n| own.saturating_record_n((end - from - gap * n).as_micros() as u64, gap.as_nanos().max(1) as u64));
                    from = until;
                }
                shared.lock().expect("a lock").add(&own).expect("histograms of one kind");
            });
        }
    });
}

/// Sends at an even pace from one thread; a thread a partition notes when records become durable. Microseconds.
fn paced(log: &Log, rate: f64, time: Duration, latency: &mut Histogram<u64>) {
    let waiting: Vec<Mutex<VecDeque<(u64, Instant)>>> = (0..log.partitions()).map(|_| Mutex::default()).collect();
    let (over, shared) = (AtomicBool::new(false), Mutex::new(latency));
    std::thread::scope(|scope| {
        for partition in 0..log.partitions() {
            let (waiting, over, shared) = (&waiting[partition as usize], &over, &shared);
            scope.spawn(move || {
                let mut own = histogram();
                let mut next = log.bounds(partition).end;
                loop {
                    let is_over = over.load(Ordering::Acquire) && waiting.lock().expect("a lock").is_empty();
                    if is_over {
                        break;
                    }
                    if log.wait(partition, next, Duration::from_millis(20)) {
                        next = log.bounds(partition).end;
                        let now = Instant::now();
                        let mut waiting = waiting.lock().expect("a lock");
                        while let Some((_, sent)) = waiting.front().copied().filter(|(offset, _)| *offset < next) {
                            own.saturating_record((now - sent).as_micros() as u64);
                            waiting.pop_front();
                        }
                    }
                }
                shared.lock().expect("a lock").add(&own).expect("histograms of one kind");
            });
        }
        let devices: Vec<(String, String)> = (0..1_000).map(|d| (format!("d-{d}"), format!("devices/d-{d}/telemetry"))).collect();
        let (start, mut sent) = (Instant::now(), 0u64);
        while start.elapsed() < time {
            let due = (start.elapsed().as_secs_f64() * rate) as u64;
            while sent < due {
                let (device, topic) = &devices[(sent % 1_000) as usize];
                let partition = partition_of(device, log.partitions());
                // Whoever looks for durable records waits until this one is noted; the wait for the lock is not the log's.
                let mut waiting = waiting[partition as usize].lock().expect("a lock");
                let at = Instant::now();
                let (_, offset) = append(log, device, topic, sent);
                waiting.push_back((offset, at));
                sent += 1;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        // The last look comes after the last record.
        std::thread::sleep(Duration::from_millis(200));
        over.store(true, Ordering::Release);
        // Watchers wait for what is newer than what they saw; give them something.
        for (device, topic) in &devices {
            append(log, device, topic, 0);
        }
    });
}

/// Bytes a second of one reader, every checksum checked, from the page cache.
fn read_back(dir: &Path) {
    let (logs, log) = open(&dir.join("throughput"), partitions());
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (mut bytes, mut records) = (0, 0);
        for partition in 0..log.partitions() {
            let mut from = log.bounds(partition).start;
            while let Some(read) = log.read(partition, from).expect("the log can be read") {
                bytes += read.bytes.len();
                records += read.entries.len();
                from = read.end();
            }
        }
        assert_eq!(records as u64, ROUND_RECORDS.div_ceil(IN_FLIGHT as u64) * IN_FLIGHT as u64 * ROUNDS as u64);
        rates.push(bytes as f64 / 1e9 / start.elapsed().as_secs_f64());
    }
    logs.close();
    println!("read back with checksums, one core: {:.2} GB/s", median(rates));
}

/// Time to open a large log after its process died.
fn recovery(dir: &Path) {
    let gib: u64 = std::env::var("THALWEG_BENCH_GIB").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let (path, copy) = (dir.join("recovery"), dir.join("recovered"));
    let (logs, log) = open(&path, partitions());
    while log.bytes() < gib << 30 {
        produce(&log, ROUND_RECORDS);
    }
    // A log that is never closed ends as a killed process leaves it. The names are moved, so that two may be open.
    std::fs::rename(&path, &copy).expect("a rename");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (logs, log) = open(&copy, partitions());
        times.push(start.elapsed().as_secs_f64());
        assert!(log.bytes() >= gib << 30);
        std::mem::forget(logs);
    }
    println!("recovery of {gib} GiB in {} partitions: {:.3} s", partitions(), median(times));
    std::mem::forget(logs);
    std::fs::remove_dir_all(&copy).expect("the directory can be removed");
}

/// Memory of a log with 64 partitions that all took records.
fn memory(dir: &Path) {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: u64 = statm.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        pages as f64 * 4096.0 / MIB
    };
    let before = resident();
    let (logs, log) = open(&dir.join("memory"), 64);
    let opened = resident();
    produce_from_many(&log, 1_000_000);
    println!("memory of 64 partitions: {:.1} MiB open, {:.1} MiB after 1,000,000 records", opened - before, resident() - before);
    logs.close();
}

/// As `produce`, from 10,000 devices, so that every partition gets some.
fn produce_from_many(log: &Log, records: u64) {
    let devices: Vec<(String, String)> = (0..10_000).map(|d| (format!("d-{d}"), format!("devices/d-{d}/telemetry"))).collect();
    for n in 0..records {
        let (device, topic) = &devices[(n % 10_000) as usize];
        append(log, device, topic, n);
    }
    while (0..log.partitions()).map(|p| log.bounds(p).end).sum::<u64>() < records {
        std::thread::sleep(Duration::from_millis(10));
    }
}
