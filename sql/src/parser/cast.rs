//! `CAST(x AS type)` with the types of Flink that sqlparser does not read. Invariant: a type that is not supported is named, at its place.
//!
//! ```text
//! TIMESTAMP(3) WITH LOCAL TIME ZONE   ->   TIMESTAMP_LTZ(3)
//! INT ARRAY                           ->   ARRAY<INT>
//! ```

use sqlparser::ast::{ArrayElemTypeDef, CastKind, DataType, Expr, Ident, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::tokens::is_word;
use crate::diagnostics::refused;

/// What begins a cast.
const CASTS: [(&str, CastKind); 3] = [("CAST", CastKind::Cast), ("SAFE_CAST", CastKind::SafeCast), ("TRY_CAST", CastKind::TryCast)];

/// Types that nothing is cast to, and what to write instead.
const REFUSED: [(&str, &str); 3] = [
    ("MAP", "cast what is read from it: CAST(m['key'] AS INT)"),
    ("MULTISET", "write an ARRAY, and cast what is read from it: CAST(a[1] AS INT)"),
    ("ROW", "cast each field, and make a row of them: ROW(CAST(r.a AS INT), CAST(r.b AS STRING))"),
];

/// The cast that begins here, if one does.
pub(super) fn cast(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let [name, open] = parser.peek_tokens_ref();
    let (_, kind) = CASTS.iter().find(|(word, _)| is_word(&name.token, word) && open.token == Token::LParen)?;
    Some(call(parser, kind.clone()))
}

fn call(parser: &mut Parser<'_>, kind: CastKind) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_keyword_is(Keyword::AS)?;
    let data_type = query_type(parser)?;
    let format = parser.parse_optional_cast_format()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Cast { kind, expr, data_type, array: false, format })
}

/// A type in an expression.
pub(super) fn query_type(parser: &mut Parser<'_>) -> Result<DataType, ParserError> {
    check(parser)?;
    let mut data_type = plain_type(parser)?;
    while parser.parse_keyword(Keyword::ARRAY) {
        data_type = DataType::Array(ArrayElemTypeDef::AngleBracket(Box::new(data_type)));
    }
    // `INT MULTISET`
    check(parser)?;
    Ok(data_type)
}

/// Errors: a type is next that is refused.
fn check(parser: &Parser<'_>) -> Result<(), ParserError> {
    let next = parser.peek_token_ref();
    match REFUSED.iter().find(|(word, _)| is_word(&next.token, word)) {
        Some((word, hint)) => Err(refused(next.span.start, &format!("a cast to {word} is not supported"), hint)),
        None => Ok(()),
    }
}

/// A type that holds no others.
pub(super) fn plain_type(parser: &mut Parser<'_>) -> Result<DataType, ParserError> {
    match parser.maybe_parse(local_timestamp)? {
        Some(data_type) => Ok(data_type),
        None => parser.parse_data_type(),
    }
}

fn local_timestamp(parser: &mut Parser<'_>) -> Result<DataType, ParserError> {
    let word = parser.expect_keyword(Keyword::TIMESTAMP)?;
    let digits = parser.parse_optional_precision()?;
    parser.expect_keywords(&[Keyword::WITH, Keyword::LOCAL, Keyword::TIME, Keyword::ZONE])?;
    let name = ObjectName::from(vec![Ident::with_span(word.span, "TIMESTAMP_LTZ")]);
    Ok(DataType::Custom(name, digits.iter().map(u64::to_string).collect()))
}
