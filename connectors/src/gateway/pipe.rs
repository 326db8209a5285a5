//! A socket and what waits to be written to it. Invariant: it only moves bytes; nothing waits for the peer without a bound.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use thalweg_engine::limits;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes taken from the socket at once.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// An output buffer larger than this is given back when it is empty, in bytes.
const OUT_BYTES_KEPT: usize = 4 * 1024;
/// Time a closed connection's remaining input is read, so that the last words to the peer are not lost to a reset.
const LINGER: Duration = Duration::from_millis(300);

/// One socket.
pub(super) struct Pipe {
    pub(super) socket: TcpStream,
    /// Bytes to be written by the next `flush`.
    pub(super) out: Vec<u8>,
}

impl Pipe {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, out: Vec::new() }
    }

    /// Reads what is there without waiting. `Ok(None)` if there is nothing, `Ok(Some(0))` at the end.
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut read = ReadBuf::new(buffer);
        // Takes a short read for the last one, where `TcpStream::try_read` would be called again to hear that there is nothing.
        if let Poll::Ready(done) = Pin::new(&mut self.socket).poll_read(&mut Context::from_waker(Waker::noop()), &mut read) {
            return done.map(|()| Some(read.filled().len()));
        }
        // Nothing is there, or this task did so much in one go that Tokio tells it to wait, which it does elsewhere.
        match self.socket.try_read(buffer) {
            Ok(n) => Ok(Some(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether something waits to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes what the peer takes without waiting. True if nothing is left. Errors: the peer is gone.
    pub(super) fn try_flush(&mut self) -> io::Result<bool> {
        let mut written = 0;
        while written < self.out.len() {
            match self.socket.try_write(&self.out[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.out.drain(..written);
                    return Ok(false);
                }
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        if self.out.capacity() > OUT_BYTES_KEPT {
            self.out = Vec::new();
        }
        Ok(true)
    }

    /// Writes everything queued. Errors: the peer is gone, took nothing for `limits::WRITE_TIMEOUT_MS`, or not everything in
    /// `limits::WRITE_MS_MAX`. If the future is dropped, a part may have been written: nothing may be queued after that.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.flush_within(Duration::from_millis(limits::WRITE_TIMEOUT_MS), Duration::from_millis(limits::WRITE_MS_MAX)).await
    }

    async fn flush_within(&mut self, silence: Duration, all: Duration) -> io::Result<()> {
        let end = Instant::now() + all;
        while !self.try_flush()? {
            let now = Instant::now();
            let writable = tokio::time::timeout_at(end.min(now + silence), self.socket.writable());
            // A peer that is always ready to take a little would never run into the time-out.
            match writable.await {
                Ok(writable) if now < end => writable?,
                _ => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    /// Says the last words and waits a moment for the peer to have read them.
    pub(super) async fn close(mut self) {
        let last_words = async {
            self.flush().await?;
            self.socket.shutdown().await?;
            let mut buffer = [0; 512];
            loop {
                self.socket.readable().await?;
                if self.try_read(&mut buffer)? == Some(0) {
                    return io::Result::Ok(());
                }
            }
        };
        // The peer may be gone already; then there is nobody to tell.
        let _ = tokio::time::timeout(LINGER, last_words).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Pipe, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Pipe::new(listener.accept().await.unwrap().0), peer)
    }

    #[tokio::test]
    async fn what_a_peer_does_not_take_at_once_is_written_when_it_reads() {
        let (mut pipe, mut peer) = pair().await;
        let sent: Vec<u8> = crate::testing::noise(7).take(16 * 1024 * 1024).collect();
        pipe.out = sent.clone();
        pipe.socket.writable().await.unwrap();
        assert!(!pipe.try_flush().unwrap() && pipe.out.len() < sent.len());
        let mut heard = vec![0; sent.len()];
        let (flushed, read) = tokio::join!(pipe.flush(), peer.read_exact(&mut heard));
        assert!(flushed.is_ok() && read.is_ok());
        assert!(heard == sent && !pipe.has_output());
    }

    #[tokio::test]
    async fn a_peer_that_takes_a_little_now_and_then_does_not_hold_a_connection_for_ever() {
        let (mut pipe, mut peer) = pair().await;
        pipe.out = vec![0; 64 * 1024 * 1024];
        let slowly = async {
            let mut some = [0; 16 * 1024];
            while peer.read_exact(&mut some).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let (start, silence) = (Instant::now(), Duration::from_secs(10));
        tokio::select! {
            () = slowly => unreachable!("it reads for ever"),
            flushed = pipe.flush_within(silence, Duration::from_millis(300)) => {
                assert_eq!(flushed.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
        }
        assert!(start.elapsed() < silence / 2, "{:?}", start.elapsed());
    }
}
