//! Tokens and their places. Invariant: text that is too long or nested too deeply is refused here, before anything recurses
//! over it.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};
use thalweg_engine::limits::{SQL_BYTES_MAX, SQL_CHAIN_TOKENS_MAX, SQL_NESTING_MAX};

use super::dialect::StreamDialect;
use crate::diagnostics::{Problem, Result};

/// Words that a query in parentheses follows if it is a value, or what a condition asks.
const BEFORE_SUBQUERY: [&str; 15] =
    ["AND", "ANY", "BETWEEN", "CASE", "ELSE", "EXISTS", "HAVING", "IN", "NOT", "ON", "OR", "SELECT", "THEN", "WHEN", "WHERE"];

/// The tokens of a text without white space and comments.
#[derive(Debug, Clone)]
pub(crate) struct Tokens(Vec<TokenWithSpan>);

impl Tokens {
    /// Splits `sql` into tokens. Errors: an open quote, an optimizer hint, too long, nested too deeply.
    pub(crate) fn new(sql: &str) -> Result<Self> {
        let start = Location { line: 1, column: 1 };
        if sql.len() > SQL_BYTES_MAX {
            return Err(Problem::new(start, format!("the text has {} bytes, the most is {SQL_BYTES_MAX}", sql.len())));
        }
        let mut kept = Vec::new();
        for token in Tokenizer::new(&StreamDialect::new(0), sql).tokenize_with_location()? {
            match &token.token {
                Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => {
                    return Err(Problem::new(token.span.start, "hints in /*+ … */ are not supported")
                        .hint("set options in WITH (…) of the table, or with SET 'key' = 'value'"));
                }
                Token::Whitespace(_) => {}
                _ => kept.push(token),
            }
        }
        let tokens = Self(kept);
        tokens.check_depth()?;
        Ok(tokens)
    }

    /// The tokens themselves.
    pub(crate) fn all(&self) -> &[TokenWithSpan] {
        &self.0
    }

    /// Some of them, as a statement of their own.
    pub(super) fn part(tokens: &[TokenWithSpan]) -> Self {
        Self(tokens.to_vec())
    }

    /// Without every `;` at the end.
    pub(super) fn without_end(mut self) -> Self {
        while self.0.last().is_some_and(|t| t.token == Token::SemiColon) {
            self.0.pop();
        }
        self
    }

    /// The same tokens, all at one place of another text.
    pub(super) fn moved(mut self, at: Location) -> Self {
        self.0.iter_mut().for_each(|t| t.span = Span::new(at, at));
        self
    }

