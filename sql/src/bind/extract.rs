//! `EXTRACT(unit FROM time)`. Invariant: a unit is one that a time of any row has; what is less than a second does not count the seconds, as in
//! Flink.
//!
//! ```text
//! MILLISECOND    (DATE_PART('millisecond', t) % 1000): DataFusion's counts from the begin of the minute
//! CENTURY        ((DATE_PART('year', t) + 99) / 100), for times of the years 1 to 9999
//! ```

use sqlparser::ast::{BinaryOperator, DateTimeField, Expr, Value};
use sqlparser::tokenizer::{Location, Span};

use super::spelling::call;
use crate::diagnostics::{Problem, Result};

/// For hints.
const UNIT_NAMES: &str = "units are MILLENNIUM, CENTURY, DECADE, YEAR, QUARTER, MONTH, WEEK, DAY, DOW, ISODOW, DOY, HOUR, MINUTE, SECOND, \
    MILLISECOND, MICROSECOND, NANOSECOND, ISOYEAR and EPOCH";

/// Writes a unit as DataFusion knows it. Errors: it is none of times.
pub(super) fn resolve(expression: &mut Expr, at: Location) -> Result<()> {
    let Expr::Extract { field, expr, .. } = expression else { return Ok(()) };
    use DateTimeField as Field;
    let part = |name: &str| call("date_part", vec![literal(Value::SingleQuotedString(name.to_owned()), at), Expr::clone(expr)]);
    let of_second = |name: &str, whole: u32| nested(part(name), BinaryOperator::Modulo, whole, at);
    let of_years = |years: u32| nested(nested(part("year"), BinaryOperator::Plus, years - 1, at), BinaryOperator::Divide, years, at);
    let other = match field {
        Field::Millisecond | Field::Milliseconds => of_second("millisecond", 1_000),
        Field::Microsecond | Field::Microseconds => of_second("microsecond", 1_000_000),
        Field::Nanosecond | Field::Nanoseconds => of_second("nanosecond", 1_000_000_000),
        Field::Century => of_years(100),
        Field::Millennium | Field::Millenium => of_years(1_000),
        Field::Decade => nested(part("year"), BinaryOperator::Divide, 10, at),
        Field::DayOfWeek => part("dow"),
        Field::DayOfYear => part("doy"),
        Field::IsoWeek => part("week"),
        Field::Year | Field::Years | Field::Quarter | Field::Month | Field::Months | Field::Week(None) | Field::Weeks => return Ok(()),
        Field::Day | Field::Days | Field::Dow | Field::Doy | Field::Isodow | Field::Isoyear | Field::Epoch => return Ok(()),
        Field::Hour | Field::Hours | Field::Minute | Field::Minutes | Field::Second | Field::Seconds => return Ok(()),
        unknown => return Err(Problem::new(at, format!("{unknown} is no part of a time")).hint(UNIT_NAMES)),
    };
    *expression = other;
    Ok(())
}

fn literal(value: Value, at: Location) -> Expr {
    Expr::Value(value.with_span(Span::new(at, at)))
}

fn nested(left: Expr, op: BinaryOperator, right: u32, at: Location) -> Expr {
    let right = Box::new(literal(Value::Number(right.to_string(), false), at));
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right }))
}
