//! One link over which a device sends. Invariant: a device never sends more messages than it was given credit for, and of a message
//! in several frames no more is kept than a message may have.

use std::sync::Arc;

use thalweg_engine::limits;

use super::say::{Credit, Fault, condition};
use crate::amqp::performative::Transfer;

/// A message of which more frames come.
struct Partial {
    delivery: u32,
    format: u32,
    settled: bool,
    bytes: Vec<u8>,
}

/// One link.
pub(super) struct Link {
    handle: u32,
    /// None: it is refused or ended by us, and what still comes is thrown away until the device has detached it.
    topic: Option<Arc<str>>,
    delivery_count: u32,
    /// Messages that may still come, though the device is told that it has none while it is to pause: some are under way.
    credit: u32,
    paused: bool,
    partial: Option<Partial>,
}

/// A whole message.
pub(super) struct Whole<'a> {
    pub(super) topic: Arc<str>,
    pub(super) delivery: u32,
    pub(super) format: u32,
    pub(super) settled: bool,
    pub(super) bytes: std::borrow::Cow<'a, [u8]>,
}

/// What a transfer led to.
pub(super) enum Moved<'a> {
    /// There is more to come, or nothing to do.
    On,
    Message(Whole<'a>),
    /// The link has to end.
    Fault(Fault),
}

fn fault<'a>(condition: &'static str, reason: &'static str) -> Moved<'a> {
    Moved::Fault(Fault { condition, reason })
}

impl Link {
    pub(super) fn new(handle: u32, topic: Arc<str>, delivery_count: u32) -> Self {
        Self { handle, topic: Some(topic), delivery_count, credit: 0, paused: false, partial: None }
    }

    /// One that is refused.
    pub(super) fn refused(handle: u32) -> Self {
        Self { handle, topic: None, delivery_count: 0, credit: 0, paused: false, partial: None }
    }

    /// Throws away what comes from now on. False if it does already.
    pub(super) fn end(&mut self) -> bool {
        self.partial = None;
        self.topic.take().is_some()
    }

