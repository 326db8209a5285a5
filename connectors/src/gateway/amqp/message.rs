//! Messages: their body, content type and number. Invariant: what is stored is the body's bytes as they were sent; a body that
//! is not just bytes or text is refused, never re-written.
//!
//! ```text
//! header? annotations* properties? application-properties? ( data+ | value | sequence+ ) footer?
//! 70      71, 72       73          74                        75      77      76          78
//! ```

use std::sync::Arc;

use thalweg_engine::batch::{ContentType, ProducerSequence};

use crate::amqp::value::{Items, Malformed, Reader, Value};
use crate::gateway::intake::{self, Echo, Promise, Refusal};
use crate::gateway::numbering::{Number, Numbering};

/// What a disposition has to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) channel: u16,
    /// Which session of that channel.
    pub(super) session: u64,
    pub(super) delivery: u32,
    /// Settled by the sender: nothing is to be said about it.
    pub(super) settled: bool,
}

/// A delivery that is complete.
pub(super) struct Delivery {
    topic: Arc<str>,
    origin: Origin,
    content: Result<Content, Refusal>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    payload: Vec<u8>,
    content_type: ContentType,
    producer: Option<ProducerSequence>,
}

impl Delivery {
    /// `format` and `bytes` are the message as it came over the link.
    pub(super) fn new(topic: Arc<str>, origin: Origin, format: u32, bytes: &[u8]) -> Self {
        let content = match format {
            0 => read(bytes),
            _ => Err(Refusal::Malformed("the format of the message is none of AMQP's own")),
        };
        Self { topic, origin, content }
    }
}

impl intake::Publish for Delivery {
    type Origin = Origin;

    fn topic(&self) -> &str {
        &self.topic
    }

    fn payload(&self) -> &[u8] {
        match &self.content {
            Ok(content) => &content.payload,
            Err(_) => &[],
        }
    }

    fn content_type(&self) -> ContentType {
        self.content.as_ref().map_or(ContentType::Unknown, |c| c.content_type)
    }

    fn producer(&self) -> Result<Option<ProducerSequence>, Refusal> {
        self.content.as_ref().map(|c| c.producer).map_err(|&refusal| refusal)
    }

    fn promise(&self) -> Promise {
        if self.origin.settled { Promise::Nothing } else { Promise::Answer }
    }

    fn origin(&self, _echo: Echo) -> Origin {
        self.origin
    }
}

fn read(bytes: &[u8]) -> Result<Content, Refusal> {
    let malformed = |Malformed(what)| Refusal::Malformed(what);
    let mut reader = Reader::new(bytes);
    let (mut content, mut body, mut has_properties) = (Content::default(), None::<u64>, false);
    while !reader.rest().is_empty() {
        let (section, mut value) = reader.described().map_err(malformed)?;
        match section {
            0x73 => content.content_type = content_type(value).map_err(malformed)?,
            0x74 if has_properties => return Err(Refusal::Malformed("application properties are there twice")),
            0x74 => {
                has_properties = true;
                content.producer = producer(value)?;
            }
            // Several sections of data are one body.
            0x75 | 0x77 if body.is_some_and(|before| (before, section) != (0x75, 0x75)) => {
                return Err(Refusal::Malformed("the message has two bodies"));
            }
            0x75 => match value.value().map_err(malformed)? {
                Value::Binary(data) => {
                    content.payload.extend_from_slice(data);
                    body = Some(section);
                }
                _ => return Err(Refusal::Malformed("a section of data is no binary")),
            },
            0x77 => {
                let payload = match value.value().map_err(malformed)? {
                    Value::Binary(data) => data,
                    Value::Text(text) => text.as_bytes(),
                    _ => return Err(Refusal::Malformed("the body is a value that is neither text nor binary")),
                };
                content.payload = payload.to_vec();
                body = Some(section);
            }
            0x76 => return Err(Refusal::Malformed("the body is a sequence: send data, text or binary")),
            0x70 | 0x71 | 0x72 | 0x78 => {}
            _ => return Err(Refusal::Malformed("a section that does not exist")),
        }
    }
    if body.is_some() { Ok(content) } else { Err(Refusal::Malformed("the message has no body")) }
}

fn content_type(mut properties: Reader<'_>) -> Result<ContentType, Malformed> {
    let mut fields = properties.fields()?;
    fields.skip(6)?;
    Ok(fields.text()?.map_or(ContentType::Unknown, ContentType::from_media_type))
}

