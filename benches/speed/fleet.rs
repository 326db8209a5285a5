//! The fleet that everybody measures with: ten thousand devices, ten thousand readings a second, up to two seconds out of order.
//! Invariant: reading number `n` is a function of `n` alone, so that logs and files of any size hold the same readings.

use std::fmt::Write as _;

use thalweg_engine::time::{self, MILLISECOND, Micros};

/// Devices, and rows of the reference table.
pub const DEVICES: u64 = 10_000;
/// 2026-01-01T00:00:00Z.
const START: Micros = 1_767_225_600_000_000;
/// Between two readings, in microseconds of event time.
const STEP: Micros = 100;
/// In microseconds: a little less than the watermark is behind, so that nothing is late when times are cut to milliseconds.
const DISORDER: u64 = 1_990_000;
const SITES: u64 = 50;

/// The schema of [`Reading::avro`].
pub const AVRO_SCHEMA: &str = r#"{"type":"record","name":"reading","fields":[
  {"name":"device_id","type":"string"},{"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"temperature","type":"double"},{"name":"humidity","type":"double"},{"name":"battery","type":"long"},
  {"name":"status","type":"string"},{"name":"seq","type":"long"}]}"#;

/// What a device sends.
pub struct Reading {
    pub device: u64,
    millis: i64,
    /// In hundredths.
    temperature: u64,
    humidity: u64,
    battery: u64,
    status: &'static str,
    seq: u64,
}

impl Reading {
    /// Reading number `n`.
    pub fn new(n: u64) -> Self {
        let (a, b) = (mix(n.wrapping_mul(2)), mix(n.wrapping_mul(2).wrapping_add(1)));
        let ts = START + n as i64 * STEP - (a >> 32) as i64 % DISORDER as i64;
        Self {
            device: a as u32 as u64 % DEVICES,
            millis: ts.div_euclid(MILLISECOND),
            temperature: 1_500 + b % 2_000,
            humidity: 3_000 + (b >> 16) % 4_000,
            battery: 20 + (b >> 32) % 80,
            status: if (b >> 40).is_multiple_of(97) { "fault" } else { "ok" },
            seq: n,
        }
    }

    /// Writes it as JSON, without a newline.
    pub fn json(&self, out: &mut String) {
        let Self { device, temperature, humidity, battery, status, seq, .. } = self;
        let ts = time::format(self.millis * MILLISECOND);
        let (t, h) = (hundredths(*temperature), hundredths(*humidity));
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            r#"{{"device_id":"dev-{device:05}","ts":"{ts}","temperature":{t},"humidity":{h},"battery":{battery},"status":"{status}","seq":{seq}}}"#
        );
    }

    /// Writes it as an Avro record.
    pub fn avro(&self, out: &mut Vec<u8>) {
        text(out, &format!("dev-{:05}", self.device));
        long(out, self.millis);
        out.extend_from_slice(&(self.temperature as f64 / 100.0).to_le_bytes());
        out.extend_from_slice(&(self.humidity as f64 / 100.0).to_le_bytes());
        long(out, self.battery as i64);
        text(out, self.status);
        long(out, self.seq as i64);
    }
}

/// The reference table as CSV.
pub fn reference() -> String {
    let mut csv = "device_id,site,model,threshold\n".to_owned();
    for i in 0..DEVICES {
        let (site, model, threshold) = (i % SITES, i % 7, 30.0 + (i % 50) as f64 / 10.0);
        // Writing to a String cannot fail.
        let _ = writeln!(csv, "dev-{i:05},site-{site:02},TX-{model}00,{threshold:.1}");
    }
    csv
}

/// A number of even distribution (splitmix64).
fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn text(out: &mut Vec<u8>, value: &str) {
    long(out, value.len() as i64);
    out.extend_from_slice(value.as_bytes());
}
