//! What DataFusion knows under another name or form. Invariant: what is written in place of a call means the same.
//!
//! ```text
//! SIGN(x)                             SIGNUM(x)
//! MOD(a, b)                           (a) % (b)
//! STARTSWITH(x, y), ENDSWITH(x, y)    STARTS_WITH(x, y), ENDS_WITH(x, y)
//! IF(c, a, b)                         CASE WHEN c THEN a ELSE b END
//! LISTAGG(x), LISTAGG(x, ';')         STRING_AGG(x, ','), STRING_AGG(x, ';')
//! FLOOR(t TO HOUR)                    DATE_TRUNC('hour', t)
//! CEIL(t TO HOUR)                     DATE_TRUNC('hour', CAST(t AS TIMESTAMP(6)) - INTERVAL '1 microsecond') + INTERVAL '1 hour'
//! a -> 'k', a ->> 'k'                 JSON_GET(a, 'k'), JSON_GET_TEXT(a, 'k')
//! GROUPING_ID(a, b)                   GROUPING(a, b)
//! JSON_VALUE(a, '$.k' RETURNING t)    TRY_CAST(JSON_VALUE(a, '$.k') AS t)
//! CAST(1.005 AS DECIMAL(5, 2))        CAST('1.005' AS DECIMAL(5, 2)): as a number it is a DOUBLE, which is a little less
//! ```

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, TimezoneInfo, UnaryOperator, Value,
};
use sqlparser::tokenizer::{Location, Span};

use crate::diagnostics::{Result, start};
use crate::functions::json;
use crate::lower::reject::Unsupported;

/// Writes an expression as DataFusion knows it; what is inside is left alone. Errors: it is a call with more than arguments, which another
/// form has no place for.
pub(super) fn respell(expression: &mut Expr) -> Result<()> {
    match expression {
        Expr::BinaryOp { left, op: op @ (BinaryOperator::Arrow | BinaryOperator::LongArrow), right } => {
            let name = if *op == BinaryOperator::Arrow { json::GET } else { json::GET_TEXT };
            *expression = call(name, vec![left.as_ref().clone(), right.as_ref().clone()]);
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(field) } => {
            if let Some(unit) = unit(field) {
                *expression = date_trunc(unit, expr.as_ref().clone());
            }
        }
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(field) } => {
            if let Some(unit) = unit(field) {
                *expression = ceil(unit, expr.as_ref().clone());
            }
        }
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon | CastKind::TryCast | CastKind::SafeCast,
            expr,
            data_type: DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_),
            ..
        } => {
            if let Some(text) = exact(expr) {
                let at = start(&**expr);
                **expr = Expr::Value(Value::SingleQuotedString(text).with_span(Span::new(at, at)));
            }
        }
        Expr::Function(function) => {
            listagg(function);
            if let Some(other) = function_as(function) {
                if is_decorated(function) {
                    let what = Unsupported::clause("DISTINCT, FILTER, OVER or ORDER BY with this function");
                    return Err(what.named(&function.name, start(&function.name)));
                }
                *expression = other;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether a call says more than its arguments.
fn is_decorated(function: &Function) -> bool {
    let Function { name: _, uses_odbc_syntax: _, parameters, args, filter, null_treatment, over, within_group } = function;
    let distinct = matches!(args, FunctionArguments::List(list) if list.duplicate_treatment.is_some());
    let behind = filter.is_some() || null_treatment.is_some() || over.is_some() || !within_group.is_empty();
    distinct || behind || *parameters != FunctionArguments::None
}

fn function_as(function: &Function) -> Option<Expr> {
    let lower = function.name.to_string().to_lowercase();
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    let arguments: Option<Vec<Expr>> = list.args.iter().map(plain).collect();
    match (lower.as_str(), arguments?.as_slice(), list.clauses.as_slice()) {
        ("sign", [x], []) => Some(call("signum", vec![x.clone()])),
        ("startswith", [x, y], []) => Some(call("starts_with", vec![x.clone(), y.clone()])),
        ("endswith", [x, y], []) => Some(call("ends_with", vec![x.clone(), y.clone()])),
        ("grouping_id", all, []) => Some(call("grouping", all.to_vec())),
        ("mod", [a, b], []) => {
            let nested = |e: &Expr| Box::new(Expr::Nested(Box::new(e.clone())));
            Some(Expr::Nested(Box::new(Expr::BinaryOp { left: nested(a), op: BinaryOperator::Modulo, right: nested(b) })))
        }
        ("if", [condition, then, otherwise], []) => Some(Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen { condition: condition.clone(), result: then.clone() }],
            else_result: Some(Box::new(otherwise.clone())),
        }),
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

/// The digits of a number that is written down, unless they are a BIGINT or have an exponent.
fn exact(number: &Expr) -> Option<String> {
    match number {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => exact(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
            let digits = exact(inner)?;
            Some(digits.strip_prefix('-').map_or_else(|| format!("-{digits}"), str::to_owned))
        }
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if digits.parse::<i64>().is_err() && digits.bytes().all(|b| b == b'.' || b.is_ascii_digit()) => {
                Some(digits.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// LISTAGG is STRING_AGG with a comma where none is given; what else belongs to the call stays.
fn listagg(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    if !function.name.to_string().eq_ignore_ascii_case("listagg") || list.args.is_empty() {
        return;
    }
    let at = start(&function.name);
    if list.args.len() == 1 {
        let comma = Expr::Value(Value::SingleQuotedString(",".to_owned()).with_span(Span::new(at, at)));
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(comma)));
    }
    function.name = ObjectName::from(vec![Ident { value: "string_agg".to_owned(), quote_style: None, span: Span::new(at, at) }]);
}

/// A unit that times are rounded to; weeks are left out, whose first day is not the same everywhere.
fn unit(field: &DateTimeField) -> Option<&'static str> {
    Some(match field {
        DateTimeField::Second => "second",
        DateTimeField::Minute => "minute",
        DateTimeField::Hour => "hour",
        DateTimeField::Day => "day",
        DateTimeField::Month => "month",
        DateTimeField::Quarter => "quarter",
        DateTimeField::Year => "year",
        _ => return None,
    })
}

/// The first time that is a whole unit and not before `time`: the begin of the unit of the microsecond before, and one unit more.
fn ceil(unit: &str, time: Expr) -> Expr {
    let at = start(&time);
    let interval = |length: &str| {
        let value = Box::new(Expr::Value(Value::SingleQuotedString(length.to_owned()).with_span(Span::new(at, at))));
        let (leading_field, leading_precision, last_field, fractional_seconds_precision) = (None, None, None, None);
        Box::new(Expr::Interval(Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision }))
    };
    // A date would not be less by a microsecond.
    let data_type = DataType::Timestamp(Some(6), TimezoneInfo::None);
    let time = Expr::Cast { kind: CastKind::Cast, expr: Box::new(time), data_type, array: false, format: None };
    let before = Expr::BinaryOp { left: Box::new(time), op: BinaryOperator::Minus, right: interval("1 microsecond") };
    let next = if unit == "quarter" { "3 month".to_owned() } else { format!("1 {unit}") };
    let begin = Box::new(date_trunc(unit, before));
    Expr::Nested(Box::new(Expr::BinaryOp { left: begin, op: BinaryOperator::Plus, right: interval(&next) }))
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
