//! What a listener of any protocol does: accept, cut, stop. Invariant: one peer's trouble, a panic included, ends that peer's
//! task only; after `stop` returned there is no connection and no task left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use thalweg_engine::contract::Revocation;
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::GatewayContext;
use super::admission::{Admission, Stranger};
use super::cut::Cut;
use crate::shared::Throttle;

/// Pause after the system refused a connection, for lack of file handles for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Silence on the wire after which the system asks whether the peer is still there.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// Time between two such questions.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// Questions without an answer after which the peer is gone.
const PROBES: u32 = 4;

/// The live sessions of one protocol.
pub(super) trait Sessions: Send + Sync + 'static {
    /// Devices that are connected now.
    fn devices(&self) -> Vec<DeviceId>;

    /// Ends every connection of a device.
    fn cut(&self, device: &DeviceId, cut: Cut);
}

/// What all tasks of one listener share; `R` holds its live sessions.
pub(super) struct Shared<R> {
    pub(super) context: GatewayContext,
    pub(super) registry: R,
    /// No more new connections; each live one is told through its session.
    pub(super) stopping: CancellationToken,
    /// Whatever is left ends now.
    abort: CancellationToken,
    tasks: TaskTracker,
    pub(super) warnings: Throttle,
}

impl<R: Sessions> Shared<R> {
    /// Serves peers of `listener` until `stop`; `serve` is one peer from first byte to last. Must be called inside a Tokio
    /// runtime.
    pub(super) fn start<S, F>(listener: TcpListener, context: GatewayContext, registry: R, serve: S) -> Arc<Self>
    where
        S: Fn(TcpStream, SocketAddr, Stranger, Arc<Self>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let revocations = context.authority.revocations();
        let shared = Arc::new(Self {
            context,
            registry,
            stopping: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            warnings: Throttle::default(),
        });
        shared.tasks.spawn(accept(listener, shared.clone(), serve));
        shared.tasks.spawn(revoke(revocations, shared.clone()));
        shared
    }

    /// Stops: no new connections, outstanding acknowledgements for up to `limits::GATEWAY_STOP_MS_MAX`, then closes.
    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        for device in self.registry.devices() {
            self.registry.cut(&device, Cut::Stopping);
        }
        self.tasks.close();
        let grace = Duration::from_millis(limits::GATEWAY_STOP_MS_MAX * 2);
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }

    /// Writes a warning that a stranger can cause.
    pub(super) fn warn(&self, message: impl FnOnce() -> String) {
        if let Some(left_out) = self.warnings.admit() {
            tracing::warn!("{}{left_out}", message());
        }
    }

    /// Counts a peer that is not let in, and warns.
    pub(super) fn refuse(&self, message: impl FnOnce() -> String) {
        self.context.counters.refused.add(1);
        self.warn(message);
    }
}

/// Accepts until the gateway stops.
async fn accept<R: Sessions, S, F>(listener: TcpListener, shared: Arc<Shared<R>>, serve: S)
where
    S: Fn(TcpStream, SocketAddr, Stranger, Arc<Shared<R>>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let admission = Admission::new();
    loop {
        let accepted = tokio::select! {
            () = shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                shared.warn(|| format!("cannot accept a connection: {e}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some((place, stranger)) = admission.admit(peer.ip()) else {
            shared.refuse(|| format!("{peer} refused: too many connections"));
            continue;
        };
        tune(&socket);
        let (abort, served) = (shared.abort.clone(), serve(socket, peer, stranger, shared.clone()));
        shared.tasks.spawn(async move {
            let _place = place;
            tokio::select! {
                () = abort.cancelled() => {}
                () = served => {}
            }
        });
    }
}

/// Sets what the system leaves off. A socket that does not take it is served all the same.
pub fn tune(socket: &TcpStream) {
    // Acknowledgements are written in batches already; waiting for more would only add delay.
    let _ = socket.set_nodelay(true);
    // A device whose network went away says nothing, and may have asked for no keep-alive of its protocol.
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    let _ = SockRef::from(socket).set_tcp_keepalive(&probes);
}

/// Cuts the connections of devices that lose their rights.
async fn revoke<R: Sessions>(mut revocations: broadcast::Receiver<Revocation>, shared: Arc<Shared<R>>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_asks_a_silent_peer_whether_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&socket);
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap());
        assert_eq!((socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()), (PROBE_AFTER, PROBE_INTERVAL));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
    }
}
