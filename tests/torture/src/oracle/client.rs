//! A sender's line to the oracle. Invariant: `sent` returns after the oracle made the lines durable, so that the records may
//! leave; an acknowledgement needs no answer, for it may be lost with its sender and then only proves less.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::event::Event;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    replies: BufReader<UnixStream>,
    lines: u64,
    confirmed: u64,
}

impl Client {
    /// Connects to an oracle that listens on `socket`.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        let replies = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, replies, lines: 0, confirmed: 0 })
    }

    /// Tells the events and waits until they are kept.
    pub fn sent(&mut self, events: &[Event]) -> io::Result<()> {
        self.tell(events)?;
        self.settle()
    }

    /// Tells the events and does not wait.
    pub fn tell(&mut self, events: &[Event]) -> io::Result<()> {
        let text: String = events.iter().map(|event| format!("{event}\n")).collect();
        self.stream.write_all(text.as_bytes())?;
        self.lines += events.len() as u64;
        Ok(())
    }

    /// Waits until everything told so far is kept.
    pub fn settle(&mut self) -> io::Result<()> {
        let mut line = String::new();
        while self.confirmed < self.lines {
            line.clear();
            if self.replies.read_line(&mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the oracle is gone"));
            }
            let count = line.trim_end().strip_prefix("OK ").and_then(|n| n.parse().ok());
            self.confirmed = count.ok_or_else(|| io::Error::other(format!("the oracle said {line:?}")))?;
        }
        Ok(())
    }
}
