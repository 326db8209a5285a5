//! One MQTT peer from first byte to last. Invariant: it holds a stranger's mark until it has proved who it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::limits;
use tokio::net::TcpStream;

use super::connection::Connection;
use super::entry::Entry;
use super::handshake::{self, Admitted, Refusal};
use super::registry::Inbox;
use super::server::Shared;
use super::wire::Wire;
use crate::gateway::admission::Stranger;

/// One peer from first byte to last.
pub(super) async fn serve(socket: TcpStream, peer: SocketAddr, stranger: Stranger, shared: Arc<Shared>) {
    let mut wire = Wire::new(socket);
    let deadline = Duration::from_millis(limits::CONNECT_TIMEOUT_MS);
    let hello = tokio::select! {
        () = shared.stopping.cancelled() => return,
        hello = tokio::time::timeout(deadline, handshake::receive(&mut wire)) => hello,
    };
    let (hello, rest) = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(no_hello)) => {
            shared.refuse(|| format!("{peer} refused: {no_hello}"));
            return wire.pipe.close().await;
        }
        Err(_) => return shared.refuse(|| format!("{peer} refused: no CONNECT within {} ms", deadline.as_millis())),
    };
    let who = hello.shown_device();
    let admitted = handshake::judge(hello, shared.context.authority.as_ref(), peer.ip());
    let entered = admitted.and_then(|admitted| match shared.registry.register(&admitted.device, &admitted.client_id) {
        Ok((session, inbox)) => Ok((admitted, Entry::new(session, shared.clone()), inbox)),
        Err(_) => Err(Refusal::TooManyConnections),
    });
    match entered {
        Ok((admitted, entry, inbox)) => {
            drop(stranger);
            run(wire, admitted, entry, inbox, rest).await;
        }
        Err(refusal) => {
            shared.refuse(|| format!("login of {who} from {peer} refused: {refusal}"));
            if let Ok(packet) = handshake::refuse(wire.version(), refusal) {
                let _ = wire.send(packet);
            }
            wire.pipe.close().await;
        }
    }
}

/// One device from CONNACK to the end.
async fn run(mut wire: Wire, admitted: Admitted, entry: Entry, inbox: Inbox, rest: Vec<u8>) {
    let (shared, session) = (&entry.shared, &entry.session);
    // A revocation or stop between the check of the key and the entry in the registry was told to nobody.
    if shared.stopping.is_cancelled() || !shared.context.authority.is_active(&session.device) {
        return;
    }
    let welcome = handshake::accept(wire.version(), &admitted).and_then(|packet| wire.send(packet));
    if let Err(e) = welcome {
        return shared.warn(|| format!("device {} refused: CONNACK cannot be sent: {e:?}", session.device));
    }
    Connection::new(wire, entry, inbox, admitted.will, rest).run().await.finish().await;
}
