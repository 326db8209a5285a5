//! What Flink's SQL says of JSON and sqlparser does not read: `JSON_VALUE(… ON EMPTY … ON ERROR)` and `IS JSON`. Invariant: in the tree both
//! are calls that nobody can write: a clause of JSON_VALUE is an argument whose name has a space in it, and IS JSON a function whose name
//! begins with `$`.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Ident, JsonReturningClause, ObjectName, Spanned, UnaryOperator, Value,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token};

use super::cast::query_type;
use super::tokens::is_word;
use crate::diagnostics::refused;
use crate::functions::json;

/// Names of the clauses of JSON_VALUE: NULL as the value says that it is an error, a text that it is that text.
pub(crate) const CLAUSES: [&str; 2] = ["ON EMPTY", "ON ERROR"];

/// Kinds of values that IS JSON tells apart.
const KINDS: [&str; 4] = ["VALUE", "SCALAR", "ARRAY", "OBJECT"];

/// The JSON_VALUE that begins here, if one does.
pub(super) fn value(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let [name, open] = parser.peek_tokens_ref();
    (is_word(&name.token, json::VALUE) && open.token == Token::LParen).then(|| call(parser))
}

fn call(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let name = parser.parse_object_name(false)?;
    parser.expect_token(&Token::LParen)?;
    let mut args = parser.parse_comma_separated(Parser::parse_function_args)?;
    let mut clauses = Vec::new();
    if parser.parse_keyword(Keyword::RETURNING) {
        let data_type = query_type(parser)?;
        clauses.push(FunctionArgumentClause::JsonReturningClause(JsonReturningClause { data_type }));
    }
    let mut given = Vec::new();
    loop {
        let at = parser.peek_token_ref().span.start;
        let Some((clause, arg)) = outcome(parser)? else { break };
        if given.contains(&clause) {
            return Err(refused(at, &format!("{clause} of JSON_VALUE is given twice"), "leave one of them out"));
        }
        given.push(clause);
        args.extend(arg);
    }
    parser.expect_token(&Token::RParen)?;
    Ok(function(name, args, clauses))
}

/// A clause that is next, and its argument; NULL, which is what is given anyway, has none.
fn outcome(parser: &mut Parser<'_>) -> Result<Option<(&'static str, Option<FunctionArg>)>, ParserError> {
    let span = parser.peek_token_ref().span;
    let value = if parser.parse_keyword(Keyword::NULL) {
        None
    } else if parser.parse_keyword(Keyword::ERROR) {
        Some(Value::Null)
    } else if parser.parse_keyword(Keyword::DEFAULT) {
        let at = parser.peek_token_ref().span.start;
        let expression = parser.parse_expr()?;
        literal(&expression, at)?.map(Value::SingleQuotedString)
    } else {
        return Ok(None);
    };
    parser.expect_keyword_is(Keyword::ON)?;
    let clause = match parser.expect_one_of_keywords(&[Keyword::EMPTY, Keyword::ERROR])? {
        Keyword::EMPTY => CLAUSES[0],
        _ => CLAUSES[1],
    };
    let arg = value.map(|value| FunctionArg::Named {
        name: Ident::with_span(span, clause),
        arg: FunctionArgExpr::Expr(Expr::Value(value.with_span(span))),
        operator: FunctionArgOperator::Value,
    });
    Ok(Some((clause, arg)))
}

/// The text of a literal; `None` of NULL. Errors: it is none.
fn literal(expression: &Expr, at: Location) -> Result<Option<String>, ParserError> {
    let of_value = |expression: &Expr| match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => Some(Some(text.clone())),
            Value::Boolean(truth) => Some(Some(truth.to_string())),
            Value::Null => Some(None),
            _ => None,
        },
        _ => None,
    };
    let found = match expression {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => of_value(expr.as_ref()).map(|text| text.map(|text| format!("-{text}"))),
        other => of_value(other),
    };
    found.ok_or_else(|| {
        refused(at, "the default of JSON_VALUE is no literal", "write DEFAULT 'x' ON EMPTY, or COALESCE(JSON_VALUE(text, '$.path'), x)")
    })
}

/// `left IS [NOT] JSON [VALUE | SCALAR | ARRAY | OBJECT]`, if that is next.
pub(super) fn predicate(parser: &mut Parser<'_>, left: &Expr) -> Option<Expr> {
    let negated = if parser.parse_keywords(&[Keyword::IS, Keyword::JSON]) {
        false
    } else if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::JSON]) {
        true
    } else {
        return None;
    };
    let next = parser.peek_token_ref();
    let named = KINDS.into_iter().find(|word| is_word(&next.token, word));
    if named.is_some() {
        parser.advance_token();
    }
    let at = left.span().start;
    let span = Span::new(at, at);
    let kind = Value::SingleQuotedString(named.unwrap_or(KINDS[0]).to_owned());
    let args = [left.clone(), Expr::Value(kind.with_span(span))].map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e)));
    let name = Ident { value: json::PREDICATE.to_owned(), quote_style: Some('"'), span };
    let call = function(ObjectName::from(vec![name]), args.into(), Vec::new());
    Some(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(call) } } else { call })
}

/// A call.
pub(super) fn function(name: ObjectName, args: Vec<FunctionArg>, clauses: Vec<FunctionArgumentClause>) -> Expr {
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
