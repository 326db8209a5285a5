//! A peer made by hand. Invariant: it shares no code with the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) const SASL: &[u8] = b"AMQP\x03\x01\x00\x00";
pub(super) const AMQP: &[u8] = b"AMQP\x00\x01\x00\x00";

pub(super) const OPEN: u64 = 0x10;
pub(super) const BEGIN: u64 = 0x11;
pub(super) const ATTACH: u64 = 0x12;
pub(super) const FLOW: u64 = 0x13;
pub(super) const TRANSFER: u64 = 0x14;
pub(super) const DISPOSITION: u64 = 0x15;
pub(super) const DETACH: u64 = 0x16;
pub(super) const END: u64 = 0x17;
pub(super) const CLOSE: u64 = 0x18;

/// A value as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum V {
    Null,
    Bool(bool),
    Num(u64),
    Text(String),
    List(Vec<V>),
    Described(u64, Box<V>),
}

fn parse(bytes: &mut &[u8]) -> V {
    let mut take = |n: usize| {
        let (taken, rest) = bytes.split_at(n);
        *bytes = rest;
        taken.to_vec()
    };
    let number = |b: Vec<u8>| b.iter().fold(0, |n, &b| n << 8 | u64::from(b));
    match take(1)[0] {
        0 => {
            let V::Num(code) = parse(bytes) else { panic!("a description that is no number") };
            V::Described(code, Box::new(parse(bytes)))
        }
        0x40 => V::Null,
        0x41 => V::Bool(true),
        0x42 => V::Bool(false),
        0x43 | 0x44 => V::Num(0),
        0x50 | 0x52 | 0x53 => V::Num(number(take(1))),
        0x60 => V::Num(number(take(2))),
        0x70 => V::Num(number(take(4))),
        0x80 => V::Num(number(take(8))),
        short @ (0xa0 | 0xa1 | 0xa3 | 0xb0 | 0xb1 | 0xb3) => {
            let length = number(take(if short < 0xb0 { 1 } else { 4 })) as usize;
            V::Text(String::from_utf8(take(length)).unwrap())
        }
        0x45 => V::List(Vec::new()),
        0xd0 => {
            let (size, count) = (number(take(4)) as usize, number(take(4)));
            let body = take(size - 4);
            let mut rest = &body[..];
            let list = (0..count).map(|_| parse(&mut rest)).collect();
            assert!(rest.is_empty(), "a list is longer than its parts");
            V::List(list)
        }
        0xe0 => {
            let (size, count) = (number(take(1)) as usize, number(take(1)));
            let body = take(size - 1);
            assert_eq!((body[0], count), (0xa3, 1), "an array of one symbol");
            let mut rest = &body[..];
            V::List(vec![parse(&mut rest)])
        }
        other => panic!("constructor {other:x}"),
    }
}

/// What the gateway said in one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) channel: u16,
    pub(super) code: u64,
    pub(super) fields: Vec<V>,
}

impl Said {
    pub(super) fn number(&self, at: usize) -> u64 {
        match self.fields.get(at) {
            Some(V::Num(n)) => *n,
            other => panic!("field {at} is {other:?} in {self:?}"),
        }
    }

    /// The condition and description of an error that is a field.
    pub(super) fn error(&self, at: usize) -> (String, String) {
        match self.fields.get(at) {
            Some(V::Described(0x1d, error)) => pair(error),
            other => panic!("field {at} is {other:?} in {self:?}"),
        }
    }

    /// First and last delivery, and `released`, or the condition if they were rejected.
    pub(super) fn answer(&self) -> (u64, u64, Option<String>) {
        assert_eq!((self.code, &self.fields[0], &self.fields[3]), (DISPOSITION, &V::Bool(true), &V::Bool(true)), "{self:?}");
        let condition = match &self.fields[4] {
            V::Described(0x24, nothing) if **nothing == V::List(Vec::new()) => None,
            V::Described(0x26, nothing) if **nothing == V::List(Vec::new()) => Some("released".to_owned()),
            V::Described(0x25, why) => match &**why {
                V::List(fields) => match &fields[..] {
                    [V::Described(0x1d, error)] => Some(pair(error).0),
                    _ => panic!("{self:?}"),
                },
                _ => panic!("{self:?}"),
            },
            _ => panic!("{self:?}"),
        };
        (self.number(1), self.number(2), condition)
    }
}

