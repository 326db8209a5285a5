//! Avro's plain values out of the bytes of a record. Invariant: nothing is read past the end.
//!
//! A cursor is two words that the compiler keeps in registers while a record is read, as long as nothing out of line gets a reference to it.

/// A place in a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The start of a record.
    pub(super) fn new(record: &'a [u8]) -> Self {
        Self { rest: record }
    }

    /// Bytes that were not read yet.
    #[inline(always)]
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// A truth value; none if there is no such thing. The same holds for what follows.
    #[inline(always)]
    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.chunk()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// A number of 32 bits with a point.
    #[inline(always)]
    pub(super) fn float(&mut self) -> Option<f32> {
        self.chunk().map(f32::from_le_bytes)
    }

    /// A number of 64 bits with a point.
    #[inline(always)]
    pub(super) fn double(&mut self) -> Option<f64> {
        self.chunk().map(f64::from_le_bytes)
    }

    /// A whole number of up to 64 bits: seven bits a byte, the sign in the last bit.
    #[inline(always)]
    pub(super) fn whole(&mut self) -> Option<i64> {
        let bits = match self.rest.split_first() {
            Some((first, rest)) if *first < 0x80 => {
                self.rest = rest;
                u64::from(*first)
            }
            _ => {
                let (bits, rest) = long(self.rest);
                self.rest = rest;
                bits?
            }
        };
        Some((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }

    /// Which of so many branches of a union follows.
    #[inline(always)]
    pub(super) fn branch(&mut self, branches: i64) -> Option<i64> {
        self.whole().filter(|branch| (0..branches).contains(branch))
    }

    /// Bytes with their length before them.
    #[inline(always)]
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.whole()?).ok()?;
        self.take(length)
    }

    /// So many bytes.
    #[inline(always)]
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// As many bytes as are asked for.
    #[inline(always)]
    pub(super) fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }
}

/// The bits of a whole number that may have several bytes, and what follows. If there is no such number: none, and what follows the bytes
/// that show it.
#[inline(never)]
fn long(record: &[u8]) -> (Option<u64>, &[u8]) {
    if let Some(chunk) = record.first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends != 0 {
            // Seven bits of each byte up to the first that ends a number; two neighbours become one, three times.
            let bits = word & (ends ^ (ends - 1));
            let bits = (bits & 0x007f_007f_007f_007f) | ((bits & 0x7f00_7f00_7f00_7f00) >> 1);
            let bits = (bits & 0x0000_3fff_0000_3fff) | ((bits & 0x3fff_0000_3fff_0000) >> 2);
            let bits = (bits & 0x0000_0000_0fff_ffff) | ((bits & 0x0fff_ffff_0000_0000) >> 4);
            return (Some(bits), &record[ends.trailing_zeros() as usize / 8 + 1..]);
        }
    }
    let (mut bits, mut left) = (0_u64, record);
    for shift in (0..70).step_by(7) {
        let Some((byte, rest)) = left.split_first() else { break };
        left = rest;
        // The tenth byte has one bit left.
        if shift == 63 && *byte > 1 {
            break;
        }
        bits |= u64::from(*byte & 0x7f) << shift;
        if *byte < 0x80 {
            return (Some(bits), left);
        }
    }
    (None, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number in at least so many bytes.
    fn written(number: i64, bytes: usize) -> Vec<u8> {
        let mut bits = ((number << 1) ^ (number >> 63)).cast_unsigned();
        let mut written = Vec::new();
        while bits >= 0x80 || written.len() + 1 < bytes {
            written.push(bits as u8 | 0x80);
            bits >>= 7;
        }
        written.push(bits as u8);
        written
    }

    #[test]
    fn whole_numbers_of_every_length_are_read_and_cut_ones_are_not() {
        let powers = (0..64).map(|shift| 1_i64 << shift);
        for number in powers.flat_map(|power| [power, power.wrapping_sub(1), power.wrapping_neg(), !power]) {
            for bytes in 1..=10 {
                let written = written(number, bytes);
                for follow in [0, 1, 7, 8] {
                    let record = [written.as_slice(), &vec![0xff; follow]].concat();
                    let mut cursor = Cursor::new(&record);
                    assert_eq!((cursor.whole(), cursor.left()), (Some(number), follow), "{written:x?}");
                }
                for end in 0..written.len() {
                    let mut cursor = Cursor::new(&written[..end]);
                    assert_eq!((cursor.whole(), cursor.left()), (None, 0), "{written:x?}");
                }
            }
        }
    }

    #[test]
    fn whole_numbers_have_ten_bytes_and_64_bits_at_most() {
        let mut large = [0xff_u8; 12];
        large[9] = 1;
        let mut cursor = Cursor::new(&large);
        assert_eq!((cursor.whole(), cursor.left()), (Some(i64::MIN), 2));
        for tenth in [2, 0x7f, 0x80, 0x81, 0xff] {
            large[9] = tenth;
            let mut cursor = Cursor::new(&large);
            assert_eq!((cursor.whole(), cursor.left()), (None, 2));
        }
    }
}
