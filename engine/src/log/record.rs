//! A record inside a frame. Invariant: the payload is stored byte for byte, and device and topic are ranges of the stored
//! bytes, so that a reader copies nothing.
//!
//! ```text
//!  0 received i64     microseconds, never less than that of the record before
//!  8 payload  u32     bytes
//! 12 topic    u16     bytes
//! 14 device   u8      bytes
//! 15 flags    u8      0-3 content type · 4 producer follows · 5 device lies inside the topic · 6-7 zero
//! 16 [epoch u32, sequence u64]  if flag 4
//!    [device]                   unless flag 5
//!    topic, payload
//! ```
//!
//! With flag 5 the topic begins with `devices/<device>`, and the device is read from there: most telemetry is like this.

use std::ops::Range;

use crate::batch::{ContentType, Entry, ProducerSequence, Record};
use crate::error::{Error, Result};
use crate::ids::{DEVICE_ID_BYTES_MAX, Offset};
use crate::limits::{FRAME_BYTES_MAX, RECORD_PAYLOAD_BYTES_MAX, RECORD_TOPIC_BYTES_MAX};
use crate::time::Micros;

use super::frame::{FRAME_HEADER_BYTES, FrameHeader};
use super::little_endian::{i64_at, put, u32_at, u64_at};

const HEADER_BYTES: usize = 16;
const PRODUCER_BYTES: usize = 12;
const CONTENT_TYPE_MASK: u8 = 0x0f;
const FLAG_PRODUCER: u8 = 0x10;
const FLAG_DEVICE_IN_TOPIC: u8 = 0x20;
const FLAGS_KNOWN: u8 = CONTENT_TYPE_MASK | FLAG_PRODUCER | FLAG_DEVICE_IN_TOPIC;
const TOPIC_PREFIX: &str = "devices/";

const RECORD_BYTES_MAX: usize = HEADER_BYTES + PRODUCER_BYTES + DEVICE_ID_BYTES_MAX + RECORD_TOPIC_BYTES_MAX + RECORD_PAYLOAD_BYTES_MAX;
const _: () = assert!(FRAME_HEADER_BYTES + RECORD_BYTES_MAX <= FRAME_BYTES_MAX, "a frame holds the largest record");

/// Refuses what does not fit the format. Errors: `Invalid`, naming the part and its limit.
pub(super) fn validate(record: &Record<'_>) -> Result<()> {
    let too_long = |what: &str, bytes: usize, max: usize| {
        Err(Error::invalid(format!("{what} of {bytes} bytes is too long")).hint(format!("at most {max} bytes are stored")))
    };
    if record.device.is_empty() {
        return Err(Error::invalid("record without a device"));
    }
    if record.device.len() > DEVICE_ID_BYTES_MAX {
        return too_long("device id", record.device.len(), DEVICE_ID_BYTES_MAX);
    }
    if record.topic.len() > RECORD_TOPIC_BYTES_MAX {
        return too_long("topic", record.topic.len(), RECORD_TOPIC_BYTES_MAX);
    }
    if record.payload.len() > RECORD_PAYLOAD_BYTES_MAX {
        return too_long("payload", record.payload.len(), RECORD_PAYLOAD_BYTES_MAX);
    }
    Ok(())
}

/// Bytes that the record takes in a frame at most.
pub(super) fn encoded_bytes(record: &Record<'_>) -> usize {
    HEADER_BYTES + PRODUCER_BYTES + record.device.len() + record.topic.len() + record.payload.len()
}

/// Appends a record that `validate` accepted.
pub(super) fn encode(buffer: &mut Vec<u8>, record: &Record<'_>, received: Micros) {
    assert!(record.device.len() <= DEVICE_ID_BYTES_MAX);
    assert!(record.topic.len() <= RECORD_TOPIC_BYTES_MAX);
    assert!(record.payload.len() <= RECORD_PAYLOAD_BYTES_MAX);
    let elided = record.topic.strip_prefix(TOPIC_PREFIX).is_some_and(|rest| rest.starts_with(record.device));
    let mut flags = record.content_type as u8;
    if record.producer.is_some() {
        flags |= FLAG_PRODUCER;
    }
    if elided {
        flags |= FLAG_DEVICE_IN_TOPIC;
    }
    let mut head = [0; HEADER_BYTES + PRODUCER_BYTES];
    put(&mut head, 0, received.to_le_bytes());
    put(&mut head, 8, (record.payload.len() as u32).to_le_bytes());
    put(&mut head, 12, (record.topic.len() as u16).to_le_bytes());
    head[14] = record.device.len() as u8;
    head[15] = flags;
    let mut head_bytes = HEADER_BYTES;
    if let Some(producer) = record.producer {
        put(&mut head, 16, producer.epoch.to_le_bytes());
        put(&mut head, 20, producer.sequence.to_le_bytes());
        head_bytes += PRODUCER_BYTES;
    }
    buffer.reserve(encoded_bytes(record));
    buffer.extend_from_slice(&head[..head_bytes]);
    if !elided {
        buffer.extend_from_slice(record.device.as_bytes());
    }
    buffer.extend_from_slice(record.topic.as_bytes());
    buffer.extend_from_slice(record.payload);
}

