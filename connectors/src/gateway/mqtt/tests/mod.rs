//! The gateway over real sockets. Invariant: the peer in here makes and takes its bytes by hand, so a mistake of the protocol
//! library cannot hide behind itself.

mod acknowledge;
mod clients;
mod live;
mod raw;
mod refuse;

use std::sync::Arc;

use raw::{Peer, Version};
use tokio::net::TcpListener;

use super::MqttGateway;
use crate::gateway::GatewayContext;
use crate::testing::{self, Durability, FakeAuthority, MemoryLog};

/// A running gateway and what it works with.
struct Bench {
    gateway: MqttGateway,
    authority: FakeAuthority,
    log: Arc<MemoryLog>,
    context: GatewayContext,
}

impl Bench {
    async fn start(durability: Durability) -> Self {
        let (authority, log) = (FakeAuthority::default(), MemoryLog::new(durability));
        let context = testing::context(authority.clone(), log.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = MqttGateway::start(listener, context.clone()).unwrap();
        Self { gateway, authority, log, context }
    }

    async fn peer(&self) -> Peer {
        Peer::open(self.gateway.address()).await
    }

    /// A connected device whose client id is its device id.
    async fn device(&self, version: Version, device: &str) -> Peer {
        let mut peer = self.peer().await;
        peer.connect(version, device).await;
        peer
    }

    /// The conservation law: every record that arrived went one way.
    fn assert_balance(&self) {
        let c = &self.context.counters;
        let out = c.appended.get() + c.duplicate.get() + c.rejected.get() + c.failed.get();
        assert_eq!(c.received.get(), out, "{c:?}");
    }
}
