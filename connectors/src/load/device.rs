//! A simulated device with a connection of its own. Invariant: a record stays in `unacknowledged` from its first sending to its answer, and is
//! sent again, in order, on every new connection: at least once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::batch::ProducerSequence;
use thalweg_engine::topic;
use tokio::time::Instant;

use super::link::{Answer, Link, Lost, Outcome, Protocol};
use super::{DeviceTally, Pace, Readings};
use crate::shared::Backoff;
use crate::simulator::{DeviceOutcome, Refused, Run};

/// A connection whose oldest record is not answered for this long is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Answer id of a record that was not sent on this connection.
const UNSENT: u32 = 0;

struct Sent {
    sequence: u64,
    payload: Arc<[u8]>,
    answer_id: u32,
    first_sent: Instant,
    last_sent: Instant,
}

/// One device.
pub(crate) struct LinkedDevice {
    run: Arc<Run>,
    address: String,
    protocol: Protocol,
    key: String,
    device: String,
    topic: String,
    readings: Readings,
    pace: Pace,
    tally: DeviceTally,
    unacknowledged: VecDeque<Sent>,
    /// The last so many of them were not sent on this connection.
    unsent: usize,
    /// After the end of sending: how long answers are waited for.
    give_up_at: Option<Instant>,
}

impl LinkedDevice {
    pub(crate) fn new(run: Arc<Run>, index: usize, address: &str, protocol: Protocol) -> Self {
        let login = &run.simulation.devices[index];
        let device = login.device.to_string();
        Self {
            address: address.to_owned(),
            protocol,
            key: login.key.clone(),
            topic: topic::telemetry_topic(&device, run.simulation.stream.as_str()),
            readings: run.readings(index),
            pace: run.pace(index),
            tally: DeviceTally::new(&device),
            device,
            unacknowledged: VecDeque::new(),
            unsent: 0,
            give_up_at: None,
            run,
        }
    }

    /// Sends until the run is over, over as many connections as it takes.
    pub(crate) async fn run(mut self) -> DeviceOutcome {
        let mut backoff = Backoff::new();
        let mut refused = None;
        loop {
            match self.connection(&mut backoff).await {
                Ok(()) => break,
                Err(Lost::Refused(reason)) => {
                    self.run.tally.progress.disconnects.add(1);
                    refused = Some(Refused { message: reason, hint: None });
                    break;
                }
                Err(Lost::Broken(reason)) => {
                    self.run.tally.progress.disconnects.add(1);
                    tracing::debug!(device = self.device, reason, "connection lost");
                }
            }
            self.note_end();
            if self.is_done() {
                break;
            }
            let pause = backoff.next(self.readings.random());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.run.stop.cancelled(), if self.give_up_at.is_none() => {}
            }
        }
        DeviceOutcome::new(&self.device, &self.tally, self.unacknowledged.len(), refused)
    }

    /// One connection; `Ok` when there is nothing left to do.
    async fn connection(&mut self, backoff: &mut Backoff) -> Result<(), Lost> {
        let mut link = Link::connect(self.protocol, &self.address, &self.device, &self.key, &self.topic).await?;
        self.unsent = self.unacknowledged.len();
        for sent in &mut self.unacknowledged {
            sent.answer_id = UNSENT;
        }
        loop {
            self.note_end();
            if self.is_done() {
                link.goodbye().await;
                return Ok(());
            }
            let idle = self.send_due(&mut link)?;
            link.flush().await?;
            let next = if idle && self.give_up_at.is_none() && !self.pace.is_over() { self.pace.next_at() } else { None };
            let oldest = self.unacknowledged.front().map(|s| s.last_sent + ANSWER_TIMEOUT);
            let timer = [next, oldest, link.ping_at(), self.give_up_at].into_iter().flatten().min();
            let stop = self.run.stop.clone();
            tokio::select! {
                answers = link.answers() => {
                    self.settle(&answers?)?;
                    backoff.reset();
                }
                () = stop.cancelled(), if self.give_up_at.is_none() => {}
                () = sleep_until(timer) => self.time(&mut link)?,
            }
        }
    }

    fn time(&mut self, link: &mut Link) -> Result<(), Lost> {
        let now = Instant::now();
        if link.ping_at().is_some_and(|at| at <= now) {
            link.ping()?;
        }
        if self.unacknowledged.front().is_some_and(|s| s.last_sent + ANSWER_TIMEOUT <= now) {
            return Err(Lost::Broken("no answer in time".into()));
        }
        Ok(())
    }

    fn producer(&self, sequence: u64) -> ProducerSequence {
        ProducerSequence { epoch: self.run.simulation.epoch, sequence }
    }

    /// Queues what was not answered on an earlier connection, in order, and then records that are due. False if there is
    /// more than there is room for.
    fn send_due(&mut self, link: &mut Link) -> Result<bool, Lost> {
        while self.unsent > 0 {
            if !link.has_room() {
                return Ok(false);
            }
            let at = self.unacknowledged.len() - self.unsent;
            let producer = self.producer(self.unacknowledged[at].sequence);
            let sent = &mut self.unacknowledged[at];
            sent.answer_id = link.publish(&self.topic, sent.payload.clone(), producer)?;
            sent.last_sent = Instant::now();
            self.unsent -= 1;
            self.run.tally.progress.resent.add(1);
        }
        let mut now = Instant::now();
        while self.give_up_at.is_none() && self.pace.is_due(now) {
            if self.unacknowledged.len() >= self.run.simulation.window || !link.has_room() {
                return Ok(false);
            }
            let (sequence, payload) = self.readings.next(self.run.clock.now());
            let payload = Arc::<[u8]>::from(payload);
            self.pace.advance();
            self.run.tally.progress.sent.add(1);
            let queued = link.publish(&self.topic, payload.clone(), self.producer(sequence));
            let answer_id = queued.as_ref().copied().unwrap_or(UNSENT);
            self.unacknowledged.push_back(Sent { sequence, payload, answer_id, first_sent: now, last_sent: now });
            queued?;
            now = Instant::now();
        }
        Ok(true)
    }

    /// Errors: the server has no room; what it did not take is sent again on the next connection, in order.
    fn settle(&mut self, answers: &[Answer]) -> Result<(), Lost> {
        let (mut has_room, now) = (true, Instant::now());
        for answer in answers {
            // The first one, as a rule: servers answer in order.
            let Some(at) = self.unacknowledged.iter().position(|s| s.answer_id == answer.id) else { continue };
            if answer.outcome == Outcome::NoRoom {
                has_room = false;
                continue;
            }
            let Some(sent) = self.unacknowledged.remove(at) else { continue };
            if answer.outcome == Outcome::Stored {
                self.tally.acknowledge(&self.run.tally, sent.sequence, now.saturating_duration_since(sent.first_sent));
            } else {
                self.run.tally.progress.errors.add(1);
            }
        }
        if has_room { Ok(()) } else { Err(Lost::Broken("the server has no room for more now".into())) }
    }

    /// Sets the time to give up once there is nothing more to send.
    fn note_end(&mut self) {
        if self.give_up_at.is_none() && (self.run.stop.is_cancelled() || self.pace.is_over()) {
            self.give_up_at = Some(Instant::now() + self.run.simulation.drain);
        }
    }

    fn is_done(&self) -> bool {
        self.give_up_at.is_some_and(|at| self.unacknowledged.is_empty() || at <= Instant::now())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
