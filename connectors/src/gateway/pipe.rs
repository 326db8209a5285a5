//! A socket and what waits to be written to it. Invariant: it only moves bytes; nothing waits for the peer without a bound.

use std::io;
use std::time::Duration;

use thalweg_engine::limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

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
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
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

    /// Writes everything queued. Errors: the peer is gone, or took nothing for `limits::WRITE_TIMEOUT_MS`. If the future is
    /// dropped, a part may have been written: nothing may be queued after that.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            match self.socket.try_write(&self.out[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let limit = Duration::from_millis(limits::WRITE_TIMEOUT_MS);
                    tokio::time::timeout(limit, self.socket.writable()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                }
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        if self.out.capacity() > OUT_BYTES_KEPT {
            self.out = Vec::new();
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
