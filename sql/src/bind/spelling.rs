//! What DataFusion knows under another name or form. Invariant: what is written in place of a call means the same.
//!
//! ```text
//! SIGN(x)                             SIGNUM(x)
//! MOD(a, b)                           (a) % (b)
//! a -> 'k', a ->> 'k'                 JSON_GET(a, 'k'), JSON_GET_TEXT(a, 'k')
//! JSON_VALUE(a, '$.k' RETURNING t)    TRY_CAST(JSON_VALUE(a, '$.k') AS t)
//! ```

use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Value,
};
use sqlparser::tokenizer::{Location, Span};

use crate::diagnostics::start;
use crate::functions::json;

/// Writes an expression as DataFusion knows it; what is inside is left alone.
pub(super) fn respell(expression: &mut Expr) {
    match expression {
        Expr::BinaryOp { left, op: op @ (BinaryOperator::Arrow | BinaryOperator::LongArrow), right } => {
            let name = if *op == BinaryOperator::Arrow { json::GET } else { json::GET_TEXT };
            *expression = call(name, vec![left.as_ref().clone(), right.as_ref().clone()]);
        }
        Expr::Function(function) => {
            if let Some(other) = function_as(function) {
                *expression = other;
            }
        }
        _ => {}
    }
}

fn function_as(function: &mut Function) -> Option<Expr> {
    let lower = function.name.to_string().to_lowercase();
    let Function { args: FunctionArguments::List(list), over: None, .. } = function else { return None };
    let plain = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    let arguments: Option<Vec<Expr>> = list.args.iter().map(plain).collect();
    match (lower.as_str(), arguments?.as_slice(), list.clauses.as_slice()) {
        ("sign", [x], []) => Some(call("signum", vec![x.clone()])),
        ("mod", [a, b], []) => {
            let nested = |e: &Expr| Box::new(Expr::Nested(Box::new(e.clone())));
            Some(Expr::Nested(Box::new(Expr::BinaryOp { left: nested(a), op: BinaryOperator::Modulo, right: nested(b) })))
        }
        (json::VALUE, arguments, [FunctionArgumentClause::JsonReturningClause(returning)]) => Some(Expr::Cast {
            kind: CastKind::TryCast,
            expr: Box::new(call(json::VALUE, arguments.to_vec())),
            data_type: returning.data_type.clone(),
            array: false,
            format: None,
        }),
        _ => None,
    }
}

/// `date_trunc(unit, time)`.
pub(super) fn date_trunc(unit: &str, time: Expr) -> Expr {
    let unit = Expr::Value(Value::SingleQuotedString(unit.to_owned()).with_span(Span::new(start(&time), start(&time))));
    call("date_trunc", vec![unit, time])
}

/// A call of a function; markers have names that nobody can write without quotes.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let at = args.first().map_or(Location { line: 0, column: 0 }, start);
    let quote_style = name.starts_with('$').then_some('"');
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident { value: name.to_owned(), quote_style, span: Span::new(at, at) }]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
