//! Numbers, read in one pass without copying. Invariant: a conversion gives the correctly rounded value, or none at all.
//!
//! ```text
//! -12.50e3   negative, mantissa 1250, exponent 1        value = mantissa × 10^exponent
//! ```
//!
//! A mantissa up to 2^53 and a power up to 10^22 are exact doubles, so one multiplication or division rounds once, which is
//! correct rounding (Clinger). Anything else goes through the standard library.

use super::fault::{Fault, Syntax};
use super::scan::{ONES, Scan};
use crate::time::{MILLISECOND, Micros};

/// A number as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Number {
    negative: bool,
    mantissa: u64,
    exponent: i32,
    /// Whether `mantissa` holds every digit.
    exact: bool,
    /// Place in the payload.
    start: u32,
    end: u32,
}

const POWERS_F64: [f64; 23] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];
const POWERS_F32: [f32; 11] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];
/// Digits that always fit into 64 bits.
const DIGITS_EXACT_MAX: usize = 19;
/// Times lie within the years 0000 to 9999, as `time::parse` reads them.
pub(in crate::decode) const TIME_RANGE: std::ops::Range<Micros> = -62_167_219_200_000_000..253_402_300_800_000_000;

/// The number that `text` is; none if there is anything else.
pub(in crate::decode) fn parse(text: &[u8]) -> Option<Number> {
    let mut scan = Scan::new(text);
    scan.number().ok().filter(|_| scan.at == text.len())
}

impl Scan<'_> {
    /// Moves over a number; `at` is its first byte.
    #[inline(never)]
    pub(super) fn number(&mut self) -> Result<Number, Fault> {
        let start = self.at as u32;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let first = self.at;
        let mut mantissa = 0;
        self.digits(&mut mantissa)?;
        let mut digits = self.at - first;
        if digits > 1 && self.bytes[first] == b'0' {
            self.at = first + 1;
            return Err(self.broken(Syntax::NoZero));
        }
        let mut exponent = 0;
        if self.peek() == b'.' {
            self.at += 1;
            let point = self.at;
            self.digits(&mut mantissa)?;
            let fraction = self.at - point;
            digits += fraction;
            exponent = -(fraction as i32);
        }
        if matches!(self.peek(), b'e' | b'E') {
            exponent += self.exponent()?;
        }
        Ok(Number { negative, mantissa, exponent, exact: digits <= DIGITS_EXACT_MAX, start, end: self.at as u32 })
    }

    /// Moves over a number whose digits, point and what follows lie in eight bytes: no loop, so no branch that depends on its length. None if it is
    /// longer, has an exponent, or is none; then `at` stays.
    #[inline(always)]
    pub(super) fn short_number(&mut self) -> Option<Number> {
        let negative = self.peek() == b'-';
        let first = self.at + usize::from(negative);
        let word = self.word(first)?;
        let others = not_digits(word);
        let whole = others.trailing_zeros() & !7;
        // As in `00`, or no digit; or eight of them.
        if !(8..64).contains(&whole) || (whole > 8 && word as u8 == b'0') {
            return None;
        }
        let (digits, end) = match (word >> whole) as u8 {
            b'.' => {
                let (before, others) = ((1 << whole) - 1, others & (others - 1));
                let end = others.trailing_zeros() & !7;
                if end == 64 || end == whole + 8 {
                    return None;
                }
                (((word & before) | ((word >> 8) & !before)) << (72 - end), end)
            }
            _ => (word << (64 - whole), whole),
        };
        if (word >> end) as u8 | 0x20 == b'e' {
            return None;
        }
        let start = self.at as u32;
        self.at = first + end as usize / 8;
        let exponent = if end == whole { 0 } else { (whole as i32 + 8 - end as i32) / 8 };
        Some(Number { negative, mantissa: eight_digits(digits), exponent, exact: true, start, end: self.at as u32 })
    }

    /// Appends at least one decimal digit to `mantissa`; more than 19 overflow it.
    #[inline(always)]
    fn digits(&mut self, mantissa: &mut u64) -> Result<(), Fault> {
        let mut count = 0;
        for byte in self.bytes.get(self.at..).unwrap_or_default() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            count += 1;
        }
        self.at += count;
        if count == 0 { Err(self.broken(Syntax::Digit)) } else { Ok(()) }
    }

    /// The exponent after `e`; beyond any use it stops growing.
    fn exponent(&mut self) -> Result<i32, Fault> {
        self.at += 1;
        let sign = self.peek();
        self.at += usize::from(matches!(sign, b'+' | b'-'));
        let start = self.at;
        let mut exponent: i32 = 0;
        while self.peek().is_ascii_digit() {
            exponent = (exponent * 10 + i32::from(self.peek() - b'0')).min(1_000_000);
            self.at += 1;
        }
        if self.at == start {
            return Err(self.broken(Syntax::Digit));
        }
        Ok(if sign == b'-' { -exponent } else { exponent })
    }
}

