//! `EXECUTE STATEMENT SET BEGIN INSERT …; INSERT …; END`, or `BEGIN STATEMENT SET; …; END`. Invariant: it holds INSERTs and nothing
//! else, each ended by a `;`, and no two of them write the same table.

use sqlparser::tokenizer::{Token, TokenWithSpan};
use thalweg_engine::limits::SQL_SET_INSERTS_MAX;

use super::tokens::is_word;
use super::{Cursor, Parsed, insert};
use crate::diagnostics::{Problem, Result};

const HINT: &str = "write EXECUTE STATEMENT SET BEGIN INSERT INTO … SELECT …; INSERT INTO … SELECT …; END";

/// The words that begin a set; the last of each may be a `;`. EXPLAIN may stand before them.
const HEADS: [&[&str]; 3] =
    [&["EXECUTE", "STATEMENT", "SET", "BEGIN"], &["STATEMENT", "SET", "BEGIN"], &["BEGIN", "STATEMENT", "SET", ";"]];

/// How many tokens come before the first INSERT, if a set begins here.
pub(super) fn set_head(tokens: &[TokenWithSpan]) -> Option<usize> {
    let starts = |from: usize, words: &[&str]| {
        let fits = |(i, word): (usize, &&str)| match tokens.get(from + i).map(|t| &t.token) {
            Some(Token::SemiColon) => *word == ";",
            Some(token) => is_word(token, word),
            None => false,
        };
        words.iter().enumerate().all(fits)
    };
    let explained = [&["EXPLAIN", "PLAN", "FOR"] as &[&str], &["EXPLAIN"]].into_iter().find(|words| starts(0, words)).map_or(0, <[_]>::len);
    let head = HEADS.iter().find(|words| starts(explained, words))?;
    (explained > 0 || head[0] != "STATEMENT").then_some(explained + head.len())
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    if cursor.takes("BEGIN") {
        cursor.expect("STATEMENT SET").map_err(|p| p.hint(HINT))?;
        cursor.expect_symbol(&Token::SemiColon)?;
    } else {
        cursor.takes("EXECUTE");
        if !cursor.takes("STATEMENT SET BEGIN") {
            return Err(cursor.unexpected("STATEMENT SET BEGIN").hint(HINT));
        }
    }
    let mut inserts: Vec<insert::Insert> = Vec::new();
    while !cursor.takes("END") {
        let at = cursor.at();
        let Some(mut piece) = cursor.piece() else {
            return Err(Problem::new(cursor.tokens().end(), "expected ';' after each INSERT, and END").hint(HINT));
        };
        if !piece.sees("INSERT") {
            return Err(Problem::new(at, "a statement set holds INSERTs and nothing else").hint(HINT));
        }
        let insert = insert::insert(&mut piece)?;
        piece.finish()?;
        let same = |other: &insert::Insert| other.sink.value.eq_ignore_ascii_case(&insert.sink.value);
        if inserts.iter().any(same) {
            let message = format!("'{}' is written twice in the set", insert.sink.value);
            return Err(
                Problem::new(insert.sink.span.start, message).hint("write one INSERT a table; UNION ALL joins the rows of several queries")
            );
        }
        if inserts.len() == SQL_SET_INSERTS_MAX {
            return Err(Problem::new(at, format!("a statement set has at most {SQL_SET_INSERTS_MAX} INSERTs")).hint("make two sets of it"));
        }
        inserts.push(insert);
    }
    match inserts.is_empty() {
        false => Ok(Parsed::StatementSet(inserts)),
        true => Err(Problem::new(cursor.tokens().end(), "the statement set is empty").hint(HINT)),
    }
}
