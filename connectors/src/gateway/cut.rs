//! How a live connection is ended from outside. Invariant: a stop waits for the answers that are owed, for a bounded time; everything
//! else ends the connection at once.

use std::time::Duration;

use thalweg_engine::limits;
use tokio::sync::watch;
use tokio::time::Instant;

/// Why a live connection is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The same client id connected again.
    TakenOver,
    /// The device lost its rights, or the keys that it may have logged in with.
    Revoked,
    /// The gateway stops.
    Stopping,
}

/// What one connection is told.
pub(super) struct Cuts {
    told: watch::Receiver<Option<Cut>>,
    /// When a stop waits no longer for answers.
    stop_at: Option<Instant>,
}

impl Cuts {
    /// With the place where it is told.
    pub(super) fn channel() -> (watch::Sender<Option<Cut>>, Self) {
        let (sender, told) = watch::channel(None);
        (sender, Self { told, stop_at: None })
    }

    /// Waits until something is told that `check` has not seen.
    pub(super) async fn told(&mut self) {
        // An error means that nothing will be told any more: `check` knows what was.
        let _ = self.told.changed().await;
    }

    /// Waits until the connection is to end at once; a stop can wait until everything is written.
    pub(super) async fn at_once(&mut self) -> Cut {
        match self.told.wait_for(|cut| matches!(cut, Some(Cut::TakenOver | Cut::Revoked))).await.map(|cut| *cut) {
            Ok(Some(cut)) => cut,
            _ => std::future::pending().await,
        }
    }

    /// Takes note of what was told. Errors: what ends the connection now.
    pub(super) fn check(&mut self) -> Result<(), Cut> {
        match *self.told.borrow_and_update() {
            None => Ok(()),
            Some(Cut::Stopping) => {
                let (now, grace) = (Instant::now(), Duration::from_millis(limits::GATEWAY_STOP_MS_MAX));
                let waits = now < *self.stop_at.get_or_insert(now + grace);
                if waits { Ok(()) } else { Err(Cut::Stopping) }
            }
            Some(cut) => Err(cut),
        }
    }

    /// When a stop waits no longer for answers; `None` while nobody stops the gateway.
    pub(super) fn stop_at(&self) -> Option<Instant> {
        self.stop_at
    }

    /// Whether the connection only waits for the answers that are owed.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_gives_time_and_everything_else_ends_the_connection_at_once() {
        let (sender, mut cuts) = Cuts::channel();
        assert_eq!((cuts.check(), cuts.is_stopping()), (Ok(()), false));
        sender.send_replace(Some(Cut::Stopping));
        cuts.told().await;
        assert_eq!((cuts.check(), cuts.is_stopping()), (Ok(()), true));
        let waited = tokio::time::timeout(Duration::from_millis(20), cuts.at_once()).await;
        assert!(waited.is_err(), "a stop can wait until everything is written");
        cuts.stop_at = Some(Instant::now());
        assert_eq!(cuts.check(), Err(Cut::Stopping), "it does not wait for ever");
        for cut in [Cut::TakenOver, Cut::Revoked] {
            sender.send_replace(Some(cut));
            assert_eq!((cuts.at_once().await, cuts.check()), (cut, Err(cut)));
        }
    }
}
