//! The running MQTT server as its owner sees it. Invariant: after `shutdown` returned there is no connection and no task left.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::Qos;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use tokio::net::TcpListener;

use super::delivery::Delivery;
use super::listener;
use super::registry::Registry;
use crate::gateway::GatewayContext;
use crate::gateway::serving::{self, Sessions};

/// What all tasks of one gateway share.
pub(super) type Shared = serving::Shared<Registry>;

/// A running MQTT server.
pub struct MqttGateway {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl std::fmt::Debug for MqttGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MqttGateway").field("address", &self.address).finish_non_exhaustive()
    }
}

impl MqttGateway {
    /// Serves devices on `listener` until `shutdown`. Must be called inside a Tokio runtime. Errors: the listener has no
    /// address.
    pub fn start(listener: TcpListener, context: GatewayContext) -> Result<Self> {
        let address = listener.local_addr().map_err(|e| Error::from(e).context("MQTT listener"))?;
        let shared = Shared::start(listener, context, Registry::default(), listener::serve);
        Ok(Self { shared, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Devices connected now.
    pub fn connected(&self) -> Vec<DeviceId> {
        self.shared.registry.devices()
    }

    /// Sends a message to the connections of `device` that subscribed to `topic`, with QoS 1 where they asked for it.
    /// Returns how many took it; zero means that the device is not there to hear it.
    pub fn deliver(&self, device: &DeviceId, topic: &str, payload: Bytes) -> usize {
        let message = Delivery { topic: topic.into(), payload, qos: Qos::AtLeastOnce };
        let reached = self.shared.registry.deliver(device, &message, None);
        self.shared.context.counters.undelivered.add(reached.dropped as u64);
        reached.taken
    }

    /// Stops: no new connections, outstanding acknowledgements for up to `limits::GATEWAY_STOP_MS_MAX`, then closes.
    pub async fn shutdown(self) {
        self.shared.stop().await;
    }
}
