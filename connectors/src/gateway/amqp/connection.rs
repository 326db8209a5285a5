//! One device's connection. Invariant: it waits for exactly one thing to happen at a time, and whatever ends it from outside
//! (takeover, revocation, stop) is looked at first, even while the device does not read.
//!
//! ```text
//! loop:  offer the stalled record ─► settle (accept the durable prefix) ─► take frames that are there ─► credit ─► write everything
//!        ─► wait: cut | log moved | socket readable (while there is room) | time
//! ```

use std::pin::Pin;
use std::sync::Arc;

use thalweg_engine::limits;
use tokio::time::{Instant, Sleep};

use super::answers::{self, Answers};
use super::attach;
use super::entry::Entry;
use super::link::Moved;
use super::message::{Delivery, Origin};
use super::registry::Login;
use super::say::{self, Fault, condition};
use super::server::Shared;
use super::session::{Channels, Session};
use super::wire::{Gone, Wire};
use crate::amqp::frame::{self, Frame, Kind};
use crate::amqp::performative::{self, Performative, Transfer};
use crate::amqp::value::Malformed;
use crate::gateway::cut::{Cut, Cuts};
use crate::gateway::intake::{Echo, Intake, LOG_FULL, Settled, Step};

/// Why a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The device said goodbye.
    Goodbye,
    /// The socket closed or failed.
    Lost,
    /// The device did what it may not.
    Fault(Fault),
    /// A record that must not be overtaken finds no room.
    LogFull,
    /// Nothing more can be acknowledged.
    LogFailed,
    /// Ended from outside.
    Cut(Cut),
}

impl From<Cut> for End {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut)
    }
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Lost
    }
}

impl End {
    /// What the device is told.
    fn fault(&self) -> Option<Fault> {
        let fault = |condition, reason| Some(Fault { condition, reason });
        match self {
            Self::Goodbye | Self::Lost => None,
            Self::Fault(fault) => Some(*fault),
            Self::LogFull => fault(condition::RESOURCE_LIMIT, LOG_FULL),
            Self::LogFailed => fault(condition::INTERNAL_ERROR, "nothing more can be acknowledged: the log takes no records"),
            Self::Cut(Cut::TakenOver) => fault(condition::FORCED, "the same container id connected again"),
            Self::Cut(Cut::Revoked) => fault(condition::UNAUTHORIZED, "the device was revoked, or its key has ended"),
            Self::Cut(Cut::Stopping) => fault(condition::FORCED, "the gateway stops"),
        }
    }
}

/// What ends at a mistake.
enum Trouble {
    Session(Fault),
    Connection(End),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Session(fault)
    }
}

/// What the connection woke up for.
enum Wake {
    Cut,
    Settle,
    Readable,
    Time,
}

/// A live connection.
pub(super) struct Connection {
    wire: Wire,
    entry: Entry,
    login: Arc<Login>,
    shared: Arc<Shared>,
    cuts: Cuts,
    intake: Intake<Delivery>,
    channels: Channels,
    /// Frames are there that there was no room for.
    held: bool,
    paused: bool,
    /// A write was given up in the middle of a frame: nothing can be said any more.
    muted: bool,
    /// Set to the next time that something is due, if there is one.
    alarm: Pin<Box<Sleep>>,
}

/// What remains of a connection: the log may still owe it answers.
pub(super) struct Ended {
    intake: Intake<Delivery>,
}

impl Connection {
    /// `wire` may hold frames that came after open.
    pub(super) fn new(wire: Wire, entry: Entry, cuts: Cuts) -> Self {
        let (login, shared) = (entry.login.clone(), entry.shared.clone());
        let intake = Intake::new(shared.context.clone(), login.device.clone());
        // What came with the open is looked at without waiting for more.
        let held = true;
        let (channels, alarm) = (Channels::default(), Box::pin(tokio::time::sleep_until(Instant::now())));
        Self { wire, entry, login, shared, cuts, intake, channels, held, paused: false, muted: false, alarm }
    }