    /// Where the words of a clause such as `ORDER BY` stand: outside parentheses if possible; line 0 if nowhere.
    pub(crate) fn find(&self, words: &str) -> Location {
        let words: Vec<&str> = words.split(' ').collect();
        let matches = |at: usize| words.iter().enumerate().all(|(i, word)| self.0.get(at + i).is_some_and(|t| is_word(&t.token, word)));
        let mut depth = 0_usize;
        let mut inside = Location { line: 0, column: 0 };
        for (i, token) in self.0.iter().enumerate() {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ if matches(i) && depth == 0 => return token.span.start,
                _ if matches(i) && inside.line == 0 => inside = token.span.start,
                _ => {}
            }
        }
        inside
    }

    /// Where a clause of a query in parentheses stands, and not one of OVER or of a call; line 0 if nowhere.
    pub(crate) fn clause_inside(&self, words: &str) -> Location {
        let words: Vec<&str> = words.split(' ').collect();
        let is = |at: usize, word: &str| self.0.get(at).is_some_and(|t| is_word(&t.token, word));
        // Of each parenthesis around the token: whether a query is in it.
        let mut around: Vec<bool> = Vec::new();
        for (i, token) in self.0.iter().enumerate() {
            match token.token {
                Token::LParen => around.push(is(i + 1, "SELECT") || is(i + 1, "WITH")),
                Token::RParen => {
                    around.pop();
                }
                _ if around.last() == Some(&true) && words.iter().enumerate().all(|(n, word)| is(i + n, word)) => return token.span.start,
                _ => {}
            }
        }
        Location { line: 0, column: 0 }
    }

    /// Where the first call of a function begins; line 0 if nowhere.
    pub(crate) fn call(&self, name: &str) -> Location {
        let is_call = |two: &&[TokenWithSpan]| matches!(two, [word, open] if is_word(&word.token, name) && open.token == Token::LParen);
        self.0.windows(2).find(is_call).map_or(Location { line: 0, column: 0 }, |two| two[0].span.start)
    }

    /// Where the first SELECT stands that is no table: a value, or what a condition asks. Line 0 if there is none.
    pub(crate) fn subquery(&self) -> Location {
        let is_asked = |three: &&[TokenWithSpan]| {
            let [before, open, select] = three else { return false };
            let may_stand = match &before.token {
                Token::Word(_) => BEFORE_SUBQUERY.iter().any(|word| is_word(&before.token, word)),
                // Between tables, or between values: who knows.
                Token::Comma | Token::LParen => false,
                _ => true,
            };
            may_stand && open.token == Token::LParen && is_word(&select.token, "SELECT")
        };
        self.0.windows(3).find(is_asked).map_or(Location { line: 0, column: 0 }, |three| three[2].span.start)
    }

    /// Gives a problem that has no place that of the word it is about, of the subquery, or of SELECT.
    pub(crate) fn place(&self, problem: Problem) -> Problem {
        let asked = if problem.message().contains("subquery") { self.subquery() } else { Location { line: 0, column: 0 } };
        let quoted = problem.message().split('\'').nth(1).map(|word| self.find(word));
        let clause = ["WHERE", "HAVING", "GROUP BY"].into_iter().filter(|c| problem.message().contains(c)).map(|c| self.find(c));
        let places: Vec<Location> = quoted.into_iter().chain(clause).chain([asked, self.find("SELECT")]).collect();
        places.into_iter().fold(problem, Problem::or_at)
    }

    /// The place after the last token.
    pub(crate) fn end(&self) -> Location {
        self.0.last().map_or(Location { line: 1, column: 1 }, |t| t.span.end)
    }

    /// Bounds how deep the syntax tree gets. A word may be an operator or a name, so each token counts; only a comma or
    /// parentheses begin anew, whatever the words mean.
    fn check_depth(&self) -> Result<()> {
        let (mut open, mut chain, mut before) = (Vec::new(), 0_usize, 0_usize);
        for token in &self.0 {
            match &token.token {
                Token::LParen | Token::LBracket | Token::LBrace => {
                    chain += 1;
                    before += chain;
                    open.push(std::mem::take(&mut chain));
                }
                Token::RParen | Token::RBracket | Token::RBrace => {
                    chain = open.pop().unwrap_or(chain);
                    before = before.saturating_sub(chain);
                }
                Token::Comma | Token::SemiColon => chain = 0,
                _ => chain += 1,
            }
            if open.len() > SQL_NESTING_MAX {
                return Err(Problem::new(token.span.start, format!("more than {SQL_NESTING_MAX} parentheses are open"))
                    .hint("leave out what is not needed, or split the statement"));
            }
            if before + chain > SQL_CHAIN_TOKENS_MAX {
                return Err(Problem::new(token.span.start, format!("more than {SQL_CHAIN_TOKENS_MAX} words without a comma"))
                    .hint("use IN (…) for many values, or split the statement"));
            }
        }
        Ok(())
    }
}

/// Whether a token is this unquoted word, in any case.
pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_found_outside_parentheses_first() {
        let tokens = Tokens::new("SELECT sum(x) OVER (ORDER BY y)\nFROM t\nORDER BY z").unwrap();
        assert_eq!(tokens.find("ORDER BY"), Location { line: 3, column: 1 });
        assert_eq!(tokens.find("LIMIT").line, 0);
    }

    #[test]
    fn clauses_of_queries_in_parentheses_are_told_from_those_of_calls() {
        let tokens = Tokens::new("SELECT max(x) OVER (ORDER BY y) FROM (SELECT sum(x ORDER BY y) FROM (t)\nORDER BY z) LIMIT 1").unwrap();
        assert_eq!(tokens.clause_inside("ORDER BY"), Location { line: 2, column: 1 });
        assert_eq!(tokens.clause_inside("LIMIT").line, 0);
    }

    #[test]
    fn long_chains_and_deep_nesting_are_refused_and_lists_are_not() {
        assert!(Tokens::new(&format!("SELECT {}1", "1+".repeat(10_000))).is_err());
        assert!(Tokens::new(&format!("SELECT {}1", "(".repeat(10_000))).is_err());
        assert!(Tokens::new(&format!("SELECT {}1", "1 + end + case + and + ".repeat(200))).is_err(), "words that may be names");
        assert!(Tokens::new(&format!("SELECT {}1", "(1) + ".repeat(1_000))).is_err());
        assert!(Tokens::new(&format!("SELECT {}1", ") + 1 + ".repeat(1_000))).is_err());
        assert!(Tokens::new(&format!("SELECT {}1", "- ".repeat(10_000))).is_err());
        assert!(Tokens::new(&format!("SELECT {}1", "1, a + b, ".repeat(10_000))).is_ok());
    }
}
