//! What the tortured engine is given: tables, jobs and records. Invariant: a record says all that is needed to know what becomes of
//! it: its event time in two notations, its number, or that it cannot be read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thalweg_engine::batch::{ContentType, ProducerSequence, Record};
use thalweg_engine::contract::{Clock, LogStore};
use thalweg_engine::log::Log;
use thalweg_engine::system::SystemClock;
use thalweg_engine::time::{DAY, MILLISECOND, Micros, SECOND, format};

use crate::oracle::{Client, Event, Key, digest};

/// The stream.
pub const STREAM: &str = "telemetry";
/// The jobs, with the archive of the stream.
pub const JOBS: &[&str] = &["archive.telemetry", "totals", "windows"];
/// Devices that send. The last one is in no reference table.
pub const DEVICES: u32 = 8;
/// Length of a window.
pub const WINDOW: Micros = SECOND;
/// How far the watermark stays behind event time.
pub const DELAY: Micros = 2 * SECOND;
/// Event time goes so much faster than the clock, so that windows close in a short life.
const SPEED: Micros = 10;
const BATCH_MAX: usize = 8;
const PAUSE: Duration = Duration::from_millis(2);
const WAIT: Duration = Duration::from_millis(20);

/// The site of a device; `None` for the one that nobody knows.
pub fn site(device: u32) -> Option<&'static str> {
    (device + 1 < DEVICES).then(|| ["north", "south", "west"][device as usize % 3])
}

/// The reference table as a file.
pub fn reference() -> String {
    let line = |device| site(device).map(|site| format!("device-{device},{site}\n"));
    "device_id,site\n".to_owned() + &(0..DEVICES).filter_map(line).collect::<String>()
}

/// Tables and jobs; the archive belongs to the first table.
pub fn statements(reference: &Path) -> String {
    let lake = "'connector' = 'lake', 'tier' = 'warm', 'owner' = 'torture@example.com', 'description' = 'results under torture'";
    format!(
        "CREATE TABLE telemetry (device_id STRING, ts TIMESTAMP(3), v BIGINT, seq BIGINT, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
           WITH ('connector' = 'log', 'stream' = '{STREAM}', 'format' = 'json', 'scan.watermark.idle-timeout' = '1h');
         CREATE TABLE devices (device_id STRING, site STRING, PRIMARY KEY (device_id) NOT ENFORCED)
           WITH ('connector' = 'reference', 'path' = '{}', 'format' = 'csv');
         CREATE TABLE windows (window_start TIMESTAMP(3), window_end TIMESTAMP(3), site STRING, n BIGINT, total BIGINT) WITH ({lake});
         CREATE TABLE totals (device_id STRING, n BIGINT, total BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ({lake});
         INSERT INTO windows SELECT window_start, window_end, d.site, COUNT(*), SUM(t.v)
           FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '1' SECOND)) AS t
           JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
           GROUP BY window_start, window_end, d.site;
         INSERT INTO totals SELECT COALESCE(device_id, '?'), COUNT(*), SUM(v) FROM telemetry GROUP BY COALESCE(device_id, '?');",
        reference.display()
    )
}

/// Event time at a moment of the wall clock, two days behind it.
fn event_time(now: Micros, origin: Micros) -> Micros {
    let whole = origin.div_euclid(SECOND) * SECOND - 2 * DAY;
    (whole + (now - origin) * SPEED).div_euclid(MILLISECOND) * MILLISECOND
}

