//! One pass over one payload. Invariant: `at` only moves forward and never past the end; everything it moved over was checked
//! against RFC 8259, so that a payload scanned to its end is valid JSON and valid UTF-8.
//!
//! ```text
//! {"device_id": "pump-1", "temperature": 21.5}
//!               ▲ at: strings are searched 8 bytes at a time for the first byte that is `"`, `\`, a control or not ASCII
//! ```

use super::fault::{Fault, Syntax};
use super::string;
use crate::limits::JSON_DEPTH_MAX;

/// The lowest bit of each byte.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;

/// The mark of a byte order that some writers begin UTF-8 with: RFC 8259 lets readers ignore it.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// A position in a payload.
pub(super) struct Scan<'a> {
    /// The payload.
    pub(super) bytes: &'a [u8],
    /// Next byte to look at.
    pub(super) at: usize,
}

/// A string between its quotes, still with its escapes.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    /// What stands between the quotes; valid UTF-8.
    pub(super) raw: &'a [u8],
    /// Position of the first byte in the payload.
    pub(super) start: usize,
    /// Whether there is a backslash.
    pub(super) escaped: bool,
}

impl<'a> Scan<'a> {
    /// The start of a payload.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte; 0 at the end, which is no valid byte outside of strings.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        if self.at < self.bytes.len() { self.bytes[self.at] } else { 0 }
    }

    /// Eight bytes from `at` on, the first in the lowest; behind the end of the payload zeros. None if the whole payload is shorter.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> Option<u64> {
        if let Some(word) = self.bytes.get(at..)?.first_chunk() {
            return Some(u64::from_le_bytes(*word));
        }
        let last = u64::from_le_bytes(*self.bytes.last_chunk()?);
        last.checked_shr((at + 8 - self.bytes.len()) as u32 * 8)
    }

    /// Moves over the mark of a byte order at the beginning of a payload.
    pub(super) fn skip_mark(&mut self) {
        if self.at == 0 && self.bytes.starts_with(MARK) {
            self.at = MARK.len();
        }
    }

    /// Moves over white space; returns the next byte.
    #[inline(always)]
    pub(super) fn skip_space(&mut self) -> u8 {
        let mut byte = self.peek();
        while byte <= b' ' && matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
            byte = self.peek();
        }
        byte
    }

    /// A fault here.
    #[cold]
    pub(super) fn broken(&self, expected: Syntax) -> Fault {
        Fault::Broken { at: self.at as u32, expected }
    }

    /// Moves over `byte`, which must be next.
    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8, expected: Syntax) -> Result<(), Fault> {
        if self.peek() != byte {
            return Err(self.broken(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Moves over a string of up to seven ASCII characters without escapes; `at` is its opening quote. Returns its text, the first
    /// character in the lowest byte, and its length; none if it is another string, or none at all, then `at` stays.
    #[inline(always)]
    pub(super) fn short_text(&mut self) -> Option<(u64, u32)> {
        let word = self.word(self.at + 1)?;
        let end = special_bytes(word).trailing_zeros() & !7;
        if end == 64 || (word >> end) as u8 != b'"' {
            return None;
        }
        self.at += end as usize / 8 + 2;
        Some((word & ((1 << end) - 1), end / 8))
    }

    /// Moves over `text`, if it is next.
    #[inline(always)]
    pub(super) fn passes(&mut self, text: &[u8]) -> bool {
        let is_next = self.bytes.get(self.at..).is_some_and(|rest| starts_with(rest, text));
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// Moves over `true`, `false` or `null`, of which the first letter was seen.
    #[inline]
    pub(super) fn literal(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.broken(Syntax::Value));
        }
        self.at += word.len();
        Ok(())
    }

    /// Moves over a string; `at` is its opening quote.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'a>, Fault> {
        self.at += 1;
        let start = self.at;
        let (mut escaped, mut wide) = (false, false);
        loop {
            while let Some(chunk) = self.bytes[self.at..].first_chunk::<8>() {
                let special = special_bytes(u64::from_le_bytes(*chunk));
                if special != 0 {
                    self.at += (special.trailing_zeros() / 8) as usize;
                    break;
                }
                self.at += 8;
            }
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') if self.at + 1 < self.bytes.len() => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0x80..) => {
                    wide = true;
                    while self.peek() >= 0x80 {
                        self.at += 1;
                    }
                }
                Some(0x20..) => self.at += 1,
                Some(_) => return Err(self.broken(Syntax::StringEnd)),
                None => return Err(self.broken(Syntax::StringEnd)),
            }
        }
        let raw = &self.bytes[start..self.at];
        self.at += 1;
        if wide && let Err(e) = std::str::from_utf8(raw) {
            return Err(Fault::Utf8 { at: (start + e.valid_up_to()) as u32 });
        }
        Ok(Text { raw, start, escaped })
    }

    /// Moves over any value and checks it; `at` is its first byte.
    pub(super) fn skip_value(&mut self) -> Result<(), Fault> {
        self.skip_nested(1)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'-' | b'0'..=b'9' if self.short_number().is_some() => Ok(()),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'{' | b'[' if depth >= JSON_DEPTH_MAX => Err(Fault::Deep { at: self.at as u32 }),
            b'{' => self.skip_members(b'}', depth),
            b'[' => self.skip_members(b']', depth),
            _ => Err(self.broken(Syntax::Value)),
        }
    }

    fn skip_string(&mut self) -> Result<(), Fault> {
        if self.short_text().is_some() {
            return Ok(());
        }
        let text = self.string()?;
        if text.escaped { string::unescape(text, |_| ()) } else { Ok(()) }
    }

    /// Moves over an object or an array up to and with its closing byte.
    fn skip_members(&mut self, close: u8, depth: usize) -> Result<(), Fault> {
        self.at += 1;
        if self.skip_space() == close {
            self.at += 1;
            return Ok(());
        }
        loop {
            if close == b'}' {
                if self.skip_space() != b'"' {
                    return Err(self.broken(Syntax::Key));
                }
                self.skip_string()?;
                self.skip_space();
                self.expect(b':', Syntax::Colon)?;
            }
            self.skip_space();
            self.skip_nested(depth + 1)?;
            match self.skip_space() {
                b',' => self.at += 1,
                byte if byte == close => break,
                _ => return Err(self.broken(if close == b'}' { Syntax::MemberEnd } else { Syntax::ItemEnd })),
            }
        }
        self.at += 1;
        Ok(())
    }
}

