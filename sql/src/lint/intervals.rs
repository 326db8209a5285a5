//! Intervals. Invariant: what Flink reads as the same length of time is not found.

use sqlparser::ast::{DateTimeField, Expr, Interval, UnaryOperator, Value};

use super::finding::{Effect, Rule};
use super::report::Report;
use super::scope::Scope;
use super::walk::Family;

pub(super) static FAMILY: Family = Family { expression, ..Family::BLIND };

pub(super) static FRACTION: Rule = Rule {
    name: "interval-fraction",
    finds: "a fraction of another unit than SECOND",
    effect: Effect::Refuses,
    why: "only seconds have a fraction",
    hint: "choose a smaller unit",
};
pub(super) static NUMBER: Rule = Rule {
    name: "interval-number",
    finds: "an INTERVAL whose number is not in quotes",
    effect: Effect::Refuses,
    why: "",
    hint: "write INTERVAL '10' SECOND",
};
pub(super) static PRECISION: Rule = Rule {
    name: "interval-digits",
    finds: "an INTERVAL of more than two digits",
    effect: Effect::Refuses,
    why: "a unit without a precision has two digits",
    hint: "choose a larger unit: INTERVAL '2' MINUTE for 120 seconds, INTERVAL '1.5' SECOND for 1500 milliseconds",
};
pub(super) static UNIT: Rule = Rule {
    name: "interval-unit",
    finds: "an INTERVAL without a unit, or in a unit that Flink does not have",
    effect: Effect::Refuses,
    why: "the unit follows the quotes: YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND",
    hint: "write INTERVAL '10' SECOND; a part of a second is a fraction: INTERVAL '0.250' SECOND",
};

/// Digits of a unit that states no precision.
const DIGITS: usize = 2;

fn expression(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    let Expr::Interval(interval) = expression else { return };
    let at = scope.begins(interval.value.as_ref(), &["INTERVAL"]);
    match &interval.leading_field {
        None => report.add(&UNIT, at, format!("INTERVAL {}", interval.value)),
        Some(unit) if !is_unit(unit) => report.add(&UNIT, at, format!("INTERVAL in {unit}")),
        Some(unit) => {
            if let Some(number) = number(interval) {
                let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, fraction)| (whole, Some(fraction)));
                if interval.leading_precision.is_none() && interval.last_field.is_none() && whole.trim_start_matches('0').len() > DIGITS {
                    report.add(&PRECISION, at, format!("INTERVAL '{number}' {unit}"));
                }
                if fraction.is_some() && !matches!(unit, DateTimeField::Second | DateTimeField::Seconds) {
                    report.add(&FRACTION, at, format!("INTERVAL '{number}' {unit}"));
                }
            } else if interval.last_field.is_none() {
                report.add(&NUMBER, at, format!("INTERVAL {} {unit}", interval.value));
            }
        }
    }
}

/// The number in quotes, without its sign.
fn number(interval: &Interval) -> Option<&str> {
    let value = match interval.value.as_ref() {
        Expr::UnaryOp { op: UnaryOperator::Plus | UnaryOperator::Minus, expr } => expr.as_ref(),
        other => other,
    };
    let Expr::Value(value) = value else { return None };
    match &value.value {
        Value::SingleQuotedString(text) => Some(text.trim().trim_start_matches(['-', '+'])),
        _ => None,
    }
}

fn is_unit(unit: &DateTimeField) -> bool {
    use DateTimeField::{Day, Days, Hour, Hours, Minute, Minutes, Month, Months, Quarter, Second, Seconds, Week, Weeks, Year, Years};
    matches!(
        unit,
        Year | Years | Quarter | Month | Months | Week(None) | Weeks | Day | Days | Hour | Hours | Minute | Minutes | Second | Seconds
    )
}
