//! The life of a device: register, activate, issue keys, revoke. Invariant: of many activations of one device exactly one gets a
//! key, and from the moment `revoke` returned none of the device's keys is good.
//!
//! ```text
//! operator  register(device, activation key, metadata)   fills registry and catalog; the device is not active yet
//! device    activate(device, activation key)             gets its key, shown once
//! operator  issue_key(device, overlap)                   by hand, or to rotate: older keys end after `overlap`
//! operator  revoke(device)                               live connections are cut through the broadcast
//! ```

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use thalweg_engine::contract::Revocation;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits::{ACTIVATION_KEY_BYTES_MIN, DEVICE_KEYS_MAX, DEVICE_PAGE_MAX, DEVICES_MAX, SECRET_BYTES_MAX};
use thalweg_engine::time::{self, Micros};

use crate::audit::{Action, Actor};
use crate::catalog::{self, Description};
use crate::devices::Devices;
use crate::keys::{Digest, Purpose, Secret};
use crate::registry::{Activation, DeviceRecord, DeviceState, Entries, Entry, Key};

/// How a new device will prove that it may be activated.
#[derive(Debug)]
pub enum ActivationKey {
    /// With this key, which the operator chose.
    Given(Secret),
    /// With a key made here, which is returned.
    Generate,
    /// Not at all: an operator issues its key.
    None,
}

/// A device to be registered.
#[derive(Debug)]
pub struct Registration {
    /// Its id.
    pub device: DeviceId,
    /// How it will be activated.
    pub activation_key: ActivationKey,
    /// Until when it can be activated, in microseconds since the Unix epoch.
    pub activation_not_after: Option<Micros>,
    /// Business data for the catalog.
    pub metadata: Option<Value>,
}

/// A device that was registered.
#[derive(Debug)]
pub struct Registered {
    /// Its id.
    pub device: DeviceId,
    /// The activation key, if it was made here. It is shown this once.
    pub activation_key: Option<Secret>,
}

/// What may be told about a device. Times are in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceView {
    /// Its id.
    #[serde(rename = "device_id")]
    pub device: DeviceId,
    /// How far it has come.
    pub state: DeviceState,
    /// When it was registered.
    pub registered: String,
    /// When it was activated.
    pub activated: Option<String>,
    /// When it was revoked.
    pub revoked: Option<String>,
    /// When it was last heard of.
    pub last_seen: Option<String>,
    /// Whether a connection is open.
    pub connected: bool,
    /// Keys that are good now.
    pub keys: usize,
    /// Its catalog document.
    pub metadata: Option<Value>,
}

/// Which devices to list.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only those in this state.
    pub state: Option<DeviceState>,
    /// Only those after this one, in the order of ids.
    pub after: Option<DeviceId>,
    /// How many at most; 0 means as many as a page may hold.
    pub limit: usize,
}

/// A page of devices.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// The devices, by id.
    pub devices: Vec<DeviceView>,
    /// There may be more after this one.
    pub next: Option<DeviceId>,
}

impl Devices {
    /// Registers a device. Errors: `Conflict` if it exists; `Invalid` for a short activation key or metadata that the catalog
    /// refuses.
    pub fn register(&self, actor: &Actor, registration: Registration) -> Result<Registered> {
        let mut registered = self.register_all(actor, vec![registration])?;
        registered.pop().ok_or_else(|| Error::internal("nothing was registered"))
    }

