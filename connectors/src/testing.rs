//! Stand-ins for tests: a device authority and a log whose durability the test decides. Invariant: the log never says
//! "durable" before it was told to.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_engine::batch::{ContentType, ProducerSequence, Record, Records};
use thalweg_engine::contract::{Arrival, DeviceAuthority, Identity, LogStore, Progress, Revocation, Streams, Ticket};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::{DeviceId, Name, Offset, Partition};
use thalweg_engine::limits;
use thalweg_engine::locks::lock;
use thalweg_engine::metrics::GatewayCounters;
use thalweg_engine::time::Micros;
use tokio::sync::{broadcast, watch};

use crate::gateway::GatewayContext;

/// Bytes without an order, the same for the same seed.
pub(crate) fn noise(mut seed: u64) -> impl Iterator<Item = u8> {
    std::iter::repeat_with(move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    })
}

/// Knows every device; its key is `key-<device>` until it is revoked.
#[derive(Clone)]
pub(crate) struct FakeAuthority {
    revoked: Arc<Mutex<HashSet<DeviceId>>>,
    revocations: broadcast::Sender<Revocation>,
}

impl Default for FakeAuthority {
    fn default() -> Self {
        Self { revoked: Arc::default(), revocations: broadcast::channel(16).0 }
    }
}

impl FakeAuthority {
    pub(crate) fn revoke(&self, device: &str) {
        self.revoke_unheard(device);
        let _ = self.revocations.send(Revocation { device: DeviceId::new(device).unwrap() });
    }

    /// Revokes a device without telling its connections.
    pub(crate) fn revoke_unheard(&self, device: &str) {
        lock(&self.revoked).insert(DeviceId::new(device).unwrap());
    }
}

impl DeviceAuthority for FakeAuthority {
    fn authenticate(&self, device: &str, key: &str, _peer: Option<IpAddr>) -> Result<Identity> {
        let id = DeviceId::new(device).map_err(|_| Error::invalid("unknown device or wrong key"))?;
        if key != format!("key-{device}") || !self.is_active(&id) {
            return Err(Error::invalid("unknown device or wrong key"));
        }
        Ok(Identity { device: id })
    }

    fn is_active(&self, device: &DeviceId) -> bool {
        !lock(&self.revoked).contains(device)
    }

    fn seen(&self, _device: &DeviceId, _connected: Option<bool>) {}

    fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.revocations.subscribe()
    }
}

/// When appended records become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    AtOnce,
    WhenTold,
}

/// A record as it was appended.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) device: String,
    pub(crate) topic: String,
    pub(crate) content_type: ContentType,
    pub(crate) producer: Option<ProducerSequence>,
    pub(crate) payload: Vec<u8>,
}

/// A log of one partition in memory, of one stream named `telemetry`.
pub(crate) struct MemoryLog {
    durability: Durability,
    /// Whether a record with a known number is recognised.
    knows_numbers: bool,
    records: Mutex<Vec<Stored>>,
    appended: watch::Sender<usize>,
    full: Mutex<bool>,
    progress: watch::Sender<Progress>,
}

impl MemoryLog {
    pub(crate) fn new(durability: Durability) -> Arc<Self> {
        let (appended, progress) = (watch::channel(0).0, watch::channel(Progress::default()).0);
        let (records, full) = (Mutex::default(), Mutex::new(false));
        Arc::new(Self { durability, knows_numbers: true, records, appended, full, progress })
    }

    /// Stores everything, as a log that knows no numbers.
    pub(crate) fn forgetful() -> Arc<Self> {
        let mut log = Self::new(Durability::AtOnce);
        if let Some(log) = Arc::get_mut(&mut log) {
            log.knows_numbers = false;
        }
        log
    }

    /// Everything below `offset` is durable from now on.
    pub(crate) fn make_durable(&self, offset: Offset) {
        self.progress.send_modify(|p| p.durable = offset);
    }

    pub(crate) fn poison(&self) {
        self.progress.send_modify(|p| p.failed = Some("test".into()));
    }

    /// Whether appends are answered with `Unavailable`.
    pub(crate) fn set_full(&self, full: bool) {
        *lock(&self.full) = full;
    }

    pub(crate) fn records(&self) -> Vec<Stored> {
        lock(&self.records).clone()
    }

    pub(crate) fn payloads(&self) -> Vec<String> {
        self.records().iter().map(|r| String::from_utf8_lossy(&r.payload).into_owned()).collect()
    }

    /// Waits until `count` records were appended.
    pub(crate) async fn wait_appended(&self, count: usize) {
        let mut appended = self.appended.subscribe();
        let enough = appended.wait_for(|n| *n >= count);
        tokio::time::timeout(Duration::from_secs(10), enough).await.expect("records in time").unwrap();
    }
}

impl LogStore for MemoryLog {
    fn partitions(&self) -> u32 {
        1
    }

    fn append(&self, record: &Record<'_>) -> Result<Ticket> {
        if self.progress.borrow().failed.is_some() {
            return Err(Error::internal("the log failed"));
        }
        if *lock(&self.full) {
            return Err(Error::unavailable("the log is full"));
        }
        if record.payload.len() > limits::RECORD_PAYLOAD_BYTES_MAX {
            return Err(Error::invalid("record too long"));
        }
        let mut records = lock(&self.records);
        let known = |r: &Stored| r.device == record.device && r.producer.is_some() && r.producer == record.producer;
        if let Some(offset) = self.knows_numbers.then(|| records.iter().position(known)).flatten() {
            return Ok(Ticket { partition: 0, offset: offset as Offset, arrival: Arrival::Duplicate });
        }
        let offset = records.len() as Offset;
        records.push(Stored {
            device: record.device.to_owned(),
            topic: record.topic.to_owned(),
            content_type: record.content_type,
            producer: record.producer,
            payload: record.payload.to_vec(),
        });
        self.appended.send_replace(records.len());
        if self.durability == Durability::AtOnce {
            self.make_durable(offset + 1);
        }
        Ok(Ticket { partition: 0, offset, arrival: Arrival::New })
    }

    fn progress(&self, _partition: Partition) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn bounds(&self, _partition: Partition) -> Range<Offset> {
        0..self.progress.borrow().durable
    }

    fn read(&self, _partition: Partition, _from: Offset) -> Result<Option<Records>> {
        Ok(None)
    }

    fn wait(&self, _partition: Partition, _from: Offset, _timeout: Duration) -> bool {
        false
    }

    fn offset_at(&self, _partition: Partition, _time: Micros) -> Result<Offset> {
        Ok(0)
    }

    fn pin(&self, _name: &str, _partition: Partition, _offset: Offset) {}

    fn unpin(&self, _name: &str) {}
}

struct OneStream(Arc<MemoryLog>);

impl Streams for OneStream {
    fn stream(&self, name: &Name) -> Result<Arc<dyn LogStore>> {
        if name.as_str() == "telemetry" { Ok(self.0.clone()) } else { Err(Error::not_found(format!("stream {name}"))) }
    }
}

/// A gateway's context over the stand-ins.
pub(crate) fn context(authority: FakeAuthority, log: Arc<MemoryLog>) -> GatewayContext {
    GatewayContext::new(Arc::new(authority), Arc::new(OneStream(log)), Arc::new(GatewayCounters::default()))
}
