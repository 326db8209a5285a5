//! Publishes into the log, and acknowledgements back. Invariant: an entry leaves the queue towards PUBACK only if it is first
//! in it and either durable or refused, so acknowledgements keep the order of the publishes and never run ahead of the disk.
//!
//! ```text
//!            append                                            durable watch of the partition moves
//! PUBLISH ─► ticket ─► [ id 7, offset 40 | id 8, refused | id 9, offset 41 | … ] ─► settle: pop the prefix ─► PUBACK 7, 8, 9
//!              │ log is full
//!              └─► stalled: the one record offered again until it fits; nothing more is read meanwhile
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, PubackReasonCode};
use thalweg_engine::batch::Record;
use thalweg_engine::contract::{Arrival, LogStore, Progress};
use thalweg_engine::error::ErrorKind;
use thalweg_engine::ids::{self, DeviceId, Name, Offset, Partition};
use thalweg_engine::{limits, topic};
use tokio::sync::watch;
use tokio::time::Instant;

use super::delivery::Delivery;
use super::packets::Publish;
use crate::gateway::GatewayContext;

/// What the connection does after a publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Goes on.
    Taken,
    /// Ends: the device did what it may not, and there is no PUBACK to say so.
    Violation(DisconnectReasonCode, &'static str),
    /// Ends: the device lost its rights while its record waited.
    Revoked,
    /// Ends without acknowledgement: the log failed or stayed full.
    LogFailed,
}

/// Why a publish is refused.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    NotAuthorized,
    NoSuchStream,
    TooLarge,
    TooManyStreams,
    Numbering(&'static str),
}

impl Refusal {
    /// The code for PUBACK, that for DISCONNECT where there is no PUBACK, and the reason in words.
    fn answer(self) -> (PubackReasonCode, DisconnectReasonCode, &'static str) {
        use DisconnectReasonCode as Disconnect;
        use PubackReasonCode as Puback;
        match self {
            Self::NotAuthorized => (Puback::NotAuthorized, Disconnect::NotAuthorized, "the topic is not one of the device's own"),
            Self::NoSuchStream => (Puback::TopicNameInvalid, Disconnect::TopicNameInvalid, "there is no such stream"),
            Self::TooLarge => (Puback::QuotaExceeded, Disconnect::PacketTooLarge, "the record is too large"),
            Self::TooManyStreams => (Puback::QuotaExceeded, Disconnect::QuotaExceeded, "too many streams on one connection"),
            Self::Numbering(what) => (Puback::ImplementationSpecificError, Disconnect::ImplementationSpecificError, what),
        }
    }
}

/// A publish that is answered now.
pub(super) struct Settled {
    /// None for QoS 0: there is nothing to answer.
    pub(super) packet_id: Option<u16>,
    /// Why it was not stored.
    pub(super) refused: Option<(PubackReasonCode, &'static str)>,
    /// What the device's own subscribers get to see.
    pub(super) echo: Option<Delivery>,
}

/// One stream that the connection publishes to, and the device's partition of it.
struct Tap {
    stream: Name,
    log: Arc<dyn LogStore>,
    partition: Partition,
    progress: watch::Receiver<Progress>,
    durable: Offset,
    failed: bool,
}

struct Pending {
    packet_id: Option<u16>,
    outcome: Outcome,
    echo: Option<Delivery>,
}

enum Outcome {
    Stored { tap: usize, offset: Offset, arrival: Arrival },
    Refused(PubackReasonCode, &'static str),
}

/// A record the log had no room for.
struct Stalled {
    publish: Publish,
    tap: usize,
    since: Instant,
}

/// The way of one connection into the log.
pub(super) struct Intake {
    context: GatewayContext,
    device: DeviceId,
    version: Version,
    taps: Vec<Tap>,
    /// The last topic and its tap: devices tend to use one.
    route: Option<(String, usize)>,
    pending: VecDeque<Pending>,
    stalled: Option<Stalled>,
}

impl Intake {
    pub(super) fn new(context: GatewayContext, device: DeviceId, version: Version) -> Self {
        Self { context, device, version, taps: Vec::new(), route: None, pending: VecDeque::new(), stalled: None }
    }

