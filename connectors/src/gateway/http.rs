//! Ingest over HTTP, without HTTP: the route that owns the request calls this. Invariant: all records of a body are durable
//! when it returns `Ok`; if the body cannot be split, none of them was stored.

use std::time::Duration;

use thalweg_engine::batch::{ContentType, ProducerSequence, Record};
use thalweg_engine::contract::{Arrival, LogStore, Ticket};
use thalweg_engine::error::{Case, Error, ErrorKind, Result};
use thalweg_engine::ids::{self, DeviceId, Name, Offset, Partition};
use thalweg_engine::{limits, topic};
use tokio::time::Instant;

use super::GatewayContext;
use super::body;
use super::durability::wait_durable;

/// Request header with the producer's epoch, a number; see [`ingest`].
pub const EPOCH_HEADER: &str = "thalweg-epoch";
/// Request header with the sequence of the body's first record, a number; see [`ingest`].
pub const SEQUENCE_HEADER: &str = "thalweg-sequence";

/// What became of a body: every record of it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// How many records it held, at least one.
    pub records: usize,
    /// How many of them were known by their sequence and not stored again.
    pub duplicates: usize,
    /// Partition of the device.
    pub partition: Partition,
    /// Offset of the last record.
    pub last_offset: Offset,
}

/// Stores the records of one request body: a JSON object, a JSON array (one record an element, byte for byte), lines of JSON,
/// or one record of anything else. `producer` numbers the first record; the others count on from there.
///
/// Errors: `Invalid` (too large, numbers beyond the last one, not the JSON it claims to be, naming line and column; nothing was
/// stored), `Forbidden` (the device lost its rights while a record waited), `NotFound` (no such stream), `Unavailable` (the log is
/// full or slow: send the same again), `Internal` (the log failed). After the last two a part may have been stored; producers that
/// number their records may send all of it again, before anything that comes after it: the log takes a number far below the last
/// one for known.
pub async fn ingest(
    context: &GatewayContext,
    device: &DeviceId,
    stream: &Name,
    content_type: Option<&str>,
    producer: Option<ProducerSequence>,
    body: &[u8],
) -> Result<Accepted> {
    let prepared = prepare(context, stream, content_type, producer, body);
    let (log, content_type, payloads) = prepared.inspect_err(|_| {
        context.counters.received.add(1);
        context.counters.rejected.add(1);
    })?;
    // Also if the device hangs up before the answer.
    let mut unsettled = context.counters.received(payloads.len() as u64);
    context.authority.seen(device, None);
    let stored = store(context, log.as_ref(), device, stream, content_type, producer, &payloads).await;
    let Stored { last, duplicates } = stored?;
    unsettled.settle(&context.counters.appended, payloads.len() as u64 - duplicates);
    unsettled.settle(&context.counters.duplicate, duplicates);
    let (partition, last_offset) = (last.partition, last.offset);
    Ok(Accepted { records: payloads.len(), duplicates: duplicates as usize, partition, last_offset })
}

type Prepared<'a> = (std::sync::Arc<dyn LogStore>, ContentType, Vec<&'a [u8]>);

fn prepare<'a>(
    context: &GatewayContext,
    stream: &Name,
    content_type: Option<&str>,
    producer: Option<ProducerSequence>,
    body: &'a [u8],
) -> Result<Prepared<'a>> {
    if body.len() > limits::HTTP_TELEMETRY_BYTES_MAX {
        return Err(Error::invalid(format!("body of {} bytes is too long", body.len()))
            .of_case(Case::TooLarge)
            .hint(format!("send at most {} bytes a request", limits::HTTP_TELEMETRY_BYTES_MAX)));
    }
    let (content_type, payloads) = body::split(content_type, body)?;
    if payloads.len() > limits::HTTP_TELEMETRY_RECORDS_MAX {
        return Err(Error::invalid(format!("{} records in one request are too many", payloads.len()))
            .of_case(Case::TooLarge)
            .hint(format!("send at most {}", limits::HTTP_TELEMETRY_RECORDS_MAX)));
    }
    if let Some(at) = payloads.iter().position(|p| p.len() > limits::RECORD_PAYLOAD_BYTES_MAX) {
        return Err(Error::invalid(format!("record {} of {} bytes is too long", at + 1, payloads[at].len()))
            .of_case(Case::TooLarge)
            .hint(format!("a record has at most {} bytes", limits::RECORD_PAYLOAD_BYTES_MAX)));
    }
    let after_first = payloads.len().saturating_sub(1) as u64;
    if let Some(first) = producer.filter(|p| p.sequence.checked_add(after_first).is_none()) {
        return Err(Error::invalid(format!("{} records cannot be numbered from {} on", payloads.len(), first.sequence))
            .hint("begin a new epoch before the sequences come to their end"));
    }
    Ok((context.logs.stream(stream)?, content_type, payloads))
}