/// Whether `bytes` begins with `text`: for lengths as names and ids have them without a call, two overlapping pieces at a time.
#[inline(always)]
pub(super) fn starts_with(bytes: &[u8], text: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..text.len()) else { return false };
    match text.len() {
        8..16 => bytes.first_chunk::<8>() == text.first_chunk() && bytes.last_chunk::<8>() == text.last_chunk(),
        16..=32 => bytes.first_chunk::<16>() == text.first_chunk() && bytes.last_chunk::<16>() == text.last_chunk(),
        4..8 => bytes.first_chunk::<4>() == text.first_chunk() && bytes.last_chunk::<4>() == text.last_chunk(),
        _ => bytes == text,
    }
}

/// A mask whose lowest set bit lies in the first (lowest) byte of `word` that is `"`, `\`, a control or not ASCII; 0 if none.
/// Bits above the lowest may be wrong, because a borrow runs upwards.
#[inline(always)]
fn special_bytes(word: u64) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let is_zero = |w: u64| w.wrapping_sub(ONES) & !w;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_zero(quote) | is_zero(backslash) | control | word) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_in_every_place() {
        for byte in 0..=255_u8 {
            for place in 0..8 {
                let mut word = *b"abcdefg~";
                word[place] = byte;
                let special = special_bytes(u64::from_le_bytes(word));
                let wanted = if byte == b'"' || byte == b'\\' || !(0x20..0x80).contains(&byte) { place as u32 } else { 8 };
                assert_eq!(special.trailing_zeros() / 8, wanted, "byte {byte} at {place}");
            }
        }
    }

    #[test]
    fn a_short_text_is_what_the_loop_makes_of_it() {
        for length in 0..12 {
            for (byte, is_short) in [(b'~', length < 8), (b'"', length < 9), (b'\\', false), (0, false), (0x1f, false), (0x80, false)] {
                for behind in 0..9 {
                    let mut payload = [b"\"".as_slice(), &vec![b'a'; length], b"\"", &vec![b' '; behind]].concat();
                    if let Some(last) = payload.get_mut(length).filter(|_| length > 0) {
                        *last = byte;
                    }
                    let (mut short, mut long) = (Scan::new(&payload), Scan::new(&payload));
                    let Some((word, bytes)) = short.short_text() else {
                        assert!(short.at == 0 && (!is_short || payload.len() < 8), "{payload:x?}");
                        continue;
                    };
                    let text = long.string().ok().unwrap();
                    assert!(is_short || length == 0, "{payload:x?}");
                    assert_eq!((&word.to_le_bytes()[..bytes as usize], short.at), (text.raw, long.at), "{payload:x?}");
                    assert_eq!(word.checked_shr(bytes * 8), Some(0), "{payload:x?}");
                }
            }
        }
    }

    #[test]
    fn texts_of_every_length_are_compared_whole() {
        let bytes: Vec<u8> = (0..40).collect();
        for length in 0..=40 {
            assert!(starts_with(&bytes, &bytes[..length]));
            assert!(length == 0 || !starts_with(&bytes[..length - 1], &bytes[..length]));
            for wrong in 0..length {
                let mut other = bytes[..length].to_vec();
                other[wrong] ^= 0x80;
                assert!(!starts_with(&bytes, &other), "byte {wrong} of {length}");
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        let deepest = JSON_DEPTH_MAX - 1;
        assert!(Scan::new(nested(deepest).as_bytes()).skip_value().is_ok());
        let text = nested(deepest + 1);
        assert!(matches!(Scan::new(text.as_bytes()).skip_value(), Err(Fault::Deep { at }) if at as usize == deepest));
    }
}