/// Appends the entries of a frame's records from offset `from` on. `body` is where the records lie in `chunk`. Errors: the
/// offset at which the bytes make no sense; with a good checksum this is a bug of the writer.
pub(super) fn decode(chunk: &[u8], body: Range<usize>, header: &FrameHeader, from: Offset, entries: &mut Vec<Entry>) -> Result<(), Offset> {
    assert!(u32::try_from(chunk.len()).is_ok(), "ranges are 32 bits wide");
    let chunk = &chunk[..body.end];
    entries.reserve(header.count as usize);
    let mut at = body.start;
    for offset in header.base..header.end() {
        let (entry, end) = decode_one(chunk, at, offset).ok_or(offset)?;
        if offset >= from {
            entries.push(entry);
        }
        at = end;
    }
    if at == body.end { Ok(()) } else { Err(header.end()) }
}

/// The record at byte `at`, and the byte after it.
#[inline]
fn decode_one(chunk: &[u8], at: usize, offset: Offset) -> Option<(Entry, usize)> {
    let head: &[u8; HEADER_BYTES] = chunk.get(at..)?.first_chunk()?;
    let received = i64_at(head, 0);
    let payload_bytes = u32_at(head, 8) as usize;
    let topic_bytes = usize::from(u16::from_le_bytes([head[12], head[13]]));
    let device_bytes = usize::from(head[14]);
    let flags = head[15];
    if flags & !FLAGS_KNOWN != 0 {
        return None;
    }
    let mut at = at + HEADER_BYTES;
    let mut producer = None;
    if flags & FLAG_PRODUCER != 0 {
        let number: &[u8; PRODUCER_BYTES] = chunk.get(at..)?.first_chunk()?;
        producer = Some(ProducerSequence { epoch: u32_at(number, 0), sequence: u64_at(number, 4) });
        at += PRODUCER_BYTES;
    }
    let (device, topic) = if flags & FLAG_DEVICE_IN_TOPIC != 0 {
        if TOPIC_PREFIX.len() + device_bytes > topic_bytes {
            return None;
        }
        let device = at + TOPIC_PREFIX.len();
        (device..device + device_bytes, at..at + topic_bytes)
    } else {
        let topic = at + device_bytes;
        (at..topic, topic..topic + topic_bytes)
    };
    let payload = topic.end..topic.end + payload_bytes;
    if payload.end > chunk.len() {
        return None;
    }
    let end = payload.end;
    let narrow = |range: Range<usize>| range.start as u32..range.end as u32;
    let content_type = ContentType::from_byte(flags & CONTENT_TYPE_MASK);
    let entry = Entry { offset, received, device: narrow(device), topic: narrow(topic), payload: narrow(payload), content_type, producer };
    Some((entry, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame::Content;
    use proptest::prelude::*;

    fn header(count: u32) -> FrameHeader {
        FrameHeader { bytes: 0, checksum: 0, count, base: 40, synced: 40, received_last: 0, content: Content::Records }
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_went_in(
            device in "[a-z0-9]{1,128}",
            own_topic in any::<bool>(),
            rest in "[a-z/]{0,40}",
            payload in prop::collection::vec(any::<u8>(), 0..300),
            kind in 0u8..4,
            producer in prop::option::of((any::<u32>(), any::<u64>())),
            received in any::<i64>(),
        ) {
            let topic = if own_topic { format!("devices/{device}{rest}") } else { rest };
            let producer = producer.map(|(epoch, sequence)| ProducerSequence { epoch, sequence });
            let record =
                Record { device: &device, topic: &topic, content_type: ContentType::from_byte(kind), producer, payload: &payload };
            validate(&record).unwrap();
            let mut bytes = vec![7; 5];
            encode(&mut bytes, &record, received);
            prop_assert!(bytes.len() - 5 <= encoded_bytes(&record));
            let (mut entries, end) = (Vec::new(), bytes.len());
            decode(&bytes, 5..end, &header(1), 0, &mut entries).unwrap();
            let e = &entries[0];
            let part = |r: &Range<u32>| &bytes[r.start as usize..r.end as usize];
            prop_assert_eq!((e.offset, e.received, e.content_type, e.producer), (40, received, record.content_type, producer));
            prop_assert_eq!(part(&e.device), device.as_bytes());
            prop_assert_eq!(part(&e.topic), topic.as_bytes());
            prop_assert_eq!(part(&e.payload), &payload[..]);
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_stay_inside(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..5) {
            let mut entries = Vec::new();
            let _ = decode(&bytes, 0..bytes.len(), &header(count), 0, &mut entries);
            for e in entries {
                for part in [e.device, e.topic, e.payload] {
                    prop_assert!(part.start <= part.end && part.end as usize <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn the_usual_topic_costs_sixteen_bytes_and_itself() {
        let record =
            Record { device: "pump-1", topic: "devices/pump-1/telemetry", content_type: ContentType::Json, producer: None, payload: b"{}" };
        let mut bytes = Vec::new();
        encode(&mut bytes, &record, 1);
        assert_eq!(bytes.len(), 16 + 24 + 2);
    }

    #[test]
    fn what_is_too_long_is_refused_with_its_limit() {
        let long = vec![0; RECORD_PAYLOAD_BYTES_MAX + 1];
        let record = Record { device: "d", topic: "t", content_type: ContentType::Binary, producer: None, payload: &long };
        assert!(validate(&record).unwrap_err().to_string().contains("262144"));
        assert!(validate(&Record { payload: b"", topic: &"t".repeat(513), ..record }).is_err());
        assert!(validate(&Record { payload: b"", device: "", ..record }).is_err());
        assert!(validate(&Record { payload: b"", ..record }).is_ok());
    }
}
