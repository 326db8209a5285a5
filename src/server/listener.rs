//! The accept loop. Invariant: every connection is bounded in time (to its header, to a response, while its peer takes no bytes)
//! and in number; nothing that one peer does holds up another.
//!
//! ```text
//! accept ─► a free place? ──no──► close
//!              │ yes
//!              ▼
//!           header within the deadline ─► router ─► response, as fast as the peer takes it ─► next header ...
//! ```
//!
//! hyper's deadline for the header runs from the moment it begins to wait, so it covers the first byte too.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thalweg_connectors::gateway::tune;
use thalweg_engine::limits::{HTTP_CONNECTIONS_MAX, HTTP_HEADER_BYTES_MAX, HTTP_HEADER_S_MAX, HTTP_SHUTDOWN_S_MAX, HTTP_STALL_S_MAX};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::extract::Peer;
use super::stall::StallGuard;

/// Bounds of connections.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the opening of a connection, or the end of the request before, to the end of a header.
    pub header: Duration,
    /// While a peer takes no byte of its response.
    pub stall: Duration,
    /// For open requests when the server stops.
    pub shutdown: Duration,
    /// Connections open at the same time.
    pub connections: usize,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(HTTP_HEADER_S_MAX),
            stall: Duration::from_secs(HTTP_STALL_S_MAX),
            shutdown: Duration::from_secs(HTTP_SHUTDOWN_S_MAX),
            connections: HTTP_CONNECTIONS_MAX,
        }
    }
}

/// Serves `router` on `listener` until `shutdown`; returns when the open requests have ended or their time is over.
pub async fn serve(listener: TcpListener, router: Router, deadlines: Deadlines, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(deadlines.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(e) => {
                // Out of file handles, mostly: they come back when connections end.
                tracing::warn!(error = %e, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "closed a connection: too many are open");
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        connections.spawn(async move {
            connection(stream, peer, router, deadlines, shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(deadlines.shutdown, ended).await.is_err() {
        tracing::warn!("cut off requests that did not end in time");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, deadlines: Deadlines, shutdown: CancellationToken) {
    // A reader of live rows that come seldom, or never, may be gone without a word.
    tune(&stream);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let io = TokioIo::new(StallGuard::new(stream, deadlines.stall));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadlines.header)
        .max_buf_size(HTTP_HEADER_BYTES_MAX)
        .serve_connection(io, service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(%peer, error = %e, "a connection ended early");
    }
}
