//! One device's connection. Invariant: it waits for exactly one thing to happen at a time, and whatever ends it from outside
//! (takeover, revocation, stop) is looked at first, even while the device does not read.
//!
//! ```text
//! loop:  offer the stalled record ─► settle (PUBACK the durable prefix) ─► parse what is left ─► write everything
//!        ─► wait: cut | log moved | socket readable (while there is room) | message for the device | time
//! ```

use std::pin::Pin;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{Packet, Qos};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use thalweg_engine::contract::Arrival;
use thalweg_engine::limits;
use tokio::time::{Instant, Sleep};

use super::delivery::Delivery;
use super::entry::Entry;
use super::packets::{self, GoodbyeWill, Incoming, Origin, Publish, Subscribe};
use super::registry::{Inbox, Session};
use super::server::Shared;
use super::subscribe;
use super::will::Will;
use super::wire::Wire;
use crate::gateway::cut::Cut;
use crate::gateway::intake::{Echo, Intake, LOG_FULL, Settled, Step};
use crate::gateway::pipe::READ_BYTES;

/// Why a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The device said goodbye.
    Goodbye(GoodbyeWill),
    /// The socket closed or failed.
    Lost,
    /// The device broke the protocol; the library has queued its answer.
    Broken(MqttError),
    /// The device did what it may not.
    Violation(DisconnectReasonCode, &'static str),
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

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Goodbye(_) => f.write_str("the device said goodbye"),
            Self::Lost => f.write_str("the connection was lost"),
            Self::Broken(e) => write!(f, "the device broke the protocol ({e:?})"),
            Self::Violation(_, reason) => write!(f, "the device did what it may not: {reason}"),
            Self::LogFull => f.write_str(LOG_FULL),
            Self::LogFailed => f.write_str("nothing more can be acknowledged: the log takes no records"),
            Self::Cut(Cut::TakenOver) => f.write_str("the same client id connected again"),
            Self::Cut(Cut::Revoked) => f.write_str("the device was revoked, or its key has ended"),
            Self::Cut(Cut::Stopping) => f.write_str("the gateway stops"),
        }
    }
}

/// What the connection woke up for.
enum Wake {
    Cut,
    Settle,
    Readable,
    Message(Delivery),
    Time,
}

/// A live connection.
pub(super) struct Connection {
    wire: Wire,
    entry: Entry,
    session: Arc<Session>,
    shared: Arc<Shared>,
    inbox: Inbox,
    intake: Intake<Publish>,
    will: Option<Will>,
    /// Bytes read but not yet parsed, because there was no room for what they hold.
    left: Vec<u8>,
    paused: bool,
    /// Set to the next time that something is due, if there is one.
    alarm: Pin<Box<Sleep>>,
}

/// What remains of a connection: the log may still owe it answers.
pub(super) struct Ended {
    shared: Arc<Shared>,
    session: Arc<Session>,
    intake: Intake<Publish>,
    will: Option<Will>,
}

impl Connection {
    /// `left` are bytes that came after CONNECT.
    pub(super) fn new(wire: Wire, entry: Entry, inbox: Inbox, will: Option<Will>, left: Vec<u8>) -> Self {
        let (session, shared) = (entry.session.clone(), entry.shared.clone());
        let intake = Intake::new(shared.context.clone(), session.device.clone());
        let alarm = Box::pin(tokio::time::sleep_until(Instant::now()));
        Self { wire, entry, session, shared, inbox, intake, will, left, paused: false, alarm }
    }

