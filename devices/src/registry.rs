//! The registry: which devices exist, in which state, with which keys. Invariant: a change is durable before anybody sees it,
//! and changes happen one after the other, so that of many who want the same change exactly one gets it.
//!
//! ```text
//! Registered ──activate──► Active ──revoke──► Revoked (for good)
//!      └───────────────────────revoke────────────┘
//! ```
//!
//! Business data has no place here: that is the catalog.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use serde::{Deserialize, Serialize};
use thalweg_engine::contract::Disk;
use thalweg_engine::error::Result;
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits::DEVICE_KEYS_MAX;
use thalweg_engine::locks::{lock, read, write};
use thalweg_engine::time::Micros;

use crate::journal::Journal;
use crate::keys::Digest;

/// Devices whose times are written as one line of the journal: a large fleet does not fit into one.
const SEEN_PER_LINE: usize = 10_000;

/// How far a device has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Known, but without a key of its own yet.
    Registered,
    /// Has a key and may connect.
    Active,
    /// Lost its rights for good.
    Revoked,
}

/// What a device must show to get its first key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Activation {
    pub digest: Digest,
    /// Good until then, if it ends.
    pub not_after: Option<Micros>,
}

/// One key of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Key {
    pub digest: Digest,
    pub created: Micros,
    /// Good until then, if it ends.
    pub not_after: Option<Micros>,
}

impl Key {
    /// Whether the key is good at `now`.
    pub fn is_good(&self, now: Micros) -> bool {
        self.not_after.is_none_or(|end| now < end)
    }
}

/// What is stored of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    pub device: DeviceId,
    pub state: DeviceState,
    pub activation: Option<Activation>,
    pub keys: Vec<Key>,
    pub registered: Micros,
    pub activated: Option<Micros>,
    pub revoked: Option<Micros>,
}

impl DeviceRecord {
    /// Digests of the keys that are good at `now`; always the same number, so that looking through them takes the same time.
    pub fn good_keys(&self, now: Micros) -> [Digest; DEVICE_KEYS_MAX] {
        let mut digests = [Digest::NONE; DEVICE_KEYS_MAX];
        if self.state == DeviceState::Active {
            for (slot, key) in digests.iter_mut().zip(self.keys.iter().filter(|k| k.is_good(now))) {
                *slot = key.digest;
            }
        }
        digests
    }
}

/// When a device was heard of. Kept in memory; the time is written out by `flush_seen`.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    seen: AtomicI64,
    stored: AtomicI64,
    connections: AtomicU32,
}

impl Presence {
    /// When it was last heard of, if ever.
    pub fn last_seen(&self) -> Option<Micros> {
        Some(self.seen.load(Ordering::Relaxed)).filter(|&t| t != 0)
    }

    /// Whether a connection is open.
    pub fn is_connected(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }
}

/// A device with its presence.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub record: DeviceRecord,
    pub presence: Arc<Presence>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// The device as it is from now on.
    Device(DeviceRecord),
    /// The device was last heard of then.
    Seen(DeviceId, Micros),
}

pub(crate) type Entries = BTreeMap<DeviceId, Entry>;

/// All devices.
#[derive(Debug)]
pub(crate) struct Registry {
    journal: Mutex<Journal<Change>>,
    entries: RwLock<Entries>,
}

