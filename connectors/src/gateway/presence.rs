//! Which devices are connected. Invariant: the authority hears once that a device is there, with the first of its connections, and
//! once that it is gone, when the last of them, over whatever protocol, has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_engine::contract::DeviceAuthority;
use thalweg_engine::ids::DeviceId;
use thalweg_engine::locks::lock;
use tokio::time::Instant;

/// Time between two notes to the authority that a busy device was heard of.
const SEEN_INTERVAL: Duration = Duration::from_secs(1);

/// Connections by device, of all listeners together.
pub(super) struct Presence {
    authority: Arc<dyn DeviceAuthority>,
    connections: Mutex<HashMap<DeviceId, usize>>,
}

/// One connection of a device; dropping it ends it.
pub(super) struct Present {
    presence: Arc<Presence>,
    device: DeviceId,
    seen_at: Instant,
}

impl Presence {
    pub(super) fn new(authority: Arc<dyn DeviceAuthority>) -> Arc<Self> {
        Arc::new(Self { authority, connections: Mutex::default() })
    }

    /// A connection of `device` began.
    pub(super) fn enter(self: &Arc<Self>, device: &DeviceId) -> Present {
        let mut connections = lock(&self.connections);
        let count = connections.entry(device.clone()).or_insert(0);
        *count += 1;
        // Told under the lock, so that what the authority hears last is true.
        self.authority.seen(device, (*count == 1).then_some(true));
        Present { presence: self.clone(), device: device.clone(), seen_at: Instant::now() }
    }
}

impl Present {
    /// The device was heard of.
    pub(super) fn heard(&mut self) {
        if self.seen_at.elapsed() >= SEEN_INTERVAL {
            self.seen_at = Instant::now();
            self.presence.authority.seen(&self.device, None);
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut connections = lock(&self.presence.connections);
        let left = connections.get_mut(&self.device).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            connections.remove(&self.device);
        }
        self.presence.authority.seen(&self.device, (left == 0).then_some(false));
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use thalweg_engine::contract::{Identity, Revocation};
    use thalweg_engine::error::{Error, Result};
    use tokio::sync::broadcast;

    use super::*;

    #[derive(Default)]
    struct Ear(Mutex<Vec<bool>>);

    impl DeviceAuthority for Ear {
        fn authenticate(&self, _: &str, _: &str, _: Option<IpAddr>) -> Result<Identity> {
            Err(Error::invalid("nobody logs in here"))
        }

        fn is_active(&self, _: &DeviceId) -> bool {
            true
        }

        fn seen(&self, _: &DeviceId, connected: Option<bool>) {
            lock(&self.0).extend(connected);
        }

        fn revocations(&self) -> broadcast::Receiver<Revocation> {
            broadcast::channel(1).1
        }
    }

    #[test]
    fn a_device_is_gone_with_its_last_connection() {
        let ear = Arc::new(Ear::default());
        let presence = Presence::new(ear.clone());
        let device = DeviceId::new("pump-1").unwrap();
        let (first, second) = (presence.enter(&device), presence.enter(&device));
        drop(first);
        assert_eq!(*lock(&ear.0), [true], "as after a takeover");
        drop(second);
        assert_eq!(*lock(&ear.0), [true, false]);
        assert!(lock(&presence.connections).is_empty());
    }
}
