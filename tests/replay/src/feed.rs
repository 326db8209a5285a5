//! What `FEED` says in an SQL file. Invariant: a line is the same record to whoever runs the file.
//!
//! ```text
//! FEED readings        FEED readings HEX
//! a {"n":1}            a a1 616e 01         a device, and its payload in pairs of hexadecimal digits, with blanks between them or not
//! ```

use std::borrow::Cow;

use thalweg_engine::error::{Error, Result};

/// Records of one stream.
#[derive(Debug)]
pub struct Feed<'a> {
    /// Stream.
    pub stream: &'a str,
    /// Devices and payloads, in order.
    pub records: Vec<(&'a str, Cow<'a, [u8]>)>,
}

impl<'a> Feed<'a> {
    /// Reads what follows the word. Errors: `Invalid` if a line is no record.
    pub fn parse(text: &'a str) -> Result<Self> {
        let (head, lines) = text.split_once('\n').unwrap_or((text, ""));
        let (stream, is_hex) = match head.trim().strip_suffix(" HEX") {
            Some(stream) => (stream.trim_end(), true),
            None => (head.trim(), false),
        };
        let record = |line: &'a str| {
            let (device, payload) = line.split_once(' ').ok_or_else(|| Error::invalid(format!("no payload in {line:?}")))?;
            let payload: Cow<'a, [u8]> = if is_hex { Cow::Owned(bytes(payload)?) } else { Cow::Borrowed(payload.as_bytes()) };
            Ok::<_, Error>((device, payload))
        };
        Ok(Self { stream, records: lines.lines().map(record).collect::<Result<_>>()? })
    }
}

fn bytes(digits: &str) -> Result<Vec<u8>> {
    let wrong = || Error::invalid(format!("{digits:?} are no pairs of hexadecimal digits"));
    let values = digits.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16)).collect::<Option<Vec<u32>>>().ok_or_else(wrong)?;
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    values.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_text_or_digits() {
        let feed = Feed::parse("readings\na {\"n\": 1}\nb x").unwrap();
        assert_eq!((feed.stream, feed.records.len()), ("readings", 2));
        assert_eq!(feed.records[0], ("a", Cow::Borrowed(br#"{"n": 1}"#.as_slice())));
        let feed = Feed::parse("readings HEX\na a1 616E 01\nb 00ff").unwrap();
        let payloads: Vec<&[u8]> = feed.records.iter().map(|(_, payload)| &**payload).collect();
        assert_eq!((feed.stream, payloads), ("readings", vec![b"\xa1an\x01".as_slice(), b"\0\xff"]));
        for wrong in ["s\na", "s HEX\na 0", "s HEX\na 0g", "s HEX\na"] {
            assert!(Feed::parse(wrong).is_err(), "{wrong}");
        }
    }
}
