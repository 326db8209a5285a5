//! Records of one connection into the log, and acknowledgements back, whatever the protocol. Invariant: an entry leaves the
//! queue only if it is first in it and either durable or refused, so acknowledgements keep the order of the records and
//! never run ahead of the disk.
//!
//! ```text
//!            append                                            durable watch of the partition moves
//! publish ─► ticket ─► [ id 7, offset 40 | id 8, refused | id 9, offset 41 | … ] ─► settle: pop the prefix ─► answer 7, 8, 9
//!              │ log is full
//!              └─► stalled: the one record offered again until it fits; nothing more is read meanwhile
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::batch::{ContentType, ProducerSequence, Record};
use thalweg_engine::contract::{Arrival, LogStore, Progress};
use thalweg_engine::error::ErrorKind;
use thalweg_engine::ids::{self, DeviceId, Name, Offset, Partition};
use thalweg_engine::{limits, topic};
use tokio::sync::watch;
use tokio::time::Instant;

use super::GatewayContext;
use super::sums::Sums;

/// What a device is promised about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Nothing (QoS 0): it is the first to go when the log has no room.
    Nothing,
    /// An acknowledgement, but the protocol has no words to refuse it (MQTT 3.1.1).
    Acknowledgement,
    /// An acknowledgement or a refusal.
    Answer,
}

/// A record as it came over a protocol.
pub(super) trait Publish {
    /// What its answer has to name.
    type Origin;

    fn topic(&self) -> &str;
    fn payload(&self) -> &[u8];
    fn content_type(&self) -> ContentType;
    /// Its number, if it has one. Errors: the number, or the message as a whole, is none that can be stored.
    fn producer(&self) -> Result<Option<ProducerSequence>, Refusal>;
    fn promise(&self) -> Promise;
    fn origin(&self, echo: Echo) -> Self::Origin;
}

/// What the connection does after a publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Goes on.
    Taken,
    /// The device did what it may not, and no answer to the publish can say so.
    Violation(Refusal),
    /// Ends: the device lost its rights while its record waited.
    Revoked,
    /// Ends, because the log stayed full: what comes after this record must not overtake it.
    LogFull,
    /// Ends without acknowledgement: the log failed or stayed full.
    LogFailed,
}

/// What a device is told at `Step::LogFull`.
pub(super) const LOG_FULL: &str = "the log takes no records now: connect again and send again, in order, what was not acknowledged";

/// Why a publish is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NotAuthorized,
    NoSuchStream,
    TooLarge,
    TooManyStreams,
    Numbering(&'static str),
    Malformed(&'static str),
    Full,
}

impl Refusal {
    /// The reason in words.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NotAuthorized => "the topic is not one of the device's own",
            Self::NoSuchStream => "there is no such stream",
            Self::TooLarge => "the record is too large",
            Self::TooManyStreams => "too many streams on one connection",
            Self::Numbering(what) | Self::Malformed(what) => what,
            Self::Full => "the log takes no records now",
        }
    }
}

/// A publish that is answered now.
pub(super) struct Settled<O> {
    pub(super) origin: O,
    /// Whether it was stored, and if it was new.
    pub(super) outcome: Result<Arrival, Refusal>,
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

impl Tap {
    /// Whether a record is durable; looks at the log only if that is not known already. Errors: it never will be.
    fn has_made_durable(&mut self, offset: Offset) -> Result<bool, LogFailed> {
        if offset >= self.durable {
            let progress = self.progress.borrow_and_update();
            self.durable = progress.durable;
            self.failed |= progress.failed.is_some();
        }
        match offset < self.durable {
            false if self.failed => Err(LogFailed),
            is_durable => Ok(is_durable),
        }
    }
}

struct Pending<O> {
    origin: O,
    promise: Promise,
    outcome: Outcome,
}

#[derive(Clone, Copy)]
enum Outcome {
    Stored { tap: usize, offset: Offset, arrival: Arrival },
    Refused(Refusal),
}

/// A record the log had no room for.
struct Stalled<P> {
    publish: P,
    tap: usize,
    since: Instant,
}

/// The way of one connection into the log.
pub(super) struct Intake<P: Publish> {
    context: GatewayContext,
    device: DeviceId,
    taps: Vec<Tap>,
    /// The last topic and its tap: devices tend to use one.
    route: Option<(String, usize)>,
    pending: VecDeque<Pending<P::Origin>>,
    stalled: Option<Stalled<P>>,
}

impl<P: Publish> Intake<P> {
    pub(super) fn new(context: GatewayContext, device: DeviceId) -> Self {
        Self { context, device, taps: Vec::new(), route: None, pending: VecDeque::new(), stalled: None }
    }

