//! One AMQP peer from first byte to last. Invariant: it holds a stranger's mark until it has proved who it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::limits;
use tokio::net::TcpStream;

use super::connection::Connection;
use super::entry::Entry;
use super::handshake;
use super::say::{self, Fault, condition};
use super::server::Shared;
use super::wire::Wire;
use crate::gateway::admission::Stranger;

/// One peer from first byte to last; `idle` is the silence that it is asked not to exceed.
pub(super) async fn serve(socket: TcpStream, peer: SocketAddr, stranger: Stranger, shared: Arc<Shared>, idle: Duration) {
    // Twice what it is told, so that a sign of life may be late.
    let mut wire = Wire::new(socket, idle * 2);
    let deadline = Duration::from_millis(limits::CONNECT_TIMEOUT_MS);
    let admitted = tokio::select! {
        () = shared.stopping.cancelled() => return,
        admitted = tokio::time::timeout(deadline, handshake::greet(&mut wire, shared.context.authority.as_ref(), peer.ip())) => admitted,
    };
    let admitted = match admitted {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(no_device)) => {
            shared.refuse(|| format!("{peer} refused: {no_device}"));
            return wire.pipe.close().await;
        }
        Err(_) => return shared.refuse(|| format!("{peer} refused: no login within {} ms", deadline.as_millis())),
    };
    say::open(&mut wire.pipe.out, u32::try_from(idle.as_millis()).unwrap_or(u32::MAX));
    match shared.registry.register(&admitted.device, &admitted.container) {
        Ok((login, cuts)) => {
            let entry = Entry::new(login, shared);
            drop(stranger);
            // A revocation or stop between the check of the key and the entry in the registry was told to nobody.
            if entry.shared.stopping.is_cancelled() || !entry.shared.context.authority.is_active(&entry.login.device) {
                return;
            }
            Connection::new(wire, entry, cuts).run().await.finish().await;
        }
        Err(_) => {
            let reason = "the device has too many connections";
            shared.refuse(|| format!("login of device {} from {peer} refused: {reason}", admitted.device));
            say::close(&mut wire.pipe.out, Some(Fault { condition: condition::RESOURCE_LIMIT, reason }));
            wire.pipe.close().await;
        }
    }
}