/// A record with all its columns.
fn payload(device: &str, at: Micros, v: u32, sequence: u64) -> Vec<u8> {
    format!(r#"{{"device_id":"{device}","ts":"{}","at":{at},"v":{v},"seq":{sequence}}}"#, format(at)).into_bytes()
}

/// One thread that sends.
pub struct Sender {
    log: Arc<Log>,
    oracle: Client,
    devices: Vec<u32>,
    random: StdRng,
    epoch: u32,
    origin: Micros,
    clock: SystemClock,
}

impl Sender {
    /// Sends for the devices of `thread` of two.
    pub fn new(log: Arc<Log>, oracle: &Path, (epoch, seed, origin): (u32, u64, Micros), thread: u32) -> Result<Self, String> {
        Ok(Self {
            log,
            oracle: Client::connect(oracle).map_err(|e| format!("oracle: {e}"))?,
            devices: (0..DEVICES).filter(|device| device % 2 == thread).collect(),
            random: StdRng::seed_from_u64(seed ^ u64::from(epoch) << 8 ^ u64::from(thread)),
            epoch,
            origin,
            clock: SystemClock::new(),
        })
    }

    /// Sends until it is told to stop.
    pub fn run(&mut self, sequence: &AtomicU64, stop: &AtomicBool) -> Result<(), String> {
        while !stop.load(Ordering::Relaxed) {
            let batch: Vec<_> = (0..self.random.random_range(1..=BATCH_MAX)).map(|_| self.next(sequence)).collect();
            self.send(&batch)?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// A last record of each device, far ahead of all others, so that every window before it closes.
    pub fn close(&mut self, sequence: &AtomicU64) -> Result<(), String> {
        let at = event_time(self.clock.now(), self.origin) + 3600 * SECOND;
        let last: Vec<_> = self
            .devices
            .iter()
            .map(|device| {
                let sequence = sequence.fetch_add(1, Ordering::Relaxed) + 1;
                let device = format!("device-{device}");
                let payload = payload(&device, at, 1, sequence);
                (Key { device, epoch: self.epoch, sequence }, payload)
            })
            .collect();
        self.send(&last)?;
        self.oracle.settle().map_err(|e| format!("oracle: {e}"))
    }

    /// Most records are in time, some far too late, and some cannot be read.
    fn next(&mut self, sequence: &AtomicU64) -> (Key, Vec<u8>) {
        let device = format!("device-{}", self.devices[self.random.random_range(0..self.devices.len())]);
        let sequence = sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let now = event_time(self.clock.now(), self.origin);
        let payload = match self.random.random_range(0..100) {
            0 => format!(r#"{{"device_id":"{device}","ts":"#).into_bytes(),
            1 => format!(r#"{{"device_id":"{device}","seq":{sequence}}}"#).into_bytes(),
            2..5 => payload(&device, now - self.random.random_range(5..60) * SECOND, 1, sequence),
            v => payload(&device, now - self.random.random_range(0..1500) * MILLISECOND, v, sequence),
        };
        (Key { device, epoch: self.epoch, sequence }, payload)
    }

    fn send(&mut self, batch: &[(Key, Vec<u8>)]) -> Result<(), String> {
        let events: Vec<_> = batch.iter().map(|(key, payload)| Event::Sent(key.clone(), digest(payload))).collect();
        self.oracle.sent(&events).map_err(|e| format!("oracle: {e}"))?;
        let mut tickets = Vec::with_capacity(batch.len());
        for (key, payload) in batch {
            let producer = Some(ProducerSequence { epoch: key.epoch, sequence: key.sequence });
            let topic = format!("devices/{}/{STREAM}", key.device);
            let record = Record { device: &key.device, topic: &topic, content_type: ContentType::Json, producer, payload };
            tickets.push(self.log.append(&record).map_err(|e| format!("the log refused: {e}"))?);
        }
        for ((key, payload), ticket) in batch.iter().zip(tickets) {
            while !self.log.wait(ticket.partition, ticket.offset, WAIT) {
                if let Some(reason) = &self.log.progress(ticket.partition).borrow().failed {
                    return Err(format!("the log failed: {reason}"));
                }
            }
            let event = Event::Ack(key.clone(), digest(payload), Some(self.clock.now().unsigned_abs()));
            self.oracle.tell(&[event]).map_err(|e| format!("oracle: {e}"))?;
        }
        Ok(())
    }
}