    /// Whether another publish may be offered.
    pub(super) fn has_room(&self) -> bool {
        self.stalled.is_none() && self.pending.len() < limits::UNACKNOWLEDGED_MAX
    }

    /// Whether every publish was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.stalled.is_none() && self.pending.is_empty()
    }

    /// Takes a publish; `echo` says whether subscribers of the device want to see it once it is durable.
    pub(super) fn offer(&mut self, publish: Publish, echo: Echo) -> Step {
        self.context.counters.received.add(1);
        let tap = match self.tap(publish.topic()) {
            Ok(tap) => tap,
            Err(refusal) => return self.refuse(&publish, refusal),
        };
        if publish.payload().len() > limits::RECORD_PAYLOAD_BYTES_MAX {
            return self.refuse(&publish, Refusal::TooLarge);
        }
        self.append(publish, tap, Instant::now(), echo)
    }

    fn tap(&mut self, topic: &str) -> Result<usize, Refusal> {
        if let Some((known, tap)) = &self.route
            && known == topic
        {
            return Ok(*tap);
        }
        let stream = topic::publish_stream(&self.device, topic).map_err(|_| Refusal::NotAuthorized)?;
        let tap = match self.taps.iter().position(|t| t.stream == stream) {
            Some(tap) => tap,
            None if self.taps.len() >= limits::STREAMS_PER_CONNECTION_MAX => return Err(Refusal::TooManyStreams),
            None => {
                let log = self.context.logs.stream(&stream).map_err(|_| Refusal::NoSuchStream)?;
                let partition = ids::partition_of(self.device.as_str(), log.partitions());
                let progress = log.progress(partition);
                self.taps.push(Tap { stream, log, partition, progress, durable: 0, failed: false });
                self.taps.len() - 1
            }
        };
        self.route = Some((topic.to_owned(), tap));
        Ok(tap)
    }

    fn append(&mut self, publish: Publish, tap: usize, since: Instant, echo: Echo) -> Step {
        let producer = match publish.producer() {
            Ok(producer) => producer,
            Err(what) => return self.refuse(&publish, Refusal::Numbering(what)),
        };
        let record = Record {
            device: self.device.as_str(),
            topic: publish.topic(),
            content_type: publish.content_type(),
            producer,
            payload: publish.payload().as_slice(),
        };
        if publish.qos() == Qos::AtMostOnce && self.taps[tap].log.is_scarce(self.taps[tap].partition) {
            self.context.counters.failed.add(1);
            self.context.counters.shed.add(1);
            return Step::Taken;
        }
        match self.taps[tap].log.append(&record) {
            Ok(ticket) => {
                let echo = (echo == Echo::Wanted).then(|| Delivery {
                    topic: publish.topic().into(),
                    payload: Bytes::copy_from_slice(publish.payload().as_slice()),
                    qos: publish.qos(),
                });
                let outcome = Outcome::Stored { tap, offset: ticket.offset, arrival: ticket.arrival };
                self.pending.push_back(Pending { packet_id: publish.packet_id(), outcome, echo });
                Step::Taken
            }
            // Nothing was promised for QoS 0: it is the first to go when the log is full.
            Err(e) if e.kind() == ErrorKind::Unavailable && publish.qos() == Qos::AtMostOnce => {
                self.context.counters.failed.add(1);
                Step::Taken
            }
            Err(e) if e.kind() == ErrorKind::Unavailable => {
                self.stalled = Some(Stalled { publish, tap, since });
                Step::Taken
            }
            Err(e) if e.kind() == ErrorKind::Invalid => self.refuse(&publish, Refusal::TooLarge),
            Err(e) => {
                tracing::error!(device = %self.device, error = %e, "the log refused a record");
                self.context.counters.failed.add(1);
                Step::LogFailed
            }
        }
    }

    /// When the stalled record is to be offered again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.stalled.as_ref().map(|_| Instant::now() + Duration::from_millis(limits::APPEND_RETRY_INTERVAL_MS))
    }

