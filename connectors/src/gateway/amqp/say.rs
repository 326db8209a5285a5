//! What the gateway says. Invariant: this is the only file of the listener that knows the order of fields in what we send.

use thalweg_engine::limits;

use crate::amqp::encode::{Fields, described, frame};
use crate::amqp::frame::Kind;
use crate::amqp::performative::{Attach, Role, code};

/// Conditions of errors, as the standard names them.
pub(super) mod condition {
    pub(in crate::gateway::amqp) const DECODE_ERROR: &str = "amqp:decode-error";
    pub(in crate::gateway::amqp) const INTERNAL_ERROR: &str = "amqp:internal-error";
    pub(in crate::gateway::amqp) const INVALID_FIELD: &str = "amqp:invalid-field";
    pub(in crate::gateway::amqp) const NOT_ALLOWED: &str = "amqp:not-allowed";
    pub(in crate::gateway::amqp) const NOT_FOUND: &str = "amqp:not-found";
    pub(in crate::gateway::amqp) const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
    pub(in crate::gateway::amqp) const RESOURCE_LIMIT: &str = "amqp:resource-limit-exceeded";
    pub(in crate::gateway::amqp) const UNAUTHORIZED: &str = "amqp:unauthorized-access";
    pub(in crate::gateway::amqp) const FORCED: &str = "amqp:connection:forced";
    pub(in crate::gateway::amqp) const FRAMING: &str = "amqp:connection:framing-error";
    pub(in crate::gateway::amqp) const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
    pub(in crate::gateway::amqp) const UNATTACHED: &str = "amqp:session:unattached-handle";
    pub(in crate::gateway::amqp) const WINDOW: &str = "amqp:session:window-violation";
    pub(in crate::gateway::amqp) const MESSAGE_SIZE: &str = "amqp:link:message-size-exceeded";
    pub(in crate::gateway::amqp) const TRANSFER_LIMIT: &str = "amqp:link:transfer-limit-exceeded";
}

/// A condition and what is meant, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) condition: &'static str,
    pub(super) reason: &'static str,
}

/// How a login ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok = 0,
    /// Wrong key, unknown or inactive device.
    Credentials = 1,
    /// Come again later.
    Temporary = 4,
}

fn say(out: &mut Vec<u8>, kind: Kind, channel: u16, code: u8, fields: impl FnOnce(&mut Fields<'_>)) {
    frame(out, kind, channel, |out| described(out, code, fields));
}

fn error(f: &mut Fields<'_>, fault: Option<Fault>) {
    match fault {
        None => f.null(),
        Some(fault) => f.described(code::ERROR, |f| {
            f.symbol(fault.condition);
            f.text(fault.reason);
        }),
    }
}

/// How one may log in.
pub(super) fn mechanisms(out: &mut Vec<u8>) {
    say(out, Kind::Sasl, 0, code::SASL_MECHANISMS, |f| f.symbols(b"PLAIN"));
}

/// How a login ended.
pub(super) fn outcome(out: &mut Vec<u8>, outcome: Outcome) {
    say(out, Kind::Sasl, 0, code::SASL_OUTCOME, |f| f.small(outcome as u8));
}

/// The connection is open; `idle_ms` is the silence we ask the device not to exceed.
pub(super) fn open(out: &mut Vec<u8>, idle_ms: u32) {
    say(out, Kind::Amqp, 0, code::OPEN, |f| {
        f.text("thalweg");
        f.null();
        f.number(limits::AMQP_FRAME_BYTES_MAX as u32);
        f.short(limits::AMQP_SESSIONS_MAX - 1);
        f.number(idle_ms);
    });
}

/// A session is there.
pub(super) fn begin(out: &mut Vec<u8>, channel: u16) {
    say(out, Kind::Amqp, channel, code::BEGIN, |f| {
        f.short(channel);
        f.number(0);
        f.number(limits::AMQP_WINDOW_FRAMES);
        f.number(limits::AMQP_WINDOW_FRAMES);
        f.number(limits::AMQP_LINKS_MAX - 1);
    });
}

/// Whether a link is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Welcome {
    Yes,
    /// It is detached next: its far end is shown as missing.
    No,
}

/// The answer to an attach: we settle first, and name how large a message may be.
pub(super) fn attach(out: &mut Vec<u8>, channel: u16, asked: &Attach<'_>, welcome: Welcome) {
    let is_sender = asked.role == Role::Sender;
    say(out, Kind::Amqp, channel, code::ATTACH, |f| {
        f.text(asked.name);
        f.number(asked.handle);
        f.flag(is_sender);
        f.small(asked.sender_settles);
        f.small(0);
        f.raw(if welcome == Welcome::No && !is_sender { &[] } else { asked.source });
        f.raw(if welcome == Welcome::No && is_sender { &[] } else { asked.target });
        f.null();
        f.null();
        // The count of deliveries is told by whoever sends: never here, unless a link for messages to a device is refused.
        if is_sender {
            f.null()
        } else {
            f.number(0)
        }
        f.long(limits::AMQP_MESSAGE_BYTES_MAX as u64);
    });
}

/// Credit of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Credit {
    pub(super) handle: u32,
    pub(super) delivery_count: u32,
    pub(super) credit: u32,
}

/// The state of a session, and of one of its links.
pub(super) fn flow(out: &mut Vec<u8>, channel: u16, next_incoming: u32, link: Option<Credit>) {
    say(out, Kind::Amqp, channel, code::FLOW, |f| {
        f.number(next_incoming);
        f.number(limits::AMQP_WINDOW_FRAMES);
        f.number(0);
        f.number(limits::AMQP_WINDOW_FRAMES);
        if let Some(link) = link {
            f.number(link.handle);
            f.number(link.delivery_count);
            f.number(link.credit);
        }
    });
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// It cannot be taken now, and may be sent again.
    Released,
    Rejected(Fault),
}

/// What became of deliveries `first` to `last`.
pub(super) fn disposition(out: &mut Vec<u8>, channel: u16, first: u32, last: u32, verdict: Verdict) {
    say(out, Kind::Amqp, channel, code::DISPOSITION, |f| {
        f.flag(true);
        f.number(first);
        f.number(last);
        f.flag(true);
        match verdict {
            Verdict::Accepted => f.described(code::ACCEPTED, |_| {}),
            Verdict::Released => f.described(code::RELEASED, |_| {}),
            Verdict::Rejected(fault) => f.described(code::REJECTED, |f| error(f, Some(fault))),
        }
    });
}

/// The end of a link.
pub(super) fn detach(out: &mut Vec<u8>, channel: u16, handle: u32, closed: bool, fault: Option<Fault>) {
    say(out, Kind::Amqp, channel, code::DETACH, |f| {
        f.number(handle);
        f.flag(closed);
        error(f, fault);
    });
}

/// The end of a session.
pub(super) fn end(out: &mut Vec<u8>, channel: u16, fault: Option<Fault>) {
    say(out, Kind::Amqp, channel, code::END, |f| error(f, fault));
}

/// The end of the connection.
pub(super) fn close(out: &mut Vec<u8>, fault: Option<Fault>) {
    say(out, Kind::Amqp, 0, code::CLOSE, |f| error(f, fault));
}

/// Nothing but a sign of life.
pub(super) fn alive(out: &mut Vec<u8>) {
    frame(out, Kind::Amqp, 0, |_| {});
}
