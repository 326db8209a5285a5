//! From first byte to the peer's open. Invariant: nobody gets past it without the key of the device named; until then at most
//! `limits::CONNECT_BYTES_MAX` are taken, within a deadline.
//!
//! ```text
//! device                          gateway
//! AMQP 3 1 0 0                 ─►
//!                              ◄─ AMQP 3 1 0 0, mechanisms: PLAIN
//! init: PLAIN \0 device \0 key ─►
//!                              ◄─ outcome: 0, or 1 wrong key, unknown, …, or 4 tried too often
//! AMQP 0 1 0 0, open           ─►
//!                              ◄─ AMQP 0 1 0 0
//! ```

use std::net::IpAddr;
use std::time::Duration;

use thalweg_engine::contract::DeviceAuthority;
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits;

use super::say::{self, Outcome};
use super::wire::Wire;
use crate::amqp::frame::{self, Kind, PROTOCOL_AMQP, PROTOCOL_SASL};
use crate::amqp::performative::{self, Init, Open, Performative};
use crate::amqp::value::Malformed;
use crate::gateway::login::{self, NoLogin};

/// A device that may connect.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) device: DeviceId,
    pub(super) container: String,
}

/// Why there is no device to serve.
#[derive(Debug)]
pub(super) enum NoDevice {
    /// The peer went away.
    Gone,
    /// More bytes than an unknown peer may send.
    TooLong,
    /// It begins with something else than it has to; the answer says what we speak.
    Protocol(&'static str),
    /// What it said is no AMQP.
    Broken(&'static str),
    /// Another mechanism than PLAIN.
    Mechanism,
    /// Who it says it is, and why it is not let in.
    Refused(String, NoLogin),
}

impl std::fmt::Display for NoDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("the peer went away before it was let in"),
            Self::TooLong => write!(f, "more than {} bytes before it was let in", limits::CONNECT_BYTES_MAX),
            Self::Protocol(what) | Self::Broken(what) => f.write_str(what),
            Self::Mechanism => f.write_str("it asks for another way to log in than PLAIN"),
            Self::Refused(who, NoLogin::Credentials) => write!(f, "login of {who}: {}", login::CREDENTIALS),
            Self::Refused(who, NoLogin::TooOften) => write!(f, "login of {who}: {}", login::TOO_OFTEN),
        }
    }
}

impl From<Malformed> for NoDevice {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Broken(what)
    }
}

/// Lets a device in. An answer to a peer that is not let in is queued.
pub(super) async fn greet(wire: &mut Wire, authority: &dyn DeviceAuthority, peer: IpAddr) -> Result<Admitted, NoDevice> {
    expect_protocol(wire, PROTOCOL_SASL, "it does not begin with a login").await?;
    say::mechanisms(&mut wire.pipe.out);
    flush(wire).await?;
    let (device, outcome) = match next(wire, Kind::Sasl, |said| log_in(said, authority, peer)).await? {
        Ok(device) => (Ok(device), Outcome::Ok),
        Err(why) => {
            let temporary = matches!(why, NoDevice::Refused(_, NoLogin::TooOften));
            (Err(why), if temporary { Outcome::Temporary } else { Outcome::Credentials })
        }
    };
    say::outcome(&mut wire.pipe.out, outcome);
    let device = device?;
    flush(wire).await?;
    expect_protocol(wire, PROTOCOL_AMQP, "what follows its login is no AMQP 1.0").await?;
    flush(wire).await?;
    let opened = next(wire, Kind::Amqp, opening).await?;
    let (container, frame_bytes_max, idle_ms) = opened?;
    wire.frame_bytes_max = frame_bytes_max;
    // Twice as often as it asks for, so that a sign of life may be late.
    wire.heartbeat = idle_ms.filter(|ms| *ms > 0).map(|ms| Duration::from_millis(u64::from(ms / 2).max(limits::AMQP_HEARTBEAT_MS_MIN)));
    Ok(Admitted { device, container })
}

async fn flush(wire: &mut Wire) -> Result<(), NoDevice> {
    wire.flush().await.map_err(|_| NoDevice::Gone)
}

