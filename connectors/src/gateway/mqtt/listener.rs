//! Accepting connections. Invariant: one peer's trouble, a panic included, ends that peer's task only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::limits;
use tokio::net::{TcpListener, TcpStream};

use super::admission::{Admission, Stranger};
use super::connection::Connection;
use super::entry::Entry;
use super::handshake::{self, Admitted, Refusal};
use super::registry::Inbox;
use super::server::Shared;
use super::wire::Wire;

/// Pause after the system refused a connection, for lack of file handles for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the gateway stops.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let admission = Admission::new();
    loop {
        let accepted = tokio::select! {
            () = shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                warn(&shared, || format!("cannot accept a connection: {e}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some((place, stranger)) = admission.admit(peer.ip()) else {
            shared.context.counters.refused.add(1);
            warn(&shared, || format!("{peer} refused: too many connections"));
            continue;
        };
        let task = shared.clone();
        shared.tasks.spawn(async move {
            let _place = place;
            tokio::select! {
                () = task.abort.cancelled() => {}
                () = serve(socket, peer, stranger, &task) => {}
            }
        });
    }
}

fn warn(shared: &Shared, message: impl FnOnce() -> String) {
    if let Some(left_out) = shared.warnings.admit() {
        tracing::warn!("{}{left_out}", message());
    }
}

/// One peer from first byte to last.
async fn serve(socket: TcpStream, peer: SocketAddr, stranger: Stranger, shared: &Arc<Shared>) {
    // Acknowledgements are written in batches already; waiting for more would only add delay.
    let _ = socket.set_nodelay(true);
    let mut wire = Wire::new(socket);
    let deadline = Duration::from_millis(limits::CONNECT_TIMEOUT_MS);
    let hello = tokio::select! {
        () = shared.stopping.cancelled() => return,
        hello = tokio::time::timeout(deadline, handshake::receive(&mut wire)) => hello,
    };
    let (hello, rest) = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(no_hello)) => {
            shared.context.counters.refused.add(1);
            warn(shared, || format!("{peer} refused: {no_hello}"));
            return wire.close().await;
        }
        Err(_) => {
            shared.context.counters.refused.add(1);
            return warn(shared, || format!("{peer} refused: no CONNECT within {} ms", deadline.as_millis()));
        }
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
            shared.context.counters.refused.add(1);
            warn(shared, || format!("login of {who} from {peer} refused: {refusal}"));
            if let Ok(packet) = handshake::refuse(wire.version(), refusal) {
                let _ = wire.send(packet);
            }
            wire.close().await;
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
        return warn(shared, || format!("device {} refused: CONNACK cannot be sent: {e:?}", session.device));
    }
    Connection::new(wire, entry, inbox, admitted.will, rest).run().await.finish().await;
}
