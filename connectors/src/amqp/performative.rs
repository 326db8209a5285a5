//! What a peer says in a frame. Invariant: every field that is looked at has its type and is there if it must be; all others
//! are stepped over.

use super::value::{Items, Malformed, Reader, Value, needed};

type Result<T> = std::result::Result<T, Malformed>;

/// Numbers of what can be said.
pub(crate) mod code {
    pub(crate) const OPEN: u8 = 0x10;
    pub(crate) const BEGIN: u8 = 0x11;
    pub(crate) const ATTACH: u8 = 0x12;
    pub(crate) const FLOW: u8 = 0x13;
    pub(crate) const TRANSFER: u8 = 0x14;
    pub(crate) const DISPOSITION: u8 = 0x15;
    pub(crate) const DETACH: u8 = 0x16;
    pub(crate) const END: u8 = 0x17;
    pub(crate) const CLOSE: u8 = 0x18;
    pub(crate) const ERROR: u8 = 0x1d;
    pub(crate) const ACCEPTED: u8 = 0x24;
    pub(crate) const REJECTED: u8 = 0x25;
    pub(crate) const RELEASED: u8 = 0x26;
    pub(crate) const SOURCE: u8 = 0x28;
    pub(crate) const TARGET: u8 = 0x29;
    pub(crate) const SASL_MECHANISMS: u8 = 0x40;
    pub(crate) const SASL_INIT: u8 = 0x41;
    pub(crate) const SASL_OUTCOME: u8 = 0x44;
}

/// What is said in a frame of AMQP or SASL.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Performative<'a> {
    Open(Open<'a>),
    Begin(Begin),
    Attach(Attach<'a>),
    Flow(Flow),
    /// With what follows it in the frame: the message or a part of it.
    Transfer(Transfer<'a>, &'a [u8]),
    Disposition(Disposition),
    Detach {
        handle: u32,
        closed: bool,
        failure: Option<Failure<'a>>,
    },
    End(Option<Failure<'a>>),
    Close(Option<Failure<'a>>),
    Init(Init<'a>),
    Mechanisms,
    Outcome(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open<'a> {
    pub(crate) container: &'a str,
    pub(crate) frame_bytes_max: u32,
    pub(crate) idle_ms: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Given if it answers ours.
    pub(crate) remote_channel: Option<u32>,
    pub(crate) next_outgoing: u32,
}

/// Which end of a link a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Attach<'a> {
    pub(crate) name: &'a str,
    pub(crate) handle: u32,
    pub(crate) role: Role,
    pub(crate) sender_settles: u8,
    /// As it came; empty if there is none.
    pub(crate) source: &'a [u8],
    /// As it came; empty if there is none.
    pub(crate) target: &'a [u8],
    pub(crate) delivery_count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) next_incoming: Option<u32>,
    pub(crate) incoming_window: u32,
    /// The link it is about; none if it is about the session alone.
    pub(crate) handle: Option<u32>,
    pub(crate) delivery_count: Option<u32>,
    pub(crate) credit: u32,
    pub(crate) echo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transfer<'a> {
    pub(crate) handle: u32,
    pub(crate) delivery: Option<u32>,
    pub(crate) tag: Option<&'a [u8]>,
    pub(crate) format: u32,
    pub(crate) settled: bool,
    pub(crate) more: bool,
    pub(crate) aborted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disposition {
    pub(crate) role: Role,
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Code of what became of them, if the receiver says it.
    pub(crate) state: Option<u64>,
}

/// Why something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure<'a> {
    pub(crate) condition: &'a str,
    pub(crate) description: Option<&'a str>,
}

#[derive(Clone, Copy)]
pub(crate) struct Init<'a> {
    pub(crate) mechanism: &'a str,
    pub(crate) response: Option<&'a [u8]>,
}

impl std::fmt::Debug for Init<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The response holds a key.
        f.debug_struct("Init").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// One end of a link as a peer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminus<'a> {
    pub(crate) code: u64,
    pub(crate) address: Option<&'a str>,
    pub(crate) dynamic: bool,
}

/// What the body of a frame says.
pub(crate) fn read(body: &[u8]) -> Result<Performative<'_>> {
    let mut reader = Reader::new(body);
    let (number, mut list) = reader.described()?;
    let mut f = list.fields()?;
    Ok(match u8::try_from(number).unwrap_or(0) {
        code::OPEN => Performative::Open(open(f)?),
        code::BEGIN => Performative::Begin(begin(f)?),
        code::ATTACH => Performative::Attach(attach(f)?),
        code::FLOW => Performative::Flow(flow(f)?),
        code::TRANSFER => Performative::Transfer(transfer(f)?, reader.rest()),
        code::DISPOSITION => Performative::Disposition(disposition(f)?),
        code::DETACH => Performative::Detach { handle: needed(f.number()?)?, closed: f.flag()?, failure: failure(&mut f)? },
        code::END => Performative::End(failure(&mut f)?),
        code::CLOSE => Performative::Close(failure(&mut f)?),
        code::SASL_INIT => Performative::Init(Init { mechanism: needed(f.text()?)?, response: f.binary()? }),
        code::SASL_MECHANISMS => Performative::Mechanisms,
        code::SASL_OUTCOME => Performative::Outcome(needed(f.number()?)?),
        _ => return Err(Malformed("a performative that does not exist, or not here")),
    })
}

