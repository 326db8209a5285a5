//! Who a device is: `DeviceAuthority` over the registry. Invariant: a wrong key, an unknown device, one that is not active and a
//! key that ended do the same work and get the same answer.

use std::net::IpAddr;

use thalweg_engine::contract::{DeviceAuthority, Identity, Revocation};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits::{DEVICE_KEYS_MAX, SECRET_BYTES_MAX};
use tokio::sync::broadcast;

use crate::audit::Action;
use crate::devices::Devices;
use crate::keys::{Digest, Purpose};
use crate::registry::DeviceState;

impl DeviceAuthority for Devices {
    fn authenticate(&self, device: &str, key: &str, peer: Option<IpAddr>) -> Result<Identity> {
        let attempt = self.throttle.attempt(Purpose::Device, device, peer);
        self.throttle.check(attempt, self.clock.monotonic())?;
        let entry = self.registry.get(device);
        let good = entry.as_ref().map_or([Digest::NONE; DEVICE_KEYS_MAX], |e| e.record.good_keys(self.clock.now()));
        let given = Digest::of(Purpose::Device, device, if key.len() <= SECRET_BYTES_MAX { key } else { "" });
        let fits = good.iter().fold(false, |found, digest| found | digest.matches(&given));
        match entry {
            Some(entry) if fits => {
                self.throttle.succeeded(attempt);
                Ok(Identity { device: entry.record.device })
            }
            _ => {
                self.throttle.failed(attempt, self.clock.monotonic());
                self.audit.refused(Action::LoginRefused, device, peer);
                Err(Error::invalid("device id or key is not valid"))
            }
        }
    }

    fn is_active(&self, device: &DeviceId) -> bool {
        self.registry.state(device.as_str()) == Some(DeviceState::Active)
    }

    fn seen(&self, device: &DeviceId, connected: Option<bool>) {
        self.registry.seen(device.as_str(), self.clock.now(), connected);
    }

    fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.revocations.subscribe()
    }
}
