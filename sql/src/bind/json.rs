//! What `JSON_VALUE` gives where it finds nothing. Invariant: a call with ON EMPTY or ON ERROR becomes one of a function that takes both as
//! literals; without them it stays as it is.
//!
//! ```text
//! JSON_VALUE(a, '$.k' DEFAULT 'x' ON EMPTY ERROR ON ERROR)   ->   "$json_value"(a, '$.k', 'default x', 'error')
//! ```

use sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Value,
};
use sqlparser::tokenizer::Span;

use super::spelling::call;
use crate::diagnostics::start;
use crate::functions::json;
use crate::parser::JSON_CLAUSES;

/// Writes an expression as the planner knows it, if it is such a call.
pub(super) fn resolve(expression: &mut Expr) {
    let Expr::Function(function) = &*expression else { return };
    let FunctionArguments::List(list) = &function.args else { return };
    if !function.name.to_string().eq_ignore_ascii_case(json::VALUE) {
        return;
    }
    let outcomes = JSON_CLAUSES.map(|clause| list.args.iter().find_map(|arg| outcome(arg, clause)));
    if outcomes.iter().all(Option::is_none) {
        return;
    }
    let span = Span::new(start(&*expression), start(&*expression));
    let mut args: Vec<Expr> = list.args.iter().filter_map(plain).collect();
    // ERROR ON ERROR is also of the conversion.
    let is_strict = outcomes[1].as_deref() == Some(json::ERROR);
    let mut name = json::VALUE;
    // Otherwise it says itself what it takes.
    if args.len() == 2 {
        name = json::VALUE_ELSE;
        let literal = |text: Option<String>| Expr::Value(text.map_or(Value::Null, Value::SingleQuotedString).with_span(span));
        args.extend(outcomes.map(literal));
    }
    let data_type = returning(list);
    let called = call(name, args);
    *expression = match data_type {
        Some(data_type) => {
            let kind = if is_strict { CastKind::Cast } else { CastKind::TryCast };
            Expr::Cast { kind, expr: Box::new(called), data_type, array: false, format: None }
        }
        None => called,
    };
}

/// What a clause says, as the function takes it.
fn outcome(arg: &FunctionArg, clause: &str) -> Option<String> {
    match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(Expr::Value(value)), .. } if name.value == clause => {
            Some(match &value.value {
                Value::SingleQuotedString(text) => format!("{}{text}", json::DEFAULT),
                _ => json::ERROR.to_owned(),
            })
        }
        _ => None,
    }
}

fn plain(arg: &FunctionArg) -> Option<Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    }
}

fn returning(list: &FunctionArgumentList) -> Option<DataType> {
    list.clauses.iter().find_map(|clause| match clause {
        FunctionArgumentClause::JsonReturningClause(returning) => Some(returning.data_type.clone()),
        _ => None,
    })
}
