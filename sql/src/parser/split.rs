//! Scripts: statements separated by `;`. Invariant: the statements are pieces of the original text, unchanged, and know where
//! they stand in it; a `;` in quotes or comments separates nothing.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Token};
use thalweg_engine::limits::SQL_SCRIPT_STATEMENTS_MAX;

use super::tokens::Tokens;
use crate::diagnostics::{Problem, Result};

/// A statement of a script, without the `;` and the comments around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStatement<'a> {
    script: &'a str,
    range: Range<usize>,
    start: Location,
}

impl<'a> ScriptStatement<'a> {
    /// The statement as written.
    pub fn text(&self) -> &'a str {
        &self.script[self.range.clone()]
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
    let lines = Lines::of(script);
    let mut statements = Vec::new();
    let mut span: Option<(Location, Location)> = None;
    let mut close = |span: &mut Option<(Location, Location)>| {
        if let Some((start, end)) = span.take() {
            statements.push(ScriptStatement { script, range: lines.offset(start)..lines.offset(end), start });
        }
    };
    for token in tokens.all() {
        match (&token.token, &mut span) {
            (Token::SemiColon, _) => close(&mut span),
            (_, Some((_, end))) => *end = token.span.end,
            (_, None) => span = Some((token.span.start, token.span.end)),
        }
    }
    close(&mut span);
    match statements.get(SQL_SCRIPT_STATEMENTS_MAX) {
        None => Ok(statements),
        Some(extra) => Err(Problem::new(extra.start, format!("a script has at most {SQL_SCRIPT_STATEMENTS_MAX} statements"))
            .hint("send the rest as another script")),
    }
}

/// Byte offsets of the lines of a text.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { text, starts }
    }

    /// Byte offset of a place; columns count characters from 1.
    fn offset(&self, at: Location) -> usize {
        let line = usize::try_from(at.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(&start) = self.starts.get(line) else { return self.text.len() };
        let column = usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX);
        self.text[start..].char_indices().nth(column).map_or(self.text.len(), |(i, _)| start + i)
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
    fn an_open_quote_and_too_many_statements_are_errors() {
        assert!(split("SELECT 'abc; SELECT 1;").is_err());
        let many = "x;".repeat(SQL_SCRIPT_STATEMENTS_MAX);
        assert_eq!(split(&many).unwrap().len(), SQL_SCRIPT_STATEMENTS_MAX);
        assert!(split(&format!("{many}x")).unwrap_err().message().contains("at most"));
    }
}
