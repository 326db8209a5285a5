//! Decimal numbers as whole numbers of their last digit. Invariant: a result has at most `precision` digits, or there is none; half
//! a unit of the last digit is rounded away from zero.
//!
//! ```text
//! DECIMAL(5, 2)   21.345 → 2135     -0.005 → -1     1000 → none: 100000 has six digits
//! ```

/// Exponents beyond this are as good as this: no decimal has so many digits.
const EXPONENT_MAX: i64 = 1_000_000;

/// The `DECIMAL(precision, scale)` nearest to `text`, which is `-12.50e3` or a shorter form of it: the number of its last units.
/// None if `text` is anything else, or has too many digits.
pub fn parse(text: &[u8], precision: u8, scale: u32) -> Option<i128> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|&b| b == b'.') {
        Some(point) => (&mantissa[..point], Some(&mantissa[point + 1..])),
        None => (mantissa, None),
    };
    if !are_digits(whole) || fraction.is_some_and(|digits| !are_digits(digits)) {
        return None;
    }
    let fraction = fraction.map_or(0, <[u8]>::len);
    let digits: Vec<u8> = mantissa.iter().filter(|b| b.is_ascii_digit()).skip_while(|b| **b == b'0').map(|b| b - b'0').collect();
    if digits.is_empty() {
        return Some(0);
    }
    let length = i64::try_from(digits.len()).ok()?;
    // How many digits are left of the end of the last unit; behind the digits that there are come zeros.
    let kept = length + exponent - i64::try_from(fraction).ok()? + i64::from(scale);
    if kept > i64::from(precision) {
        return None;
    }
    let digit = |i: i64| usize::try_from(i).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0);
    let mut unscaled = (0..kept).fold(0_i128, |n, i| n * 10 + i128::from(digit(i)));
    unscaled += i128::from(kept >= 0 && digit(kept) >= 5);
    fitting(if negative { -unscaled } else { unscaled }, precision)
}

/// `unscaled × 10^-from` as `DECIMAL(precision, scale)`: the number of its last units. None if it has too many digits.
pub fn rescale(unscaled: i128, from: u32, precision: u8, scale: u32) -> Option<i128> {
    if unscaled == 0 {
        return Some(0);
    }
    let rescaled = match 10_i128.checked_pow(from.abs_diff(scale)) {
        Some(power) if from <= scale => unscaled.checked_mul(power)?,
        Some(power) => {
            let rest = unscaled % power;
            unscaled / power + if rest.unsigned_abs() >= power.unsigned_abs() - rest.unsigned_abs() { rest.signum() } else { 0 }
        }
        None if from <= scale => return None,
        // No number has so many digits: less than half a unit is left.
        None => 0,
    };
    fitting(rescaled, precision)
}

/// `unscaled × 10^-scale` as text, with all digits of the scale.
pub fn text(unscaled: i128, scale: u32) -> String {
    let scale = scale as usize;
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let (sign, point) = (if unscaled < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
    format!("{sign}{whole}{point}{fraction}")
}

fn fitting(unscaled: i128, precision: u8) -> Option<i128> {
    let end = 10_u128.checked_pow(u32::from(precision))?;
    (unscaled.unsigned_abs() < end).then_some(unscaled)
}

fn are_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// The digits after `e`, perhaps with a sign.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if !are_digits(digits) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |n, b| (n * 10 + i64::from(b.wrapping_sub(b'0'))).min(EXPONENT_MAX));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_rounded_half_away_from_zero() {
        let of = |text: &str| parse(text.as_bytes(), 5, 2);
        let cases = [("21.345", 2135), ("21.344999", 2134), ("-0.005", -1), ("-0.0049", 0), ("0.005", 1), ("999.99", 99_999)];
        for (text, wanted) in
            cases.into_iter().chain([("1e2", 10_000), ("12345e-3", 1235), ("0", 0), ("-0.0", 0), ("0e99", 0), ("1e-99", 0)])
        {
            assert_eq!(of(text), Some(wanted), "{text}");
        }
        for text in ["1000", "999.995", "1e3", "1e99999999999", "-1000"] {
            assert_eq!(of(text), None, "{text}");
        }
        for text in ["", "-", "+1", ".5", "1.", "1e", "1e+", "1 ", "0x1", "--1", "1.2.3", "NaN", "1_0"] {
            assert_eq!(of(text), None, "{text:?}");
        }
        let most = "9".repeat(38);
        assert_eq!(parse(most.as_bytes(), 38, 0), Some(10_i128.pow(38) - 1));
        assert_eq!(parse(format!("{most}.5").as_bytes(), 38, 0), None);
        assert_eq!(parse(format!("0.{most}").as_bytes(), 38, 38), Some(10_i128.pow(38) - 1));
    }

    #[test]
    fn texts_have_all_digits() {
        assert_eq!([text(5, 2), text(-5, 3), text(12345, 2), text(7, 0)], ["0.05", "-0.005", "123.45", "7"]);
    }

    proptest! {
        #[test]
        fn texts_and_rescaling_agree(unscaled in any::<i64>(), from in 0_u32..20, precision in 1_u8..39, scale in 0_u32..20) {
            let unscaled = i128::from(unscaled);
            prop_assert_eq!(parse(text(unscaled, from).as_bytes(), precision, scale), rescale(unscaled, from, precision, scale));
        }
    }
}
