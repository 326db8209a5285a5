//! The dialect: what sqlparser reads on our behalf. Invariant: it answers as the generic dialect where it must (`UNNEST` and
//! others ask for its type), and hands out the table argument of a window function only in a form that no planner accepts.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::{Expr, Ident};
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::{cast, json, json_writer};

/// Prefix under which `TABLE name` travels through the syntax tree.
pub(crate) const TABLE_ARGUMENT: &str = "TABLE";

/// How tight `->` binds: comparisons have 20, `+` has 30.
const ARROW: u8 = 25;

/// SQL for streams: a subset of Flink's, and what the generic dialect knows beyond it.
/// The parser tries both meanings of words that may be keywords or names, which takes twice as long for each of them that is
/// nested in another: so it may begin only so many expressions.
#[derive(Debug)]
pub(super) struct StreamDialect {
    attempts_left: Cell<usize>,
}

impl StreamDialect {
    /// For a statement in which the parser may begin `attempts` expressions.
    pub(super) fn new(attempts: usize) -> Self {
        Self { attempts_left: Cell::new(attempts) }
    }
}

impl Dialect for StreamDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    /// `->` and `->>` bind as in PostgreSQL: less than `+`, more than `=`; by default `a ->> 'b' = 'c'` would be `a ->> ('b' = 'c')`.
    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        matches!(parser.peek_token_ref().token, Token::Arrow | Token::LongArrow).then_some(Ok(ARROW))
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        matches!(c, '"' | '`')
    }

    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_alphanumeric() || matches!(c, '_' | '$')
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_try_convert(&self) -> bool {
        false
    }

    /// `IS JSON`; and sqlparser takes all that follows `IS DISTINCT FROM` for its right side, also an AND and what is behind that.
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        if let Some(predicate) = json::predicate(parser, left) {
            return Some(Ok(predicate));
        }
        let make: fn(Box<Expr>, Box<Expr>) -> Expr = if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            Expr::IsDistinctFrom
        } else if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            Expr::IsNotDistinctFrom
        } else {
            return None;
        };
        Some(parser.parse_subexpr(precedence).map(|right| make(Box::new(left.clone()), Box::new(right))))
    }

    /// `TABLE name` as an argument, casts, and functions of JSON with clauses of their own.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let Some(left) = self.attempts_left.get().checked_sub(1) else {
            return Some(Err(ParserError::ParserError("the statement is too tangled to be parsed".to_owned())));
        };
        self.attempts_left.set(left);
        if let Some(known) = cast::cast(parser).or_else(|| json::value(parser)).or_else(|| json_writer::writer(parser)) {
            return Some(known);
        }
        let [first, second] = parser.peek_tokens();
        let is_table = matches!(first, Token::Word(w) if w.keyword == Keyword::TABLE && w.quote_style.is_none());
        (is_table && matches!(second, Token::Word(_))).then(|| table_argument(parser))
    }
}

fn table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let table = parser.next_token();
    let name = parser.parse_object_name(false)?;
    let idents = name.0.iter().map(|part| part.as_ident().cloned()).collect::<Option<Vec<Ident>>>();
    let Some(idents) = idents else { return parser.expected("a table", table) };
    let mut value = Expr::CompoundIdentifier(idents);
    if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        value = Expr::Tuple(std::iter::once(value).chain(partition(parser)?.into_iter().map(Expr::Identifier)).collect());
    }
    let prefix = Ident { value: TABLE_ARGUMENT.to_owned(), quote_style: None, span: table.span };
    Ok(Expr::Prefixed { prefix, value: Box::new(value) })
}

/// `a`, `(a, b)`, or `a, b`.
fn partition(parser: &mut Parser) -> Result<Vec<Ident>, ParserError> {
    if parser.consume_token(&Token::LParen) {
        let keys = parser.parse_comma_separated(Parser::parse_identifier)?;
        parser.expect_token(&Token::RParen)?;
        return Ok(keys);
    }
    let mut keys = vec![parser.parse_identifier()?];
    // A comma may end the table, or lead to another key: the next argument begins with DESCRIPTOR or a name and an arrow.
    while let [Token::Comma, Token::Word(next), after] = parser.peek_tokens() {
        if next.value.eq_ignore_ascii_case("DESCRIPTOR") || after == Token::RArrow {
            break;
        }
        parser.next_token();
        keys.push(parser.parse_identifier()?);
    }
    Ok(keys)
}
