//! A peer made by hand. Invariant: it shares no code with the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V5,
}

pub(super) const BOTH: [Version; 2] = [Version::V3, Version::V5];

pub(super) struct Peer {
    pub(super) socket: TcpStream,
}

/// First byte and body.
pub(super) type Raw = (u8, Vec<u8>);

impl Peer {
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap() }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// The next packet; none if the connection was closed.
    pub(super) async fn packet(&mut self) -> Option<Raw> {
        tokio::time::timeout(Duration::from_secs(10), self.read_packet()).await.expect("a packet or the end in time")
    }

    async fn read_packet(&mut self) -> Option<Raw> {
        let first = self.socket.read_u8().await.ok()?;
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = self.socket.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    /// Nothing arrives for a while.
    pub(super) async fn hears_nothing(&mut self) {
        let heard = tokio::time::timeout(Duration::from_millis(80), self.read_packet()).await;
        assert!(heard.is_err(), "heard {heard:?}");
    }

    /// The connection ends; what came before is returned.
    pub(super) async fn until_closed(&mut self) -> Vec<Raw> {
        let mut packets = Vec::new();
        while let Some(packet) = self.packet().await {
            packets.push(packet);
        }
        packets
    }

    /// Sends CONNECT as a well-behaved device and expects to be let in.
    pub(super) async fn connect(&mut self, version: Version, device: &str) {
        self.send(&connect(version, device, device, &format!("key-{device}"), None)).await;
        let (first, body) = self.packet().await.unwrap();
        assert_eq!((first, body[0], body[1]), (0x20, 0, 0), "{body:?}");
    }
}

fn text(s: &str) -> Vec<u8> {
    let mut out = (s.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(s.as_bytes());
    out
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// CONNECT with a clean session, keep-alive off, and perhaps a will on a topic.
pub(super) fn connect(version: Version, client_id: &str, user: &str, key: &str, will: Option<&str>) -> Vec<u8> {
    connect_with(version, client_id, user, key, will, 0)
}

pub(super) fn connect_with(version: Version, client_id: &str, user: &str, key: &str, will: Option<&str>, keep_alive_s: u16) -> Vec<u8> {
    let mut body = text("MQTT");
    body.push(if version == Version::V5 { 5 } else { 4 });
    body.push(if will.is_some() { 0b1100_0110 } else { 0b1100_0010 });
    body.extend(keep_alive_s.to_be_bytes());
    let no_properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    body.extend(no_properties);
    body.extend(text(client_id));
    if let Some(topic) = will {
        body.extend(no_properties);
        body.extend(text(topic));
        body.extend(text("gone"));
    }
    body.extend(text(user));
    body.extend(text(key));
    packet(0x10, &body)
}

/// CONNECT of version 5 with properties.
pub(super) fn connect_v5(device: &str, properties: &[u8]) -> Vec<u8> {
    let plain = connect(Version::V5, device, device, &format!("key-{device}"), None);
    // After the fixed header: name, version, flags, keep-alive, length of the properties.
    let (before, after) = plain[2..].split_at(10);
    packet(0x10, &[before, &[properties.len() as u8], properties, &after[1..]].concat())
}

/// PUBLISH; `id` is none for QoS 0.
pub(super) fn publish(version: Version, topic: &str, payload: &[u8], id: Option<u16>) -> Vec<u8> {
    publish_with(version, topic, payload, id, if id.is_some() { 0x32 } else { 0x30 }, &[])
}

pub(super) fn publish_with(version: Version, topic: &str, payload: &[u8], id: Option<u16>, first: u8, properties: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
    if version == Version::V5 {
        body.push(properties.len() as u8);
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    packet(first, &body)
}

pub(super) fn user_property(key: &str, value: &str) -> Vec<u8> {
    [vec![0x26], text(key), text(value)].concat()
}

pub(super) fn content_type(value: &str) -> Vec<u8> {
    [vec![0x03], text(value)].concat()
}

/// SUBSCRIBE to filters with QoS 1.
pub(super) fn subscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        body.extend(text(filter));
        body.push(1);
    }
    packet(0x82, &body)
}

pub(super) fn unsubscribe(version: Version, id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(text(filter));
    packet(0xa2, &body)
}

/// Topic, packet id and payload of a PUBLISH from the gateway.
pub(super) fn parse_publish(version: Version, (first, body): &Raw) -> (String, Option<u16>, Vec<u8>) {
    assert_eq!(first & 0xf0, 0x30, "{first:x}");
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    let mut rest = &body[2 + length..];
    let mut id = None;
    if first & 0x06 != 0 {
        id = Some(u16::from_be_bytes([rest[0], rest[1]]));
        rest = &rest[2..];
    }
    if version == Version::V5 {
        rest = &rest[1 + usize::from(rest[0])..];
    }
    (topic, id, rest.to_vec())
}
