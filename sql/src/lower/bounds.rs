//! Conditions on the distance in time of two rows. Invariant: a condition counts as a bound only if it says nothing else, and only
//! for the two columns that it names: rows of a join have more than one event time.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use thalweg_engine::time::{DAY, MILLISECOND, Micros, timestamp_type};

use super::rel::Rel;

/// Bounds of `right.time - left.time` in microseconds, both inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) lower: Option<Micros>,
    pub(super) upper: Option<Micros>,
}

impl Bounds {
    /// Both hold.
    pub(super) fn and(self, other: Self) -> Self {
        let tighter = |a: Option<Micros>, b: Option<Micros>, pick: fn(Micros, Micros) -> Micros| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        Self { lower: tighter(self.lower, other.lower, Ord::max), upper: tighter(self.upper, other.upper, Ord::min) }
    }
}

/// An event time of the left row and one of the right row, as physical columns.
pub(super) type TimePair = (usize, usize);

/// The time of one side, and what is added to it.
enum Side {
    Left(usize, Micros),
    Right(usize, Micros),
}

/// The bounds that a condition says, if it is about nothing but two event times, and which these are.
pub(super) fn bound(condition: &Expr, left: &Rel<'_>, right: &Rel<'_>) -> Option<(TimePair, Bounds)> {
    match condition {
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let (pair, at_least) = compare(expr, Operator::GtEq, low, left, right)?;
            let (same, at_most) = compare(expr, Operator::LtEq, high, left, right)?;
            (pair == same).then(|| (pair, at_least.and(at_most)))
        }
        Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) => compare(a, *op, b, left, right),
        _ => None,
    }
}

fn compare(a: &Expr, op: Operator, b: &Expr, left: &Rel<'_>, right: &Rel<'_>) -> Option<(TimePair, Bounds)> {
    // left.time + x  op  right.time + y   <=>   x - y  op  right.time - left.time
    let (pair, distance, op) = match (side(a, left, right)?, side(b, left, right)?) {
        (Side::Left(l, x), Side::Right(r, y)) => ((l, r), x.checked_sub(y)?, op),
        (Side::Right(r, y), Side::Left(l, x)) => ((l, r), x.checked_sub(y)?, op.swap()?),
        _ => return None,
    };
    let bounds = match op {
        Operator::LtEq => Bounds { lower: Some(distance), upper: None },
        Operator::Lt => Bounds { lower: Some(distance.checked_add(1)?), upper: None },
        Operator::GtEq => Bounds { lower: None, upper: Some(distance) },
        Operator::Gt => Bounds { lower: None, upper: Some(distance.checked_sub(1)?) },
        Operator::Eq => Bounds { lower: Some(distance), upper: Some(distance) },
        _ => return None,
    };
    Some((pair, bounds))
}

fn side(expression: &Expr, left: &Rel<'_>, right: &Rel<'_>) -> Option<Side> {
    match expression {
        Expr::Column(_) => {
            let time = |rel: &Rel<'_>| rel.physical_of(expression).filter(|i| rel.times.contains(i));
            time(left).map(|i| Side::Left(i, 0)).or_else(|| time(right).map(|i| Side::Right(i, 0)))
        }
        // Any other cast makes another value of it: the day of a time is no bound of the time.
        Expr::Cast(cast) if *cast.field.data_type() == timestamp_type() => side(&cast.expr, left, right),
        Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) => {
            let (base, shift) = match (op, interval(b), interval(a)) {
                (Operator::Plus, Some(shift), _) => (side(a, left, right)?, shift),
                (Operator::Minus, Some(shift), _) => (side(a, left, right)?, shift.checked_neg()?),
                (Operator::Plus, _, Some(shift)) => (side(b, left, right)?, shift),
                _ => return None,
            };
            match base {
                Side::Left(i, x) => Some(Side::Left(i, x.checked_add(shift)?)),
                Side::Right(i, x) => Some(Side::Right(i, x.checked_add(shift)?)),
            }
        }
        _ => None,
    }
}

/// A literal of fixed length in microseconds.
pub(super) fn interval(expression: &Expr) -> Option<Micros> {
    match expression {
        Expr::Literal(value, _) => length(value),
        Expr::Cast(cast) => interval(&cast.expr),
        Expr::Negative(inner) => interval(inner).map(|i| -i),
        _ => None,
    }
}

/// The length of an interval without months, in microseconds.
pub(super) fn length(value: &ScalarValue) -> Option<Micros> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(i)) if i.months == 0 && i.nanoseconds % 1_000 == 0 => {
            i64::from(i.days).checked_mul(DAY)?.checked_add(i.nanoseconds / 1_000)
        }
        ScalarValue::IntervalDayTime(Some(i)) => i64::from(i.days).checked_mul(DAY)?.checked_add(i64::from(i.milliseconds) * MILLISECOND),
        _ => None,
    }
}