    /// Serves the device until one of them ends it. The socket is closed when this returns.
    pub(super) async fn run(mut self) -> Ended {
        let end = self.serve().await;
        drop(self.entry);
        let fault = end.fault();
        if let Some(fault) = fault.filter(|_| end != End::Cut(Cut::Stopping)) {
            let (device, container) = (&self.login.device, &self.login.container);
            self.shared.warn(|| format!("connection {container:?} of device {device} closed by the gateway: {}", fault.reason));
        }
        if end != End::Lost {
            if !self.muted {
                say::close(&mut self.wire.pipe.out, fault);
            }
            self.wire.pipe.close().await;
        }
        Ended { intake: self.intake }
    }

    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.advance().await {
                return end;
            }
            let step = match self.wake().await {
                Wake::Cut => self.cuts.check().map_err(End::Cut),
                Wake::Settle => Ok(()),
                Wake::Readable => self.read(),
                Wake::Time => self.time(),
            };
            if let Err(end) = step {
                // What was read before the end may be durable already: the device is told.
                let _ = self.settle();
                return end;
            }
        }
    }

    /// Everything that can be done without waiting for something new.
    async fn advance(&mut self) -> Result<(), End> {
        // Settled after every append: a record that the log knew already is durable without anything moving.
        loop {
            verdict(self.intake.retry(Echo::Unwanted))?;
            self.settle()?;
            if !self.held || !self.intake.has_room() {
                break;
            }
            self.consume()?;
        }
        if self.intake.has_room() {
            self.channels.replenish(&mut self.wire.pipe.out);
        } else if self.intake.is_stalled() {
            self.channels.pause(&mut self.wire.pipe.out);
        }
        if !self.wire.try_flush()? {
            tokio::select! {
                biased;
                cut = self.cuts.at_once() => {
                    self.muted = true;
                    self.wire.pipe.out.clear();
                    return Err(End::Cut(cut));
                }
                flushed = self.wire.flush() => flushed?,
            }
        }
        self.cuts.check()?;
        if self.cuts.is_stopping() && self.intake.is_idle() {
            return Err(End::Cut(Cut::Stopping));
        }
        Ok(())
    }

    async fn wake(&mut self) -> Wake {
        let reading = !self.cuts.is_stopping() && !self.held && self.intake.has_room();
        if reading && self.paused {
            self.wire.forgive_silence();
        }
        self.paused = !reading;
        let silent_at = reading.then(|| self.wire.silent_at());
        let next = [silent_at, self.wire.heartbeat_at(), self.intake.retry_at(), self.cuts.stop_at()].into_iter().flatten().min();
        if let Some(next) = next.filter(|next| *next != self.alarm.deadline()) {
            self.alarm.as_mut().reset(next);
        }
        tokio::select! {
            biased;
            () = self.cuts.told() => Wake::Cut,
            () = self.intake.moved() => Wake::Settle,
            // An error shows when reading.
            _ = self.wire.pipe.socket.readable(), if reading => Wake::Readable,
            () = self.alarm.as_mut(), if next.is_some() => Wake::Time,
        }
    }

    fn time(&mut self) -> Result<(), End> {
        self.cuts.check()?;
        let now = Instant::now();
        if !self.paused && self.wire.silent_at() <= now {
            let reason = "nothing was heard for longer than the idle time-out";
            return Err(End::Fault(Fault { condition: condition::FORCED, reason }));
        }
        if self.wire.heartbeat_at().is_some_and(|at| at <= now) {
            say::alive(&mut self.wire.pipe.out);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), End> {
        if self.wire.read()? {
            self.entry.present.heard();
            self.consume()?;
        }
        Ok(())
    }

    /// Takes frames while there is room, and keeps the rest.
    fn consume(&mut self) -> Result<(), End> {
        let (mut bytes, mut at) = (std::mem::take(&mut self.wire.unread), 0);
        self.held = false;
        while let Some((frame, length)) = frame::split(&bytes[at..], limits::AMQP_FRAME_BYTES_MAX).map_err(framing)? {
            if !self.intake.has_room() {
                self.held = true;
                break;
            }
            self.handle(frame)?;
            at += length;
        }
        bytes.drain(..at);
        // An idle connection holds no buffer.
        self.wire.unread = if bytes.is_empty() { Vec::new() } else { bytes };
        Ok(())
    }

    fn handle(&mut self, frame: Frame<'_>) -> Result<(), End> {
        if frame.kind != Kind::Amqp {
            return Err(framing(Malformed("a frame of a login after it")));
        }
        if frame.body.is_empty() {
            return Ok(());
        }
        let said =
            performative::read(frame.body).map_err(|Malformed(reason)| End::Fault(Fault { condition: condition::DECODE_ERROR, reason }))?;
        let out = &mut self.wire.pipe.out;
        match said {
            Performative::Close(_) => Err(End::Goodbye),
            Performative::Begin(begin) => self.channels.begin(frame.channel, &begin, out).map_err(End::Fault),
            Performative::End(_) => self.channels.end(frame.channel, out).map_err(End::Fault),
            said => self.handle_in_session(frame.channel, said),
        }
    }

    fn handle_in_session(&mut self, channel: u16, said: Performative<'_>) -> Result<(), End> {
        let Some(session) = self.channels.session(channel).map_err(End::Fault)? else { return Ok(()) };
        let out = &mut self.wire.pipe.out;
        let done = match said {
            Performative::Attach(asked) => {
                let described = asked.name.len() + asked.source.len() + asked.target.len();
                if described > limits::AMQP_ATTACH_BYTES_MAX.min(self.wire.frame_bytes_max - limits::AMQP_ANSWER_BYTES) {
                    let reason = "the name and the ends of the link are too long";
                    Err(Fault { condition: condition::RESOURCE_LIMIT, reason }.into())
                } else {
                    let topic = attach::decide(&self.login.device, &asked);
                    let topic = topic.and_then(|t| self.intake.knows(&t).map(|()| t).map_err(answers::fault));
                    session.attach(&asked, topic, out).map_err(Trouble::from)
                }
            }
            Performative::Transfer(transfer, bytes) => self::transfer(session, &mut self.intake, channel, &transfer, bytes, out),
            Performative::Flow(flow) => session.flow(&flow, out).map_err(Trouble::from),
            // Every delivery is settled with its answer: there is nothing left for the device to say about it.
            Performative::Disposition(_) => Ok(()),
            Performative::Detach { handle, closed, .. } => session.detach(handle, closed, out).map_err(Trouble::from),
            _ => return Err(End::Fault(Fault { condition: condition::NOT_ALLOWED, reason: "a connection that is open is opened again" })),
        };
        match done {
            Ok(()) => {}
            Err(Trouble::Session(fault)) => session.fail(fault, out),
            Err(Trouble::Connection(end)) => return Err(end),
        }
        if matches!(said, Performative::Transfer(t, _) if t.more) && self.channels.partial_bytes() > limits::AMQP_PARTIAL_BYTES_MAX {
            let reason = "too many messages are begun and not completed";
            return Err(End::Fault(Fault { condition: condition::RESOURCE_LIMIT, reason }));
        }
        Ok(())
    }

    /// Queues an answer to every delivery that is durable now, or refused.
    fn settle(&mut self) -> Result<(), End> {
        let (out, channels, mut answers) = (&mut self.wire.pipe.out, &self.channels, Answers::default());
        let settled = self.intake.settle(|Settled { origin, outcome }| {
            if !origin.settled && channels.answers(origin.channel, origin.session) {
                answers.add(out, origin, outcome.err());
            }
        });
        answers.finish(out);
        settled.map_err(|_| End::LogFailed)
    }
}

