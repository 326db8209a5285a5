//! MQTT packets without their version. Invariant: this is the only file of the gateway, beside the handshake, in which a
//! packet of 3.1.1 and one of 5 look different; nothing is copied out of a PUBLISH on its way in.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{Packet, Property, Qos, ReasonString, SubEntry, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    DisconnectReasonCode, MqttError, PubackReasonCode, SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};
use thalweg_engine::batch::{ContentType, ProducerSequence};

use super::delivery::Delivery;
use crate::gateway::intake::{self, Echo, Promise, Refusal};
use crate::gateway::numbering::{Number, Numbering};

/// What a connected device sent.
pub(super) enum Incoming {
    /// A record.
    Publish(Publish),
    /// It wants messages.
    Subscribe(Subscribe),
    /// It no longer wants them.
    Unsubscribe { packet_id: u16, filters: Vec<String> },
    /// It is alive.
    Ping,
    /// It leaves, and says whether its will is to be published.
    Goodbye { will: GoodbyeWill },
    /// It acknowledged a message; the protocol library has done the bookkeeping.
    Acknowledged,
    /// Not allowed now, or not at all.
    Unexpected,
}

/// What becomes of the will when a device leaves by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoodbyeWill {
    Forget,
    Publish,
}

/// A SUBSCRIBE.
pub(super) struct Subscribe {
    pub(super) packet_id: u16,
    pub(super) entries: Vec<SubEntry>,
    /// It carries a subscription identifier, which CONNACK said are not supported.
    pub(super) has_identifier: bool,
}

/// A PUBLISH of either version.
pub(super) enum Publish {
    V3(v3_1_1::Publish),
    V5(v5_0::Publish),
}

impl Publish {
    pub(super) fn qos(&self) -> Qos {
        match self {
            Self::V3(p) => p.qos(),
            Self::V5(p) => p.qos(),
        }
    }

    /// None for QoS 0.
    pub(super) fn packet_id(&self) -> Option<u16> {
        match self {
            Self::V3(p) => p.packet_id(),
            Self::V5(p) => p.packet_id(),
        }
    }

    /// Whether the device wants it kept as the topic's last value and was told that this is not supported.
    pub(super) fn asks_for_retention(&self) -> bool {
        matches!(self, Self::V5(p) if p.retain())
    }
}

/// What a PUBACK has to name, and what the device's own subscribers get to see.
pub(super) struct Origin {
    /// None for QoS 0: there is nothing to answer.
    pub(super) packet_id: Option<u16>,
    pub(super) echo: Option<Delivery>,
}

impl intake::Publish for Publish {
    type Origin = Origin;

    fn topic(&self) -> &str {
        match self {
            Self::V3(p) => p.topic_name(),
            Self::V5(p) => p.topic_name(),
        }
    }

    fn payload(&self) -> &[u8] {
        match self {
            Self::V3(p) => p.payload().as_slice(),
            Self::V5(p) => p.payload().as_slice(),
        }
    }

    fn content_type(&self) -> ContentType {
        match self {
            Self::V3(_) => ContentType::Unknown,
            Self::V5(p) => content_type(p.props()),
        }
    }

    fn producer(&self) -> Result<Option<ProducerSequence>, Refusal> {
        let Self::V5(publish) = self else { return Ok(None) };
        let mut numbering = Numbering::default();
        for property in publish.props() {
            if let Property::UserProperty(property) = property {
                numbering.property(property.key(), Number::Text(property.val())).map_err(Refusal::Numbering)?;
            }
        }
        numbering.finish().map_err(Refusal::Numbering)
    }

    fn promise(&self) -> Promise {
        match (self.packet_id(), self) {
            (None, _) => Promise::Nothing,
            (Some(_), Self::V3(_)) => Promise::Acknowledgement,
            (Some(_), Self::V5(_)) => Promise::Answer,
        }
    }

    fn origin(&self, echo: Echo) -> Origin {
        let echo = (echo == Echo::Wanted).then(|| Delivery {
            topic: self.topic().into(),
            payload: Bytes::copy_from_slice(self.payload()),
            qos: self.qos(),
        });
        Origin { packet_id: self.packet_id(), echo }
    }
}

/// The code for PUBACK, and that for DISCONNECT where there is no PUBACK.
pub(super) fn codes(refusal: Refusal) -> (PubackReasonCode, DisconnectReasonCode) {
    use DisconnectReasonCode as Disconnect;
    use PubackReasonCode as Puback;
    match refusal {
        Refusal::NotAuthorized => (Puback::NotAuthorized, Disconnect::NotAuthorized),
        Refusal::NoSuchStream => (Puback::TopicNameInvalid, Disconnect::TopicNameInvalid),
        Refusal::TooLarge => (Puback::QuotaExceeded, Disconnect::PacketTooLarge),
        Refusal::TooManyStreams | Refusal::Full => (Puback::QuotaExceeded, Disconnect::QuotaExceeded),
        Refusal::Numbering(_) | Refusal::Malformed(_) => (Puback::ImplementationSpecificError, Disconnect::ImplementationSpecificError),
    }
}

/// What the content type property says. The payload format indicator only tells text from bytes, which no format needs.
pub(super) fn content_type(properties: &[Property]) -> ContentType {
    let named = properties.iter().find_map(|p| match p {
        Property::ContentType(c) => Some(c.val()),
        _ => None,
    });
    named.map_or(ContentType::Unknown, ContentType::from_media_type)
}

