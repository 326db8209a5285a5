//! Waiting for the log. Invariant: `Ok` means that the record lies below `Progress::durable`; a poisoned log or a passed
//! deadline is an error, never a guess.

use std::time::Duration;

use thalweg_engine::contract::Progress;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Offset;
use tokio::sync::watch;

/// Waits until `offset` is durable. Errors: `Internal` if the log failed, `Unavailable` if it took longer than `limit`.
pub(super) async fn wait_durable(progress: &mut watch::Receiver<Progress>, offset: Offset, limit: Duration) -> Result<()> {
    let settled = progress.wait_for(|p| p.durable > offset || p.failed.is_some());
    match tokio::time::timeout(limit, settled).await {
        Err(_) => Err(Error::unavailable(format!("record {offset} was not durable within {} ms", limit.as_millis()))
            .hint("the disk of the log is slow or stuck; send the records again")),
        Ok(Err(_)) => Err(Error::internal("the log was closed")),
        Ok(Ok(p)) if p.durable > offset => Ok(()),
        Ok(Ok(p)) => Err(Error::internal(format!("the log failed: {}", p.failed.as_deref().unwrap_or("unknown")))),
    }
}