/// What became of the payloads.
struct Stored {
    last: Ticket,
    duplicates: u64,
}

/// Appends all payloads in order and waits until the last is durable.
async fn store(
    context: &GatewayContext,
    log: &dyn LogStore,
    device: &DeviceId,
    stream: &Name,
    content_type: ContentType,
    producer: Option<ProducerSequence>,
    payloads: &[&[u8]],
) -> Result<Stored> {
    let topic = topic::telemetry_topic(device.as_str(), stream.as_str());
    let mut progress = log.progress(ids::partition_of(device.as_str(), log.partitions()));
    let (mut last, mut duplicates): (Option<Ticket>, _) = (None, 0);
    for (payload, count) in payloads.iter().zip(0u64..) {
        let producer = producer.map(|p| ProducerSequence { sequence: p.sequence + count, ..p });
        let record = Record { device: device.as_str(), topic: &topic, content_type, producer, payload };
        let ticket = append(context, log, device, &record).await?;
        match ticket.arrival {
            Arrival::New => {}
            Arrival::AfterGap => context.counters.gaps.add(1),
            Arrival::Duplicate => duplicates += 1,
        }
        // A record that the log knows already may lie before the last new one.
        last = Some(last.filter(|l| l.offset > ticket.offset).unwrap_or(ticket));
    }
    let last = last.ok_or_else(|| Error::invalid("the body holds no record"))?;
    wait_durable(&mut progress, last.offset, Duration::from_millis(limits::DURABLE_WAIT_MS_MAX)).await?;
    Ok(Stored { last, duplicates })
}

