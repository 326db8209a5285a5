//! Logs to measure with. Invariant: a directory is whole when it has its stamp, which is written last; what a broken fill left is
//! removed first.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::{Disk, LogStore};
use thalweg_engine::error::{ErrorKind, Result};
use thalweg_engine::ids::{Name, Partition};
use thalweg_engine::log::{Log, LogConfig, Logs};
use thalweg_engine::system::{RealDisk, SystemClock};

use crate::fleet::{Reading, reference};

/// Partitions of the stream: one a core of the smallest machine that this is measured on.
const PARTITIONS: u32 = 2;
/// Named after what it holds, so that another fleet is filled anew.
const STAMP: &str = "filled-1";

/// JSON, as a log, and for the peers as files of lines: one a partition, with the same records.
pub fn json(events: u64, dir: &Path) -> Result<()> {
    fill(events, dir, ContentType::Json, |reading, payload| {
        let mut text = String::from_utf8(std::mem::take(payload)).unwrap_or_default();
        reading.json(&mut text);
        *payload = text.into_bytes();
    })
}

/// Avro, as a log.
pub fn avro(events: u64, dir: &Path) -> Result<()> {
    fill(events, dir, ContentType::Avro, Reading::avro)
}

fn fill(events: u64, dir: &Path, content_type: ContentType, write: impl Fn(&Reading, &mut Vec<u8>)) -> Result<()> {
    let stamp = dir.join(STAMP);
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == events.to_string()) {
        return Ok(());
    }
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("devices.csv"), reference())?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = LogConfig { partitions_default: PARTITIONS, ..LogConfig::default() };
    let logs = Logs::open(&dir.join("log"), disk, Arc::new(SystemClock::new()), config)?;
    let log = logs.stream(&Name::new("telemetry")?)?;
    let mut files = Vec::new();
    if content_type == ContentType::Json {
        std::fs::create_dir(dir.join("events"))?;
        for partition in 0..log.partitions() {
            let file = File::create(dir.join(format!("events/part-{partition}.ndjson")))?;
            files.push(BufWriter::with_capacity(1 << 20, file));
        }
    }
    let (mut payload, mut bytes) = (Vec::new(), 0);
    for n in 0..events {
        let reading = Reading::new(n);
        payload.clear();
        write(&reading, &mut payload);
        let device = format!("dev-{:05}", reading.device);
        let topic = format!("devices/{device}/telemetry");
        let record = Record { device: &device, topic: &topic, content_type, producer: None, payload: &payload };
        let partition = append(&log, &record)?;
        bytes += payload.len() as u64;
        if let Some(file) = files.get_mut(partition as usize) {
            file.write_all(&payload)?;
            file.write_all(b"\n")?;
        }
    }
    while (0..log.partitions()).map(|p| log.bounds(p).end).sum::<u64>() < events {
        std::thread::sleep(Duration::from_millis(1));
    }
    files.iter_mut().try_for_each(BufWriter::flush)?;
    logs.close();
    std::fs::write(stamp, events.to_string())?;
    println!("events={events} payload_bytes={:.1}", bytes as f64 / events as f64);
    Ok(())
}

/// Appends when there is room; says to which partition.
fn append(log: &Log, record: &Record<'_>) -> Result<Partition> {
    loop {
        match log.append(record) {
            Ok(ticket) => return Ok(ticket.partition),
            Err(error) if error.kind() == ErrorKind::Unavailable => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error),
        }
    }
}
