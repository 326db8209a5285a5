//! Sessions of one connection, and the links in them. Invariant: whoever says nothing about a session or link of theirs for
//! too long holds at most `limits::AMQP_SESSIONS_MAX` of one and `limits::AMQP_LINKS_MAX` of the other; after we ended one,
//! what still comes for it is thrown away until the device has ended it too.

use std::sync::Arc;

use thalweg_engine::limits;

use super::link::{Link, Moved};
use super::say::{self, Fault, Welcome, condition};
use crate::amqp::performative::{Attach, Begin, Flow, Transfer};

/// One session.
pub(super) struct Session {
    channel: u16,
    /// Tells it from earlier sessions of its channel.
    pub(super) serial: u64,
    ending: bool,
    next_incoming: u32,
    /// Frames with messages that the device may send before it hears from us.
    window: u32,
    links: Vec<(u32, Link)>,
}

/// All sessions of a connection.
#[derive(Default)]
pub(super) struct Channels {
    sessions: Vec<Session>,
    begun: u64,
}

impl Channels {
    /// Begins a session and says so. Errors: the connection has to end.
    pub(super) fn begin(&mut self, channel: u16, begin: &Begin, out: &mut Vec<u8>) -> Result<(), Fault> {
        let wrong = |condition, reason| Err(Fault { condition, reason });
        if begin.remote_channel.is_some() {
            return wrong(condition::NOT_ALLOWED, "the answer to a begin that was never sent");
        }
        if channel >= limits::AMQP_SESSIONS_MAX {
            return wrong(condition::FRAMING, "more sessions than channel-max");
        }
        if self.sessions.iter().any(|s| s.channel == channel) {
            return wrong(condition::NOT_ALLOWED, "a session that is there begins again");
        }
        self.begun += 1;
        self.sessions.push(Session {
            channel,
            serial: self.begun,
            ending: false,
            next_incoming: begin.next_outgoing,
            window: limits::AMQP_WINDOW_FRAMES,
            links: Vec::new(),
        });
        say::begin(out, channel);
        Ok(())
    }

    /// The device ended a session. Errors: the connection has to end.
    pub(super) fn end(&mut self, channel: u16, out: &mut Vec<u8>) -> Result<(), Fault> {
        let at = self.position(channel)?;
        if !self.sessions.swap_remove(at).ending {
            say::end(out, channel, None);
        }
        Ok(())
    }

    /// The session of a channel; none if we ended it. Errors: the connection has to end.
    pub(super) fn session(&mut self, channel: u16) -> Result<Option<&mut Session>, Fault> {
        let at = self.position(channel)?;
        Ok(Some(&mut self.sessions[at]).filter(|s| !s.ending))
    }

    fn position(&self, channel: u16) -> Result<usize, Fault> {
        let at = self.sessions.iter().position(|s| s.channel == channel);
        at.ok_or(Fault { condition: condition::NOT_ALLOWED, reason: "a session that is not there" })
    }

    /// Whether deliveries of this session can still be answered.
    pub(super) fn answers(&self, channel: u16, serial: u64) -> bool {
        self.sessions.iter().any(|s| s.channel == channel && s.serial == serial && !s.ending)
    }

    /// Bytes of messages that are not yet complete.
    pub(super) fn partial_bytes(&self) -> usize {
        self.sessions.iter().flat_map(|s| &s.links).map(|(_, link)| link.partial_bytes()).sum()
    }

    /// Takes the device's credit until it is given anew.
    pub(super) fn pause(&mut self, out: &mut Vec<u8>) {
        for session in self.sessions.iter_mut().filter(|s| !s.ending) {
            session.say_credit(Link::pause, out);
        }
    }

    /// Gives the device room to send on.
    pub(super) fn replenish(&mut self, out: &mut Vec<u8>) {
        for session in self.sessions.iter_mut().filter(|s| !s.ending) {
            session.replenish(out);
        }
    }
}