/// Takes the eight bytes that name a protocol, and answers with the same; with ours, too, if it is another one.
async fn expect_protocol(wire: &mut Wire, ours: [u8; 8], otherwise: &'static str) -> Result<(), NoDevice> {
    let theirs = loop {
        if let Some(theirs) = wire.unread.first_chunk::<8>() {
            break *theirs;
        }
        // Whoever speaks something else may say less than eight bytes and wait.
        if !ours.starts_with(&wire.unread[..wire.unread.len().min(4)]) {
            break [0; 8];
        }
        read_more(wire).await?;
    };
    wire.pipe.out.extend_from_slice(&ours);
    if theirs != ours {
        return Err(NoDevice::Protocol(otherwise));
    }
    wire.unread.drain(..8);
    Ok(())
}

async fn read_more(wire: &mut Wire) -> Result<(), NoDevice> {
    if wire.unread.len() >= limits::CONNECT_BYTES_MAX {
        return Err(NoDevice::TooLong);
    }
    wire.pipe.socket.readable().await.map_err(|_| NoDevice::Gone)?;
    wire.read().map(drop).map_err(|_| NoDevice::Gone)
}

/// Waits for one frame, and hands out what it says. An empty one, a sign of life, has no place before the open.
async fn next<T>(wire: &mut Wire, kind: Kind, take: impl FnOnce(Performative<'_>) -> T) -> Result<T, NoDevice> {
    loop {
        match frame::split(&wire.unread, limits::CONNECT_BYTES_MAX)? {
            None => read_more(wire).await?,
            Some((frame, _)) if frame.kind != kind => return Err(NoDevice::Broken("a frame of the wrong type")),
            Some((frame, _)) if frame.body.is_empty() => return Err(NoDevice::Broken("an empty frame before open")),
            Some((frame, length)) => {
                let taken = take(performative::read(frame.body)?);
                wire.unread.drain(..length);
                return Ok(taken);
            }
        }
    }
}

fn log_in(said: Performative<'_>, authority: &dyn DeviceAuthority, peer: IpAddr) -> Result<DeviceId, NoDevice> {
    let Performative::Init(Init { mechanism, response }) = said else {
        return Err(NoDevice::Broken("something else than the beginning of a login"));
    };
    if mechanism != "PLAIN" {
        return Err(NoDevice::Mechanism);
    }
    // Whatever is no name and key is a wrong key.
    let (user, key) = response.and_then(name_and_key).unwrap_or(("", ""));
    login::authenticate(authority, user, key, peer).map_err(|why| NoDevice::Refused(login::shown(user), why))
}

/// `authorization \0 name \0 key`; who it acts for is left out or the same as the name.
fn name_and_key(response: &[u8]) -> Option<(&str, &str)> {
    let mut parts = std::str::from_utf8(response).ok()?.splitn(3, '\0');
    let (acts_for, name, key) = (parts.next()?, parts.next()?, parts.next()?);
    (acts_for.is_empty() || acts_for == name).then_some((name, key))
}

fn opening(said: Performative<'_>) -> Result<(String, usize, Option<u32>), NoDevice> {
    match said {
        Performative::Open(Open { container, .. }) if container.len() > limits::CLIENT_ID_BYTES_MAX => {
            Err(NoDevice::Broken("the container id is too long"))
        }
        Performative::Open(Open { frame_bytes_max, .. }) if frame_bytes_max < 512 => {
            Err(NoDevice::Broken("max-frame-size is below 512 bytes"))
        }
        Performative::Open(open) => Ok((open.container.to_owned(), open.frame_bytes_max as usize, open.idle_ms)),
        _ => Err(NoDevice::Broken("something else than open")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_names_a_device_and_its_key() {
        assert_eq!(name_and_key(b"\0pump-1\0key"), Some(("pump-1", "key")));
        assert_eq!(name_and_key(b"pump-1\0pump-1\0a\0b"), Some(("pump-1", "a\0b")));
        for other in [&b"pump-2\0pump-1\0key"[..], b"pump-1\0key", b"", b"\0\xff\0key"] {
            assert_eq!(name_and_key(other), None, "{other:?}");
        }
    }
}
