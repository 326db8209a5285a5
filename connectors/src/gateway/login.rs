//! A device's login, whatever the protocol. Invariant: a stranger learns nothing but "credentials" or "wait"; the server's log
//! never holds what may be a key.

use std::net::IpAddr;

use thalweg_engine::contract::DeviceAuthority;
use thalweg_engine::error::ErrorKind;
use thalweg_engine::ids::DeviceId;

/// What the server's log says of a wrong key.
pub(super) const CREDENTIALS: &str = "unknown or inactive device, or wrong key";
/// What it says of a device that tries too often.
pub(super) const TOO_OFTEN: &str = "too many failed logins, it has to wait";

/// Why a device is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLogin {
    /// Wrong key, unknown, not active: all the same.
    Credentials,
    /// It failed too often and has to wait.
    TooOften,
}

/// Checks a device's key.
pub(super) fn authenticate(authority: &dyn DeviceAuthority, user: &str, key: &str, peer: IpAddr) -> Result<DeviceId, NoLogin> {
    authority.authenticate(user, key, Some(peer)).map(|identity| identity.device).map_err(|e| match e.kind() {
        ErrorKind::Unavailable => NoLogin::TooOften,
        _ => NoLogin::Credentials,
    })
}

/// Who a peer says it is, for the server's log. A user name that is no device id may be anything, a misplaced key included.
pub(super) fn shown(user: &str) -> String {
    let is_secret = ["twa_", "twd_", "twt_"].iter().any(|prefix| user.starts_with(prefix));
    match DeviceId::new(user) {
        _ if user.is_empty() => "a device without user name".to_owned(),
        Ok(device) if !is_secret => format!("device {device}"),
        _ => "a device with a user name that is no device id".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_is_told_without_what_may_be_a_secret() {
        for (user, told) in [
            ("pump-1", "device pump-1"),
            ("", "a device without user name"),
            ("twd_pump-1_secret", "a device with a user name that is no device id"),
            ("pump 1\n", "a device with a user name that is no device id"),
        ] {
            assert_eq!(shown(user), told);
        }
    }
}