    /// Bytes of a message that is not yet complete.
    pub(super) fn partial_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |p| p.bytes.len())
    }

    /// New credit, if half of it is used up or it was told to pause.
    pub(super) fn replenish(&mut self) -> Option<Credit> {
        if self.topic.is_none() || (!self.paused && self.credit > limits::UNACKNOWLEDGED_MAX as u32 / 2) {
            return None;
        }
        self.paused = false;
        self.credit = limits::UNACKNOWLEDGED_MAX as u32;
        self.state()
    }

    /// No credit until it is replenished; said once.
    pub(super) fn pause(&mut self) -> Option<Credit> {
        if std::mem::replace(&mut self.paused, true) { None } else { self.state() }
    }

    /// Its credit as it is told; none if it is at its end.
    pub(super) fn state(&self) -> Option<Credit> {
        let credit = if self.paused { 0 } else { self.credit };
        self.topic.as_ref().map(|_| Credit { handle: self.handle, delivery_count: self.delivery_count, credit })
    }

    /// Takes a frame of a message.
    pub(super) fn transfer<'a>(&mut self, transfer: &Transfer<'_>, bytes: &'a [u8]) -> Moved<'a> {
        let Some(topic) = self.topic.clone() else { return Moved::On };
        let begun = self.partial.take();
        if begun.is_none() {
            if self.credit == 0 {
                return fault(condition::TRANSFER_LIMIT, "more messages than the link has credit for");
            }
            self.credit -= 1;
            self.delivery_count = self.delivery_count.wrapping_add(1);
            if transfer.tag.is_none_or(|tag| tag.len() > limits::AMQP_TAG_BYTES_MAX) {
                return fault(condition::INVALID_FIELD, "a delivery needs a tag of at most 32 bytes");
            }
        }
        if transfer.aborted {
            return Moved::On;
        }
        let (delivery, format, settled, mut before) = match (begun, transfer.delivery) {
            (None, None) => return fault(condition::INVALID_FIELD, "a delivery needs an id"),
            (None, Some(delivery)) => (delivery, transfer.format, transfer.settled, Vec::new()),
            (Some(p), Some(delivery)) if delivery != p.delivery => {
                return fault(condition::INVALID_FIELD, "another delivery in the middle of one");
            }
            (Some(p), _) => (p.delivery, p.format, p.settled || transfer.settled, p.bytes),
        };
        if before.len() + bytes.len() > limits::AMQP_MESSAGE_BYTES_MAX {
            return fault(condition::MESSAGE_SIZE, "the message is larger than max-message-size");
        }
        if transfer.more {
            before.extend_from_slice(bytes);
            self.partial = Some(Partial { delivery, format, settled, bytes: before });
            return Moved::On;
        }
        let bytes = match before.is_empty() {
            true => bytes.into(),
            false => {
                before.extend_from_slice(bytes);
                before.into()
            }
        };
        Moved::Message(Whole { topic, delivery, format, settled, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(delivery: u32, more: bool) -> Transfer<'static> {
        Transfer { handle: 0, delivery: Some(delivery), tag: Some(b"t"), format: 0, settled: false, more, aborted: false }
    }

    fn open() -> Link {
        let mut link = Link::new(0, "devices/pump-1/telemetry".into(), 5);
        assert_eq!(link.replenish(), Some(Credit { handle: 0, delivery_count: 5, credit: 256 }));
        link
    }

    fn bytes(moved: Moved<'_>) -> Vec<u8> {
        match moved {
            Moved::Message(whole) => whole.bytes.into_owned(),
            Moved::On => panic!("no message yet"),
            Moved::Fault(fault) => panic!("{fault:?}"),
        }
    }

    fn condition_of(moved: &Moved<'_>) -> &'static str {
        match moved {
            Moved::Fault(fault) => fault.condition,
            _ => "none",
        }
    }

    #[test]
    fn a_message_in_several_frames_is_put_together() {
        let mut link = open();
        assert!(matches!(link.transfer(&part(1, true), b"a"), Moved::On));
        assert!(matches!(link.transfer(&Transfer { delivery: None, tag: None, ..part(1, true) }, b"b"), Moved::On));
        assert_eq!(link.partial_bytes(), 2);
        assert_eq!(bytes(link.transfer(&part(1, false), b"c")), b"abc");
        assert_eq!(bytes(link.transfer(&part(2, false), b"d")), b"d");
        assert_eq!(link.state(), Some(Credit { handle: 0, delivery_count: 7, credit: 254 }));
    }

    #[test]
    fn a_message_that_is_given_up_leaves_nothing() {
        let mut link = open();
        link.transfer(&part(1, true), b"a");
        assert!(matches!(link.transfer(&Transfer { aborted: true, ..part(1, false) }, b""), Moved::On));
        assert_eq!(bytes(link.transfer(&part(2, false), b"d")), b"d");
    }

    #[test]
    fn what_goes_beyond_its_bounds_ends_the_link() {
        let mut link = open();
        let half = vec![0; limits::AMQP_MESSAGE_BYTES_MAX / 2 + 1];
        link.transfer(&part(1, true), &half);
        assert_eq!(condition_of(&link.transfer(&part(1, true), &half)), condition::MESSAGE_SIZE);
        assert_eq!(link.partial_bytes(), 0);
        let mut link = open();
        for n in 0..256 {
            bytes(link.transfer(&part(n, false), b""));
        }
        assert_eq!(condition_of(&link.transfer(&part(256, false), b"")), condition::TRANSFER_LIMIT);
        let long = [b'x'; 33];
        for wrong in [
            Transfer { tag: None, ..part(1, false) },
            Transfer { tag: Some(&long), ..part(1, false) },
            Transfer { delivery: None, ..part(1, false) },
        ] {
            assert_eq!(condition_of(&open().transfer(&wrong, b"")), condition::INVALID_FIELD);
        }
        let mut link = open();
        link.transfer(&part(1, true), b"a");
        assert_eq!(condition_of(&link.transfer(&part(2, true), b"a")), condition::INVALID_FIELD);
        assert!(link.end() && !link.end());
        assert!(matches!(link.transfer(&part(3, false), b"a"), Moved::On), "what comes after the end is thrown away");
    }

    #[test]
    fn a_pause_is_told_once_and_what_is_under_way_is_taken() {
        let mut link = open();
        bytes(link.transfer(&part(0, false), b""));
        let told = |credit, delivery_count| Some(Credit { handle: 0, delivery_count, credit });
        assert_eq!((link.pause(), link.pause()), (told(0, 6), None));
        bytes(link.transfer(&part(1, false), b""));
        assert_eq!(link.state(), told(0, 7), "the device asks how things are");
        assert_eq!((link.replenish(), link.replenish()), (told(256, 7), None));
        assert_eq!(Link::refused(0).pause(), None);
    }

    #[test]
    fn credit_is_given_when_half_of_it_is_used() {
        let mut link = open();
        for n in 0..127 {
            link.transfer(&part(n, false), b"");
            assert_eq!(link.replenish(), None);
        }
        link.transfer(&part(127, false), b"");
        assert_eq!(link.replenish(), Some(Credit { handle: 0, delivery_count: 133, credit: 256 }));
    }
}