/// The highest bit of each byte of `word` that is no digit.
#[inline(always)]
fn not_digits(word: u64) -> u64 {
    let value = word ^ (ONES * b'0' as u64);
    ((value & (ONES * 0x7f)).wrapping_add(ONES * (0x80 - 10)) | value) & (ONES * 0x80)
}

/// The number of eight digits, the first in the lowest byte; bytes of zero before them count as 0.
#[inline(always)]
fn eight_digits(word: u64) -> u64 {
    let pairs = (word & (ONES * 0xf)).wrapping_mul((10 << 8) | 1) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul((100 << 16) | 1) >> 16;
    (fours & 0x0000_ffff_0000_ffff).wrapping_mul((10_000 << 32) | 1) >> 32
}

impl Number {
    /// The nearest double; none if it is beyond the greatest.
    #[inline]
    pub(in crate::decode) fn to_f64(self, payload: &[u8]) -> Option<f64> {
        let power = self.exponent.unsigned_abs() as usize;
        if !self.exact || self.mantissa > 1 << 53 || power >= POWERS_F64.len() {
            return self.parse::<f64>(payload).filter(|v| v.is_finite());
        }
        let value = self.mantissa as f64;
        let value = if self.exponent < 0 { value / POWERS_F64[power] } else { value * POWERS_F64[power] };
        Some(if self.negative { -value } else { value })
    }

    /// Whether there is a nearest double.
    #[inline]
    pub(in crate::decode) fn is_f64(self, payload: &[u8]) -> bool {
        // Twenty digits and a power of 200 are far from the greatest.
        (self.exact && self.exponent <= 200) || self.to_f64(payload).is_some()
    }

    /// The nearest float; none if it is beyond the greatest.
    pub(in crate::decode) fn to_f32(self, payload: &[u8]) -> Option<f32> {
        let power = self.exponent.unsigned_abs() as usize;
        if !self.exact || self.mantissa > 1 << 24 || power >= POWERS_F32.len() {
            return self.parse::<f32>(payload).filter(|v| v.is_finite());
        }
        let value = self.mantissa as f32;
        let value = if self.exponent < 0 { value / POWERS_F32[power] } else { value * POWERS_F32[power] };
        Some(if self.negative { -value } else { value })
    }

    /// The whole number; none if it has a fraction or does not fit.
    #[inline]
    pub(in crate::decode) fn to_i64(self) -> Option<i64> {
        if self.exact
            && self.exponent == 0
            && let Ok(value) = i64::try_from(self.mantissa)
        {
            return Some(if self.negative { -value } else { value });
        }
        let mantissa = match self.exponent {
            0 if self.exact => i128::from(self.mantissa),
            _ if !self.exact => return None,
            e => {
                let power = 10_i128.checked_pow(e.unsigned_abs());
                match (self.mantissa, power) {
                    (0, _) => 0,
                    (m, Some(power)) if e > 0 => i128::from(m).checked_mul(power)?,
                    (m, Some(power)) if i128::from(m) % power == 0 => i128::from(m) / power,
                    _ => return None,
                }
            }
        };
        i64::try_from(if self.negative { -mantissa } else { mantissa }).ok()
    }

    /// The time that the number gives as milliseconds since the Unix epoch, cut down to microseconds; none outside of the
    /// years 0000 to 9999.
    pub(in crate::decode) fn to_time(self) -> Option<Micros> {
        if !self.exact {
            return None;
        }
        let signed = if self.negative { -i128::from(self.mantissa) } else { i128::from(self.mantissa) };
        let micros = match (self.exponent, 10_i128.checked_pow(self.exponent.unsigned_abs())) {
            _ if signed == 0 => 0,
            (0.., Some(power)) => signed.checked_mul(power)?.checked_mul(i128::from(MILLISECOND))?,
            (0.., None) => return None,
            (_, Some(power)) => (signed * i128::from(MILLISECOND)).div_euclid(power),
            (_, None) => signed.signum().min(0),
        };
        i64::try_from(micros).ok().filter(|t| TIME_RANGE.contains(t))
    }

