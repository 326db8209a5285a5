//! What a table says about its broker. Invariant: it is checked before anything connects, and the password is never printed.

use thalweg_engine::contract::Options;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::limits;

/// Port of MQTT without TLS.
const PORT_DEFAULT: u16 = 1883;
/// Levels a topic may have before the device id.
const TOPIC_LEVEL_MAX: u64 = 64;

/// A broker and what to read there.
pub(super) struct BrokerOptions {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) topic: String,
    pub(super) client_id: String,
    pub(super) credentials: Option<(String, String)>,
    pub(super) device_level: usize,
}

impl BrokerOptions {
    /// Takes the options that say how to connect; the caller takes those of the table (`stream`, `format`, `scan.…`).
    /// Errors: `Invalid`, naming the option.
    pub(super) fn take(options: &mut Options) -> Result<Self> {
        let (host, port) = parse_url(&options.take_required("url")?)?;
        let topic = options.take_required("topic")?;
        if topic.is_empty() || topic.contains('\0') {
            return Err(Error::invalid(format!("option 'topic': {topic:?} is no topic filter")));
        }
        let client_id = options.take("client-id").unwrap_or_else(|| client_id_for(&topic));
        if client_id.is_empty() || client_id.starts_with(' ') || client_id.len() > limits::CLIENT_ID_BYTES_MAX {
            return Err(Error::invalid(format!("option 'client-id': {client_id:?} is no client id")));
        }
        let credentials = match (options.take("username"), options.take("password")) {
            (Some(user), password) => Some((user, password.unwrap_or_default())),
            (None, None) => None,
            (None, Some(_)) => return Err(Error::invalid("option 'password' needs option 'username'")),
        };
        let device_level = options.take_number("device.topic-level")?.unwrap_or(1);
        if device_level > TOPIC_LEVEL_MAX {
            return Err(Error::invalid(format!("option 'device.topic-level': {device_level} is more than {TOPIC_LEVEL_MAX}")));
        }
        Ok(Self { host, port, topic, client_id, credentials, device_level: device_level as usize })
    }
}

/// Always the same for one topic filter, so that the broker finds the session again.
fn client_id_for(topic: &str) -> String {
    let safe = topic.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    format!("thalweg-{}", safe.collect::<String>())
}

fn parse_url(url: &str) -> Result<(String, u16)> {
    let wrong = || Error::invalid(format!("option 'url': {url:?} is no broker address")).hint("write mqtt://host:port");
    let address = url.strip_prefix("mqtt://").ok_or_else(wrong)?.trim_end_matches('/');
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (address, PORT_DEFAULT),
    };
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        Options::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn addresses_are_hosts_with_an_optional_port() {
        assert_eq!(parse_url("mqtt://broker").unwrap(), ("broker".into(), 1883));
        assert_eq!(parse_url("mqtt://10.0.0.1:1884/").unwrap(), ("10.0.0.1".into(), 1884));
        assert_eq!(parse_url("mqtt://[::1]:1884").unwrap(), ("[::1]".into(), 1884));
        assert_eq!(parse_url("mqtt://[::1]").unwrap(), ("[::1]".into(), 1883));
        for bad in ["", "broker:1883", "mqtt://", "mqtt://h:99999", "mqtt://h:x", "mqtt://u:p@h:1"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn defaults_fill_in_and_mistakes_are_named() {
        let mut good = options(&[("url", "mqtt://h"), ("topic", "devices/+/telemetry")]);
        let taken = BrokerOptions::take(&mut good).unwrap();
        assert_eq!((taken.device_level, taken.client_id.as_str()), (1, "thalweg-devices---telemetry"));
        good.finish().unwrap();
        let missing = BrokerOptions::take(&mut options(&[("url", "mqtt://h")])).err().unwrap();
        assert!(missing.message().contains("'topic'"), "{missing}");
        let alone = options(&[("url", "mqtt://h"), ("topic", "a"), ("password", "secret")]);
        let alone = BrokerOptions::take(&mut alone.clone()).err().unwrap();
        assert!(alone.message().contains("'username'") && !alone.to_string().contains("secret"), "{alone}");
    }
}
