//! The running gateway as its owner sees it. Invariant: after `shutdown` returned there is no connection and no task left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::Qos;
use thalweg_engine::contract::Revocation;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::Delivery;
use super::listener;
use super::registry::{Cut, Registry};
use crate::gateway::GatewayContext;
use crate::shared::Throttle;

/// What all tasks of one gateway share.
pub(super) struct Shared {
    pub(super) context: GatewayContext,
    pub(super) registry: Registry,
    /// No more new connections; each live one is told through its session.
    pub(super) stopping: CancellationToken,
    /// Whatever is left ends now.
    pub(super) abort: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) warnings: Throttle,
}

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
        let revocations = context.authority.revocations();
        let shared = Arc::new(Shared {
            context,
            registry: Registry::default(),
            stopping: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            warnings: Throttle::default(),
        });
        shared.tasks.spawn(listener::accept(listener, shared.clone()));
        shared.tasks.spawn(revoke(revocations, shared.clone()));
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
        let shared = self.shared;
        shared.stopping.cancel();
        for device in shared.registry.devices() {
            shared.registry.cut(&device, Cut::Stopping);
        }
        shared.tasks.close();
        let grace = Duration::from_millis(limits::GATEWAY_STOP_MS_MAX * 2);
        if tokio::time::timeout(grace, shared.tasks.wait()).await.is_err() {
            shared.abort.cancel();
            shared.tasks.wait().await;
        }
    }
}

/// Cuts the connections of devices that lose their rights.
async fn revoke(mut revocations: broadcast::Receiver<Revocation>, shared: Arc<Shared>) {
    loop {
        let revocation = tokio::select! {
            () = shared.stopping.cancelled() => return,
            revocation = revocations.recv() => revocation,
        };
        match revocation {
            Ok(revocation) => shared.registry.cut(&revocation.device, Cut::Revoked),
            // Some were missed: ask about everybody.
            Err(broadcast::error::RecvError::Lagged(_)) => {
                for device in shared.registry.devices() {
                    if !shared.context.authority.is_active(&device) {
                        shared.registry.cut(&device, Cut::Revoked);
                    }
                }
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
