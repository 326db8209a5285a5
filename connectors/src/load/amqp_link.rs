//! A thin AMQP 1.0 client: one session, one link. Invariant: it sends no more than the credit and the window that the server
//! gave, and every record in one frame.

use std::io;
use std::time::Duration;

use thalweg_engine::batch::ProducerSequence;
use thalweg_engine::limits;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::link::{Answer, Lost, Outcome, write_all};
use crate::amqp::encode::{Fields, described, described_binary, described_numbers, frame};
use crate::amqp::frame::{self, Kind, PROTOCOL_AMQP, PROTOCOL_SASL};
use crate::amqp::performative::{self, Disposition, Failure, Flow, Performative, Role, code};
use crate::amqp::value::Malformed;

/// Frames that the server may have sent to us; it sends no messages.
const WINDOW: u32 = 1_024;

/// An open connection.
pub(super) struct AmqpLink {
    socket: TcpStream,
    out: Vec<u8>,
    unread: Vec<u8>,
    /// Messages that may be sent now.
    credit: u32,
    /// Frames that may be sent now.
    window: u32,
    /// Messages sent, which is also the number of the last one.
    sent: u32,
    /// How often the server wants a sign of life.
    heartbeat: Option<Duration>,
    wrote: Instant,
}

/// What the server said, as far as it is of interest.
enum Heard {
    Outcome(u32),
    Opened(Option<u32>),
    Flow(Flow),
    Answered(Disposition),
    /// A link, session or connection ended.
    Ended(String),
    Other,
}

impl From<Malformed> for Lost {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Broken(format!("the server does not speak AMQP 1.0: {what}"))
    }
}

impl AmqpLink {
    /// Logs in, and attaches a link to `topic`.
    pub(super) async fn open(socket: TcpStream, device: &str, key: &str, topic: &str) -> Result<Self, Lost> {
        let (out, unread, wrote) = (Vec::new(), Vec::new(), Instant::now());
        let mut link = Self { socket, out, unread, credit: 0, window: 0, sent: 0, heartbeat: None, wrote };
        link.out.extend_from_slice(&PROTOCOL_SASL);
        link.say(Kind::Sasl, code::SASL_INIT, |f| {
            f.symbol("PLAIN");
            f.binary(format!("\0{device}\0{key}").as_bytes());
        });
        link.flush().await?;
        link.expect(PROTOCOL_SASL).await?;
        loop {
            match link.next().await? {
                Heard::Outcome(0) => break,
                Heard::Outcome(1) => return Err(Lost::Refused("wrong key, or no such device".into())),
                Heard::Outcome(_) => return Err(Lost::Broken("the server lets nobody in now".into())),
                _ => {}
            }
        }
        link.introduce(device, topic).await?;
        while link.credit == 0 {
            link.take_next().await?;
        }
        Ok(link)
    }

    async fn introduce(&mut self, device: &str, topic: &str) -> Result<(), Lost> {
        self.out.extend_from_slice(&PROTOCOL_AMQP);
        self.say(Kind::Amqp, code::OPEN, |f| f.text(device));
        self.say(Kind::Amqp, code::BEGIN, |f| {
            f.null();
            f.number(0);
            f.number(WINDOW);
            f.number(WINDOW);
        });
        self.say(Kind::Amqp, code::ATTACH, |f| {
            f.text(topic);
            f.number(0);
            f.flag(false);
            f.small(0);
            f.small(0);
            f.described(code::SOURCE, |_| {});
            f.described(code::TARGET, |f| f.text(topic));
            f.null();
            f.null();
            f.number(0);
        });
        self.flush().await?;
        self.expect(PROTOCOL_AMQP).await
    }

