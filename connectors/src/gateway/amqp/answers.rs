//! Answers to deliveries. Invariant: each is answered once; deliveries with consecutive numbers that are accepted together
//! share one disposition, those in between that need no answer break it.

use super::message::Origin;
use super::say::{self, Fault, Verdict, condition};
use crate::gateway::intake::Refusal;

/// Accepted deliveries that are not yet written as a disposition.
#[derive(Default)]
pub(super) struct Answers {
    run: Option<(u16, u32, u32)>,
}

impl Answers {
    /// The answer to one delivery.
    pub(super) fn add(&mut self, out: &mut Vec<u8>, origin: Origin, refused: Option<Refusal>) {
        match (&mut self.run, refused) {
            (Some((channel, _, last)), None) if *channel == origin.channel && last.wrapping_add(1) == origin.delivery => {
                *last = origin.delivery;
            }
            (_, None) => {
                self.finish(out);
                self.run = Some((origin.channel, origin.delivery, origin.delivery));
            }
            (_, Some(refusal)) => {
                self.finish(out);
                say::disposition(out, origin.channel, origin.delivery, origin.delivery, verdict(refusal));
            }
        }
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some((channel, first, last)) = self.run.take() {
            say::disposition(out, channel, first, last, Verdict::Accepted);
        }
    }
}

/// Nothing is wrong with a record that only finds no room.
fn verdict(refusal: Refusal) -> Verdict {
    match refusal {
        Refusal::Full => Verdict::Released,
        refusal => Verdict::Rejected(fault(refusal)),
    }
}

/// The condition for a refused record.
pub(super) fn fault(refusal: Refusal) -> Fault {
    let condition = match refusal {
        Refusal::NotAuthorized => condition::UNAUTHORIZED,
        Refusal::NoSuchStream => condition::NOT_FOUND,
        Refusal::TooLarge => condition::MESSAGE_SIZE,
        Refusal::TooManyStreams | Refusal::Full => condition::RESOURCE_LIMIT,
        Refusal::Numbering(_) => condition::INVALID_FIELD,
        Refusal::Malformed(_) => condition::DECODE_ERROR,
    };
    Fault { condition, reason: refusal.reason() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::frame::split;
    use crate::amqp::performative::{Performative, code, read};

    #[test]
    fn neighbours_share_a_disposition() {
        let (mut answers, mut out) = (Answers::default(), Vec::new());
        let origin = |channel, delivery| Origin { channel, session: 1, delivery, settled: false };
        for delivery in [u32::MAX - 1, u32::MAX, 0, 1] {
            answers.add(&mut out, origin(0, delivery), None);
        }
        answers.add(&mut out, origin(0, 3), None);
        answers.add(&mut out, origin(0, 4), Some(Refusal::Full));
        answers.add(&mut out, origin(0, 5), None);
        answers.add(&mut out, origin(1, 6), None);
        answers.finish(&mut out);
        let (mut got, mut at) = (Vec::new(), 0);
        while let Some((frame, length)) = split(&out[at..], 4096).unwrap() {
            let Ok(Performative::Disposition(d)) = read(frame.body) else { panic!("no disposition") };
            got.push((frame.channel, d.first, d.last, d.state == Some(u64::from(code::ACCEPTED))));
            at += length;
        }
        let want = [(0, u32::MAX - 1, 1, true), (0, 3, 3, true), (0, 4, 4, false), (0, 5, 5, true), (1, 6, 6, true)];
        assert_eq!(got, want);
    }

    #[test]
    fn what_finds_no_room_may_be_sent_again_and_what_is_wrong_may_not() {
        for (refusal, state) in
            [(Refusal::Full, code::RELEASED), (Refusal::TooLarge, code::REJECTED), (Refusal::Malformed("x"), code::REJECTED)]
        {
            let (mut answers, mut out) = (Answers::default(), Vec::new());
            answers.add(&mut out, Origin { channel: 0, session: 1, delivery: 7, settled: false }, Some(refusal));
            assert!(out.windows(3).any(|bytes| bytes == [0, 0x53, state]), "{refusal:?}: {out:x?}");
        }
    }
}