/// Appends one record, offering it again for a while if the log has no room.
async fn append(context: &GatewayContext, log: &dyn LogStore, device: &DeviceId, record: &Record<'_>) -> Result<Ticket> {
    let deadline = Instant::now() + Duration::from_millis(limits::APPEND_RETRY_MS_MAX);
    loop {
        match log.append(record) {
            Err(e) if e.kind() == ErrorKind::Unavailable && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(limits::APPEND_RETRY_INTERVAL_MS)).await;
                if !context.authority.is_active(device) {
                    return Err(Error::invalid(format!("device {device} is no longer active")).of_case(Case::Forbidden));
                }
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{Durability, FakeAuthority, MemoryLog, context};

    fn device() -> DeviceId {
        DeviceId::new("pump-1").unwrap()
    }

    async fn send(log: &Arc<MemoryLog>, content_type: Option<&str>, body: &[u8]) -> Result<Accepted> {
        let context = context(FakeAuthority::default(), log.clone());
        ingest(&context, &device(), &Name::new("telemetry").unwrap(), content_type, None, body).await
    }

    #[tokio::test]
    async fn every_element_becomes_a_record_with_its_own_bytes() {
        let log = MemoryLog::new(Durability::AtOnce);
        let got = send(&log, Some("application/json"), br#" [ {"a": 1} ,{"a":2.50}] "#).await.unwrap();
        assert_eq!((got.records, got.last_offset), (2, 1));
        assert_eq!(log.payloads(), [r#"{"a": 1}"#, r#"{"a":2.50}"#]);
        assert_eq!(log.records()[0].topic, "devices/pump-1/telemetry");
    }

    #[tokio::test]
    async fn a_bad_line_or_a_long_record_stores_nothing() {
        let log = MemoryLog::new(Durability::AtOnce);
        let too_long = vec![b' '; limits::HTTP_TELEMETRY_BYTES_MAX + 1];
        let long = format!("[1,\"{}\"]", "x".repeat(limits::RECORD_PAYLOAD_BYTES_MAX));
        for (content_type, body, said, case) in [
            ("application/x-ndjson", "{\"a\":1}\n{\"a\":\n{\"a\":3}".as_bytes(), "line 2", None),
            ("application/json", b"{\"a\":1,}", "line 1", None),
            ("application/json", long.as_bytes(), "record 2", Some(Case::TooLarge)),
            ("application/json", &too_long, "too long", Some(Case::TooLarge)),
        ] {
            let error = send(&log, Some(content_type), body).await.unwrap_err();
            assert_eq!((error.kind(), error.case()), (ErrorKind::Invalid, case));
            assert!(error.message().contains(said), "{error}");
        }
        assert_eq!(log.payloads().len(), 0);
    }

    #[tokio::test]
    async fn numbers_that_would_begin_anew_are_refused_before_anything_is_stored() {
        let log = MemoryLog::new(Durability::AtOnce);
        let context = context(FakeAuthority::default(), log.clone());
        let first = Some(ProducerSequence { epoch: 1, sequence: u64::MAX - 1 });
        let name = Name::new("telemetry").unwrap();
        let error = ingest(&context, &device(), &name, None, first, b"[1,2,3]").await.unwrap_err();
        assert_eq!((error.kind(), log.records().len()), (ErrorKind::Invalid, 0));
        assert_eq!((context.counters.received.get(), context.counters.rejected.get()), (1, 1));
        assert_eq!(ingest(&context, &device(), &name, None, first, b"[1,2]").await.unwrap().records, 2);
    }

    #[tokio::test]
    async fn a_body_that_found_no_room_is_an_error_and_stored_when_it_comes_again() {
        let log = MemoryLog::new(Durability::AtOnce);
        let context = context(FakeAuthority::default(), log.clone());
        let (name, first) = (Name::new("telemetry").unwrap(), Some(ProducerSequence { epoch: 1, sequence: 7 }));
        let device = device();
        let send = || ingest(&context, &device, &name, None, first, b"[1,2]");
        log.set_full(true);
        assert_eq!(send().await.unwrap_err().kind(), ErrorKind::Unavailable);
        log.set_full(false);
        let accepted = send().await.unwrap();
        assert_eq!((accepted.records, accepted.duplicates, log.records().len()), (2, 0, 2));
        let c = &context.counters;
        assert_eq!((c.received.get(), c.failed.get(), c.appended.get(), c.duplicate.get()), (4, 2, 2, 0));
    }

    #[tokio::test]
    async fn a_device_that_is_revoked_while_its_records_wait_is_told_that_it_may_not() {
        let (log, authority) = (MemoryLog::new(Durability::AtOnce), FakeAuthority::default());
        let context = context(authority.clone(), log.clone());
        log.set_full(true);
        authority.revoke("pump-1");
        let error = ingest(&context, &device(), &Name::new("telemetry").unwrap(), None, None, b"[1]").await.unwrap_err();
        assert_eq!((error.kind(), error.case()), (ErrorKind::Invalid, Some(Case::Forbidden)), "{error}");
    }

    #[tokio::test]
    async fn it_answers_only_when_the_last_record_is_durable() {
        let log = MemoryLog::new(Durability::WhenTold);
        let held = log.clone();
        let request = tokio::spawn(async move { send(&held, None, b"{\"a\":1}\n{\"a\":2}").await });
        log.wait_appended(2).await;
        log.make_durable(1);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!request.is_finished());
        log.make_durable(2);
        assert_eq!(request.await.unwrap().unwrap().records, 2);
    }

    #[tokio::test]
    async fn a_failed_log_is_not_success_and_the_sequence_counts_on() {
        let log = MemoryLog::new(Durability::WhenTold);
        let context = context(FakeAuthority::default(), log.clone());
        let first = ProducerSequence { epoch: 3, sequence: 40 };
        let name = Name::new("telemetry").unwrap();
        let device = device();
        let (got, ()) = tokio::join!(ingest(&context, &device, &name, None, Some(first), b"[1,2]"), async {
            log.wait_appended(2).await;
            log.poison();
        });
        assert_eq!(got.unwrap_err().kind(), ErrorKind::Internal);
        let sequences: Vec<u64> = log.records().iter().map(|r| r.producer.unwrap().sequence).collect();
        assert_eq!(sequences, [40, 41]);
        assert_eq!((context.counters.received.get(), context.counters.failed.get()), (2, 2));
    }
}
