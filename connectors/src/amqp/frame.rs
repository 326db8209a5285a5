//! Frames: where one ends and what kind it is. Invariant: a frame longer than the bound is refused by its first four bytes.
//!
//! ```text
//! size (4) │ data offset in words (1) │ type (1) │ channel (2) │ extended header │ body
//! ```

use super::value::Malformed;

/// Bytes of a header without extension.
pub(crate) const HEADER_BYTES: usize = 8;
/// What either side says first when it wants to prove who it is.
pub(crate) const PROTOCOL_SASL: [u8; 8] = *b"AMQP\x03\x01\x00\x00";
/// What either side says first afterwards.
pub(crate) const PROTOCOL_AMQP: [u8; 8] = *b"AMQP\x00\x01\x00\x00";

/// What a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Amqp,
    Sasl,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) channel: u16,
    /// Empty: the peer only says that it is alive.
    pub(crate) body: &'a [u8],
}

/// The frame at the beginning of `bytes` with its length; none if it is not yet complete. Errors: it is longer than `max`, or
/// its header is none.
pub(crate) fn split(bytes: &[u8], max: usize) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let Some(size) = bytes.first_chunk::<4>() else { return Ok(None) };
    let size = u32::from_be_bytes(*size) as usize;
    if size > max {
        return Err(Malformed("a frame is longer than allowed"));
    }
    if size < HEADER_BYTES {
        return Err(Malformed("a frame is shorter than its header"));
    }
    if bytes.len() < size {
        return Ok(None);
    }
    let offset = usize::from(bytes[4]) * 4;
    if offset < HEADER_BYTES || offset > size {
        return Err(Malformed("a frame begins outside of itself"));
    }
    let kind = match bytes[5] {
        0 => Kind::Amqp,
        1 => Kind::Sasl,
        _ => return Err(Malformed("a frame is of a type that does not exist")),
    };
    let channel = u16::from_be_bytes([bytes[6], bytes[7]]);
    Ok(Some((Frame { kind, channel, body: &bytes[offset..size] }, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_it_says() {
        let bytes = [0, 0, 0, 10, 2, 0, 1, 2, 7, 8, 99];
        let (frame, length) = split(&bytes, 64).unwrap().unwrap();
        assert_eq!((frame, length), (Frame { kind: Kind::Amqp, channel: 258, body: &[7, 8] }, 10));
        let extended = [0, 0, 0, 13, 3, 1, 0, 0, 9, 9, 9, 9, 7];
        assert_eq!(split(&extended, 64).unwrap().unwrap().0, Frame { kind: Kind::Sasl, channel: 0, body: &[7] });
        for cut in 0..10 {
            assert_eq!(split(&bytes[..cut], 64), Ok(None), "{cut}");
        }
    }

    #[test]
    fn a_header_that_lies_is_refused_before_its_body() {
        for header in [[0, 0, 0, 65, 2, 0, 0, 0], [0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0], [0, 0, 0, 7, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert!(split(&header, 64).is_err(), "{header:?}");
        }
        for (offset, kind) in [(1, 0), (3, 0), (255, 0), (2, 2)] {
            assert!(split(&[0, 0, 0, 8, offset, kind, 0, 0], 64).is_err(), "{offset} {kind}");
        }
        assert!(split(&[0, 0, 0, 65], 64).is_err());
    }
}
