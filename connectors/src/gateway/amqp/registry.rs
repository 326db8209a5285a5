//! Live AMQP connections by device. Invariant: a container id of a device is in here once; whoever registers it again cuts the
//! older connection. An empty one is none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits;
use thalweg_engine::locks::lock;
use tokio::sync::watch;

use crate::gateway::cut::{Cut, Cuts};
use crate::gateway::serving::Sessions;

/// One live connection of a device.
pub(super) struct Login {
    pub(super) device: DeviceId,
    pub(super) container: String,
    cut: watch::Sender<Option<Cut>>,
}

/// All live connections.
#[derive(Default)]
pub(super) struct Registry {
    devices: Mutex<HashMap<DeviceId, Vec<Arc<Login>>>>,
}

impl Registry {
    /// Enters a connection and cuts the one it takes over. Errors: `Unavailable` if the device holds too many.
    pub(super) fn register(&self, device: &DeviceId, container: &str) -> Result<(Arc<Login>, Cuts)> {
        let mut devices = lock(&self.devices);
        let logins = devices.entry(device.clone()).or_default();
        if let Some(at) = logins.iter().position(|l| !container.is_empty() && l.container == container) {
            logins.swap_remove(at).cut.send_replace(Some(Cut::TakenOver));
        }
        if logins.len() >= limits::CONNECTIONS_PER_DEVICE_MAX {
            return Err(Error::unavailable(format!("device {device} holds {} connections already", logins.len())));
        }
        let (cut, cuts) = Cuts::channel();
        let login = Arc::new(Login { device: device.clone(), container: container.to_owned(), cut });
        logins.push(login.clone());
        Ok((login, cuts))
    }

    /// Removes a connection; nothing happens if it was taken over meanwhile.
    pub(super) fn unregister(&self, login: &Arc<Login>) {
        let mut devices = lock(&self.devices);
        let Some(logins) = devices.get_mut(&login.device) else { return };
        logins.retain(|l| !Arc::ptr_eq(l, login));
        if logins.is_empty() {
            devices.remove(&login.device);
        }
    }
}

impl Sessions for Registry {
    fn devices(&self) -> Vec<DeviceId> {
        lock(&self.devices).keys().cloned().collect()
    }

    fn cut(&self, device: &DeviceId, cut: Cut) {
        for login in lock(&self.devices).get(device).into_iter().flatten() {
            login.cut.send_replace(Some(cut));
        }
    }
}