fn pair(error: &V) -> (String, String) {
    match error {
        V::List(fields) => match &fields[..] {
            [V::Text(condition), V::Text(description)] => (condition.clone(), description.clone()),
            _ => panic!("{fields:?}"),
        },
        _ => panic!("{error:?}"),
    }
}

pub(super) fn null() -> Vec<u8> {
    vec![0x40]
}

pub(super) fn flag(flag: bool) -> Vec<u8> {
    vec![if flag { 0x41 } else { 0x42 }]
}

pub(super) fn uint(n: u32) -> Vec<u8> {
    [&[0x70][..], &n.to_be_bytes()].concat()
}

pub(super) fn ulong(n: u64) -> Vec<u8> {
    [&[0x80][..], &n.to_be_bytes()].concat()
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [&[0xb1][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

pub(super) fn symbol(text: &str) -> Vec<u8> {
    [&[0xa3, text.len() as u8][..], text.as_bytes()].concat()
}

pub(super) fn binary(bytes: &[u8]) -> Vec<u8> {
    [&[0xb0][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A described list.
pub(super) fn list(code: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    let all = fields.concat();
    let sizes = [(all.len() as u32 + 4).to_be_bytes(), (fields.len() as u32).to_be_bytes()].concat();
    [&[0, 0x53, code as u8, 0xd0][..], &sizes, &all].concat()
}

/// A described map of strings and values.
pub(super) fn map(code: u8, entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let all: Vec<u8> = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    let sizes = [(all.len() as u32 + 4).to_be_bytes(), (entries.len() as u32 * 2).to_be_bytes()].concat();
    [&[0, 0x53, code, 0xd1][..], &sizes, &all].concat()
}

pub(super) fn frame(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], &[2, kind], &channel.to_be_bytes(), body].concat()
}

pub(super) fn init(mechanism: &str, response: &[u8]) -> Vec<u8> {
    frame(1, 0, &list(0x41, &[symbol(mechanism), binary(response)]))
}

pub(super) fn plain(device: &str, key: &str) -> Vec<u8> {
    init("PLAIN", format!("\0{device}\0{key}").as_bytes())
}

pub(super) fn open(container: &str) -> Vec<u8> {
    frame(0, 0, &list(OPEN, &[text(container), null(), uint(65_536), null(), null()]))
}

pub(super) fn begin(channel: u16) -> Vec<u8> {
    frame(0, channel, &list(BEGIN, &[null(), uint(0), uint(100), uint(100)]))
}

/// ATTACH of a sender to `address`.
pub(super) fn attach(channel: u16, handle: u32, address: &str) -> Vec<u8> {
    let target = list(0x29, &[text(address)]);
    attach_with(channel, handle, false, &list(0x28, &[]), &target)
}

pub(super) fn attach_with(channel: u16, handle: u32, receives: bool, source: &[u8], target: &[u8]) -> Vec<u8> {
    let name = text(&format!("link-{channel}-{handle}"));
    let ends = [name, uint(handle), flag(receives), null(), null(), source.to_vec(), target.to_vec(), null(), null(), uint(0)];
    frame(0, channel, &list(ATTACH, &ends))
}

/// A message whose body is data.
pub(super) fn message(payload: &[u8]) -> Vec<u8> {
    [&[0, 0x53, 0x75][..], &binary(payload)].concat()
}

/// The same with a number.
pub(super) fn numbered(epoch: u32, sequence: u64, payload: &[u8]) -> Vec<u8> {
    [map(0x74, &[("epoch", uint(epoch)), ("seq", ulong(sequence))]), message(payload)].concat()
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Yes,
    No,
}

/// TRANSFER of a whole message on channel 0.
pub(super) fn transfer(handle: u32, delivery: u32, settled: Settled, message: &[u8]) -> Vec<u8> {
    part(handle, delivery, settled, false, message)
}

pub(super) fn part(handle: u32, delivery: u32, settled: Settled, more: bool, bytes: &[u8]) -> Vec<u8> {
    let tag = binary(&delivery.to_be_bytes());
    let fields = [uint(handle), uint(delivery), tag, uint(0), flag(settled == Settled::Yes), flag(more)];
    frame(0, 0, &[list(TRANSFER, &fields), bytes.to_vec()].concat())
}

/// Channel, and number and fields of what is said; none in a sign of life.
type Raw = (u16, Option<(u64, Vec<V>)>);

pub(super) struct Peer {
    pub(super) socket: TcpStream,
}

impl Peer {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap() }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    pub(super) async fn protocol(&mut self) -> Option<[u8; 8]> {
        let mut bytes = [0; 8];
        let read = self.socket.read_exact(&mut bytes);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("a protocol or the end in time").ok().map(|_| bytes)
    }

    /// The next frame that says something; none if the connection was closed.
    pub(super) async fn said(&mut self) -> Option<Said> {
        loop {
            let body = tokio::time::timeout(Duration::from_secs(10), self.read()).await.expect("a frame or the end in time")?;
            if let (channel, Some((code, fields))) = body {
                return Some(Said { channel, code, fields });
            }
        }
    }

    /// Channel, and what is said unless it is a sign of life.
    pub(super) async fn read(&mut self) -> Option<Raw> {
        let size = self.socket.read_u32().await.ok()? as usize;
        let mut rest = vec![0; size - 4];
        self.socket.read_exact(&mut rest).await.ok()?;
        assert_eq!(rest[0], 2);
        let channel = u16::from_be_bytes([rest[2], rest[3]]);
        let mut body = &rest[4..];
        if body.is_empty() {
            return Some((channel, None));
        }
        let V::Described(code, fields) = parse(&mut body) else { panic!("no performative") };
        assert!(body.is_empty(), "the gateway sends no messages");
        let V::List(fields) = *fields else { panic!("no fields") };
        Some((channel, Some((code, fields))))
    }

    /// Nothing arrives for a while.
    pub(super) async fn hears_nothing(&mut self) {
        let heard = tokio::time::timeout(Duration::from_millis(80), self.read()).await;
        assert!(heard.is_err(), "heard {heard:?}");
    }

    /// The connection ends; what came before is returned.
    pub(super) async fn until_closed(&mut self) -> Vec<Said> {
        let mut all = Vec::new();
        while let Some(said) = self.said().await {
            all.push(said);
        }
        all
    }

    /// What ended the connection: the condition in its last frame.
    pub(super) async fn closed_with(&mut self) -> String {
        let last = self.until_closed().await.pop().expect("a close");
        assert_eq!(last.code, CLOSE, "{last:?}");
        last.error(0).0
    }

    /// Begins a login; returns how it ended.
    pub(super) async fn log_in(&mut self, init: &[u8]) -> u64 {
        self.send(SASL).await;
        assert_eq!(self.protocol().await.unwrap(), SASL);
        let mechanisms = self.said().await.unwrap();
        assert_eq!((mechanisms.code, &mechanisms.fields[0]), (0x40, &V::List(vec![V::Text("PLAIN".into())])));
        self.send(init).await;
        let outcome = self.said().await.unwrap();
        assert_eq!(outcome.code, 0x44);
        outcome.number(0)
    }

    /// Logs in and opens; returns the gateway's open.
    pub(super) async fn open(&mut self, device: &str, container: &str) -> Said {
        assert_eq!(self.log_in(&plain(device, &format!("key-{device}"))).await, 0);
        self.send(&[AMQP, &open(container)].concat()).await;
        assert_eq!(self.protocol().await.unwrap(), AMQP);
        let opened = self.said().await.unwrap();
        assert_eq!(opened.code, OPEN);
        opened
    }

    /// Begins session 0 and attaches link 0 to `address`; returns the attach and the credit.
    pub(super) async fn link(&mut self, address: &str) -> (Said, u64) {
        self.send(&[begin(0), attach(0, 0, address)].concat()).await;
        let [begun, attached, flow] = [self.said().await.unwrap(), self.said().await.unwrap(), self.said().await.unwrap()];
        assert_eq!([begun.code, attached.code, flow.code], [BEGIN, ATTACH, FLOW]);
        let credit = flow.number(6);
        (attached, credit)
    }

    /// The next dispositions, until `last` is answered; flows are left out.
    pub(super) async fn answers(&mut self, last: u64) -> Vec<(u64, u64, Option<String>)> {
        let mut all = Vec::new();
        while all.last().is_none_or(|(_, to, _)| *to < last) {
            let said = self.said().await.unwrap();
            if said.code != FLOW {
                all.push(said.answer());
            }
        }
        all
    }
}
