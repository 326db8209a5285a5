//! From first byte to CONNACK. Invariant: nobody gets past it without the key of the device named, under a client id and with
//! a will that are that device's own; until then at most `limits::CONNECT_BYTES_MAX` are taken, within a deadline.
//!
//! | refused because            | MQTT 5 | 3.1.1 |
//! |----------------------------|--------|-------|
//! | wrong key, unknown, …      | 0x86   | 4     |
//! | client id of someone else  | 0x85   | 2     |
//! | will outside its own topics| 0x87   | 5     |
//! | tried too often            | 0x9F   | 3     |
//! | too many connections       | 0x97   | 3     |

use std::net::IpAddr;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{self, Packet, Property, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use thalweg_engine::contract::DeviceAuthority;
use thalweg_engine::ids::DeviceId;
use thalweg_engine::{limits, topic};

use super::packets;
use super::will::Will;
use super::wire::Wire;
use crate::gateway::login::{self, NoLogin};

/// A CONNECT of either version. No `Debug`: it holds a key.
pub(super) struct Hello {
    client_id: String,
    user_name: Option<String>,
    password: Option<String>,
    will: Option<Will>,
    will_qos: Qos,
    will_retained: bool,
    clean: bool,
    version: Version,
    has_authentication_method: bool,
    asks_for_session: bool,
}

impl Hello {
    /// Who it says it is, for the server's log.
    pub(super) fn shown_device(&self) -> String {
        login::shown(self.user_name.as_deref().unwrap_or(""))
    }
}

/// A device that may connect.
pub(super) struct Admitted {
    pub(super) device: DeviceId,
    pub(super) client_id: String,
    pub(super) will: Option<Will>,
    id_assigned: bool,
    session_declined: bool,
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Credentials,
    ClientId,
    WillTopic,
    WillQos,
    WillRetained,
    AuthenticationMethod,
    TooOften,
    TooManyConnections,
}

impl Refusal {
    fn codes(self) -> (ConnectReasonCode, ConnectReturnCode) {
        use ConnectReasonCode as V5;
        use ConnectReturnCode as V3;
        match self {
            Self::Credentials => (V5::BadUserNameOrPassword, V3::BadUserNameOrPassword),
            Self::ClientId => (V5::ClientIdentifierNotValid, V3::IdentifierRejected),
            Self::WillTopic => (V5::NotAuthorized, V3::NotAuthorized),
            Self::WillQos => (V5::QosNotSupported, V3::NotAuthorized),
            Self::WillRetained => (V5::RetainNotSupported, V3::NotAuthorized),
            Self::AuthenticationMethod => (V5::BadAuthenticationMethod, V3::NotAuthorized),
            Self::TooOften => (V5::ConnectionRateExceeded, V3::ServerUnavailable),
            Self::TooManyConnections => (V5::QuotaExceeded, V3::ServerUnavailable),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Credentials => login::CREDENTIALS,
            Self::ClientId => "the client id is not the device's own",
            Self::WillTopic => "the will goes to a topic that is not the device's own",
            Self::WillQos => "the will asks for QoS 2",
            Self::WillRetained => "the will asks to be retained",
            Self::AuthenticationMethod => "it asks for an authentication method other than a key",
            Self::TooOften => login::TOO_OFTEN,
            Self::TooManyConnections => "the device has too many connections",
        })
    }
}

/// Why there was no CONNECT to judge.
#[derive(Debug)]
pub(super) enum NoHello {
    /// The peer went away.
    Gone,
    /// Longer than an unknown peer may send.
    TooLong,
    /// Not a CONNECT, or a broken one; the library has queued an answer if there is one.
    Broken(MqttError),
}

impl std::fmt::Display for NoHello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("the peer went away before CONNECT"),
            Self::TooLong => write!(f, "the first packet is longer than {} bytes", limits::CONNECT_BYTES_MAX),
            Self::Broken(e) => write!(f, "the first packet is no CONNECT: {e:?}"),
        }
    }
}

