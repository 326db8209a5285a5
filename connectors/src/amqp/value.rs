//! AMQP's values, read where they lie. Invariant: nothing in here recurses or allocates: whatever is made of parts carries its
//! length, so it is stepped over or handed out as bytes, however deeply it nests.
//!
//! ```text
//! constructor     4x    5x    6x    7x    8x    9x    ax        bx         cx, ex         dx, fx
//! body            none  1     2     4     8     16    len8 ...  len32 ...  len8 count8 …  len32 count32 …   bytes
//! described       00 descriptor value
//! ```

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

type Result<T> = std::result::Result<T, Malformed>;

/// A value. Those that nobody here looks into (floats, times, arrays, described ones) are `Other`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Whole(u64),
    Signed(i64),
    Text(&'a str),
    Symbol(&'a str),
    Binary(&'a [u8]),
    List(Items<'a>),
    Map(Items<'a>),
    Other,
}

/// Values one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that were not read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed("a value is longer than its frame"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1).map(|b| b[0])
    }

    fn big_endian(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    /// The body of a value whose constructor was read.
    fn body(&mut self, constructor: u8) -> Result<&'a [u8]> {
        let length = match constructor >> 4 {
            0x4 => 0,
            0x5 => 1,
            0x6 => 2,
            0x7 => 4,
            0x8 => 8,
            0x9 => 16,
            0xa | 0xc | 0xe => self.big_endian(1)? as usize,
            0xb | 0xd | 0xf => self.big_endian(4)? as usize,
            _ => return Err(Malformed("a constructor that does not exist")),
        };
        self.take(length)
    }

    /// Steps over one value and returns all of its bytes.
    pub(crate) fn skip(&mut self) -> Result<&'a [u8]> {
        let before = self.rest;
        loop {
            match self.byte()? {
                0 => {
                    let descriptor = self.byte()?;
                    self.body(descriptor)?;
                }
                constructor => {
                    self.body(constructor)?;
                    break;
                }
            }
        }
        Ok(&before[..before.len() - self.rest.len()])
    }

    /// The next value.
    pub(crate) fn value(&mut self) -> Result<Value<'a>> {
        if self.rest.first() == Some(&0) {
            self.skip()?;
            return Ok(Value::Other);
        }
        let constructor = self.byte()?;
        let body = self.body(constructor)?;
        let whole = || body.iter().fold(0, |n: u64, &b| n << 8 | u64::from(b));
        Ok(match constructor {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x56 => Value::Bool(body != [0]),
            0x43 | 0x44 | 0x50 | 0x52 | 0x53 | 0x60 | 0x70 | 0x80 => Value::Whole(whole()),
            0x51 | 0x54 | 0x55 => Value::Signed(i64::from(body[0] as i8)),
            0x61 => Value::Signed(i64::from(whole() as i16)),
            0x71 => Value::Signed(i64::from(whole() as i32)),
            0x81 => Value::Signed(whole() as i64),
            0xa0 | 0xb0 => Value::Binary(body),
            0xa1 | 0xb1 => Value::Text(std::str::from_utf8(body).map_err(|_| Malformed("a string is not UTF-8"))?),
            0xa3 | 0xb3 => Value::Symbol(std::str::from_utf8(body).map_err(|_| Malformed("a symbol is not ASCII"))?),
            0x45 => Value::List(Items { left: 0, reader: Reader::new(&[]) }),
            0xc0 => Value::List(Items::new(body, 1)?),
            0xd0 => Value::List(Items::new(body, 4)?),
            0xc1 => Value::Map(Items::new(body, 1)?),
            0xd1 => Value::Map(Items::new(body, 4)?),
            _ => Value::Other,
        })
    }

    /// A described value: the number of its description, and the value itself. Symbolic descriptions are the number
    /// `u64::MAX`, which stands for nothing.
    pub(crate) fn described(&mut self) -> Result<(u64, Reader<'a>)> {
        if self.byte()? != 0 {
            return Err(Malformed("a value without a description"));
        }
        let code = match self.value()? {
            Value::Whole(code) => code,
            Value::Symbol(_) => u64::MAX,
            _ => return Err(Malformed("a description is neither a number nor a symbol")),
        };
        Ok((code, Reader::new(self.skip()?)))
    }

    /// The fields of a described list.
    pub(crate) fn fields(&mut self) -> Result<Items<'a>> {
        match self.value()? {
            Value::List(items) => Ok(items),
            _ => Err(Malformed("a list is missing")),
        }
    }
}

