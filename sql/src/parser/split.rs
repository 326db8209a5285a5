//! Scripts: statements separated by `;`. Invariant: the statements are pieces of the original text, unchanged; a `;` in quotes
//! or comments separates nothing.

use sqlparser::tokenizer::{Location, Token};

use super::tokens::Tokens;
use crate::diagnostics::Result;

/// The statements of a script, without the `;` and the comments around them.
pub(crate) fn split(script: &str) -> Result<Vec<String>> {
    let tokens = Tokens::new(script)?;
    let lines = Lines::of(script);
    let mut statements = Vec::new();
    let mut span: Option<(Location, Location)> = None;
    let mut close = |span: &mut Option<(Location, Location)>| {
        if let Some((start, end)) = span.take() {
            statements.push(script[lines.offset(start)..lines.offset(end)].to_owned());
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
    Ok(statements)
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

    #[test]
    fn separators_in_quotes_and_comments_separate_nothing() {
        let script = "-- first; one\nSELECT ';' AS \"a;b\" /* ; */ FROM t;\n\n;;\nSELECT 'ä;ö'\n  FROM u -- end;\n";
        assert_eq!(split(script).unwrap(), ["SELECT ';' AS \"a;b\" /* ; */ FROM t", "SELECT 'ä;ö'\n  FROM u"]);
        assert_eq!(split(" -- nothing\n").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(split("SELECT 'abc; SELECT 1;").is_err());
    }
}
