//! The topics devices may touch. Invariant: a topic is accepted only if it names the device that sent it; whatever is not
//! recognised is refused.
//!
//! ```text
//! devices/{id}/telemetry[/{stream}]      publish
//! devices/{id}/...                       subscribe, wildcards only below the device's own prefix
//! devices/{id}/messages/events           AMQP: the same as devices/{id}/telemetry
//! devices/{id}/messages/devicebound      AMQP: messages to the device
//! ```

use crate::error::{Error, Result};
use crate::ids::{DeviceId, Name};

/// Stream of telemetry that names none.
pub const STREAM_DEFAULT: &str = "telemetry";

/// The stream that `device` addresses by publishing to `topic`. Errors: `Invalid` if the topic is not its own or not one
/// to publish to.
pub fn publish_stream(device: &DeviceId, topic: &str) -> Result<Name> {
    let refused = || {
        Error::invalid(format!("device {device} may not publish to {:?}", topic.chars().take(120).collect::<String>()))
            .hint(format!("publish to devices/{device}/telemetry or devices/{device}/telemetry/<stream>"))
    };
    let rest = own(device, topic).ok_or_else(refused)?;
    match rest {
        "/telemetry" => Name::new(STREAM_DEFAULT),
        _ => Name::new(rest.strip_prefix("/telemetry/").ok_or_else(refused)?).map_err(|_| refused()),
    }
}

/// The topic of records that `device` sends over a link to `address`. Errors: as `publish_stream`.
pub fn events_topic(device: &DeviceId, address: &str) -> Result<String> {
    let stream = match own(device, address) {
        Some("/messages/events") => Name::new(STREAM_DEFAULT)?,
        _ => publish_stream(device, address)?,
    };
    Ok(telemetry_topic(device.as_str(), stream.as_str()))
}

/// Whether a link from `address` asks for messages to `device`.
pub fn is_devicebound(device: &DeviceId, address: &str) -> bool {
    own(device, address) == Some("/messages/devicebound")
}

/// What follows the device's own prefix.
fn own<'a>(device: &DeviceId, address: &'a str) -> Option<&'a str> {
    address.strip_prefix("devices/").and_then(|t| t.strip_prefix(device.as_str()))
}

/// Whether `device` may subscribe to `filter`: only to filters whose first two levels are literally its own.
pub fn may_subscribe(device: &DeviceId, filter: &str) -> bool {
    own(device, filter).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}

/// The topic a device publishes `stream` to.
pub fn telemetry_topic(device: &str, stream: &str) -> String {
    if stream == STREAM_DEFAULT { format!("devices/{device}/telemetry") } else { format!("devices/{device}/telemetry/{stream}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_publishes_only_below_its_own_prefix() {
        let d = DeviceId::new("pump-1").unwrap();
        assert_eq!(publish_stream(&d, "devices/pump-1/telemetry").unwrap().as_str(), "telemetry");
        assert_eq!(publish_stream(&d, "devices/pump-1/telemetry/vibration").unwrap().as_str(), "vibration");
        for bad in [
            "devices/pump-2/telemetry",
            "devices/pump-11/telemetry",
            "devices/pump-1/telemetry/",
            "devices/pump-1/telemetry/A",
            "devices/pump-1/commands",
            "$SYS/x",
            "",
            "devices/pump-1/telemetry/a/b",
        ] {
            assert!(publish_stream(&d, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_of_a_link_is_one_of_its_own() {
        let d = DeviceId::new("pump-1").unwrap();
        for (address, topic) in [
            ("devices/pump-1/messages/events", "devices/pump-1/telemetry"),
            ("devices/pump-1/telemetry", "devices/pump-1/telemetry"),
            ("devices/pump-1/telemetry/vibration", "devices/pump-1/telemetry/vibration"),
        ] {
            assert_eq!(events_topic(&d, address).unwrap(), topic);
        }
        for bad in ["devices/pump-2/messages/events", "devices/pump-11/messages/events", "devices/pump-1/messages/events/x", "", "q"] {
            assert!(events_topic(&d, bad).is_err(), "{bad:?}");
        }
        assert!(is_devicebound(&d, "devices/pump-1/messages/devicebound"));
        assert!(!is_devicebound(&d, "devices/pump-2/messages/devicebound"));
    }

    #[test]
    fn a_wildcard_stays_inside_the_prefix() {
        let d = DeviceId::new("pump-1").unwrap();
        assert!(may_subscribe(&d, "devices/pump-1/#"));
        assert!(may_subscribe(&d, "devices/pump-1/commands/+"));
        for bad in ["#", "devices/#", "devices/+/telemetry", "devices/pump-1", "devices/pump-12/#", "$share/g/devices/pump-1/#"] {
            assert!(!may_subscribe(&d, bad), "{bad:?}");
        }
    }
}
