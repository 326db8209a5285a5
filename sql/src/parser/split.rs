//! Scripts: statements separated by `;`. Invariant: the statements are pieces of the original text, unchanged, and know where
//! they stand in it; a `;` in quotes, comments or a statement set separates nothing.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Token, TokenWithSpan};
use thalweg_engine::limits::SQL_SCRIPT_STATEMENTS_MAX;

use super::offsets::Offsets;
use super::statement_set::set_head;
use super::tokens::{Tokens, is_word};
use crate::diagnostics::{Problem, Result};

/// A statement of a script, without the `;` and the comments around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStatement<'a> {
    script: &'a str,
    range: Range<usize>,
    start: Location,
    ended: bool,
}

impl<'a> ScriptStatement<'a> {
    /// The statement as written.
    pub fn text(&self) -> &'a str {
        &self.script[self.range.clone()]
    }

    /// Whether more of it has to come before it can be run: it is a statement set without END.
    pub fn is_open(&self) -> bool {
        !self.ended
    }

    /// The statement behind as much white space as stands before it in the script, so that errors name its lines and columns there.
    pub fn in_place(&self) -> String {
        let count = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(0).min(self.script.len());
        format!("{}{}{}", "\n".repeat(count(self.start.line)), " ".repeat(count(self.start.column)), self.text())
    }
}

/// The statements of a script.
pub(crate) fn split(script: &str) -> Result<Vec<ScriptStatement<'_>>> {
    let tokens = Tokens::new(script)?;
    let offsets = Offsets::of(script);
    let mut statements: Vec<ScriptStatement<'_>> = Vec::new();
    let mut rest = tokens.all();
    while let [first, ..] = rest {
        if first.token == Token::SemiColon {
            rest = &rest[1..];
            continue;
        }
        let (length, ended) = extent(rest);
        let (start, end) = (first.span.start, rest[length - 1].span.end);
        if statements.len() == SQL_SCRIPT_STATEMENTS_MAX {
            return Err(Problem::new(start, format!("a script has at most {SQL_SCRIPT_STATEMENTS_MAX} statements"))
                .hint("send the rest as another script"));
        }
        statements.push(ScriptStatement { script, range: offsets.offset(start)..offsets.offset(end), start, ended });
        rest = &rest[length..];
    }
    Ok(statements)
}

/// How many tokens the first statement has, of those that do not begin with `;`, and whether it is whole.
fn extent(tokens: &[TokenWithSpan]) -> (usize, bool) {
    let Some(head) = set_head(tokens) else {
        return (tokens.iter().position(|t| t.token == Token::SemiColon).unwrap_or(tokens.len()), true);
    };
    let ends = |i: &usize| is_word(&tokens[*i].token, "END") && (*i == head || tokens[*i - 1].token == Token::SemiColon);
    match (head..tokens.len()).find(ends) {
        // What follows END without a `;` is wrong, and is told so where the statement is parsed.
        Some(end) => (tokens[end..].iter().position(|t| t.token == Token::SemiColon).map_or(tokens.len(), |more| end + more), true),
        None => (tokens.len(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<&str> {
        split(script).unwrap().iter().map(ScriptStatement::text).collect()
    }

    #[test]
    fn separators_in_quotes_and_comments_separate_nothing() {
        let script = "-- first; one\nSELECT ';' AS \"a;b\" /* ; */ FROM t;\n\n;;\nSELECT 'ä;ö'\n  FROM u -- end;\n";
        assert_eq!(texts(script), ["SELECT ';' AS \"a;b\" /* ; */ FROM t", "SELECT 'ä;ö'\n  FROM u"]);
        assert_eq!(texts(" -- nothing\n"), Vec::<&str>::new());
    }

    #[test]
    fn a_statement_in_place_stands_where_it_does_in_the_script() {
        let script = "SELECT 'ä'; SELECT b\n FROM t;\n\n  SELECT c";
        let placed: Vec<String> = split(script).unwrap().iter().map(ScriptStatement::in_place).collect();
        assert_eq!(placed, ["SELECT 'ä'", "            SELECT b\n FROM t", "\n\n\n  SELECT c"]);
    }

    #[test]
    fn a_statement_set_is_one_statement() {
        let first = "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT CASE WHEN x THEN 1 END FROM t; INSERT INTO b SELECT 1; END";
        let second = "begin statement set;\nINSERT INTO a SELECT 1;\nend";
        let third = "EXPLAIN PLAN FOR STATEMENT SET BEGIN END";
        let script = format!("SET 'a' = 'b';\n{first};\n{second};{third};SELECT 1 AS begin; SELECT 2 AS set");
        assert_eq!(texts(&script), ["SET 'a' = 'b'", first, second, third, "SELECT 1 AS begin", "SELECT 2 AS set"]);
        let open = |script| split(script).unwrap().iter().map(ScriptStatement::is_open).collect::<Vec<_>>();
        assert_eq!(open("SELECT 1; EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1 END;"), [false, true]);
        assert_eq!(open("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; END"), [false]);
        assert_eq!(texts("BEGIN STATEMENT SET; END oops; SELECT 1"), ["BEGIN STATEMENT SET; END oops", "SELECT 1"]);
    }

    #[test]
    fn an_open_quote_and_too_many_statements_are_errors() {
        assert!(split("SELECT 'abc; SELECT 1;").is_err());
        let many = "x;".repeat(SQL_SCRIPT_STATEMENTS_MAX);
        assert_eq!(split(&many).unwrap().len(), SQL_SCRIPT_STATEMENTS_MAX);
        assert!(split(&format!("{many}x")).unwrap_err().message().contains("at most"));
    }
}
