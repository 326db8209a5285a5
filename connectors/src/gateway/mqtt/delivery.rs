//! Messages to devices. Invariant: the queues of all connections it goes to share one copy of a message, and its quality of
//! service never exceeds what was asked for.

use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::Qos;

use super::packets;
use super::wire::Wire;

/// A message on its way to a device.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
}

impl Delivery {
    /// The same message with at most this quality of service.
    pub(super) fn at_most(&self, qos: Qos) -> Self {
        Self { qos: self.qos.min(qos), ..self.clone() }
    }

    /// What it is counted as while it waits.
    pub(super) fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len()
    }

    /// Queues the message on a connection. False if the device cannot take it: it is larger than the device allows.
    pub(super) fn send(&self, wire: &mut Wire) -> bool {
        let version = wire.version();
        let sent = match self.qos {
            Qos::AtMostOnce => packets::publish(version, &self.topic, &self.payload, None).and_then(|p| wire.send(p)),
            _ => wire.send_with_id(|id| packets::publish(version, &self.topic, &self.payload, Some(id))),
        };
        sent.is_ok()
    }
}
