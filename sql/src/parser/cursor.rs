//! Reading tokens one by one. Invariant: what is read is consumed, and every error carries the place of the token it is about.

use std::rc::Rc;

use sqlparser::ast::{DataType, Expr, Ident, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::cast::plain_type;
use super::dialect::StreamDialect;
use super::offsets::Offsets;
use super::statement_set::set_head;
use super::tokens::{Tokens, is_word};
use crate::diagnostics::{Problem, Result};

/// A place in a text, and sqlparser to read expressions, types and queries from there.
pub(super) struct Cursor<'a> {
    dialect: &'a StreamDialect,
    parser: Parser<'a>,
    tokens: Tokens,
    text: Rc<Text<'a>>,
    /// Index among the tokens of the text of the first one here.
    first: usize,
}

/// A text, and the tokens of it as they stand there.
struct Text<'a> {
    offsets: Offsets<'a>,
    tokens: Tokens,
}

impl<'a> Cursor<'a> {
    /// At the first token of `sql`; every place is `at`, if there is one. Errors: there is more than one statement.
    pub(super) fn new(dialect: &'a StreamDialect, sql: &'a str, tokens: Tokens, at: Option<Location>) -> Result<Self> {
        let whole = tokens.without_end();
        let semicolon = whole.all().iter().find(|t| t.token == Token::SemiColon);
        if let (Some(semicolon), None) = (semicolon, set_head(whole.all())) {
            return Err(Problem::new(semicolon.span.start, "there is more than one statement").hint("send one statement at a time"));
        }
        let text = Rc::new(Text { offsets: Offsets::of(sql), tokens: whole.clone() });
        Ok(Self::over(dialect, at.map_or(whole.clone(), |at| whole.moved(at)), text, 0))
    }

    fn over(dialect: &'a StreamDialect, tokens: Tokens, text: Rc<Text<'a>>, first: usize) -> Self {
        let parser = Parser::new(dialect).with_tokens_with_locations(spelled(tokens.all()));
        Self { dialect, parser, tokens, text, first }
    }