impl Session {
    /// Ends it from our side.
    pub(super) fn fail(&mut self, fault: Fault, out: &mut Vec<u8>) {
        self.ending = true;
        self.links.clear();
        say::end(out, self.channel, Some(fault));
    }

    /// Answers an attach, with a link if `topic` is one. Errors: the session has to end.
    pub(super) fn attach(&mut self, asked: &Attach<'_>, topic: Result<Arc<str>, Fault>, out: &mut Vec<u8>) -> Result<(), Fault> {
        if asked.handle >= limits::AMQP_LINKS_MAX {
            return Err(Fault { condition: condition::RESOURCE_LIMIT, reason: "more links than handle-max" });
        }
        if self.link(asked.handle).is_ok() {
            return Err(Fault { condition: condition::HANDLE_IN_USE, reason: "a link that is there is attached again" });
        }
        match topic {
            Ok(topic) => {
                say::attach(out, self.channel, asked, Welcome::Yes);
                self.links.push((asked.handle, Link::new(asked.handle, topic, asked.delivery_count)));
            }
            Err(fault) => {
                say::attach(out, self.channel, asked, Welcome::No);
                say::detach(out, self.channel, asked.handle, true, Some(fault));
                self.links.push((asked.handle, Link::refused(asked.handle)));
            }
        }
        Ok(())
    }

    fn link(&mut self, handle: u32) -> Result<&mut Link, Fault> {
        let link = self.links.iter_mut().find(|(h, _)| *h == handle).map(|(_, link)| link);
        link.ok_or(Fault { condition: condition::UNATTACHED, reason: "a link that is not there" })
    }

    /// Ends a link from our side.
    pub(super) fn fail_link(&mut self, handle: u32, fault: Fault, out: &mut Vec<u8>) {
        if self.link(handle).is_ok_and(Link::end) {
            say::detach(out, self.channel, handle, true, Some(fault));
        }
    }

    /// The device ended a link. Errors: the session has to end.
    pub(super) fn detach(&mut self, handle: u32, closed: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.link(handle)?.end() {
            say::detach(out, self.channel, handle, closed, None);
        }
        self.links.retain(|(h, _)| *h != handle);
        Ok(())
    }

    /// Answers if the device wants to know how things are. Errors: the session has to end.
    pub(super) fn flow(&mut self, flow: &Flow, out: &mut Vec<u8>) -> Result<(), Fault> {
        let credit = flow.handle.map(|handle| self.link(handle).map(|link| link.state())).transpose()?.flatten();
        if flow.echo {
            self.say_flow(credit, out);
        }
        Ok(())
    }

    /// Takes a frame with a message or a part of one. Errors: the session has to end.
    pub(super) fn transfer<'a>(&mut self, transfer: &Transfer<'_>, bytes: &'a [u8]) -> Result<Moved<'a>, Fault> {
        let full = Fault { condition: condition::WINDOW, reason: "more frames than the session's window" };
        self.window = self.window.checked_sub(1).ok_or(full)?;
        self.next_incoming = self.next_incoming.wrapping_add(1);
        Ok(self.link(transfer.handle)?.transfer(transfer, bytes))
    }

    /// Says the credit of those links that have other one now.
    fn say_credit(&mut self, change: fn(&mut Link) -> Option<say::Credit>, out: &mut Vec<u8>) {
        for at in 0..self.links.len() {
            if let Some(credit) = change(&mut self.links[at].1) {
                self.say_flow(Some(credit), out);
            }
        }
    }

    fn say_flow(&mut self, credit: Option<say::Credit>, out: &mut Vec<u8>) {
        self.window = limits::AMQP_WINDOW_FRAMES;
        say::flow(out, self.channel, self.next_incoming, credit);
    }

    fn replenish(&mut self, out: &mut Vec<u8>) {
        self.say_credit(Link::replenish, out);
        if self.window <= limits::AMQP_WINDOW_FRAMES / 2 {
            self.say_flow(None, out);
        }
    }
}