/// The parts of a list or map. Fields that are left out at its end are null.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl<'a> Items<'a> {
    fn new(body: &'a [u8], width: usize) -> Result<Self> {
        let mut reader = Reader::new(body);
        let left = reader.big_endian(width)? as u32;
        // Each part has at least its constructor.
        if left as usize > reader.rest.len() {
            return Err(Malformed("a list or map has fewer parts than it says"));
        }
        Ok(Self { left, reader })
    }

    /// The next part; null after the last.
    pub(crate) fn value(&mut self) -> Result<Value<'a>> {
        if self.left == 0 {
            return Ok(Value::Null);
        }
        self.left -= 1;
        self.reader.value()
    }

    /// The bytes of the next part; empty if it is null or left out.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        self.left -= 1;
        let raw = self.reader.skip()?;
        Ok(if raw == [0x40] { &[] } else { raw })
    }

    /// Key and value of a map's next entry; none after the last.
    pub(crate) fn entry(&mut self) -> Result<Option<(Value<'a>, Value<'a>)>> {
        match self.left {
            0 => Ok(None),
            1 => Err(Malformed("a map has a key without a value")),
            _ => Ok(Some((self.value()?, self.value()?))),
        }
    }

    /// Steps over parts.
    pub(crate) fn skip(&mut self, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| self.raw().map(drop))
    }

    /// A whole number of 32 bits, if it is there.
    pub(crate) fn number(&mut self) -> Result<Option<u32>> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Whole(n) => u32::try_from(n).map(Some).map_err(|_| Malformed("a number is too large for its field")),
            _ => Err(Malformed("a field is no whole number")),
        }
    }

    /// A flag; false if it is not there.
    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.value()? {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(flag),
            _ => Err(Malformed("a field is neither true nor false")),
        }
    }

    /// A string or symbol, if it is there.
    pub(crate) fn text(&mut self) -> Result<Option<&'a str>> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Text(text) | Value::Symbol(text) => Ok(Some(text)),
            _ => Err(Malformed("a field is no string")),
        }
    }

    /// Bytes, if they are there.
    pub(crate) fn binary(&mut self) -> Result<Option<&'a [u8]>> {
        match self.value()? {
            Value::Null => Ok(None),
            Value::Binary(bytes) => Ok(Some(bytes)),
            _ => Err(Malformed("a field is no binary")),
        }
    }
}

/// A field that must be there.
pub(crate) fn needed<T>(field: Option<T>) -> Result<T> {
    field.ok_or(Malformed("a field that must be there is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_of_a_number_is_read() {
        for (bytes, n) in [
            (&[0x43][..], 0),
            (&[0x44], 0),
            (&[0x50, 200], 200),
            (&[0x52, 201], 201),
            (&[0x53, 202], 202),
            (&[0x60, 1, 2], 258),
            (&[0x70, 0, 1, 0, 0], 65_536),
            (&[0x80, 255, 255, 255, 255, 255, 255, 255, 255], u64::MAX),
        ] {
            assert!(matches!(Reader::new(bytes).value(), Ok(Value::Whole(got)) if got == n), "{bytes:x?}");
        }
        for (bytes, n) in [
            (&[0x51, 0xff][..], -1),
            (&[0x54, 5], 5),
            (&[0x55, 0x80], -128),
            (&[0x61, 0xff, 0xfe], -2),
            (&[0x71, 0x80, 0, 0, 0], i64::from(i32::MIN)),
            (&[0x81, 0x80, 0, 0, 0, 0, 0, 0, 0], i64::MIN),
        ] {
            assert!(matches!(Reader::new(bytes).value(), Ok(Value::Signed(got)) if got == n), "{bytes:x?}");
        }
    }

    #[test]
    fn a_map_is_read_pair_by_pair() {
        let bytes = [0xc1, 10, 4, 0xa1, 1, b'a', 0x52, 7, 0xa3, 1, b'b', 0x40];
        let mut reader = Reader::new(&bytes);
        let Ok(Value::Map(mut map)) = reader.value() else { panic!("no map") };
        assert!(matches!(map.entry(), Ok(Some((Value::Text("a"), Value::Whole(7))))));
        assert!(matches!(map.entry(), Ok(Some((Value::Symbol("b"), Value::Null)))));
        assert!(matches!(map.entry(), Ok(None)));
        assert!(reader.rest().is_empty());
    }

    #[test]
    fn fields_that_are_left_out_are_null() {
        let mut fields = Reader::new(&[0xc0, 3, 1, 0x52, 9]).fields().unwrap();
        assert_eq!((fields.number(), fields.number(), fields.text(), fields.flag()), (Ok(Some(9)), Ok(None), Ok(None), Ok(false)));
        assert!(Reader::new(&[0x45]).fields().unwrap().raw().unwrap().is_empty());
    }

    #[test]
    fn what_nests_without_end_is_stepped_over() {
        let deep: Vec<u8> = [0, 0x53, 1].iter().copied().cycle().take(60_000).chain([0x40]).collect();
        let mut reader = Reader::new(&deep);
        assert_eq!(reader.skip().unwrap().len(), deep.len());
        assert!(matches!(Reader::new(&deep).value(), Ok(Value::Other)));
        let mut lists = vec![0x40];
        while lists.len() < 60_000 {
            let inside = lists.len() as u32;
            lists = [&[0xd0][..], &(inside + 4).to_be_bytes(), &1u32.to_be_bytes(), &lists].concat();
        }
        assert!(matches!(Reader::new(&lists).value(), Ok(Value::List(_))));
    }

    #[test]
    fn lengths_that_lie_are_named() {
        let lies: [&[u8]; 7] = [
            &[],
            &[0xb0, 0xff, 0xff, 0xff, 0xff],
            &[0xa1, 2, b'x'],
            &[0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40],
            &[0xc0, 0],
            &[0x10],
            &[0, 0, 0x40],
        ];
        for bytes in lies {
            assert!(Reader::new(bytes).value().is_err(), "{bytes:x?}");
        }
        assert!(Reader::new(&[0xa1, 1, 0xff]).value().is_err(), "no UTF-8");
        assert!(Reader::new(&[0x52, 1]).described().is_err());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut noise = crate::testing::noise(0x9e37_79b9_7f4a_7c15);
        for round in 0..50_000 {
            let bytes: Vec<u8> = noise.by_ref().take(1 + round % 40).collect();
            let mut reader = Reader::new(&bytes);
            while let Ok(value) = reader.value() {
                if let Value::List(mut items) | Value::Map(mut items) = value {
                    while let Ok(Some(_)) = items.entry() {}
                }
            }
            let _ = Reader::new(&bytes).described();
        }
    }
}