    fn say(&mut self, kind: Kind, code: u8, fields: impl FnOnce(&mut Fields<'_>)) {
        frame(&mut self.out, kind, 0, |out| described(out, code, fields));
    }

    async fn expect(&mut self, protocol: [u8; 8]) -> Result<(), Lost> {
        while self.unread.len() < protocol.len() {
            self.read_more().await?;
        }
        if !self.unread.starts_with(&protocol) {
            return Err(Lost::Broken("the server speaks another protocol".into()));
        }
        self.unread.drain(..protocol.len());
        Ok(())
    }

    async fn read_more(&mut self) -> Result<(), Lost> {
        self.socket.readable().await?;
        let mut buffer = [0; 8 * 1024];
        match self.socket.try_read(&mut buffer) {
            Ok(0) => Err(Lost::Broken("the server closed the connection".into())),
            Ok(n) => {
                self.unread.extend_from_slice(&buffer[..n]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// What the server said next, if all of it is there.
    fn heard(&mut self) -> Result<Option<Heard>, Lost> {
        let Some((frame, length)) = frame::split(&self.unread, limits::AMQP_FRAME_BYTES_MAX)? else { return Ok(None) };
        let heard = if frame.body.is_empty() { Heard::Other } else { performative::read(frame.body)?.into() };
        self.unread.drain(..length);
        Ok(Some(heard))
    }

    async fn next(&mut self) -> Result<Heard, Lost> {
        loop {
            if let Some(heard) = self.heard()? {
                return Ok(heard);
            }
            self.read_more().await?;
        }
    }

    async fn take_next(&mut self) -> Result<(), Lost> {
        match self.next().await? {
            // A link that is refused will be refused again.
            Heard::Ended(why) => Err(Lost::Refused(why)),
            heard => self.take(heard, &mut Vec::new()),
        }
    }

    fn take(&mut self, heard: Heard, answers: &mut Vec<Answer>) -> Result<(), Lost> {
        match heard {
            Heard::Opened(idle_ms) => {
                self.heartbeat = idle_ms.filter(|ms| *ms > 0).map(|ms| Duration::from_millis(u64::from(ms / 2)));
            }
            Heard::Flow(flow) => {
                self.window = flow.next_incoming.unwrap_or(0).wrapping_add(flow.incoming_window).wrapping_sub(self.sent);
                if flow.handle == Some(0) {
                    let credit = flow.delivery_count.unwrap_or(0).wrapping_add(flow.credit).wrapping_sub(self.sent);
                    // Below zero if it was taken back while records were under way.
                    self.credit = u32::try_from(credit.cast_signed()).unwrap_or(0);
                }
            }
            Heard::Answered(d) if d.role == Role::Receiver && d.last.wrapping_sub(d.first) < self.sent => {
                let count = d.last.wrapping_sub(d.first);
                let outcome = match d.state {
                    Some(state) if state == u64::from(code::ACCEPTED) => Outcome::Stored,
                    Some(state) if state == u64::from(code::RELEASED) => Outcome::NoRoom,
                    _ => Outcome::Refused,
                };
                answers.extend((0..=count).map(|n| Answer { id: d.first.wrapping_add(n), outcome }));
            }
            Heard::Answered(_) => return Err(Lost::Broken("an answer to what was never sent".into())),
            Heard::Ended(why) => return Err(Lost::Broken(why)),
            Heard::Outcome(_) | Heard::Other => {}
        }
        Ok(())
    }

    pub(super) fn has_room(&self) -> bool {
        self.credit > 0 && self.window > 0
    }

    pub(super) fn publish(&mut self, payload: &[u8], producer: ProducerSequence) -> u32 {
        self.sent = self.sent.wrapping_add(1);
        self.credit = self.credit.saturating_sub(1);
        self.window = self.window.saturating_sub(1);
        let id = self.sent;
        frame(&mut self.out, Kind::Amqp, 0, |out| {
            described(out, code::TRANSFER, |f| {
                f.number(0);
                f.number(id);
                f.binary(&id.to_be_bytes());
                f.number(0);
                f.flag(false);
            });
            described(out, 0x73, |f| {
                for _ in 0..6 {
                    f.null();
                }
                f.symbol("application/json");
            });
            let number = [("epoch", u64::from(producer.epoch)), ("seq", producer.sequence)];
            described_numbers(out, 0x74, &number);
            described_binary(out, 0x75, payload);
        });
        id
    }

    pub(super) async fn answers(&mut self) -> Result<Vec<Answer>, Lost> {
        self.read_more().await?;
        let mut answers = Vec::new();
        while let Some(heard) = self.heard()? {
            match self.take(heard, &mut answers) {
                // The end shows again when reading; these answers count.
                Err(_) if !answers.is_empty() => break,
                taken => taken?,
            }
        }
        Ok(answers)
    }

    pub(super) fn ping_at(&self) -> Option<Instant> {
        self.heartbeat.map(|every| self.wrote + every)
    }

    pub(super) fn ping(&mut self) {
        frame(&mut self.out, Kind::Amqp, 0, |_| {});
    }

    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        if !self.out.is_empty() {
            self.wrote = Instant::now();
        }
        write_all(&self.socket, &mut self.out).await
    }

    pub(super) async fn goodbye(mut self) {
        self.say(Kind::Amqp, code::CLOSE, |_| {});
        // The server may be gone already; then there is nobody to tell.
        let _ = self.flush().await;
    }
}

impl From<Performative<'_>> for Heard {
    fn from(said: Performative<'_>) -> Self {
        let ended = |what: &str, failure: Option<Failure<'_>>| {
            let why = failure.map_or("without a reason", |f| f.description.unwrap_or(f.condition));
            Self::Ended(format!("the server ended the {what}: {why}"))
        };
        match said {
            Performative::Outcome(outcome) => Self::Outcome(outcome),
            Performative::Open(open) => Self::Opened(open.idle_ms),
            Performative::Flow(flow) => Self::Flow(flow),
            Performative::Disposition(disposition) => Self::Answered(disposition),
            Performative::Detach { failure, .. } => ended("link", failure),
            Performative::End(failure) => ended("session", failure),
            Performative::Close(failure) => ended("connection", failure),
            _ => Self::Other,
        }
    }
}
