//! Law of `DeviceAuthority`: it alone says who a device is. A wrong key, an unknown device and a revoked one get the same
//! answer in the same time. A revocation reaches live connections through `revocations`.

use std::net::IpAddr;

use tokio::sync::broadcast;

use crate::error::Result;
use crate::ids::DeviceId;

/// A device that proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub device: DeviceId,
}

/// Cut every live connection of this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The device that lost its rights, or the keys that it may have logged in with.
    pub device: DeviceId,
}

/// Knows devices and their keys.
pub trait DeviceAuthority: Send + Sync + 'static {
    /// Checks a device's key. Errors: `Invalid` with the same message whatever was wrong; `Unavailable` if it tried too
    /// often.
    fn authenticate(&self, device: &str, key: &str, peer: Option<IpAddr>) -> Result<Identity>;

    /// Whether the device may publish now; asked again after waiting, so that a revocation takes effect at once.
    fn is_active(&self, device: &DeviceId) -> bool;

    /// Notes that a device was heard of (kept in memory, written out from time to time). `connected` is `Some(true)` when the first of
    /// its connections has begun and `Some(false)` when the last of them has ended, in turns; `None` says nothing of that.
    fn seen(&self, device: &DeviceId, connected: Option<bool>);

    /// Revocations from now on.
    fn revocations(&self) -> broadcast::Receiver<Revocation>;
}
