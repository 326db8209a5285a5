//! `JSON_OBJECT(KEY 'a' VALUE x, … NULL ON NULL)` and `JSON_ARRAY(x, … ABSENT ON NULL)`. Invariant: in the tree both are calls whose first
//! argument says in letters what becomes of NULL, and of each value whether it is JSON that another of them wrote.

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, ObjectNamePart, Value};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};

use super::json::function;
use super::tokens::is_word;
use crate::diagnostics::refused;
use crate::functions::json::{ABSENT_ON_NULL, ANY_VALUE, ARRAY, NULL_ON_NULL, OBJECT, WRITTEN_VALUE};

/// Functions that write JSON of many rows.
const OF_ROWS: [&str; 2] = ["JSON_ARRAYAGG", "JSON_OBJECTAGG"];

/// What reads one value, with its key if it has one, into the arguments.
type ReadMember = fn(&mut Parser<'_>, &mut Vec<Expr>) -> Result<(), ParserError>;

/// The call that begins here, if one does.
pub(super) fn writer(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let [name, open] = parser.peek_tokens_ref();
    if open.token != Token::LParen {
        return None;
    }
    if let Some(refuse) = OF_ROWS.into_iter().find(|word| is_word(&name.token, word)) {
        let hint = "write JSON_OBJECT or JSON_ARRAY for the values of one row, ARRAY_AGG(x) for a list of many";
        return Some(Err(refused(name.span.start, &format!("{refuse} is not supported"), hint)));
    }
    // Quoted, too: what stands for the call in the tree is written by nobody else.
    let is_called = |function: &str| matches!(&name.token, Token::Word(word) if word.value.eq_ignore_ascii_case(function));
    if is_called(OBJECT) {
        return Some(call(parser, member, NULL_ON_NULL));
    }
    is_called(ARRAY).then(|| call(parser, item, ABSENT_ON_NULL))
}

fn call(parser: &mut Parser<'_>, read: ReadMember, default: char) -> Result<Expr, ParserError> {
    let span = parser.peek_token_ref().span;
    let name = parser.parse_object_name(false)?;
    parser.expect_token(&Token::LParen)?;
    let (mut letters, mut args) = (String::new(), Vec::new());
    let mut on_null = null_clause(parser);
    if on_null.is_none() && parser.peek_token_ref().token != Token::RParen {
        loop {
            read(parser, &mut args)?;
            letters.push(if args.last().is_some_and(is_written) { WRITTEN_VALUE } else { ANY_VALUE });
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        on_null = null_clause(parser);
    }
    parser.expect_token(&Token::RParen)?;
    letters.insert(0, on_null.unwrap_or(default));
    args.insert(0, text(letters, span));
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Ok(function(name, args, Vec::new()))
}

/// `[KEY] 'a' VALUE x`.
fn member(parser: &mut Parser<'_>, args: &mut Vec<Expr>) -> Result<(), ParserError> {
    const HINT: &str = "write JSON_OBJECT(KEY 'a' VALUE x, KEY 'b' VALUE y)";
    // The word may be left out.
    let _ = parser.parse_keyword(Keyword::KEY);
    let next = parser.next_token();
    let Token::SingleQuotedString(key) = next.token else {
        return Err(refused(next.span.start, "a key of JSON_OBJECT is no literal", HINT));
    };
    let key = text(key, next.span);
    if args.iter().step_by(2).any(|other| same(other, &key)) {
        return Err(refused(next.span.start, "JSON_OBJECT has this key twice", "leave one of them out"));
    }
    if !parser.parse_keyword(Keyword::VALUE) {
        return Err(refused(parser.peek_token_ref().span.start, "a key of JSON_OBJECT has no VALUE", HINT));
    }
    args.push(key);
    item(parser, args)
}

/// `x`.
fn item(parser: &mut Parser<'_>, args: &mut Vec<Expr>) -> Result<(), ParserError> {
    args.push(parser.parse_expr()?);
    Ok(())
}

/// What is said of NULL, if that is next.
fn null_clause(parser: &mut Parser<'_>) -> Option<char> {
    if parser.parse_keywords(&[Keyword::NULL, Keyword::ON, Keyword::NULL]) {
        Some(NULL_ON_NULL)
    } else if parser.parse_keywords(&[Keyword::ABSENT, Keyword::ON, Keyword::NULL]) {
        Some(ABSENT_ON_NULL)
    } else {
        None
    }
}

/// Whether a value is itself such a call.
fn is_written(value: &Expr) -> bool {
    match value {
        Expr::Nested(inner) => is_written(inner),
        Expr::Function(call) => {
            let name = call.name.0.last().and_then(ObjectNamePart::as_ident);
            name.is_some_and(|name| [ARRAY, OBJECT].iter().any(|function| name.value.eq_ignore_ascii_case(function)))
        }
        _ => false,
    }
}

fn text(text: String, span: Span) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).with_span(span))
}

fn same(a: &Expr, b: &Expr) -> bool {
    matches!((a, b), (Expr::Value(a), Expr::Value(b)) if a.value == b.value)
}
