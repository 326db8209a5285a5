//! Conditions on the distance in time of two rows. Invariant: a condition counts as a bound only if it says nothing else.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use thalweg_engine::time::{DAY, MILLISECOND, Micros};

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

/// The time of one side, and what is added to it.
enum Side {
    Left(Micros),
    Right(Micros),
}

/// The bounds that a condition says, if it is about nothing but the two event times.
pub(super) fn bound(condition: &Expr, left: &Rel<'_>, right: &Rel<'_>) -> Option<Bounds> {
    match condition {
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let at_least = compare(expr, Operator::GtEq, low, left, right)?;
            Some(at_least.and(compare(expr, Operator::LtEq, high, left, right)?))
        }
        Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) => compare(a, *op, b, left, right),
        _ => None,
    }
}

fn compare(a: &Expr, op: Operator, b: &Expr, left: &Rel<'_>, right: &Rel<'_>) -> Option<Bounds> {
    // left.time + x  op  right.time + y   <=>   x - y  op  right.time - left.time
    let (distance, op) = match (side(a, left, right)?, side(b, left, right)?) {
        (Side::Left(x), Side::Right(y)) => (x.checked_sub(y)?, op),
        (Side::Right(y), Side::Left(x)) => (x.checked_sub(y)?, op.swap()?),
        _ => return None,
    };
    match op {
        Operator::LtEq => Some(Bounds { lower: Some(distance), upper: None }),
        Operator::Lt => Some(Bounds { lower: Some(distance + 1), upper: None }),
        Operator::GtEq => Some(Bounds { lower: None, upper: Some(distance) }),
        Operator::Gt => Some(Bounds { lower: None, upper: Some(distance - 1) }),
        Operator::Eq => Some(Bounds { lower: Some(distance), upper: Some(distance) }),
        _ => None,
    }
}

fn side(expression: &Expr, left: &Rel<'_>, right: &Rel<'_>) -> Option<Side> {
    match expression {
        Expr::Column(_) => {
            let is_time = |rel: &Rel<'_>| rel.physical_of(expression).is_some_and(|i| rel.times.contains(&i));
            if is_time(left) {
                return Some(Side::Left(0));
            }
            is_time(right).then_some(Side::Right(0))
        }
        Expr::Cast(cast) => side(&cast.expr, left, right),
        Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) => {
            let (base, shift) = match (op, interval(b), interval(a)) {
                (Operator::Plus, Some(shift), _) => (side(a, left, right)?, shift),
                (Operator::Minus, Some(shift), _) => (side(a, left, right)?, -shift),
                (Operator::Plus, _, Some(shift)) => (side(b, left, right)?, shift),
                _ => return None,
            };
            match base {
                Side::Left(x) => x.checked_add(shift).map(Side::Left),
                Side::Right(x) => x.checked_add(shift).map(Side::Right),
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
