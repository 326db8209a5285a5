//! Frames on one socket. Invariant: a peer that says nothing for its time is noticed, and one that wants signs of life gets
//! them; nothing longer than the peer takes is sent.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::gateway::pipe::{Pipe, READ_BYTES};

/// The peer went away.
#[derive(Debug)]
pub(super) struct Gone;

/// One socket, and what was read from it and not yet looked at.
pub(super) struct Wire {
    pub(super) pipe: Pipe,
    /// Bytes read that are no whole frame yet, or that there was no room for.
    pub(super) unread: Vec<u8>,
    /// The longest frame that the peer takes.
    pub(super) frame_bytes_max: usize,
    /// How often the peer wants a sign of life.
    pub(super) heartbeat: Option<Duration>,
    silence: Duration,
    heard: Instant,
    wrote: Instant,
}

impl Wire {
    /// `silence` is how long the peer may say nothing.
    pub(super) fn new(socket: TcpStream, silence: Duration) -> Self {
        let now = Instant::now();
        let (pipe, unread) = (Pipe::new(socket), Vec::new());
        Self { pipe, unread, frame_bytes_max: 512, heartbeat: None, silence, heard: now, wrote: now }
    }

    /// Reads what is there without waiting. False if there was nothing. Errors: the end.
    pub(super) fn read(&mut self) -> Result<bool, Gone> {
        let mut buffer = [0; READ_BYTES];
        match self.pipe.try_read(&mut buffer) {
            Ok(None) => Ok(false),
            Ok(Some(0)) | Err(_) => Err(Gone),
            Ok(Some(n)) => {
                self.heard = Instant::now();
                self.unread.extend_from_slice(&buffer[..n]);
                Ok(true)
            }
        }
    }

    /// Writes what the peer takes now; see `Pipe::try_flush`.
    pub(super) fn try_flush(&mut self) -> Result<bool, Gone> {
        if self.pipe.has_output() {
            self.wrote = Instant::now();
        }
        self.pipe.try_flush().map_err(|_| Gone)
    }

    /// Writes everything queued; see `Pipe::flush`.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        self.wrote = Instant::now();
        self.pipe.flush().await.map_err(|_| Gone)
    }

    /// When the peer will have been silent for too long.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard + self.silence
    }

    /// Starts that time anew, after a pause in which we did not read.
    pub(super) fn forgive_silence(&mut self) {
        self.heard = Instant::now();
    }

    /// When a sign of life is due.
    pub(super) fn heartbeat_at(&self) -> Option<Instant> {
        self.heartbeat.map(|every| self.wrote + every)
    }
}
