//! Numbers whose range, digits or type differ. Invariant: a rule finds something only where the script tells the types; a literal, which is
//! seen to fit, is not found.

use sqlparser::ast::{BinaryOperator, DataType, Expr, UnaryOperator};

use super::finding::{Effect, Rule};
use super::kinds::Kind;
use super::report::Report;
use super::scope::{Scope, arguments};
use super::walk::Family;

pub(super) static FAMILY: Family = Family { expression, ..Family::BLIND };

pub(super) static NARROWING: Rule = Rule {
    name: "cast-narrowing",
    finds: "casts of numbers to whole numbers of fewer bits",
    effect: Effect::Differs,
    why: "what does not fit becomes another number, here its row is rejected, and TRY_CAST gives NULL",
    hint: "keep the wider type, or say what is to happen: CASE WHEN x BETWEEN -128 AND 127 THEN CAST(x AS TINYINT) END",
};
pub(super) static QUOTIENT: Rule = Rule {
    name: "decimal-quotient",
    finds: "the quotient of decimals",
    effect: Effect::Differs,
    why: "it has at least six digits behind the point, and more with the digits of both; here four more than the dividend",
    hint: "write CAST(a / b AS DECIMAL(18, 2)) with the digits that you need, no more than four more than those of a",
};
pub(super) static ROOT: Rule = Rule {
    name: "root-of-negative",
    finds: "SQRT of what may be negative",
    effect: Effect::Differs,
    why: "the root of a negative number is NaN, here its row is rejected",
    hint: "write CASE WHEN x >= 0 THEN SQRT(x) END",
};
pub(super) static SIGN: Rule = Rule {
    name: "sign-type",
    finds: "SIGN of whole numbers and decimals",
    effect: Effect::Differs,
    why: "it has the type of its argument, here it is a DOUBLE",
    hint: "write CAST(SIGN(x) AS INT)",
};

fn expression(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    match expression {
        Expr::Cast { expr, data_type, .. } if !is_literal(expr) && narrows(scope.kind(expr), data_type) => {
            report.add(&NARROWING, scope.begins(expr.as_ref(), &["CAST", "TRY_CAST"]), format!("a cast to {data_type}"));
        }
        Expr::BinaryOp { left, op: BinaryOperator::Divide, right } => {
            // Of a whole literal and a decimal another rule tells.
            let is_bare = |e: &Expr| matches!(e, Expr::Value(_));
            let of_decimals = match (scope.kind(left), scope.kind(right)) {
                (Some(Kind::Decimal), Some(Kind::Decimal)) => true,
                (Some(a), Some(b)) => !is_bare(left) && !is_bare(right) && a.together(b) == Some(Kind::Decimal),
                _ => false,
            };
            if of_decimals {
                report.add(&QUOTIENT, scope.operator(left, right), "this division");
            }
        }
        Expr::Function(function) => match (function.name.to_string().to_lowercase().as_str(), arguments(function).as_slice()) {
            ("sign", [of]) if matches!(scope.kind(of), Some(Kind::Integer(_) | Kind::Decimal)) => {
                report.add(&SIGN, scope.place(&function.name), "SIGN");
            }
            ("sqrt", [of]) if !is_literal(of) && !is_magnitude(of) => report.add(&ROOT, scope.place(&function.name), "SQRT"),
            _ => {}
        },
        _ => {}
    }
}

fn narrows(from: Option<Kind>, to: &DataType) -> bool {
    match (from, Kind::of(to)) {
        (Some(Kind::Integer(from)), Kind::Integer(to)) => to < from,
        (Some(Kind::Floating | Kind::Decimal), Kind::Integer(_)) => true,
        _ => false,
    }
}

fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) => true,
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => is_literal(inner),
        _ => false,
    }
}

/// Whether a number is not below 0, as it is written.
fn is_magnitude(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(f) if ["abs", "count"].contains(&f.name.to_string().to_lowercase().as_str()))
}
