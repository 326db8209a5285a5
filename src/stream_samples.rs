//! Records of a stream, for a table that is declared without columns. Invariant: looking makes no stream, keeps nothing from
//! retention, and reads no more than the bounds for samples allow.

use std::sync::Arc;

use thalweg_engine::batch::Records;
use thalweg_engine::contract::LogStore;
use thalweg_engine::decode;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::limits::{SAMPLE_BYTES_MAX, SAMPLE_RECORDS_MAX};
use thalweg_engine::log::Logs;
use thalweg_sql::{Sample, SampleFormat, StreamSampler};

/// The streams of a data directory.
pub struct StreamSamples(pub Arc<Logs>);

impl StreamSampler for StreamSamples {
    fn sample(&self, stream: &Name, format: &SampleFormat) -> Result<Sample> {
        let streams = self.0.streams();
        if !streams.contains(stream) {
            let names: Vec<&str> = streams.iter().map(Name::as_str).collect();
            return Err(Error::not_found(format!("there is no stream {stream} whose records would tell the columns"))
                .hint(format!("declare the columns, which makes the stream; or name one with 'stream' = '…': {}", names.join(", "))));
        }
        let records = newest(&*self.0.stream(stream)?)?;
        let payloads: Vec<&[u8]> = records.iter().flat_map(|r| r.entries.iter().map(move |e| r.slice(&e.payload))).collect();
        if payloads.is_empty() {
            return Ok(Sample::default());
        }
        Ok(decode::infer(&format.name, &format.options, &payloads)?.into())
    }
}

/// The newest records of each partition, an equal share of all.
fn newest(log: &dyn LogStore) -> Result<Vec<Records>> {
    let share = (SAMPLE_RECORDS_MAX / u64::from(log.partitions()).max(1)).max(1);
    let (mut found, mut bytes) = (Vec::new(), 0);
    for partition in 0..log.partitions() {
        let bounds = log.bounds(partition);
        let mut from = bounds.end.saturating_sub(share).max(bounds.start);
        while from < bounds.end && bytes < SAMPLE_BYTES_MAX {
            let Some(records) = log.read(partition, from)? else { break };
            from = match (&records.lost, records.entries.last()) {
                (Some(lost), _) => lost.end,
                (None, Some(last)) => last.offset + 1,
                (None, None) => break,
            };
            bytes += records.bytes.len();
            found.push(records);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use thalweg_engine::batch::{ContentType, Record};
    use thalweg_engine::log::LogConfig;
    use thalweg_engine::system::{RealDisk, SystemClock};

    use super::*;

    fn logs(directory: &std::path::Path, partitions: u32) -> Arc<Logs> {
        let config = LogConfig { partitions_default: partitions, ..LogConfig::default() };
        Logs::open(directory, Arc::new(RealDisk), Arc::new(SystemClock::new()), config).unwrap()
    }

    fn append(logs: &Logs, stream: &Name, payloads: impl IntoIterator<Item = (String, String)>) {
        let log = logs.stream(stream).unwrap();
        let append = |(device, payload): (String, String)| {
            let (payload, content_type) = (payload.as_bytes(), ContentType::Json);
            log.append(&Record { device: &device, topic: "t", content_type, producer: None, payload }).unwrap()
        };
        let tickets: Vec<_> = payloads.into_iter().map(append).collect();
        for ticket in tickets {
            while log.progress(ticket.partition).borrow().durable <= ticket.offset {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn the_newest_records_of_every_partition_are_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let (logs, stream) = (logs(directory.path(), 4), Name::new("pumps").unwrap());
        let samples = StreamSamples(logs.clone());
        let json = SampleFormat { name: "json".to_owned(), options: Default::default() };
        let missing = samples.sample(&stream, &json).unwrap_err();
        assert!(missing.message().contains("there is no stream pumps"), "{missing}");
        assert!(logs.streams().is_empty(), "looking made a stream");

        append(&logs, &stream, []);
        assert_eq!(samples.sample(&stream, &json).unwrap(), Sample::default());

        let device = |i: usize| format!("d{}", i % 16);
        append(&logs, &stream, (0..16).map(|i| (device(i), r#"{"old":1}"#.to_owned())));
        let payload = |i: usize| format!(r#"{{"time":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z","v{}":{i}.5,"n":{i}}}"#, i % 16);
        append(&logs, &stream, (0..160).map(|i| (device(i), payload(i))));
        let sample = samples.sample(&stream, &json).unwrap();
        let type_of = |name: &str| sample.columns.iter().find(|c| c.0 == name).map(|c| c.1.as_str());
        assert_eq!((type_of("time"), type_of("at"), type_of("n")), (Some("TIMESTAMP(3)"), Some("TIMESTAMP"), Some("BIGINT")));
        assert!((0..16).all(|i| type_of(&format!("v{i}")) == Some("DOUBLE")), "{sample:?}");
        assert_eq!((type_of("old"), sample.event_time.as_deref()), (Some("BIGINT"), Some("time")));

        append(&logs, &stream, (0..8_000).map(|i| (device(i), r#"{"new":true}"#.to_owned())));
        let newer = samples.sample(&stream, &json).unwrap();
        assert!(newer.columns.iter().all(|c| c.0 != "old"), "{newer:?}");
        logs.close();
    }
}
