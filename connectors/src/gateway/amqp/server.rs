//! The running AMQP server as its owner sees it. Invariant: after `shutdown` returned there is no connection and no task left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits;
use tokio::net::TcpListener;

use super::listener;
use super::registry::Registry;
use crate::gateway::GatewayContext;
use crate::gateway::serving::{self, Sessions};

/// What all tasks of one gateway share.
pub(super) type Shared = serving::Shared<Registry>;

/// A running AMQP 1.0 server.
pub struct AmqpGateway {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl std::fmt::Debug for AmqpGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmqpGateway").field("address", &self.address).finish_non_exhaustive()
    }
}

impl AmqpGateway {
    /// Serves devices on `listener` until `shutdown`. Must be called inside a Tokio runtime. Errors: the listener has no
    /// address.
    pub fn start(listener: TcpListener, context: GatewayContext) -> Result<Self> {
        Self::start_with(listener, context, Duration::from_millis(limits::AMQP_IDLE_MS))
    }

    /// The same with another time that a device may be silent.
    pub(super) fn start_with(listener: TcpListener, context: GatewayContext, idle: Duration) -> Result<Self> {
        let address = listener.local_addr().map_err(|e| Error::from(e).context("AMQP listener"))?;
        let serve = move |socket, peer, stranger, shared| listener::serve(socket, peer, stranger, shared, idle);
        Ok(Self { shared: Shared::start(listener, context, Registry::default(), serve), address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Devices connected now.
    pub fn connected(&self) -> Vec<DeviceId> {
        self.shared.registry.devices()
    }

    /// Stops: no new connections, outstanding acknowledgements for up to `limits::GATEWAY_STOP_MS_MAX`, then closes.
    pub async fn shutdown(self) {
        self.shared.stop().await;
    }
}