    /// A cursor over what stands before the next `;`, which is consumed with it; `None` if there is no `;`.
    pub(super) fn piece(&mut self) -> Option<Cursor<'a>> {
        let from = self.parser.index();
        let rest = self.tokens.all().get(from..)?;
        let length = rest.iter().position(|t| t.token == Token::SemiColon)?;
        let tokens = Tokens::part(&rest[..length]);
        (0..=length).for_each(|_| self.parser.advance_token());
        Some(Self::over(self.dialect, tokens, self.text.clone(), self.first + from))
    }

    /// How many tokens are consumed: where `text_since` begins.
    pub(super) fn mark(&self) -> usize {
        self.parser.index()
    }

    /// What was consumed since a mark, as it is written.
    pub(super) fn text_since(&self, mark: usize) -> &'a str {
        let all = self.text.tokens.all();
        match (all.get(self.first + mark), (self.first + self.parser.index()).checked_sub(1).and_then(|last| all.get(last))) {
            (Some(from), Some(last)) => self.text.offsets.slice(from.span.start, last.span.end),
            _ => "",
        }
    }

    /// Every token of the statement.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Where the next token stands; at the end, the place after the last one.
    pub(super) fn at(&self) -> Location {
        let next = self.parser.peek_token_ref();
        if next.token == Token::EOF { self.tokens.end() } else { next.span.start }
    }

    /// The next token as text; empty at the end.
    pub(super) fn peek_text(&self) -> String {
        match self.parser.peek_token_ref() {
            next if next.token == Token::EOF => String::new(),
            next => next.token.to_string(),
        }
    }

    /// Whether nothing is left.
    pub(super) fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// Whether the next token is `(`.
    pub(super) fn at_open_parenthesis(&self) -> bool {
        self.parser.peek_token_ref().token == Token::LParen
    }

    /// Whether a query in parentheses is next.
    pub(super) fn sees_query_in_parentheses(&self) -> bool {
        let inner = |token: &Token| ["SELECT", "WITH", "VALUES"].iter().any(|w| is_word(token, w)) || *token == Token::LParen;
        self.at_open_parenthesis() && inner(&self.parser.peek_nth_token_ref(1).token)
    }

    /// Whether the next tokens are these words; nothing is consumed.
    pub(super) fn sees(&self, words: &str) -> bool {
        words.split(' ').enumerate().all(|(i, word)| is_word(&self.parser.peek_nth_token_ref(i).token, word))
    }

    /// Whether the next token is this word, and a name follows it.
    pub(super) fn sees_before_name(&self, word: &str) -> bool {
        self.sees(word) && matches!(self.parser.peek_nth_token_ref(1).token, Token::Word(_))
    }

    /// Consumes these words if they are next.
    pub(super) fn takes(&mut self, words: &str) -> bool {
        let seen = self.sees(words);
        if seen {
            words.split(' ').for_each(|_| self.parser.advance_token());
        }
        seen
    }

    /// Consumes these words. Errors: something else is next.
    pub(super) fn expect(&mut self, words: &str) -> Result<()> {
        if self.takes(words) { Ok(()) } else { Err(self.unexpected(words)) }
    }

    /// Consumes a symbol if it is next.
    pub(super) fn takes_symbol(&mut self, symbol: &Token) -> bool {
        self.parser.consume_token(symbol)
    }

    /// Consumes a symbol. Errors: something else is next.
    pub(super) fn expect_symbol(&mut self, symbol: &Token) -> Result<()> {
        if self.takes_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    /// Consumes a name.
    pub(super) fn name(&mut self, what: &str) -> Result<Ident> {
        let at = self.at();
        match self.parser.peek_token_ref().token {
            Token::Word(_) => Ok(self.parser.parse_identifier().map_err(|e| placed(e, at))?),
            _ => Err(self.unexpected(what)),
        }
    }

    /// Consumes names in parentheses.
    pub(super) fn names(&mut self, what: &str) -> Result<Vec<Ident>> {
        self.expect_symbol(&Token::LParen)?;
        let mut names = vec![self.name(what)?];
        while self.takes_symbol(&Token::Comma) {
            names.push(self.name(what)?);
        }
        self.expect_symbol(&Token::RParen)?;
        Ok(names)
    }

    /// Consumes a name of one or more parts.
    pub(super) fn qualified_name(&mut self, what: &str) -> Result<Vec<Ident>> {
        let mut parts = vec![self.name(what)?];
        while self.takes_symbol(&Token::Period) {
            parts.push(self.name(what)?);
        }
        Ok(parts)
    }

    /// Consumes a text in single quotes.
    pub(super) fn text(&mut self, what: &str) -> Result<String> {
        match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(text) => {
                let text = text.clone();
                self.parser.advance_token();
                Ok(text)
            }
            _ => Err(self.unexpected(&format!("{what} in single quotes"))),
        }
    }

    /// Consumes a data type.
    pub(super) fn data_type(&mut self) -> Result<DataType> {
        let at = self.at();
        plain_type(&mut self.parser).map_err(|e| placed(e, at))
    }

    /// Consumes an expression.
    pub(super) fn expression(&mut self) -> Result<Expr> {
        let at = self.at();
        self.parser.parse_expr().map_err(|e| placed(e, at))
    }

    /// Consumes a query.
    pub(super) fn query(&mut self) -> Result<Box<Query>> {
        let end = self.tokens.end();
        self.parser.parse_query().map_err(|e| placed(e, end))
    }

    /// Errors: something is left.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self.parser.peek_token_ref().token {
            Token::EOF => Ok(()),
            _ => Err(self.unexpected("the end of the statement")),
        }
    }

    /// An error at the next token.
    pub(super) fn unexpected(&self, expected: &str) -> Problem {
        let found = match self.peek_text() {
            text if text.is_empty() => "the end of the statement".to_owned(),
            text => text.chars().take(60).collect(),
        };
        Problem::new(self.at(), format!("expected {expected}, found {found}"))
            .hint("check the words before this place: a comma, a quote, a parenthesis or a keyword")
    }
}

/// Tokens as sqlparser reads them. It knows no `INNER ASOF JOIN`: that becomes a `GLOBAL` one, which otherwise has no meaning here, and
/// what was written as one becomes what it refuses.
fn spelled(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let spell = |(i, token): (usize, &TokenWithSpan)| {
        let before_asof = tokens.get(i + 1).is_some_and(|next| is_word(&next.token, "ASOF"));
        let other = [("INNER", "GLOBAL"), ("GLOBAL", "INNER")].into_iter().find(|(word, _)| before_asof && is_word(&token.token, word));
        other.map_or_else(|| token.clone(), |(_, word)| TokenWithSpan::new(Token::make_keyword(word), token.span))
    };
    tokens.iter().enumerate().map(spell).collect()
}

/// sqlparser leaves out the place of an error at the end of the text.
fn placed(error: ParserError, otherwise: Location) -> Problem {
    Problem::from(error).or_at(otherwise)
}
