//! A device's connection to the server, whatever the protocol: one socket, one protocol state, no task of its own. Invariant:
//! nothing is resent in here; whoever owns the link knows what was not acknowledged.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::connection::Version;
use thalweg_engine::batch::ProducerSequence;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::amqp_link::AmqpLink;
use super::mqtt_link::MqttLink;

/// Time to connect, and to be let in.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time the server may leave what was sent to it unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Protocol {
    Mqtt(Version),
    Amqp,
}

/// Why there is no connection (any more).
#[derive(Debug)]
pub(super) enum Lost {
    /// The network or the server's end; connecting again may help.
    Broken(String),
    /// The server does not let this device in.
    Refused(String),
}

impl From<io::Error> for Lost {
    fn from(e: io::Error) -> Self {
        Self::Broken(e.to_string())
    }
}

/// The server's answer to one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: u32,
    pub(super) outcome: Outcome,
}

/// What the server made of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    /// There is no room for it now; later there may be.
    NoRoom,
    Refused,
}

/// An open connection.
pub(super) enum Link {
    Mqtt(Box<MqttLink>),
    Amqp(AmqpLink),
}

impl Link {
    /// Connects as a device that will publish to `topic`.
    pub(super) async fn connect(protocol: Protocol, address: &str, device: &str, key: &str, topic: &str) -> Result<Self, Lost> {
        let connecting = async {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            match protocol {
                Protocol::Mqtt(version) => MqttLink::open(socket, version, device, key).await.map(|link| Self::Mqtt(Box::new(link))),
                Protocol::Amqp => AmqpLink::open(socket, device, key, topic).await.map(Self::Amqp),
            }
        };
        let timed_out = |_| Lost::Broken(format!("no answer from {address} within {} s", CONNECT_TIMEOUT.as_secs()));
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(timed_out)?
    }

    /// Whether the server takes one more record now.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Mqtt(link) => link.has_room(),
            Self::Amqp(link) => link.has_room(),
        }
    }

    /// Queues a record and returns the id of its answer; never zero. It carries its number, unless the protocol has no place
    /// for it, so that the server knows it when it comes again.
    pub(super) fn publish(&mut self, topic: &str, payload: Arc<[u8]>, producer: ProducerSequence) -> Result<u32, Lost> {
        match self {
            Self::Mqtt(link) => link.publish(topic, payload, producer),
            Self::Amqp(link) => Ok(link.publish(&payload, producer)),
        }
    }

    /// Waits for the server, and returns its answers. Safe to drop while it waits.
    pub(super) async fn answers(&mut self) -> Result<Vec<Answer>, Lost> {
        match self {
            Self::Mqtt(link) => link.answers().await,
            Self::Amqp(link) => link.answers().await,
        }
    }

    /// When a sign of life is due.
    pub(super) fn ping_at(&self) -> Option<Instant> {
        match self {
            Self::Mqtt(link) => link.ping_at(),
            Self::Amqp(link) => link.ping_at(),
        }
    }

    /// Queues a sign of life.
    pub(super) fn ping(&mut self) -> Result<(), Lost> {
        match self {
            Self::Mqtt(link) => link.ping(),
            Self::Amqp(link) => {
                link.ping();
                Ok(())
            }
        }
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        match self {
            Self::Mqtt(link) => link.flush().await,
            Self::Amqp(link) => link.flush().await,
        }
    }

    /// Says goodbye, as far as the server still listens.
    pub(super) async fn goodbye(self) {
        match self {
            Self::Mqtt(link) => link.goodbye().await,
            Self::Amqp(link) => link.goodbye().await,
        }
    }
}

/// Writes everything in `out` and empties it.
pub(super) async fn write_all(socket: &TcpStream, out: &mut Vec<u8>) -> Result<(), Lost> {
    let mut written = 0;
    while written < out.len() {
        match socket.try_write(&out[written..]) {
            Ok(n) => written += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let stuck = |_| Lost::Broken("the server does not read".into());
                tokio::time::timeout(WRITE_TIMEOUT, socket.writable()).await.map_err(stuck)??;
            }
            Err(e) => return Err(e.into()),
        }
    }
    out.clear();
    Ok(())
}
