//! What the oracle is told, a line each. Invariant: `parse` gives back what `Display` wrote.
//!
//! ```text
//! SENT <device> <epoch> <sequence> <sha256 of the payload>
//! ACK <device> <epoch> <sequence> <sha256 of the payload> [<position>]
//! ```
//!
//! A position is a number of the sender's that only grows, such as the writes that a disk has taken so far.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a payload.
pub type Digest = [u8; 32];

/// SHA-256 of a payload.
pub fn digest(payload: &[u8]) -> Digest {
    Sha256::digest(payload).into()
}

/// Identity of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Device that sent it.
    pub device: String,
    /// Epoch of the device.
    pub epoch: u32,
    /// Number within the epoch.
    pub sequence: u64,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.device, self.epoch, self.sequence)
    }
}

/// Something that happened to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is about to leave.
    Sent(Key, Digest),
    /// It was acknowledged, at a position if the sender keeps one.
    Ack(Key, Digest, Option<u64>),
}

impl Event {
    /// From a line without its end. Errors: what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let wrong = || format!("{line:?} is neither `SENT device epoch sequence sha256` nor `ACK device epoch sequence sha256 [position]`");
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let device = words.next().filter(|d| !d.is_empty()).ok_or_else(wrong)?.to_owned();
        let epoch = words.next().and_then(|w| w.parse().ok()).ok_or_else(wrong)?;
        let sequence = words.next().and_then(|w| w.parse().ok()).ok_or_else(wrong)?;
        let digest = words.next().and_then(from_hex).ok_or_else(wrong)?;
        let position = words.next().map(|w| w.parse().map_err(|_| wrong())).transpose()?;
        let key = Key { device, epoch, sequence };
        match (kind, position, words.next()) {
            ("SENT", None, None) => Ok(Self::Sent(key, digest)),
            ("ACK", position, None) => Ok(Self::Ack(key, digest, position)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(key, digest) => write!(f, "SENT {key} {}", to_hex(digest)),
            Self::Ack(key, digest, None) => write!(f, "ACK {key} {}", to_hex(digest)),
            Self::Ack(key, digest, Some(position)) => write!(f, "ACK {key} {} {position}", to_hex(digest)),
        }
    }
}

fn to_hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_written() {
        let key = Key { device: "pump-1".to_owned(), epoch: 3, sequence: 44 };
        let sum = digest(b"payload");
        for event in [Event::Sent(key.clone(), sum), Event::Ack(key.clone(), sum, None), Event::Ack(key, sum, Some(7))] {
            assert_eq!(Event::parse(&event.to_string()), Ok(event));
        }
        let bad = ["", "SENT a 1", "SENT a 1 1 xyz", "LOST a 1 1 00", &format!("SENT a 1 1 {} 5", to_hex(&sum))];
        assert!(bad.iter().all(|line| Event::parse(line).is_err()));
    }
}