    /// Registers several devices, all or none. Errors: as `register`.
    pub fn register_all(&self, actor: &Actor, registrations: Vec<Registration>) -> Result<Vec<Registered>> {
        if registrations.len() > DEVICE_PAGE_MAX {
            return Err(Error::invalid(format!("at most {DEVICE_PAGE_MAX} devices can be registered at once")));
        }
        let now = self.clock.now();
        let (mut records, mut descriptions, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for registration in registrations {
            let device = registration.device;
            let (digest, activation_key) = take_activation_key(&device, registration.activation_key)?;
            if let Some(document) = registration.metadata {
                catalog::check(&document)?;
                descriptions.push(Description { device: device.clone(), document });
            }
            records.push(DeviceRecord {
                device: device.clone(),
                state: DeviceState::Registered,
                activation: digest.map(|digest| Activation { digest, not_after: registration.activation_not_after }),
                keys: Vec::new(),
                registered: now,
                activated: None,
                revoked: None,
            });
            answers.push(Registered { device, activation_key });
        }
        self.registry.change(|entries| {
            check_new(entries, &records)?;
            self.audit.record(actor, Action::DeviceRegister, records.iter().map(|r| r.device.as_str()))?;
            self.catalog.put(descriptions)?;
            Ok((records, answers))
        })
    }

    /// Activates a device with its activation key and returns its key, shown this once. Errors: `Invalid`, the same for a
    /// wrong key, an unknown and a revoked device; `Conflict` if the key is right but was used, or ended; `Unavailable` after
    /// too many failures.
    pub fn activate(&self, device: &str, activation_key: &Secret, peer: Option<IpAddr>) -> Result<Secret> {
        let attempt = self.throttle.attempt(Purpose::Activation, device, peer);
        self.throttle.check(attempt, self.clock.monotonic())?;
        let given = if activation_key.expose().len() <= SECRET_BYTES_MAX { activation_key.expose() } else { "" };
        let given = Digest::of(Purpose::Activation, device, given);
        let may = self.registry.get(device).filter(|e| e.record.state != DeviceState::Revoked).and_then(|e| e.record.activation);
        let fits = may.as_ref().map_or(Digest::NONE, |a| a.digest).matches(&given);
        let Some(activation) = may.filter(|_| fits) else {
            self.throttle.failed(attempt, self.clock.monotonic());
            self.audit.refused(Action::ActivationRefused, device, peer);
            return Err(refused_activation());
        };
        self.throttle.succeeded(attempt);
        let now = self.clock.now();
        if activation.not_after.is_some_and(|end| now >= end) {
            return Err(
                Error::conflict(format!("the activation key of device {device} has expired")).hint("ask the operator to issue a key")
            );
        }
        let key = Secret::generate(Purpose::Device, device)?;
        let actor = Actor { name: device.to_owned(), peer };
        self.registry.change(|entries| {
            let entry = entries.get(device).ok_or_else(refused_activation)?;
            match entry.record.state {
                DeviceState::Registered => {}
                DeviceState::Active => {
                    return Err(Error::conflict(format!("device {device} is activated already"))
                        .hint("use the key that it got then, or ask the operator to issue a new one"));
                }
                DeviceState::Revoked => return Err(refused_activation()),
            }
            self.audit.record(&actor, Action::DeviceActivate, [device])?;
            Ok((vec![with_key(&entry.record, &key, now)], key))
        })
    }

    /// Issues another key and returns it, shown this once; keys from before end after `overlap`. If they end at once, so do the device's
    /// connections: who has one of these keys may have opened them. Activates the device if it was not active. Errors: `NotFound`;
    /// `Conflict` if it is revoked or has too many keys.
    pub fn issue_key(&self, actor: &Actor, device: &DeviceId, overlap: Duration) -> Result<Secret> {
        let now = self.clock.now();
        let end = now.saturating_add(i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX));
        let key = Secret::generate(Purpose::Device, device.as_str())?;
        let (key, keys_end) = self.registry.change(|entries| {
            let mut record = find(entries, device)?.record.clone();
            if record.state == DeviceState::Revoked {
                return Err(Error::conflict(format!("device {device} is revoked")).hint("register it under another id"));
            }
            record.keys.retain(|k| k.is_good(now));
            let before = record.keys.len();
            record.keys.iter_mut().for_each(|k| k.not_after = Some(k.not_after.map_or(end, |old| old.min(end))));
            record.keys.retain(|k| k.is_good(now));
            if record.keys.len() >= DEVICE_KEYS_MAX {
                return Err(Error::conflict(format!("device {device} has {DEVICE_KEYS_MAX} keys that are still good"))
                    .hint("wait until one ends, or issue the key with a shorter overlap"));
            }
            self.audit.record(actor, Action::DeviceIssueKey, [device.as_str()])?;
            Ok((vec![with_key(&record, &key, now)], (key, record.keys.len() < before)))
        })?;
        if keys_end {
            self.cut(device);
        }
        Ok(key)
    }

    /// Takes all rights from a device, for good, and cuts its connections. Errors: `NotFound`. Doing it again changes nothing.
    pub fn revoke(&self, actor: &Actor, device: &DeviceId) -> Result<()> {
        let now = self.clock.now();
        self.registry.change(|entries| {
            let mut record = find(entries, device)?.record.clone();
            if record.state == DeviceState::Revoked {
                return Ok((Vec::new(), ()));
            }
            self.audit.record(actor, Action::DeviceRevoke, [device.as_str()])?;
            record.state = DeviceState::Revoked;
            record.revoked = Some(now);
            record.keys.clear();
            record.activation = None;
            Ok((vec![record], ()))
        })?;
        self.cut(device);
        Ok(())
    }