/// A frame with a message or a part of one.
fn transfer(
    session: &mut Session,
    intake: &mut Intake<Delivery>,
    channel: u16,
    transfer: &Transfer<'_>,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Trouble> {
    match session.transfer(transfer, bytes)? {
        Moved::On => {}
        Moved::Fault(fault) => {
            intake.refuse_unread();
            session.fail_link(transfer.handle, fault, out);
        }
        Moved::Message(whole) => {
            let origin = Origin { channel, session: session.serial, delivery: whole.delivery, settled: whole.settled };
            match intake.offer(Delivery::new(whole.topic, origin, whole.format, &whole.bytes), Echo::Unwanted) {
                // A delivery that is settled already has no answer: the link is the place to say it.
                Step::Violation(refusal) => session.fail_link(transfer.handle, answers::fault(refusal), out),
                step => verdict(step).map_err(Trouble::Connection)?,
            }
        }
    }
    Ok(())
}

fn verdict(step: Step) -> Result<(), End> {
    match step {
        Step::Taken => Ok(()),
        Step::Violation(refusal) => Err(End::Fault(answers::fault(refusal))),
        Step::Revoked => Err(End::Cut(Cut::Revoked)),
        Step::LogFull => Err(End::LogFull),
        Step::LogFailed => Err(End::LogFailed),
    }
}

fn framing(Malformed(reason): Malformed) -> End {
    End::Fault(Fault { condition: condition::FRAMING, reason })
}

impl Ended {
    /// Waits for what the log took before the end.
    pub(super) async fn finish(self) {
        self.intake.finish().await;
    }
}
