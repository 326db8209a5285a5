//! Operators and other forms of expressions. Invariant: what is not in the list of those that Flink has is found.

use sqlparser::ast::{AccessExpr, BinaryOperator, CastKind, Expr, Subscript, UnaryOperator, Value};
use sqlparser::tokenizer::{Location, Token};

use super::finding::{Effect, Rule};
use super::kinds::Kind;
use super::report::Report;
use super::scope::Scope;
use super::script::{Script, Stated, next};
use super::walk::Family;

pub(super) static FAMILY: Family = Family { statement, expression, ..Family::BLIND };

pub(super) static CAST: Rule = Rule {
    name: "cast-form",
    finds: ":: and other forms of CAST",
    effect: Effect::Refuses,
    why: "",
    hint: "write CAST(x AS type), or TRY_CAST(x AS type)",
};
pub(super) static EXPRESSION: Rule = Rule {
    name: "expression",
    finds: "forms of expressions that Flink does not have",
    effect: Effect::Refuses,
    why: "",
    hint: "write it with functions and operators that both engines have",
};
pub(super) static LIST: Rule = Rule {
    name: "list-literal",
    finds: "[1, 2] without ARRAY, { } and MAP { }",
    effect: Effect::Refuses,
    why: "",
    hint: "write ARRAY[1, 2], or MAP['key', 1]",
};
pub(super) static OPERATOR: Rule = Rule {
    name: "operator",
    finds: "operators that Flink does not have",
    effect: Effect::Refuses,
    why: "",
    hint: "write a function that both engines have",
};
pub(super) static TEXT: Rule = Rule {
    name: "text-literal",
    finds: "texts in other quotes than '…'",
    effect: Effect::Refuses,
    why: "",
    hint: "write 'text', with '' for a quote in it",
};
pub(super) static TIME_DIFFERENCE: Rule = Rule {
    name: "time-difference",
    finds: "the difference of two times",
    effect: Effect::Refuses,
    why: "- takes a time and an interval",
    hint: "compare with an interval: a < b + INTERVAL '5' MINUTE, or count: TIMESTAMPDIFF(SECOND, b, a)",
};
pub(super) static UNEQUAL: Rule = Rule { name: "unequal", finds: "!=", effect: Effect::Refuses, why: "", hint: "write <>" };

/// Operators that Flink lacks, by how they begin, and what to write.
const INSTEAD: [(&str, &str); 13] = [
    ("->>", "write JSON_VALUE(a, '$.key')"),
    ("->", "write JSON_QUERY(a, '$.key') for an object or a list, JSON_VALUE(a, '$.key') for anything else"),
    ("!~", "write NOT REGEXP(a, pattern)"),
    ("~", "write REGEXP(a, pattern)"),
    ("==", "write ="),
    ("<=>", "write IS NOT DISTINCT FROM"),
    ("^", "on Flink write a function of your own"),
    ("&", "on Flink write a function of your own"),
    ("|", "on Flink write a function of your own"),
    ("<<", "multiply by POWER(2, n)"),
    (">>", "divide by POWER(2, n)"),
    ("//", "Flink takes it as a comment: write FLOOR(a / b)"),
    ("@>", "on Flink write ARRAY_CONTAINS for each value"),
];

/// `!=` and `<>` are the same in the tree: only the text tells them apart.
fn statement(stated: &Stated, script: &Script<'_>, report: &mut Report<'_>) {
    for token in stated.tokens.all() {
        match token.token {
            Token::Neq if script.character(token.span.start) == Some('!') => report.add(&UNEQUAL, token.span.start, "!="),
            Token::DoubleEq => report.hint(&OPERATOR, token.span.start, "==", "write ="),
            _ => {}
        }
    }
}

fn expression(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    match expression {
        Expr::BinaryOp { left, op, right } => binary(left, op, right, scope, report),
        Expr::UnaryOp { op, expr } if !matches!(op, UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not) => {
            operator(&op.to_string(), scope.place(expr.as_ref()), report);
        }
        Expr::ILike { .. } => {
            let at = next(scope.tokens, scope.place(expression), |t| crate::parser::is_word(t, "ILIKE"));
            let at = at.map_or(scope.place(expression), |t| t.span.start);
            report.hint(&OPERATOR, at, "ILIKE", "write LOWER(a) LIKE 'pattern'");
        }
        Expr::RLike { .. } => report.hint(&OPERATOR, scope.place(expression), "RLIKE", INSTEAD[3].1),
        Expr::Cast { kind, expr, format, .. } => cast(kind.clone(), expr, format.is_some(), scope, report),
        Expr::Array(array) if !array.named => report.add(&LIST, scope.place(expression), "a list without ARRAY"),
        Expr::Dictionary(_) | Expr::Map(_) => report.add(&LIST, scope.place(expression), "a map in braces"),
        Expr::Value(value) => text(&value.value, scope.place(expression), report),
        other => form(other, scope, report),
    }
}