    /// Whether another publish may be offered.
    pub(super) fn has_room(&self) -> bool {
        self.stalled.is_none() && self.pending.len() < limits::UNACKNOWLEDGED_MAX
    }

    /// Whether the log has no room for a record that was offered.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Whether every publish was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.stalled.is_none() && self.pending.is_empty()
    }

    /// Takes a publish; `echo` says whether subscribers of the device want to see it once it is durable.
    pub(super) fn offer(&mut self, publish: P, echo: Echo) -> Step {
        self.context.counters.received.add(1);
        let tap = match self.tap(publish.topic()) {
            Ok(tap) => tap,
            Err(refusal) => return self.refuse(&publish, refusal),
        };
        if publish.payload().len() > limits::RECORD_PAYLOAD_BYTES_MAX {
            return self.refuse(&publish, Refusal::TooLarge);
        }
        self.append(publish, tap, None, echo)
    }

    /// Whether records for `topic` would be taken. Errors: why not.
    pub(super) fn knows(&mut self, topic: &str) -> Result<(), Refusal> {
        self.tap(topic).map(drop)
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

    /// `since` is when it was offered first, if that was before.
    fn append(&mut self, publish: P, tap: usize, since: Option<Instant>, echo: Echo) -> Step {
        let producer = match publish.producer() {
            Ok(producer) => producer,
            Err(refusal) => return self.refuse(&publish, refusal),
        };
        let record = Record {
            device: self.device.as_str(),
            topic: publish.topic(),
            content_type: publish.content_type(),
            producer,
            payload: publish.payload(),
        };
        if publish.promise() == Promise::Nothing && self.taps[tap].log.is_scarce(self.taps[tap].partition) {
            self.context.counters.failed.add(1);
            self.context.counters.shed.add(1);
            return Step::Taken;
        }
        match self.taps[tap].log.append(&record) {
            Ok(ticket) => {
                // What is there already was shown when it was stored, and takes no room in the log that would bound its copies.
                let echo = if ticket.arrival == Arrival::Duplicate { Echo::Unwanted } else { echo };
                let outcome = Outcome::Stored { tap, offset: ticket.offset, arrival: ticket.arrival };
                self.pending.push_back(Pending { origin: publish.origin(echo), promise: publish.promise(), outcome });
                Step::Taken
            }
            Err(e) if e.kind() == ErrorKind::Unavailable && publish.promise() == Promise::Nothing => {
                self.context.counters.failed.add(1);
                Step::Taken
            }
            Err(e) if e.kind() == ErrorKind::Unavailable => {
                self.stalled = Some(Stalled { publish, tap, since: since.unwrap_or_else(Instant::now) });
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
        if publish.promise() == Promise::Answer && waited >= Duration::from_millis(limits::APPEND_RETRY_MS_MAX) {
            self.context.counters.failed.add(1);
            // The log takes a number far below the last one for known: were later records stored first, this one would be
            // acknowledged without being stored when it comes again. So its device has to begin with it.
            if let Ok(Some(_)) = publish.producer() {
                return Step::LogFull;
            }
            self.answer(&publish, Refusal::Full);
            return Step::Taken;
        }
        if waited >= Duration::from_millis(limits::APPEND_RETRY_SILENT_MS_MAX) {
            self.context.counters.failed.add(1);
            return Step::LogFailed;
        }
        self.append(publish, tap, Some(since), echo)
    }

    /// A record is refused before it is whole: nothing of it is there to be looked at.
    pub(super) fn refuse_unread(&mut self) {
        self.context.counters.received.add(1);
        self.context.counters.rejected.add(1);
    }

    fn refuse(&mut self, publish: &P, refusal: Refusal) -> Step {
        self.context.counters.rejected.add(1);
        if publish.promise() != Promise::Answer {
            return Step::Violation(refusal);
        }
        self.answer(publish, refusal);
        Step::Taken
    }

    fn answer(&mut self, publish: &P, refusal: Refusal) {
        let outcome = Outcome::Refused(refusal);
        self.pending.push_back(Pending { origin: publish.origin(Echo::Unwanted), promise: publish.promise(), outcome });
    }

    /// Hands out, in order, every publish that can be answered now. Errors: the log of the first unanswered one failed.
    pub(super) fn settle(&mut self, mut answer: impl FnMut(Settled<P::Origin>)) -> Result<(), LogFailed> {
        let mut sums = Sums::default();
        let mut settled = Ok(());
        while let Some(first) = self.pending.front() {
            let outcome = match first.outcome {
                Outcome::Refused(refusal) => Err(refusal),
                Outcome::Stored { tap, offset, arrival } => match self.taps[tap].has_made_durable(offset) {
                    Ok(true) => Ok(arrival),
                    Ok(false) => break,
                    Err(failed) => {
                        settled = Err(failed);
                        break;
                    }
                },
            };
            let Some(Pending { origin, promise, .. }) = self.pending.pop_front() else { break };
            if let Ok(arrival) = outcome {
                sums.count(arrival, promise);
            }
            answer(Settled { origin, outcome });
        }
        sums.add_to(&self.context.counters);
        settled
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Durability, FakeAuthority, MemoryLog};

    /// A publish to a topic, perhaps with a number.
    struct Sent(&'static str, Option<ProducerSequence>);

    impl Publish for Sent {
        type Origin = Echo;

        fn topic(&self) -> &str {
            self.0
        }

        fn payload(&self) -> &[u8] {
            b"{}"
        }

        fn content_type(&self) -> ContentType {
            ContentType::Json
        }

        fn producer(&self) -> Result<Option<ProducerSequence>, Refusal> {
            Ok(self.1)
        }

        fn promise(&self) -> Promise {
            Promise::Answer
        }

        fn origin(&self, echo: Echo) -> Echo {
            echo
        }
    }

    #[test]
    fn what_is_refused_keeps_nothing_for_subscribers() {
        let context = testing::context(FakeAuthority::default(), MemoryLog::new(Durability::AtOnce));
        let mut intake = Intake::new(context, DeviceId::new("pump-1").unwrap());
        for topic in ["devices/pump-1/telemetry", "devices/pump-2/telemetry"] {
            assert_eq!(intake.offer(Sent(topic, None), Echo::Wanted), Step::Taken);
        }
        let mut told = Vec::new();
        intake.settle(|s| told.push((s.origin, s.outcome.is_ok()))).unwrap();
        assert_eq!(told, [(Echo::Wanted, true), (Echo::Unwanted, false)]);
    }

    #[test]
    fn what_is_sent_again_keeps_nothing_for_subscribers() {
        let log = MemoryLog::new(Durability::WhenTold);
        let mut intake = Intake::new(testing::context(FakeAuthority::default(), log.clone()), DeviceId::new("pump-1").unwrap());
        let number = ProducerSequence { epoch: 1, sequence: 5 };
        for _ in 0..3 {
            assert_eq!(intake.offer(Sent("devices/pump-1/telemetry", Some(number)), Echo::Wanted), Step::Taken);
        }
        log.make_durable(1);
        let mut told = Vec::new();
        intake.settle(|s| told.push(s.origin)).unwrap();
        assert_eq!(told, [Echo::Wanted, Echo::Unwanted, Echo::Unwanted]);
    }

    #[test]
    fn a_record_with_a_number_is_not_refused_so_that_others_can_overtake_it() {
        let log = MemoryLog::new(Durability::AtOnce);
        let context = testing::context(FakeAuthority::default(), log.clone());
        log.set_full(true);
        let number = ProducerSequence { epoch: 1, sequence: 5 };
        for (number, step, refused) in [(None, Step::Taken, 1), (Some(number), Step::LogFull, 0)] {
            let mut intake = Intake::new(context.clone(), DeviceId::new("pump-1").unwrap());
            assert_eq!(intake.offer(Sent("devices/pump-1/telemetry", number), Echo::Unwanted), Step::Taken);
            assert_eq!(intake.retry(Echo::Unwanted), Step::Taken, "there is time");
            let stalled = intake.stalled.as_mut().unwrap();
            stalled.since = stalled.since.checked_sub(Duration::from_millis(limits::APPEND_RETRY_MS_MAX)).unwrap();
            assert_eq!(intake.retry(Echo::Unwanted), step);
            let mut told = 0;
            intake.settle(|s| told += usize::from(s.outcome == Err(Refusal::Full))).unwrap();
            assert_eq!(told, refused);
        }
        assert_eq!((context.counters.received.get(), context.counters.failed.get()), (2, 2));
    }

    #[test]
    fn counters_are_those_of_all_that_was_settled_and_a_failed_log_is_told() {
        let log = MemoryLog::new(Durability::WhenTold);
        let context = testing::context(FakeAuthority::default(), log.clone());
        let mut intake = Intake::new(context.clone(), DeviceId::new("pump-1").unwrap());
        for sequence in [1, 2, 2, 3] {
            let number = Some(ProducerSequence { epoch: 1, sequence });
            assert_eq!(intake.offer(Sent("devices/pump-1/telemetry", number), Echo::Unwanted), Step::Taken);
        }
        intake.settle(|_| panic!("nothing is durable")).unwrap();
        log.make_durable(2);
        log.poison();
        let mut told = 0;
        assert!(intake.settle(|_| told += 1).is_err());
        assert_eq!((told, context.counters.appended.get(), context.counters.duplicate.get()), (3, 2, 1));
    }
}