    #[cold]
    fn parse<T: std::str::FromStr>(self, payload: &[u8]) -> Option<T> {
        std::str::from_utf8(&payload[self.start as usize..self.end as usize]).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Option<Number> {
        let mut scan = Scan::new(text.as_bytes());
        let number = scan.number().ok()?;
        (scan.at == text.len()).then_some(number)
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for good in ["0", "-0", "1", "10", "1.5", "1e5", "1E+5", "0.0e-0", "-12.25", "123456789012345678901234567890"] {
            assert!(number(good).is_some(), "{good}");
        }
        for bad in ["", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "0x10", "1_0", "NaN", "Infinity", "--1"] {
            assert!(number(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_short_number_is_what_the_loop_makes_of_it() {
        let numbers =
            ["0", "7", "-0", "10", "00", "0.5", "-0.50", "21.53", "123456", "1234567", "12345678", "12.3456", "12.34567", "1.e", "1.", "."];
        let ends = ["", ",", "}", " ", "e", "e5", "E-1", ".", ".5", "-", "a", "\"", "/", ":", "\u{e9}"];
        let mut shorts = 0;
        for (number, end) in numbers.iter().flat_map(|n| ends.iter().map(move |e| (n, e))) {
            for (before, behind) in [("", ""), ("[", ""), ("        ", "        "), ("", "1234567,")] {
                let text = format!("{before}{number}{end}{behind}");
                let scan = || Scan { bytes: text.as_bytes(), at: before.len() };
                let (mut short, mut long) = (scan(), scan());
                match short.short_number() {
                    Some(number) => {
                        assert_eq!((Some(number), short.at), (long.number().ok(), long.at), "{text:?}");
                        shorts += 1;
                    }
                    None => assert_eq!(short.at, before.len(), "{text:?}"),
                }
            }
        }
        assert!(shorts > 250, "{shorts}");
    }

    #[test]
    fn a_double_is_known_without_its_value() {
        for text in
            ["1", "-0.5e-400", "9999999999999999999e200", "1e308", "1e309", "-2e308", "0e999", "12345678901234567890e289", "1e-999999"]
        {
            let number = number(text).unwrap();
            assert_eq!(number.is_f64(text.as_bytes()), number.to_f64(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        let of = |text| number(text).unwrap().to_i64();
        assert_eq!(of("9223372036854775807"), Some(i64::MAX));
        assert_eq!(of("-9223372036854775808"), Some(i64::MIN));
        assert_eq!([of("3.0"), of("12e2"), of("1200e-2"), of("0e99999"), of("-0")], [Some(3), Some(1200), Some(12), Some(0), Some(0)]);
        for bad in ["9223372036854775808", "-9223372036854775809", "1.5", "1e19", "1e99999", "1e-99999", "99999999999999999999"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_milliseconds_cut_towards_the_past() {
        let of = |text| number(text).unwrap().to_time();
        assert_eq!(of("1767225600123"), Some(1_767_225_600_123_000));
        assert_eq!([of("1.5"), of("1.23456"), of("-1.23456"), of("1e3")], [Some(1500), Some(1234), Some(-1235), Some(1_000_000)]);
        assert_eq!([of("-1e-60"), of("1e-60"), of("0e77")], [Some(-1), Some(0), Some(0)]);
        assert_eq!([of("1e15"), of("9223372036854775807"), of("1e60"), of("-1e14")], [None; 4]);
    }

    proptest! {
        #[test]
        fn doubles_and_floats_are_rounded_correctly(mantissa in any::<u64>(), shift in 0_u32..64, point in 0_usize..20, exponent in -40_i32..40, form in 0..3) {
            let digits = (mantissa >> shift).to_string();
            let text = match form {
                0 => digits,
                1 => format!("-{}.{digits}5", &digits[..1]),
                _ => {
                    let at = point.min(digits.len() - 1).max(1).min(digits.len());
                    let (whole, fraction) = digits.split_at(at);
                    format!("{whole}.{fraction}0e{exponent}")
                }
            };
            let parsed = number(&text).unwrap();
            prop_assert_eq!(parsed.is_f64(text.as_bytes()), parsed.to_f64(text.as_bytes()).is_some());
            prop_assert_eq!(parsed.to_f64(text.as_bytes()).map(f64::to_bits), text.parse::<f64>().ok().filter(|v| v.is_finite()).map(f64::to_bits));
            prop_assert_eq!(parsed.to_f32(text.as_bytes()).map(f32::to_bits), text.parse::<f32>().ok().filter(|v| v.is_finite()).map(f32::to_bits));
        }

        #[test]
        fn any_double_survives_its_own_text(value in any::<f64>().prop_filter("JSON", |v| v.is_finite())) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(number(&text).unwrap().to_f64(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()));
        }
    }
}