    /// Ends the connections of a device.
    fn cut(&self, device: &DeviceId) {
        // Nobody may be listening: then there is no connection to cut.
        let _ = self.revocations.send(Revocation { device: device.clone() });
    }

    /// Replaces the catalog document of a device. Errors: `NotFound`; `Invalid` if the catalog refuses it.
    pub fn describe(&self, actor: &Actor, device: &DeviceId, document: Value) -> Result<()> {
        catalog::check(&document)?;
        self.registry.change(|entries| {
            find(entries, device)?;
            self.audit.record(actor, Action::DeviceDescribe, [device.as_str()])?;
            self.catalog.put(vec![Description { device: device.clone(), document }])?;
            Ok((Vec::new(), ()))
        })
    }

    /// What is known of a device. Errors: `NotFound`.
    pub fn get(&self, device: &DeviceId) -> Result<DeviceView> {
        self.registry.get(device.as_str()).map(|e| self.view(e)).ok_or_else(|| unknown(device))
    }

    /// Devices by id, a page at a time.
    pub fn list(&self, filter: &ListFilter) -> Page {
        let limit = if filter.limit == 0 { DEVICE_PAGE_MAX } else { filter.limit.min(DEVICE_PAGE_MAX) };
        let wanted = |e: &Entry| filter.state.is_none_or(|s| e.record.state == s);
        let mut found = self.registry.list(filter.after.as_ref(), limit + 1, wanted);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|e| e.record.device.clone());
        Page { devices: found.into_iter().map(|e| self.view(e)).collect(), next }
    }

    fn view(&self, entry: Entry) -> DeviceView {
        let (record, now) = (entry.record, self.clock.now());
        DeviceView {
            state: record.state,
            registered: time::format(record.registered),
            activated: record.activated.map(time::format),
            revoked: record.revoked.map(time::format),
            last_seen: entry.presence.last_seen().map(time::format),
            connected: entry.presence.is_connected(),
            keys: record.keys.iter().filter(|k| k.is_good(now)).count(),
            metadata: self.catalog.get(record.device.as_str()),
            device: record.device,
        }
    }
}

fn take_activation_key(device: &DeviceId, wanted: ActivationKey) -> Result<(Option<Digest>, Option<Secret>)> {
    let digest = |key: &Secret| Digest::of(Purpose::Activation, device.as_str(), key.expose());
    match wanted {
        ActivationKey::None => Ok((None, None)),
        ActivationKey::Generate => {
            let key = Secret::generate(Purpose::Activation, device.as_str())?;
            Ok((Some(digest(&key)), Some(key)))
        }
        ActivationKey::Given(key) => {
            let length = key.expose().len();
            if !(ACTIVATION_KEY_BYTES_MIN..=SECRET_BYTES_MAX).contains(&length) {
                return Err(Error::invalid(format!("the activation key of device {device} has {length} bytes"))
                    .hint(format!("choose {ACTIVATION_KEY_BYTES_MIN} to {SECRET_BYTES_MAX}, or leave it out to have one made")));
            }
            Ok((Some(digest(&key)), None))
        }
    }
}

fn check_new(entries: &Entries, records: &[DeviceRecord]) -> Result<()> {
    let mut ids: Vec<&DeviceId> = records.iter().map(|r| &r.device).collect();
    ids.sort();
    let twice = ids.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    if let Some(device) = ids.into_iter().find(|&d| entries.contains_key(d)).or(twice) {
        return Err(Error::conflict(format!("device {device} is registered already")).hint("take another id"));
    }
    if entries.len() + records.len() > DEVICES_MAX {
        return Err(Error::unavailable(format!("the registry is full: it holds at most {DEVICES_MAX} devices")));
    }
    Ok(())
}

fn with_key(record: &DeviceRecord, key: &Secret, now: Micros) -> DeviceRecord {
    let mut record = record.clone();
    let digest = Digest::of(Purpose::Device, record.device.as_str(), key.expose());
    record.keys.push(Key { digest, created: now, not_after: None });
    record.state = DeviceState::Active;
    record.activated.get_or_insert(now);
    record
}

fn find<'a>(entries: &'a Entries, device: &DeviceId) -> Result<&'a Entry> {
    entries.get(device).ok_or_else(|| unknown(device))
}

fn unknown(device: &DeviceId) -> Error {
    Error::not_found(format!("device {device} is not registered"))
}

fn refused_activation() -> Error {
    Error::invalid("device id or activation key is not valid")
        .hint("show the activation key (twa_<device>_…) that was printed when the device was registered, to that device")
}

#[cfg(test)]
mod tests;
