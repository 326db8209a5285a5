//! Reading an outside broker. Invariant: a message is acknowledged to the broker only in `ack`, or if it can never become a
//! record; those are counted and said aloud, so that nobody waits for them in vain.
//!
//! ```text
//! next:  poll ─► PUBLISH ─► record ──► unacknowledged    (up to SOURCE_RECORDS_MAX, without waiting once there is one)
//! ack:   unacknowledged ─► PUBACK requests ─► written by the following polls
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode};
use thalweg_engine::batch::ContentType;
use thalweg_engine::contract::{Options, Source, SourceRecord};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits;

use super::options::BrokerOptions;
use crate::shared::Throttle;

/// Longest packet that is read. What is too long for a record is read and left out: the broker sends again, before everything
/// else, what is not acknowledged.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Time between pings to the broker.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Requests that may wait for the event loop; acknowledgements of a full batch fit twice.
const REQUESTS_MAX: usize = limits::SOURCE_RECORDS_MAX * 2;

/// Opens a source from the options of its table. It connects when it is first asked for records. Errors: `Invalid` options.
pub(super) fn open(options: &mut Options) -> Result<Box<dyn Source>> {
    Ok(Box::new(MqttSource::new(BrokerOptions::take(options)?)))
}

/// A subscription at an outside broker.
pub(super) struct MqttSource {
    client: AsyncClient,
    events: EventLoop,
    options: BrokerOptions,
    /// Messages, without their payload, and the record in each, if there is one.
    ready: VecDeque<(Publish, Option<SourceRecord>)>,
    unacknowledged: Vec<Publish>,
    skipped: u64,
    warnings: Throttle,
}

impl MqttSource {
    pub(super) fn new(options: BrokerOptions) -> Self {
        let mut mqtt = MqttOptions::new(options.client_id.clone(), options.host.clone(), options.port);
        mqtt.set_keep_alive(KEEP_ALIVE)
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if let Some((user, password)) = &options.credentials {
            mqtt.set_credentials(user.clone(), password.clone());
        }
        let (client, events) = AsyncClient::new(mqtt, REQUESTS_MAX);
        let (ready, unacknowledged) = (VecDeque::new(), Vec::new());
        Self { client, events, options, ready, unacknowledged, skipped: 0, warnings: Throttle::default() }
    }

    /// Takes one event of the connection.
    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                let asked = self.client.try_subscribe(self.options.topic.clone(), QoS::AtLeastOnce);
                asked.map_err(|_| Error::invalid(format!("option 'topic': {:?} is no topic filter", self.options.topic)))
            }
            Event::Incoming(Packet::SubAck(ack)) if ack.return_codes.contains(&SubscribeReasonCode::Failure) => {
                Err(self.error(format!("refused the subscription to {:?}", self.options.topic)))
            }
            Event::Incoming(Packet::Publish(mut publish)) => {
                let record = self.record(&publish);
                // The record has it, and what is left out may be long.
                publish.payload = Bytes::new();
                self.ready.push_back((publish, record));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::unavailable(format!("broker {}:{} {what}", self.options.host, self.options.port))
    }

    /// The record in a message. None if its topic names no device or it is too large: such a message is skipped.
    fn record(&mut self, publish: &Publish) -> Option<SourceRecord> {
        let level = self.options.device_level;
        let device = publish.topic.split('/').nth(level).and_then(|id| DeviceId::new(id).ok());
        let fits = publish.payload.len() <= limits::RECORD_PAYLOAD_BYTES_MAX && publish.topic.len() <= limits::RECORD_TOPIC_BYTES_MAX;
        if let (Some(device), true) = (device, fits) {
            return Some(SourceRecord {
                device,
                topic: publish.topic.clone(),
                content_type: ContentType::Unknown,
                producer: None,
                payload: publish.payload.clone(),
            });
        }
        self.skipped += 1;
        if self.warnings.admit().is_some() {
            let (topic, skipped) = (publish.topic.chars().take(120).collect::<String>(), self.skipped);
            tracing::warn!(
                topic,
                level,
                bytes = publish.payload.len(),
                skipped,
                "messages skipped: no device id at this topic level, or too large"
            );
        }
        None
    }

    /// Hands out the records of what is ready.
    fn drain(&mut self) -> Vec<SourceRecord> {
        let mut records = Vec::new();
        while records.len() < limits::SOURCE_RECORDS_MAX
            && let Some((publish, record)) = self.ready.pop_front()
        {
            records.extend(record);
            self.unacknowledged.push(publish);
        }
        records
    }
}

#[async_trait]
impl Source for MqttSource {
    async fn next(&mut self) -> Result<Vec<SourceRecord>> {
        loop {
            // Only a live connection: a dropped `poll` would begin to connect anew.
            while self.events.network.is_some()
                && self.ready.len() < limits::SOURCE_RECORDS_MAX
                && let Some(event) = self.events.poll().now_or_never()
            {
                let event = event.map_err(|e| self.error(e))?;
                self.take(event)?;
            }
            let records = self.drain();
            if !records.is_empty() {
                return Ok(records);
            }
            // Only messages that will never be records: the broker need not keep them.
            self.ack().await?;
            let event = self.events.poll().await.map_err(|e| self.error(e))?;
            self.take(event)?;
        }
    }

    async fn ack(&mut self) -> Result<()> {
        for publish in std::mem::take(&mut self.unacknowledged) {
            while self.client.try_ack(&publish).is_err() {
                let event = self.events.poll().await.map_err(|e| self.error(e))?;
                self.take(event)?;
            }
        }
        Ok(())
    }
}