/// Reads exactly one CONNECT. Returns it with the bytes that came after it.
pub(super) async fn receive(wire: &mut Wire) -> Result<(Hello, Vec<u8>), NoHello> {
    let mut bytes = Vec::new();
    let length = loop {
        wire.pipe.socket.readable().await.map_err(|_| NoHello::Gone)?;
        read_more(wire, &mut bytes)?;
        match packet_length(&bytes).map_err(NoHello::Broken)? {
            Some(length) if length > limits::CONNECT_BYTES_MAX => return Err(NoHello::TooLong),
            Some(length) if bytes.len() >= length => break length,
            _ => {}
        }
    };
    let rest = bytes.split_off(length);
    match parse(wire, &bytes) {
        Ok(Some(Packet::V3_1_1Connect(p))) => Ok((p.into(), rest)),
        Ok(Some(Packet::V5_0Connect(p))) => {
            wire.wants_reasons = !p.props().iter().any(|p| matches!(p, Property::RequestProblemInformation(i) if i.val() == 0));
            Ok((p.into(), rest))
        }
        Err(MqttError::UnsupportedProtocolVersion) => {
            wire.send_raw(&[0x20, 2, 0, 1]);
            Err(NoHello::Broken(MqttError::UnsupportedProtocolVersion))
        }
        Err(e) => Err(NoHello::Broken(e)),
        _ => Err(NoHello::Broken(MqttError::ProtocolError)),
    }
}

/// Feeds a whole packet; the library takes its header and its body in turn.
fn parse(wire: &mut Wire, bytes: &[u8]) -> Result<Option<Packet>, MqttError> {
    let mut cursor = Cursor::new(bytes);
    while (cursor.position() as usize) < bytes.len() {
        if let Some(packet) = wire.parse(&mut cursor)? {
            return Ok(Some(packet));
        }
    }
    Ok(None)
}

fn read_more(wire: &mut Wire, bytes: &mut Vec<u8>) -> Result<(), NoHello> {
    let mut buffer = [0; 2048];
    match wire.pipe.try_read(&mut buffer) {
        Ok(Some(0)) | Err(_) => Err(NoHello::Gone),
        Ok(Some(n)) => {
            bytes.extend_from_slice(&buffer[..n]);
            Ok(())
        }
        Ok(None) => Ok(()),
    }
}

/// Whole length of the packet that begins here, as soon as its header is complete.
fn packet_length(bytes: &[u8]) -> Result<Option<usize>, MqttError> {
    let [first, rest @ ..] = bytes else { return Ok(None) };
    if *first != 0x10 {
        return Err(MqttError::ProtocolError);
    }
    let mut remaining = 0;
    for (i, byte) in rest.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some(2 + i + remaining));
        }
    }
    if rest.len() >= 4 { Err(MqttError::MalformedPacket) } else { Ok(None) }
}

/// Decides whether a device may connect. The order keeps a stranger from learning anything but "credentials".
pub(super) fn judge(hello: Hello, authority: &dyn DeviceAuthority, peer: IpAddr) -> Result<Admitted, Refusal> {
    if hello.has_authentication_method {
        return Err(Refusal::AuthenticationMethod);
    }
    let (user, key) = (hello.user_name.as_deref().unwrap_or(""), hello.password.as_deref().unwrap_or(""));
    let device = login::authenticate(authority, user, key, peer).map_err(|why| match why {
        NoLogin::TooOften => Refusal::TooOften,
        NoLogin::Credentials => Refusal::Credentials,
    })?;
    let id_assigned = hello.client_id.is_empty();
    if id_assigned && hello.version == Version::V3_1_1 && !hello.clean {
        return Err(Refusal::ClientId);
    }
    // One of its own for each connection: devices that leave it to us must not take each other's connection over.
    let client_id = if id_assigned { format!("{device}/{:016x}", rand::random::<u64>()) } else { hello.client_id };
    if !is_own_client_id(&device, &client_id) {
        return Err(Refusal::ClientId);
    }
    if let Some(will) = &hello.will {
        topic::publish_stream(&device, &will.topic).map_err(|_| Refusal::WillTopic)?;
        if hello.version == Version::V5_0 && hello.will_qos == Qos::ExactlyOnce {
            return Err(Refusal::WillQos);
        }
        if hello.version == Version::V5_0 && hello.will_retained {
            return Err(Refusal::WillRetained);
        }
    }
    Ok(Admitted { device, client_id, will: hello.will, id_assigned, session_declined: hello.asks_for_session })
}

/// The device id, or the device id, `/` and anything.
fn is_own_client_id(device: &DeviceId, client_id: &str) -> bool {
    let rest = client_id.strip_prefix(device.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) && client_id.len() <= limits::CLIENT_ID_BYTES_MAX
}