fn binary(left: &Expr, op: &BinaryOperator, right: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    let at = scope.operator(left, right);
    match op {
        BinaryOperator::Minus if [left, right].iter().all(|e| scope.kind(e) == Some(Kind::Timestamp)) => {
            report.add(&TIME_DIFFERENCE, at, "a time minus a time");
        }
        BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply | BinaryOperator::Divide | BinaryOperator::Modulo => {}
        BinaryOperator::Gt | BinaryOperator::Lt | BinaryOperator::GtEq | BinaryOperator::LtEq | BinaryOperator::Eq => {}
        BinaryOperator::NotEq | BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat | BinaryOperator::Overlaps => {}
        other => operator(&other.to_string(), at, report),
    }
}

fn operator(shown: &str, at: Location, report: &mut Report<'_>) {
    let hint = INSTEAD.iter().find(|(begin, _)| shown.starts_with(begin)).map_or(OPERATOR.hint, |(_, hint)| hint);
    report.hint(&OPERATOR, at, shown, hint);
}

fn cast(kind: CastKind, of: &Expr, has_format: bool, scope: &Scope<'_>, report: &mut Report<'_>) {
    let at = scope.place(of);
    match kind {
        CastKind::DoubleColon => {
            let at = next(scope.tokens, at, |t| *t == Token::DoubleColon).map_or(at, |t| t.span.start);
            report.add(&CAST, at, "::");
        }
        CastKind::SafeCast => report.hint(&CAST, scope.begins(of, &["SAFE_CAST"]), "SAFE_CAST", "write TRY_CAST(x AS type)"),
        CastKind::Cast | CastKind::TryCast if has_format => report.add(&CAST, scope.begins(of, &["CAST", "TRY_CAST"]), "CAST with FORMAT"),
        CastKind::Cast | CastKind::TryCast => {}
    }
}

fn text(value: &Value, at: Location, report: &mut Report<'_>) {
    match value {
        Value::SingleQuotedString(_) | Value::Number(..) | Value::Boolean(_) | Value::Null | Value::Placeholder(_) => {}
        Value::HexStringLiteral(_) | Value::NationalStringLiteral(_) | Value::UnicodeStringLiteral(_) => {}
        _ => report.add(&TEXT, at, "a text in these quotes"),
    }
}

fn form(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    let (what, hint) = match expression {
        Expr::AtTimeZone { .. } => ("AT TIME ZONE", "leave it out, and convert times where they are shown"),
        Expr::Collate { .. } => ("COLLATE", "leave it out"),
        Expr::AnyOp { right, .. } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
            ("= ANY of a list", "on Flink write ARRAY_CONTAINS(list, x)")
        }
        Expr::AllOp { right, .. } if !matches!(right.as_ref(), Expr::Subquery(_)) => ("ALL of a list", EXPRESSION.hint),
        Expr::InUnnest { .. } => ("IN UNNEST", "on Flink write ARRAY_CONTAINS(list, x)"),
        Expr::JsonAccess { .. } => ("a path after a colon", "write JSON_VALUE(a, '$.key')"),
        Expr::Struct { .. } => ("STRUCT(…)", "write ROW(…)"),
        Expr::Convert { .. } => ("CONVERT", "write CAST(x AS type)"),
        Expr::Lambda(_) => ("a lambda", EXPRESSION.hint),
        Expr::Like { any: true, .. } => ("LIKE ANY", "write one LIKE for each, joined by OR"),
        Expr::CompoundFieldAccess { access_chain, .. } if access_chain.iter().any(is_slice) => {
            ("a slice of a list", "write ARRAY_SLICE(list, from, to)")
        }
        _ => return,
    };
    report.hint(&EXPRESSION, scope.place(expression), what, hint);
}

fn is_slice(access: &AccessExpr) -> bool {
    matches!(access, AccessExpr::Subscript(Subscript::Slice { .. }))
}