    /// Serves the device until one of them ends it. The socket is closed when this returns.
    pub(super) async fn run(mut self) -> Ended {
        let end = self.serve().await;
        drop(self.entry);
        if !matches!(end, End::Goodbye(_) | End::Lost | End::Cut(Cut::Stopping))
            && let Some(left_out) = self.shared.warnings.admit()
        {
            let (device, client) = (&self.session.device, &self.session.client_id);
            tracing::warn!("connection {client} of device {device} closed by the gateway: {end}{left_out}");
        }
        let code = match &end {
            End::Goodbye(_) | End::Lost | End::Broken(_) => None,
            End::Violation(code, reason) => Some((*code, Some(*reason))),
            End::LogFull => Some((DisconnectReasonCode::QuotaExceeded, Some(LOG_FULL))),
            End::LogFailed => Some((DisconnectReasonCode::ImplementationSpecificError, None)),
            End::Cut(Cut::TakenOver) => Some((DisconnectReasonCode::SessionTakenOver, None)),
            End::Cut(Cut::Revoked) => Some((DisconnectReasonCode::NotAuthorized, None)),
            End::Cut(Cut::Stopping) => Some((DisconnectReasonCode::ServerShuttingDown, None)),
        };
        let forget_will = matches!(end, End::Goodbye(GoodbyeWill::Forget) | End::Cut(Cut::Revoked | Cut::Stopping));
        let will = if forget_will { None } else { self.will };
        if let (Some((code, reason)), Version::V5_0) = (code, self.wire.version()) {
            let _ = self.wire.say_why(reason, |reason| packets::disconnect(code, reason));
        }
        if end != End::Lost {
            self.wire.pipe.close().await;
        }
        Ended { shared: self.shared, session: self.session, intake: self.intake, will }
    }

    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.advance().await {
                return end;
            }
            let step = match self.wake().await {
                Wake::Cut => self.inbox.cuts.check().map_err(End::Cut),
                Wake::Settle => Ok(()),
                Wake::Readable => self.read(),
                Wake::Message(message) => self.push(message),
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
            let echo = self.echo();
            verdict(self.intake.retry(echo))?;
            self.settle()?;
            if self.left.is_empty() || !self.intake.has_room() {
                break;
            }
            let left = std::mem::take(&mut self.left);
            self.consume(&left)?;
        }
        if !self.wire.pipe.try_flush().map_err(|_| End::Lost)? {
            tokio::select! {
                biased;
                cut = self.inbox.cuts.at_once() => {
                    self.wire.mute();
                    return Err(End::Cut(cut));
                }
                flushed = self.wire.pipe.flush() => flushed.map_err(|_| End::Lost)?,
            }
        }
        self.inbox.cuts.check()?;
        if self.inbox.cuts.is_stopping() && self.intake.is_idle() {
            return Err(End::Cut(Cut::Stopping));
        }
        Ok(())
    }

    async fn wake(&mut self) -> Wake {
        let reading = !self.inbox.cuts.is_stopping() && self.left.is_empty() && self.intake.has_room();
        if reading && self.paused {
            self.wire.forgive_silence();
        }
        self.paused = !reading;
        let silent_at = self.wire.silent_at().filter(|_| reading);
        let next = [silent_at, self.intake.retry_at(), self.inbox.cuts.stop_at()].into_iter().flatten().min();
        if let Some(next) = next.filter(|next| *next != self.alarm.deadline()) {
            self.alarm.as_mut().reset(next);
        }
        let takes_messages = self.wire.has_room() && !self.inbox.cuts.is_stopping();
        tokio::select! {
            biased;
            () = self.inbox.cuts.told() => Wake::Cut,
            () = self.intake.moved() => Wake::Settle,
            // An error shows when reading.
            _ = self.wire.pipe.socket.readable(), if reading => Wake::Readable,
            Some(message) = self.inbox.messages.recv(), if takes_messages => Wake::Message(message),
            () = self.alarm.as_mut(), if next.is_some() => Wake::Time,
        }
    }

    fn time(&mut self) -> Result<(), End> {
        self.inbox.cuts.check()?;
        if !self.paused && self.wire.silent_at().is_some_and(|at| at <= Instant::now()) {
            self.wire.announce_silence();
            return Err(End::Broken(MqttError::KeepAliveTimeout));
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), End> {
        let mut buffer = [0; READ_BYTES];
        match self.wire.pipe.try_read(&mut buffer) {
            Ok(None) => Ok(()),
            Ok(Some(0)) | Err(_) => Err(End::Lost),
            Ok(Some(n)) => {
                self.entry.present.heard();
                self.consume(&buffer[..n])
            }
        }
    }

    /// Takes packets out of `bytes` while there is room, and keeps the rest.
    fn consume(&mut self, bytes: &[u8]) -> Result<(), End> {
        let mut cursor = Cursor::new(bytes);
        while (cursor.position() as usize) < bytes.len() {
            if !self.intake.has_room() {
                self.left.extend_from_slice(&bytes[cursor.position() as usize..]);
                break;
            }
            if let Some(packet) = self.wire.parse(&mut cursor).map_err(End::Broken)? {
                self.handle(packet)?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, packet: Packet) -> Result<(), End> {
        let version = self.wire.version();
        match packet.into() {
            Incoming::Publish(publish) => self.publish(publish),
            Incoming::Subscribe(request) => self.subscribe(&request),
            Incoming::Unsubscribe { packet_id, filters } => {
                let codes = subscribe::unsubscribe(&self.session, &filters);
                self.reply(packets::unsuback(version, packet_id, codes))
            }
            Incoming::Ping => self.reply(Ok(packets::pingresp(version))),
            Incoming::Goodbye { will } => Err(End::Goodbye(will)),
            Incoming::Acknowledged => Ok(()),
            Incoming::Unexpected => Err(End::Violation(DisconnectReasonCode::ProtocolError, "a device does not send such a packet")),
        }
    }

    fn publish(&mut self, publish: Publish) -> Result<(), End> {
        if publish.qos() == Qos::ExactlyOnce {
            return Err(End::Violation(DisconnectReasonCode::QosNotSupported, "QoS 2 is not supported"));
        }
        if publish.asks_for_retention() {
            return Err(End::Violation(DisconnectReasonCode::RetainNotSupported, "retained messages are not supported"));
        }
        let echo = self.echo();
        verdict(self.intake.offer(publish, echo))
    }

    fn subscribe(&mut self, request: &Subscribe) -> Result<(), End> {
        if request.has_identifier {
            let code = DisconnectReasonCode::SubscriptionIdentifiersNotSupported;
            return Err(End::Violation(code, "subscription identifiers are not supported"));
        }
        let codes = subscribe::subscribe(&self.session, &request.entries);
        self.reply(packets::suback(self.wire.version(), request.packet_id, codes))
    }

    fn reply(&mut self, packet: Result<Packet, MqttError>) -> Result<(), End> {
        packet.and_then(|p| self.wire.send(p)).map_err(End::Broken)
    }

    fn echo(&self) -> Echo {
        if self.session.has_listeners() { Echo::Wanted } else { Echo::Unwanted }
    }

    /// Queues a PUBACK for every publish that is durable now, and shows it to the device's subscribers.
    fn settle(&mut self) -> Result<(), End> {
        let (wire, shared, session) = (&mut self.wire, &self.shared, &self.session);
        let version = wire.version();
        let mut broken = None;
        let settled = self.intake.settle(|Settled { origin: Origin { packet_id, echo }, outcome }| {
            let sent = match (packet_id, outcome) {
                (None, _) => Ok(()),
                (Some(id), Ok(_)) => packets::puback(version, id).and_then(|p| wire.send(p)),
                (Some(id), Err(refusal)) => {
                    let reason = wire.wants_reasons.then_some(refusal.reason());
                    wire.say_why(reason, |reason| packets::puback_refused(id, packets::codes(refusal).0, reason))
                }
            };
            broken = broken.take().or(sent.err());
            // Subscribers have seen a repeated record when it was stored.
            if let (Some(message), Ok(Arrival::New | Arrival::AfterGap)) = (echo, outcome) {
                let reached = shared.registry.deliver(&session.device, &message, Some(session));
                shared.context.counters.undelivered.add(reached.dropped as u64);
            }
        });
        match (settled, broken) {
            (Err(_), _) => Err(End::LogFailed),
            (Ok(()), Some(e)) => Err(End::Broken(e)),
            (Ok(()), None) => Ok(()),
        }
    }

    /// Queues a message to the device, and those that wait behind it.
    fn push(&mut self, first: Delivery) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(message) = next {
            if !message.send(&mut self.wire) {
                self.shared.context.counters.undelivered.add(1);
            }
            // The rest is copied when the device has read this: it may be slow, and much may wait for it.
            let has_room = self.wire.has_room() && self.wire.pipe.out.len() < limits::WRITE_BYTES_MAX;
            next = if has_room { self.inbox.messages.try_recv() } else { None };
        }
        Ok(())
    }
}

impl Ended {
    /// Publishes the will, and waits for what the log took before the end.
    pub(super) async fn finish(self) {
        // The device may have lost its rights since its connection ended, when there was no connection left to cut.
        if let Some(will) = self.will
            && self.shared.context.authority.is_active(&self.session.device)
        {
            will.publish(&self.shared.context, &self.session.device).await;
        }
        self.intake.finish().await;
    }
}

fn verdict(step: Step) -> Result<(), End> {
    match step {
        Step::Taken => Ok(()),
        Step::Violation(refusal) => Err(End::Violation(packets::codes(refusal).1, refusal.reason())),
        Step::Revoked => Err(End::Cut(Cut::Revoked)),
        Step::LogFull => Err(End::LogFull),
        Step::LogFailed => Err(End::LogFailed),
    }
}