/// CONNACK that says yes, with everything an MQTT 5 device has to know about this server.
pub(super) fn accept(version: Version, admitted: &Admitted) -> Result<Packet, MqttError> {
    if version != Version::V5_0 {
        let connack = v3_1_1::Connack::builder().session_present(false).return_code(ConnectReturnCode::Accepted);
        return Ok(connack.build()?.into());
    }
    let mut properties: Vec<Property> = vec![
        packet::ReceiveMaximum::new(limits::UNACKNOWLEDGED_MAX as u16)?.into(),
        packet::MaximumQos::new(1)?.into(),
        packet::RetainAvailable::new(0)?.into(),
        packet::TopicAliasMaximum::new(limits::TOPIC_ALIASES_MAX)?.into(),
        packet::SubscriptionIdentifierAvailable::new(0)?.into(),
        packet::SharedSubscriptionAvailable::new(0)?.into(),
    ];
    if admitted.session_declined {
        properties.push(packet::SessionExpiryInterval::new(0)?.into());
    }
    if admitted.id_assigned {
        properties.push(packet::AssignedClientIdentifier::new(admitted.client_id.as_str())?.into());
    }
    let connack = v5_0::Connack::builder().session_present(false).reason_code(ConnectReasonCode::Success).props(properties);
    Ok(connack.build()?.into())
}

/// CONNACK that says no.
pub(super) fn refuse(version: Version, refusal: Refusal) -> Result<Packet, MqttError> {
    let (v5, v3) = refusal.codes();
    match version {
        Version::V5_0 => Ok(v5_0::Connack::builder().session_present(false).reason_code(v5).build()?.into()),
        _ => Ok(v3_1_1::Connack::builder().session_present(false).return_code(v3).build()?.into()),
    }
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.and_then(|b| std::str::from_utf8(b).ok()).map(str::to_owned)
}

impl From<v3_1_1::Connect> for Hello {
    fn from(p: v3_1_1::Connect) -> Self {
        let will = p.will_topic().map(|topic| Will {
            topic: topic.to_owned(),
            payload: p.will_payload().unwrap_or_default().to_vec(),
            content_type: thalweg_engine::batch::ContentType::Unknown,
        });
        Self {
            client_id: p.client_id().to_owned(),
            user_name: p.user_name().map(str::to_owned),
            password: text(p.password()),
            will,
            will_qos: p.will_qos(),
            will_retained: p.will_retain(),
            clean: p.clean_session(),
            version: Version::V3_1_1,
            has_authentication_method: false,
            asks_for_session: !p.clean_session(),
        }
    }
}

impl From<v5_0::Connect> for Hello {
    fn from(p: v5_0::Connect) -> Self {
        let will = p.will_topic().map(|topic| Will {
            topic: topic.to_owned(),
            payload: p.will_payload().unwrap_or_default().to_vec(),
            content_type: packets::content_type(p.will_props()),
        });
        Self {
            client_id: p.client_id().to_owned(),
            user_name: p.user_name().map(str::to_owned),
            password: text(p.password()),
            will,
            will_qos: p.will_qos(),
            will_retained: p.will_retain(),
            clean: p.clean_start(),
            version: Version::V5_0,
            has_authentication_method: p.props().iter().any(|p| matches!(p, Property::AuthenticationMethod(_))),
            asks_for_session: p.props().iter().any(|p| matches!(p, Property::SessionExpiryInterval(s) if s.val() > 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_known_before_the_body_and_bounded() {
        assert_eq!(packet_length(&[]).unwrap(), None);
        assert_eq!(packet_length(&[0x10]).unwrap(), None);
        assert_eq!(packet_length(&[0x10, 0x0a]).unwrap(), Some(12));
        assert_eq!(packet_length(&[0x10, 0xff, 0xff, 0xff, 0x7f]).unwrap(), Some(268_435_460));
        assert!(packet_length(&[0x10, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
        assert!(packet_length(b"GET / HTTP/1.1").is_err());
    }

    #[test]
    fn a_client_id_belongs_to_its_device() {
        let device = DeviceId::new("pump-1").unwrap();
        for good in ["pump-1", "pump-1/", "pump-1/logger"] {
            assert!(is_own_client_id(&device, good), "{good}");
        }
        for bad in ["pump-11", "pump-2", "", "pump", "pump-1-x", &format!("pump-1/{}", "x".repeat(300))] {
            assert!(!is_own_client_id(&device, bad), "{bad}");
        }
    }
}
