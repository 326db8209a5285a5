//! Writing frames. Invariant: sizes and counts are those of what was written, because they are put in afterwards.

use super::frame::Kind;

/// Appends one frame; `body` writes what is in it.
pub(crate) fn frame(out: &mut Vec<u8>, kind: Kind, channel: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, 2, u8::from(kind == Kind::Sasl)]);
    out.extend_from_slice(&channel.to_be_bytes());
    body(out);
    put_length(out, start, 0);
}

/// Appends a described list; `fields` writes its fields.
pub(crate) fn described(out: &mut Vec<u8>, code: u8, fields: impl FnOnce(&mut Fields<'_>)) {
    out.extend_from_slice(&[0, 0x53, code, 0xd0]);
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    let mut list = Fields { out, count: 0 };
    fields(&mut list);
    let count = list.count;
    put_length(out, start, 4);
    out[start + 4..start + 8].copy_from_slice(&count.to_be_bytes());
}

/// Appends a described binary.
pub(crate) fn described_binary(out: &mut Vec<u8>, code: u8, bytes: &[u8]) {
    out.extend_from_slice(&[0, 0x53, code]);
    variable(out, 0xa0, bytes);
}

/// Appends a described map of names and numbers.
pub(crate) fn described_numbers(out: &mut Vec<u8>, code: u8, numbers: &[(&str, u64)]) {
    out.extend_from_slice(&[0, 0x53, code, 0xd1]);
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    let mut entries = Fields { out, count: 0 };
    for (name, number) in numbers {
        entries.text(name);
        entries.long(*number);
    }
    let count = entries.count;
    put_length(out, start, 4);
    out[start + 4..start + 8].copy_from_slice(&count.to_be_bytes());
}

/// Puts the number of bytes since `start`, less `own`, at `start`.
fn put_length(out: &mut [u8], start: usize, own: usize) {
    let length = length(out.len() - start - own);
    out[start..start + 4].copy_from_slice(&length);
}

/// A length in four bytes. What we write is a few KiB, and a record at most; a peer would refuse what is longer by this.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// A string, symbol or binary; `short` is the constructor for up to 255 bytes.
fn variable(out: &mut Vec<u8>, short: u8, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) => out.extend_from_slice(&[short, length]),
        Err(_) => {
            out.push(short + 0x10);
            out.extend_from_slice(&length(bytes.len()));
        }
    }
    out.extend_from_slice(bytes);
}

/// Fields of a list, in order.
pub(crate) struct Fields<'a> {
    out: &'a mut Vec<u8>,
    count: u32,
}

impl Fields<'_> {
    /// Room for the next field.
    fn next(&mut self) -> &mut Vec<u8> {
        self.count += 1;
        self.out
    }

    pub(crate) fn null(&mut self) {
        self.next().push(0x40);
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.next().push(if flag { 0x41 } else { 0x42 });
    }

    pub(crate) fn small(&mut self, n: u8) {
        self.next().extend_from_slice(&[0x50, n]);
    }

    pub(crate) fn short(&mut self, n: u16) {
        let out = self.next();
        out.push(0x60);
        out.extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn number(&mut self, n: u32) {
        let out = self.next();
        out.push(0x70);
        out.extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn long(&mut self, n: u64) {
        let out = self.next();
        out.push(0x80);
        out.extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        variable(self.next(), 0xa1, text.as_bytes());
    }

    pub(crate) fn symbol(&mut self, symbol: &str) {
        variable(self.next(), 0xa3, symbol.as_bytes());
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        variable(self.next(), 0xa0, bytes);
    }

    /// An array of one short symbol.
    pub(crate) fn symbols<const N: usize>(&mut self, symbol: &[u8; N]) {
        const { assert!(N + 3 <= u8::MAX as usize, "a short symbol") };
        let length = N as u8;
        let out = self.next();
        out.extend_from_slice(&[0xe0, length + 3, 1, 0xa3, length]);
        out.extend_from_slice(symbol);
    }

    /// A value as it came from the peer; null if it is empty.
    pub(crate) fn raw(&mut self, raw: &[u8]) {
        match raw {
            [] => self.null(),
            raw => self.next().extend_from_slice(raw),
        }
    }

    /// A described list as a field.
    pub(crate) fn described(&mut self, code: u8, fields: impl FnOnce(&mut Fields<'_>)) {
        described(self.next(), code, fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::frame::split;
    use crate::amqp::value::{Reader, Value};

    #[test]
    fn what_is_written_is_read_back() {
        let long = "x".repeat(300);
        let mut out = Vec::new();
        frame(&mut out, Kind::Sasl, 7, |out| {
            described(out, 0x99, |f| {
                f.null();
                f.flag(true);
                f.number(5);
                f.text(&long);
                f.symbol("s");
                f.binary(b"b");
                f.described(0x24, |_| {});
                f.raw(&[0x52, 6]);
                f.long(u64::MAX);
            });
        });
        let (frame, length) = split(&out, 4096).unwrap().unwrap();
        assert_eq!((frame.kind, frame.channel, length), (Kind::Sasl, 7, out.len()));
        let (code, mut list) = Reader::new(frame.body).described().unwrap();
        let mut fields = list.fields().unwrap();
        assert_eq!((code, fields.number(), fields.flag(), fields.number()), (0x99, Ok(None), Ok(true), Ok(Some(5))));
        assert_eq!((fields.text(), fields.text(), fields.binary()), (Ok(Some(&*long)), Ok(Some("s")), Ok(Some(&b"b"[..]))));
        let (state, mut nothing) = Reader::new(fields.raw().unwrap()).described().unwrap();
        assert_eq!((state, nothing.fields().unwrap().number()), (0x24, Ok(None)));
        assert_eq!(fields.number(), Ok(Some(6)));
        assert!(matches!(fields.value(), Ok(Value::Whole(u64::MAX))));
        assert!(matches!(fields.value(), Ok(Value::Null)));
    }
}
