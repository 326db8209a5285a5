//! What simulated devices measure. Invariant: the same seed gives the same values; only the time stamps come from outside.
//!
//! ```text
//! {"device_id":"dev-0001","ts":"2026-…Z","temperature":21.37,"humidity":45.2,"battery":87,"status":"ok","seq":123}
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::time::{self, Micros};

/// Shares of unusual rows, each from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Rows with status `fault` instead of `ok`.
    pub faults: f64,
    /// Rows whose time stamp lies back by up to `late_by`.
    pub late: f64,
    /// See `late`.
    pub late_by: Duration,
    /// Payloads that cannot be decoded.
    pub broken: f64,
}

impl Default for Mix {
    /// One per cent of faults, nothing late, nothing broken.
    fn default() -> Self {
        Self { faults: 0.01, late: 0.0, late_by: Duration::from_secs(60), broken: 0.0 }
    }
}

/// A seeded random walk of one device.
pub(crate) struct Readings {
    device: DeviceId,
    random: StdRng,
    mix: Mix,
    temperature: f64,
    humidity: f64,
    battery: f64,
    sequence: u64,
    /// The last time stamp, in milliseconds, and as text: records of one moment share it.
    stamp: (i64, String),
    payload: String,
}

impl Readings {
    /// `seed` is of the whole run; each device walks its own way.
    pub(crate) fn new(device: DeviceId, mix: Mix, seed: u64, index: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index));
        let (temperature, humidity) = (random.random_range(15.0..28.0), random.random_range(30.0..60.0));
        let battery = random.random_range(40.0..100.0);
        Self { device, random, mix, temperature, humidity, battery, sequence: 0, stamp: (i64::MIN, String::new()), payload: String::new() }
    }

    /// The next record: its sequence, from 1, and its payload.
    pub(crate) fn next(&mut self, now: Micros) -> (u64, &[u8]) {
        self.sequence += 1;
        self.temperature = (self.temperature + self.random.random_range(-0.25..0.25)).clamp(-20.0, 60.0);
        self.humidity = (self.humidity + self.random.random_range(-0.5..0.5)).clamp(5.0, 95.0);
        self.battery = (self.battery - self.random.random_range(0.0..0.002)).max(1.0);
        let status = if self.random.random_bool(self.mix.faults) { "fault" } else { "ok" };
        let back = if self.random.random_bool(self.mix.late) { self.random.random_range(0.0..1.0) } else { 0.0 };
        let event_time = now - (back * self.mix.late_by.as_micros() as f64) as Micros;
        let millis = event_time.div_euclid(time::MILLISECOND);
        if self.stamp.0 != millis {
            self.stamp = (millis, time::format(millis * time::MILLISECOND));
        }
        let (hundredths, tenths) = ((self.temperature * 100.0).round() as i64, (self.humidity * 10.0).round() as i64);
        let sign = if hundredths < 0 { "-" } else { "" };
        self.payload.clear();
        // Writing to a String cannot fail.
        let _ = write!(
            self.payload,
            r#"{{"device_id":"{}","ts":"{}","temperature":{sign}{}.{:02},"humidity":{}.{},"battery":{},"status":"{status}","seq":{}}}"#,
            self.device,
            self.stamp.1,
            hundredths.abs() / 100,
            hundredths.abs() % 100,
            tenths / 10,
            tenths % 10,
            self.battery.round() as i64,
            self.sequence,
        );
        if self.random.random_bool(self.mix.broken) {
            let whole = std::mem::take(&mut self.payload);
            self.payload = self.break_up(&whole);
        }
        (self.sequence, self.payload.as_bytes())
    }

    /// Either cut off, or a word where a number belongs.
    fn break_up(&mut self, payload: &str) -> String {
        if self.random.random_bool(0.5) {
            let cut = self.random.random_range(1..payload.len() - 1);
            return payload[..cut].to_owned();
        }
        payload.replacen("\"temperature\":", "\"temperature\":\"hot\",\"was\":", 1)
    }

    /// Randomness for the pauses of this device.
    pub(crate) fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(mix: Mix, seed: u64) -> Readings {
        Readings::new(DeviceId::new("dev-0001").unwrap(), mix, seed, 1)
    }

    #[test]
    fn one_seed_one_walk() {
        let now = time::parse(b"2026-11-22T17:18:20.123456Z").unwrap();
        let walk = |seed| -> Vec<_> {
            let mut r = readings(Mix::default(), seed);
            let next = |_| {
                let (sequence, payload) = r.next(now);
                (sequence, payload.to_vec())
            };
            (0..100).map(next).collect()
        };
        assert_eq!(walk(7), walk(7));
        assert_ne!(walk(7), walk(8));
        let (sequence, payload) = walk(7).pop().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((sequence, value["seq"].as_u64()), (100, Some(100)));
        assert_eq!(value["ts"], "2026-11-22T17:18:20.123Z");
        assert_eq!(value["device_id"], "dev-0001");
        assert!((110..150).contains(&payload.len()), "{}", payload.len());
    }

    #[test]
    fn numbers_are_those_that_a_float_prints() {
        let mut r = readings(Mix::default(), 1);
        for temperature in [-20.0, -0.3, -0.02, 0.0, 0.1, 59.9].repeat(50) {
            r.temperature = temperature;
            let payload = String::from_utf8(r.next(0).1.to_vec()).unwrap();
            let printed = format!(r#""temperature":{:.2},"humidity":{:.1},"battery":{:.0},"#, r.temperature, r.humidity, r.battery);
            // A float keeps the sign of what is rounded to zero.
            assert!(payload.replace("-0.00", "0.00").contains(&printed.replace("-0.00", "0.00")), "{payload}: {printed}");
        }
    }

    #[test]
    fn shares_are_about_what_was_asked_for() {
        let now = time::parse(b"2026-11-22T17:18:20Z").unwrap();
        let mix = Mix { faults: 0.1, late: 0.2, late_by: Duration::from_secs(100), broken: 0.3 };
        let mut r = readings(mix, 1);
        let (mut faults, mut late, mut broken) = (0, 0, 0);
        for _ in 0..10_000 {
            let (_, payload) = r.next(now);
            match serde_json::from_slice::<serde_json::Value>(payload) {
                Ok(v) if v["temperature"].is_f64() => {
                    faults += u32::from(v["status"] == "fault");
                    late += u32::from(time::parse(v["ts"].as_str().unwrap().as_bytes()).unwrap() < now);
                }
                _ => broken += 1,
            }
        }
        assert!((2_700..3_300).contains(&broken), "{broken}");
        assert!((550..850).contains(&faults), "{faults}");
        assert!((1_150..1_650).contains(&late), "{late}");
    }
}