impl Registry {
    /// Reads the registry at `path`, or makes an empty one.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self> {
        let mut entries = Entries::new();
        let journal = Journal::open(disk, path, "devices.registry", |change| {
            apply(&mut entries, change);
            Ok(())
        })?;
        Ok(Self { journal: Mutex::new(journal), entries: RwLock::new(entries) })
    }

    /// The device of this name, if there is one.
    pub fn get(&self, device: &str) -> Option<Entry> {
        read(&self.entries).get(device).cloned()
    }

    /// State of the device, if there is one.
    pub fn state(&self, device: &str) -> Option<DeviceState> {
        read(&self.entries).get(device).map(|e| e.record.state)
    }

    /// Devices after `after` in the order of their ids, as far as `keep` wants them.
    pub fn list(&self, after: Option<&DeviceId>, limit: usize, keep: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = read(&self.entries);
        entries.range::<DeviceId, _>((from, Bound::Unbounded)).map(|(_, e)| e).filter(|e| keep(e)).take(limit).cloned().collect()
    }

    /// Changes devices: `decide` sees all of them and says what the changed ones become. Nobody else changes anything
    /// meanwhile, and the changes are durable before they are visible.
    pub fn change<R>(&self, decide: impl FnOnce(&Entries) -> Result<(Vec<DeviceRecord>, R)>) -> Result<R> {
        let mut journal = lock(&self.journal);
        let (records, result) = decide(&read(&self.entries))?;
        let changes: Vec<Change> = records.into_iter().map(Change::Device).collect();
        self.store(&mut journal, changes)?;
        Ok(result)
    }

    /// Notes that a device was heard of at `now`, and whether it opened (`true`) or closed (`false`) a connection.
    pub fn seen(&self, device: &str, now: Micros, connected: Option<bool>) {
        let entries = read(&self.entries);
        let Some(entry) = entries.get(device) else { return };
        entry.presence.seen.fetch_max(now, Ordering::Relaxed);
        let connections = &entry.presence.connections;
        match connected {
            Some(true) => {
                connections.fetch_add(1, Ordering::Relaxed);
            }
            Some(false) => {
                // Closing more often than opening leaves none.
                let _ = connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            }
            None => {}
        }
    }

    /// Writes out when devices were last heard of, as far as that changed.
    pub fn flush_seen(&self) -> Result<()> {
        let mut journal = lock(&self.journal);
        let changed = |(device, entry): (&DeviceId, &Entry)| {
            let seen = entry.presence.seen.load(Ordering::Relaxed);
            (seen != entry.presence.stored.load(Ordering::Relaxed)).then(|| Change::Seen(device.clone(), seen))
        };
        let changes: Vec<Change> = read(&self.entries).iter().filter_map(changed).collect();
        changes.chunks(SEEN_PER_LINE).try_for_each(|some| self.store(&mut journal, some.to_vec()))
    }

    fn store(&self, journal: &mut Journal<Change>, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        journal.append(&changes)?;
        let mut entries = write(&self.entries);
        changes.into_iter().for_each(|change| apply(&mut entries, change));
        if !journal.wants_compaction(2 * entries.len()) {
            return Ok(());
        }
        let live: Vec<Change> = entries.values().flat_map(stored_form).collect();
        drop(entries);
        if let Err(e) = journal.compact(&live) {
            tracing::warn!(error = %e, "the device registry could not be compacted and goes on in its old file");
        }
        Ok(())
    }
}

/// What a compacted journal holds of a device.
fn stored_form(entry: &Entry) -> Vec<Change> {
    let stored = entry.presence.stored.load(Ordering::Relaxed);
    let seen = (stored != 0).then(|| Change::Seen(entry.record.device.clone(), stored));
    [Some(Change::Device(entry.record.clone())), seen].into_iter().flatten().collect()
}

fn apply(entries: &mut Entries, change: Change) {
    match change {
        Change::Device(record) => match entries.get_mut(&record.device) {
            Some(entry) => entry.record = record,
            None => {
                entries.insert(record.device.clone(), Entry { record, presence: Arc::default() });
            }
        },
        Change::Seen(device, at) => {
            if let Some(entry) = entries.get(&device) {
                entry.presence.seen.fetch_max(at, Ordering::Relaxed);
                entry.presence.stored.store(at, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_engine::limits::JOURNAL_LINE_BYTES_MAX;
    use thalweg_engine::system::RealDisk;

    use super::*;

    #[test]
    fn of_more_devices_than_a_line_holds_is_written_when_they_were_seen() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(Arc::new(RealDisk), dir.path().join("registry.journal")).unwrap();
        let ids: Vec<DeviceId> = (0..JOURNAL_LINE_BYTES_MAX / 128).map(|n| DeviceId::new(&format!("{n:0>128}")).unwrap()).collect();
        for device in &ids {
            let record = DeviceRecord {
                device: device.clone(),
                state: DeviceState::Active,
                activation: None,
                keys: Vec::new(),
                registered: 1,
                activated: Some(1),
                revoked: None,
            };
            apply(&mut write(&registry.entries), Change::Device(record));
            registry.seen(device.as_str(), 7, None);
        }
        registry.flush_seen().unwrap();
        assert!(read(&registry.entries).values().all(|e| e.presence.stored.load(Ordering::Relaxed) == 7));
    }
}
