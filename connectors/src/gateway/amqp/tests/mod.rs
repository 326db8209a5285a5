//! The AMQP listener over real sockets. Invariant: the peer in here makes and takes its bytes by hand, so a mistake of the codec
//! cannot hide behind itself.

mod acknowledge;
mod hostile;
mod live;
mod raw;
mod refuse;

use std::sync::Arc;
use std::time::Duration;

use raw::Peer;
use tokio::net::TcpListener;

use super::AmqpGateway;
use crate::gateway::GatewayContext;
use crate::testing::{self, Durability, FakeAuthority, MemoryLog};

const EVENTS: &str = "devices/pump-1/messages/events";

/// A running gateway and what it works with.
struct Bench {
    gateway: AmqpGateway,
    authority: FakeAuthority,
    log: Arc<MemoryLog>,
    context: GatewayContext,
}

impl Bench {
    async fn start(durability: Durability) -> Self {
        Self::start_with(durability, Duration::from_secs(60)).await
    }

    /// With another time that a device may be silent.
    async fn start_with(durability: Durability, idle: Duration) -> Self {
        let (authority, log) = (FakeAuthority::default(), MemoryLog::new(durability));
        let context = testing::context(authority.clone(), log.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = AmqpGateway::start_with(listener, context.clone(), idle).unwrap();
        Self { gateway, authority, log, context }
    }

    async fn peer(&self) -> Peer {
        Peer::connect(self.gateway.address()).await
    }

    /// An open connection of `pump-1` with a link for its events.
    async fn device(&self) -> Peer {
        let mut peer = self.peer().await;
        peer.open("pump-1", "pump-1").await;
        peer.link(EVENTS).await;
        peer
    }

    /// The conservation law: every record that arrived went one way.
    fn assert_balance(&self) {
        let c = &self.context.counters;
        let out = c.appended.get() + c.duplicate.get() + c.rejected.get() + c.failed.get();
        assert_eq!(c.received.get(), out, "{c:?}");
    }
}