    /// Offers the stalled record again, or gives up on it after its time.
    pub(super) fn retry(&mut self, echo: Echo) -> Step {
        let Some(Stalled { publish, tap, since }) = self.stalled.take() else { return Step::Taken };
        if !self.context.authority.is_active(&self.device) {
            self.context.counters.failed.add(1);
            return Step::Revoked;
        }
        let waited = since.elapsed();
        if self.version == Version::V5_0 && waited >= Duration::from_millis(limits::APPEND_RETRY_MS_MAX) {
            self.context.counters.failed.add(1);
            let outcome = Outcome::Refused(PubackReasonCode::QuotaExceeded, "the log takes no records now");
            self.pending.push_back(Pending { packet_id: publish.packet_id(), outcome, echo: None });
            return Step::Taken;
        }
        if waited >= Duration::from_millis(limits::APPEND_RETRY_SILENT_MS_MAX) {
            self.context.counters.failed.add(1);
            return Step::LogFailed;
        }
        self.append(publish, tap, since, echo)
    }

    fn refuse(&mut self, publish: &Publish, refusal: Refusal) -> Step {
        self.context.counters.rejected.add(1);
        let (puback, disconnect, reason) = refusal.answer();
        match publish.packet_id() {
            Some(id) if self.version == Version::V5_0 => {
                let outcome = Outcome::Refused(puback, reason);
                self.pending.push_back(Pending { packet_id: Some(id), outcome, echo: None });
                Step::Taken
            }
            _ => Step::Violation(disconnect, reason),
        }
    }

    /// Hands out, in order, every publish that can be answered now. Errors: the log of the first unanswered one failed.
    pub(super) fn settle(&mut self, mut answer: impl FnMut(Settled)) -> Result<(), LogFailed> {
        for tap in &mut self.taps {
            let progress = tap.progress.borrow_and_update();
            tap.durable = progress.durable;
            tap.failed |= progress.failed.is_some();
        }
        while let Some(first) = self.pending.front() {
            let refused = match first.outcome {
                Outcome::Refused(code, reason) => Some((code, reason)),
                Outcome::Stored { tap, offset, .. } if offset < self.taps[tap].durable => None,
                Outcome::Stored { tap, .. } if self.taps[tap].failed => return Err(LogFailed),
                Outcome::Stored { .. } => break,
            };
            let Some(Pending { packet_id, outcome, mut echo }) = self.pending.pop_front() else { break };
            if let Outcome::Stored { arrival, .. } = outcome {
                self.count(arrival, packet_id);
                // Subscribers have seen it when it was stored.
                echo = echo.filter(|_| arrival != Arrival::Duplicate);
            }
            answer(Settled { packet_id, refused, echo });
        }
        Ok(())
    }

    fn count(&self, arrival: Arrival, packet_id: Option<u16>) {
        let counters = &self.context.counters;
        if arrival == Arrival::Duplicate {
            return counters.duplicate.add(1);
        }
        counters.appended.add(1);
        counters.gaps.add(u64::from(arrival == Arrival::AfterGap));
        counters.unpromised.add(u64::from(packet_id.is_none()));
    }

    /// Waits until the partition of the first unanswered publish moves; for ever if there is none.
    pub(super) async fn moved(&mut self) {
        match self.pending.front() {
            Some(Pending { outcome: Outcome::Stored { tap, .. }, .. }) => {
                let tap = &mut self.taps[*tap];
                if tap.progress.changed().await.is_err() {
                    tap.failed = true;
                }
            }
            _ => std::future::pending().await,
        }
    }

    /// After the socket closed: waits for what the log took, so that the counters tell what became of it.
    pub(super) async fn finish(mut self) {
        if self.stalled.take().is_some() {
            self.context.counters.failed.add(1);
        }
        let deadline = Instant::now() + Duration::from_millis(limits::GATEWAY_STOP_MS_MAX);
        while self.settle(|_| ()).is_ok() && !self.pending.is_empty() {
            if tokio::time::timeout_at(deadline, self.moved()).await.is_err() {
                break;
            }
        }
        let lost = self.pending.iter().filter(|p| matches!(p.outcome, Outcome::Stored { .. })).count();
        self.context.counters.failed.add(lost as u64);
    }
}

/// Whether a publish is shown to the device's own subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    Wanted,
    Unwanted,
}

/// The log failed for ever; nothing more can be acknowledged.
#[derive(Debug)]
pub(super) struct LogFailed;