fn open(mut f: Items<'_>) -> Result<Open<'_>> {
    let container = needed(f.text()?)?;
    f.skip(1)?; // host name
    let frame_bytes_max = f.number()?.unwrap_or(u32::MAX);
    f.skip(1)?; // channel-max
    Ok(Open { container, frame_bytes_max, idle_ms: f.number()? })
}

fn begin(mut f: Items<'_>) -> Result<Begin> {
    let remote_channel = f.number()?;
    Ok(Begin { remote_channel, next_outgoing: needed(f.number()?)? })
}

fn role(f: &mut Items<'_>) -> Result<Role> {
    match f.value()? {
        Value::Bool(true) => Ok(Role::Receiver),
        Value::Bool(false) => Ok(Role::Sender),
        _ => Err(Malformed("a role is missing")),
    }
}

fn attach(mut f: Items<'_>) -> Result<Attach<'_>> {
    let name = needed(f.text()?)?;
    let handle = needed(f.number()?)?;
    let role = role(&mut f)?;
    let sender_settles = u8::try_from(f.number()?.unwrap_or(2)).unwrap_or(2);
    f.skip(1)?; // rcv-settle-mode
    let (source, target) = (f.raw()?, f.raw()?);
    f.skip(2)?; // unsettled, incomplete-unsettled
    let delivery_count = f.number()?.unwrap_or(0);
    Ok(Attach { name, handle, role, sender_settles, source, target, delivery_count })
}

fn flow(mut f: Items<'_>) -> Result<Flow> {
    let next_incoming = f.number()?;
    let incoming_window = needed(f.number()?)?;
    f.skip(2)?; // next-outgoing-id, outgoing-window
    let handle = f.number()?;
    let delivery_count = f.number()?;
    let credit = f.number()?.unwrap_or(0);
    f.skip(2)?; // available, drain
    Ok(Flow { next_incoming, incoming_window, handle, delivery_count, credit, echo: f.flag()? })
}

fn transfer(mut f: Items<'_>) -> Result<Transfer<'_>> {
    let handle = needed(f.number()?)?;
    let delivery = f.number()?;
    let tag = f.binary()?;
    let format = f.number()?.unwrap_or(0);
    let (settled, more) = (f.flag()?, f.flag()?);
    f.skip(3)?; // rcv-settle-mode, state, resume
    Ok(Transfer { handle, delivery, tag, format, settled, more, aborted: f.flag()? })
}

fn disposition(mut f: Items<'_>) -> Result<Disposition> {
    let role = role(&mut f)?;
    let first = needed(f.number()?)?;
    let last = f.number()?.unwrap_or(first);
    f.skip(1)?; // settled
    let state = f.raw()?;
    let state = if state.is_empty() { None } else { Some(Reader::new(state).described()?.0) };
    Ok(Disposition { role, first, last, state })
}

fn failure<'a>(f: &mut Items<'a>) -> Result<Option<Failure<'a>>> {
    let raw = f.raw()?;
    if raw.is_empty() {
        return Ok(None);
    }
    let mut fields = Reader::new(raw).described()?.1.fields()?;
    Ok(Some(Failure { condition: needed(fields.text()?)?, description: fields.text()? }))
}

/// One end of a link; none if it was null.
pub(crate) fn terminus(raw: &[u8]) -> Result<Option<Terminus<'_>>> {
    if raw.is_empty() {
        return Ok(None);
    }
    let (code, mut list) = Reader::new(raw).described()?;
    let mut f = list.fields()?;
    // Addresses may be of any type; ours are strings.
    let address = match f.value()? {
        Value::Text(address) => Some(address),
        _ => None,
    };
    f.skip(3)?; // durable, expiry-policy, timeout
    Ok(Some(Terminus { code, address, dynamic: matches!(f.value()?, Value::Bool(true)) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::encode::{Fields, described};

    fn say(code: u8, fields: impl FnOnce(&mut Fields<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        described(&mut out, code, fields);
        out
    }

    #[test]
    fn what_is_missing_has_its_default_and_what_is_needed_is_asked_for() {
        let open = say(code::OPEN, |f| f.text("me"));
        let Ok(Performative::Open(open)) = read(&open) else { panic!("no open") };
        assert_eq!(open, Open { container: "me", frame_bytes_max: u32::MAX, idle_ms: None });
        for incomplete in
            [say(code::OPEN, |_| {}), say(code::BEGIN, |f| f.null()), say(code::TRANSFER, |_| {}), say(code::ATTACH, |f| f.text("x"))]
        {
            assert!(read(&incomplete).is_err(), "{incomplete:x?}");
        }
        assert!(read(&say(code::OPEN, |f| f.number(1))).is_err(), "a container is a string");
        assert!(read(&say(0x30, |_| {})).is_err());
        assert!(read(b"").is_err());
    }

    #[test]
    fn a_message_follows_its_transfer() {
        let mut body = say(code::TRANSFER, |f| {
            f.number(3);
            f.number(9);
            f.binary(b"t");
        });
        body.extend_from_slice(b"rest");
        let Ok(Performative::Transfer(transfer, payload)) = read(&body) else { panic!("no transfer") };
        let want = Transfer { handle: 3, delivery: Some(9), tag: Some(b"t"), format: 0, settled: false, more: false, aborted: false };
        assert_eq!((transfer, payload), (want, &b"rest"[..]));
    }

    #[test]
    fn ends_of_links_say_where_they_are() {
        let target = say(code::TARGET, |f| f.text("devices/pump-1/telemetry"));
        let terminus_of = |raw| terminus(raw).unwrap();
        let address = Some("devices/pump-1/telemetry");
        assert_eq!(terminus_of(&target), Some(Terminus { code: u64::from(code::TARGET), address, dynamic: false }));
        let dynamic = say(code::TARGET, |f| {
            for _ in 0..4 {
                f.null();
            }
            f.flag(true);
        });
        assert_eq!(terminus_of(&dynamic), Some(Terminus { code: u64::from(code::TARGET), address: None, dynamic: true }));
        assert_eq!(terminus_of(&[]), None);
        assert!(terminus(&[0x40]).is_err());
    }

    #[test]
    fn a_key_is_not_shown() {
        let init = say(code::SASL_INIT, |f| {
            f.symbol("PLAIN");
            f.binary(b"\0pump-1\0secret");
        });
        let shown = format!("{:?}", read(&init).unwrap());
        assert!(shown.contains("PLAIN") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