fn producer(mut properties: Reader<'_>) -> Result<Option<ProducerSequence>, Refusal> {
    let malformed = |Malformed(what)| Refusal::Malformed(what);
    let mut map: Items<'_> = match properties.value().map_err(malformed)? {
        Value::Map(map) => map,
        _ => return Err(Refusal::Malformed("application properties are no map")),
    };
    let mut numbering = Numbering::default();
    while let Some((key, value)) = map.entry().map_err(malformed)? {
        let (Value::Text(key) | Value::Symbol(key)) = key else {
            return Err(Refusal::Malformed("the name of an application property is no string"));
        };
        let value = match value {
            Value::Text(text) => Number::Text(text),
            Value::Whole(n) => Number::Whole(n),
            Value::Signed(n) => u64::try_from(n).map_or(Number::Other, Number::Whole),
            _ => Number::Other,
        };
        numbering.property(key, value).map_err(Refusal::Numbering)?;
    }
    numbering.finish().map_err(Refusal::Numbering)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::encode::described_binary;

    /// A body that is a value.
    const TEXT: &[u8] = &[0, 0x53, 0x77, 0xa1, 1, b'y'];

    fn data(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        described_binary(&mut out, 0x75, bytes);
        out
    }

    /// Application properties whose map holds these bytes as so many keys and values.
    fn properties(count: u8, pairs: &[u8]) -> Vec<u8> {
        [&[0, 0x53, 0x74, 0xc1, pairs.len() as u8 + 1, count][..], pairs].concat()
    }

    fn name(text: &str) -> Vec<u8> {
        [&[0xa1, text.len() as u8][..], text.as_bytes()].concat()
    }

    #[test]
    fn bodies_of_bytes_and_text_are_kept_as_they_are() {
        let value = |body: &[u8]| [&[0, 0x53, 0x77][..], body].concat();
        for (message, payload) in [
            (data(b"{}"), &b"{}"[..]),
            ([data(b"{\"a\""), data(b":1}")].concat(), b"{\"a\":1}"),
            (value(&[0xa1, 2, b'{', b'}']), b"{}"),
            (value(&[0xa0, 1, 0xff]), &[0xff]),
            ([vec![0, 0x53, 0x70, 0x45], data(b"x"), vec![0, 0x53, 0x78, 0xc1, 1, 0]].concat(), b"x"),
            (data(b""), b""),
            // The description as a number of eight bytes.
            (vec![0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x75, 0xa0, 1, b'y'], b"y"),
        ] {
            assert_eq!(read(&message).unwrap().payload, payload, "{message:x?}");
        }
    }

    #[test]
    fn a_body_that_would_have_to_be_rewritten_is_refused() {
        for (message, said) in [
            (vec![], "no body"),
            (vec![0, 0x53, 0x77, 0x40], "neither text nor binary"),
            (vec![0, 0x53, 0x77, 0x52, 1], "neither text nor binary"),
            (vec![0, 0x53, 0x76, 0x45], "sequence"),
            (vec![0, 0x53, 0x75, 0xa1, 1, b'x'], "no binary"),
            (vec![0, 0x53, 0x79, 0x40], "does not exist"),
            (vec![0, 0x53, 0x75, 0xa0, 9, b'x'], "longer than its frame"),
            (b"{}".to_vec(), "without a description"),
            ([data(b"x"), TEXT.to_vec()].concat(), "two bodies"),
            ([TEXT.to_vec(), data(b"x")].concat(), "two bodies"),
            ([TEXT, TEXT].concat(), "two bodies"),
        ] {
            let refusal = read(&message).unwrap_err();
            assert!(refusal.reason().contains(said), "{message:x?}: {refusal:?}");
        }
    }

    #[test]
    fn the_content_type_is_the_seventh_property() {
        let json = name("application/json");
        let symbol = [&[0xa3][..], &json[1..]].concat();
        for media_type in [json, symbol] {
            let fields = [vec![0x40; 6], media_type].concat();
            let section = [&[0, 0x53, 0x73, 0xc0, fields.len() as u8 + 1, 7][..], &fields[..]].concat();
            assert_eq!(read(&[section, data(b"{}")].concat()).unwrap().content_type, ContentType::Json);
        }
    }

    #[test]
    fn numbers_are_taken_in_every_width_and_as_text() {
        let with = |pairs: &[Vec<u8>]| read(&[properties(pairs.len() as u8, &pairs.concat()), data(b"{}")].concat());
        let (epoch, seq) = (name("epoch"), name("seq"));
        for (first, second) in [
            (vec![0x52, 4], vec![0x53, 9]),
            (vec![0x70, 0, 0, 0, 4], vec![0x80, 0, 0, 0, 0, 0, 0, 0, 9]),
            (vec![0x54, 4], vec![0x81, 0, 0, 0, 0, 0, 0, 0, 9]),
            (name("4"), name("9")),
        ] {
            let content = with(&[epoch.clone(), first, seq.clone(), second]).unwrap();
            assert_eq!(content.producer, Some(ProducerSequence { epoch: 4, sequence: 9 }));
        }
        let other = with(&[name("site"), name("north")]).unwrap();
        assert_eq!(other.producer, None);
        for (pairs, said) in [
            (vec![epoch.clone(), vec![0x52, 1]], "come together"),
            (vec![epoch.clone(), vec![0x52, 1], seq.clone(), vec![0x54, 0xff]], "seq is not"),
            (vec![epoch.clone(), vec![0x53, 1], seq.clone(), vec![0x82, 0, 0, 0, 0, 0, 0, 0, 0]], "seq is not"),
            (vec![epoch.clone(), vec![0x80, 0, 0, 0, 1, 0, 0, 0, 0], seq.clone(), vec![0x53, 1]], "epoch is not"),
            (vec![epoch.clone(), vec![0x52, 1], epoch, vec![0x52, 1]], "twice"),
            (vec![vec![0x52, 1], vec![0x52, 1]], "no string"),
        ] {
            let refusal = with(&pairs).unwrap_err();
            assert!(refusal.reason().contains(said), "{refusal:?}");
        }
    }
}
