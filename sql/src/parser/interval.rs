//! `INTERVAL '10' SECOND` as a length of time. Invariant: only units of fixed length; the result is exact to the microsecond.

use sqlparser::ast::{DateTimeField, Expr, Interval, UnaryOperator, Value};
use sqlparser::tokenizer::Location;
use thalweg_engine::time::{DAY, MILLISECOND, Micros, SECOND};

use crate::diagnostics::{Problem, Result, start_or};

const HINT: &str = "write INTERVAL '10' SECOND; units are MILLISECOND, SECOND, MINUTE, HOUR and DAY";

/// Microseconds of an interval literal.
pub(crate) fn micros(expression: &Expr, otherwise: Location) -> Result<Micros> {
    let at = start_or(expression, otherwise);
    let refused = |what: &str| Problem::new(at, what).hint(HINT);
    let Expr::Interval(interval) = expression else { return Err(refused("expected an INTERVAL")) };
    let Interval { value, leading_field, leading_precision: None, last_field: None, fractional_seconds_precision: None } = interval else {
        return Err(refused("intervals with two units or a precision are not supported"));
    };
    let unit = match leading_field {
        Some(DateTimeField::Millisecond | DateTimeField::Milliseconds) => MILLISECOND,
        Some(DateTimeField::Second | DateTimeField::Seconds) => SECOND,
        Some(DateTimeField::Minute | DateTimeField::Minutes) => 60 * SECOND,
        Some(DateTimeField::Hour | DateTimeField::Hours) => 3_600 * SECOND,
        Some(DateTimeField::Day | DateTimeField::Days) => DAY,
        Some(_) => return Err(refused("this unit has no fixed length here")),
        None => return Err(refused("the interval has no unit")),
    };
    let text = match value.as_ref() {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(text) | Value::Number(text, false) => text.trim(),
            _ => return Err(refused("expected a number in quotes")),
        },
        _ => return Err(refused("expected a number in quotes")),
    };
    decimal(text, unit).ok_or_else(|| refused(&format!("'{}' is not a length of time", text.chars().take(40).collect::<String>())))
}

/// Microseconds of an interval literal that may be negative: `INTERVAL '-1' HOUR`, or `- INTERVAL '1' HOUR`.
pub(crate) fn signed_micros(expression: &Expr, otherwise: Location) -> Result<Micros> {
    match expression {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(-micros(expr, otherwise)?),
        Expr::Interval(interval) => {
            let Expr::Value(v) = interval.value.as_ref() else { return micros(expression, otherwise) };
            let Value::SingleQuotedString(text) = &v.value else { return micros(expression, otherwise) };
            let Some(positive) = text.trim().strip_prefix('-') else { return micros(expression, otherwise) };
            let value = Box::new(Expr::Value(Value::SingleQuotedString(positive.to_owned()).with_span(v.span)));
            Ok(-micros(&Expr::Interval(Interval { value, ..interval.clone() }), otherwise)?)
        }
        _ => micros(expression, otherwise),
    }
}

/// `text` times `unit`, exactly; None if it is no decimal number, has a finer fraction, or is too large.
fn decimal(text: &str, unit: Micros) -> Option<Micros> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let scale = 10_i64.pow(u32::try_from(fraction.len()).ok()?);
    let digits: i64 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(unit)?;
    (scaled % scale == 0).then_some(scaled / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_exact_or_refused() {
        assert_eq!(decimal("1.5", SECOND), Some(1_500_000));
        assert_eq!(decimal("0.0000005", SECOND), None);
        assert_eq!(decimal("0.0001", MILLISECOND), None);
        assert_eq!(decimal("-1", SECOND), None);
        assert_eq!(decimal("9223372036854775807", SECOND), None);
    }
}