impl From<Packet> for Incoming {
    fn from(packet: Packet) -> Self {
        let goodbye = |code: Option<DisconnectReasonCode>| match code {
            None | Some(DisconnectReasonCode::NormalDisconnection) => GoodbyeWill::Forget,
            Some(_) => GoodbyeWill::Publish,
        };
        match packet {
            Packet::V3_1_1Publish(p) => Self::Publish(Publish::V3(p)),
            Packet::V5_0Publish(p) => Self::Publish(Publish::V5(p)),
            Packet::V3_1_1Subscribe(p) => {
                Self::Subscribe(Subscribe { packet_id: p.packet_id(), entries: p.entries().clone(), has_identifier: false })
            }
            Packet::V5_0Subscribe(p) => Self::Subscribe(Subscribe {
                packet_id: p.packet_id(),
                entries: p.entries().clone(),
                has_identifier: p.props().iter().any(|p| matches!(p, Property::SubscriptionIdentifier(_))),
            }),
            Packet::V3_1_1Unsubscribe(p) => {
                Self::Unsubscribe { packet_id: p.packet_id(), filters: p.entries().iter().map(|f| f.as_str().to_owned()).collect() }
            }
            Packet::V5_0Unsubscribe(p) => {
                Self::Unsubscribe { packet_id: p.packet_id(), filters: p.entries().iter().map(|f| f.as_str().to_owned()).collect() }
            }
            Packet::V3_1_1Pingreq(_) | Packet::V5_0Pingreq(_) => Self::Ping,
            Packet::V3_1_1Disconnect(_) => Self::Goodbye { will: GoodbyeWill::Forget },
            Packet::V5_0Disconnect(p) => Self::Goodbye { will: goodbye(p.reason_code()) },
            Packet::V3_1_1Puback(_) | Packet::V5_0Puback(_) => Self::Acknowledged,
            _ => Self::Unexpected,
        }
    }
}

/// PUBACK.
pub(super) fn puback(version: Version, id: u16) -> Result<Packet, MqttError> {
    match version {
        Version::V5_0 => Ok(v5_0::Puback::builder().packet_id(id).build()?.into()),
        _ => Ok(v3_1_1::Puback::builder().packet_id(id).build()?.into()),
    }
}

/// PUBACK that says no, which only MQTT 5 can.
pub(super) fn puback_refused(id: u16, code: PubackReasonCode, reason: Option<&str>) -> Result<Packet, MqttError> {
    let builder = v5_0::Puback::builder().packet_id(id).reason_code(code);
    match reason {
        Some(reason) => Ok(builder.props(vec![ReasonString::new(reason)?.into()]).build()?.into()),
        None => Ok(builder.build()?.into()),
    }
}

/// SUBACK with one code for each filter.
pub(super) fn suback(version: Version, id: u16, codes: Vec<SubackReasonCode>) -> Result<Packet, MqttError> {
    if version == Version::V5_0 {
        return Ok(v5_0::Suback::builder().packet_id(id).reason_codes(codes).build()?.into());
    }
    let codes = codes.into_iter().map(|code| match code {
        SubackReasonCode::GrantedQos0 => SubackReturnCode::SuccessMaximumQos0,
        SubackReasonCode::GrantedQos1 => SubackReturnCode::SuccessMaximumQos1,
        _ => SubackReturnCode::Failure,
    });
    Ok(v3_1_1::Suback::builder().packet_id(id).return_codes(codes.collect()).build()?.into())
}

/// UNSUBACK; 3.1.1 has no codes.
pub(super) fn unsuback(version: Version, id: u16, codes: Vec<UnsubackReasonCode>) -> Result<Packet, MqttError> {
    match version {
        Version::V5_0 => Ok(v5_0::Unsuback::builder().packet_id(id).reason_codes(codes).build()?.into()),
        _ => Ok(v3_1_1::Unsuback::builder().packet_id(id).build()?.into()),
    }
}

/// PINGRESP.
pub(super) fn pingresp(version: Version) -> Packet {
    match version {
        Version::V5_0 => v5_0::Pingresp::new().into(),
        _ => v3_1_1::Pingresp::new().into(),
    }
}

/// DISCONNECT, which only MQTT 5 servers may send.
pub(super) fn disconnect(code: DisconnectReasonCode, reason: Option<&str>) -> Result<Packet, MqttError> {
    let builder = v5_0::Disconnect::builder().reason_code(code);
    match reason {
        Some(reason) => Ok(builder.props(vec![ReasonString::new(reason)?.into()]).build()?.into()),
        None => Ok(builder.build()?.into()),
    }
}

/// PUBLISH to a device: QoS 1 with a packet id, else QoS 0.
pub(super) fn publish(version: Version, topic: &str, payload: &[u8], id: Option<u16>) -> Result<Packet, MqttError> {
    let qos = if id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    match version {
        Version::V5_0 => {
            let mut builder = v5_0::Publish::builder().topic_name(topic)?.qos(qos).payload(payload);
            if let Some(id) = id {
                builder = builder.packet_id(id);
            }
            Ok(builder.build()?.into())
        }
        _ => {
            let mut builder = v3_1_1::Publish::builder().topic_name(topic)?.qos(qos).payload(payload);
            if let Some(id) = id {
                builder = builder.packet_id(id);
            }
            Ok(builder.build()?.into())
        }
    }
}
