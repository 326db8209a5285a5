//! Types of columns: `ARRAY<t>` or `t ARRAY`, `MAP<k, v>`, `ROW<name t, …>`, and what sqlparser reads. Invariant: nesting is bounded before
//! anything recurses over it.
//!
//! The tokenizer takes `>>` as one token; the second half of it closes the type around the one that the first half closed.

use std::fmt;

use sqlparser::ast::{DataType, Ident};
use sqlparser::tokenizer::Token;
use thalweg_engine::limits::SQL_NESTING_MAX;

use super::Cursor;
use crate::diagnostics::{Problem, Result};

/// A type as written.
#[derive(Debug, Clone)]
pub(crate) enum TypeName {
    Plain(DataType),
    Array(Box<TypeName>),
    Map(Box<TypeName>, Box<TypeName>),
    Row(Vec<(Ident, TypeName)>),
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(data_type) => write!(f, "{data_type}"),
            Self::Array(item) => write!(f, "ARRAY<{item}>"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Self::Row(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, t)| format!("{name} {t}")).collect();
                write!(f, "ROW<{}>", fields.join(", "))
            }
        }
    }
}

/// Reads a type.
pub(super) fn parse(cursor: &mut Cursor) -> Result<TypeName> {
    let mut owed = 0;
    let parsed = nested(cursor, &mut owed, 0)?;
    if owed > 0 { Err(cursor.unexpected("one '>' less")) } else { Ok(parsed) }
}

/// Reads a type inside of `depth` others; `owed` are the closing brackets that were read but not yet used.
fn nested(cursor: &mut Cursor, owed: &mut usize, depth: usize) -> Result<TypeName> {
    let mut parsed = prefixed(cursor, owed, depth)?;
    let mut depth = depth + height(&parsed);
    // What follows a bracket that is not used yet belongs to the type around this one.
    while *owed == 0 && cursor.sees("ARRAY") {
        check_depth(cursor, depth)?;
        cursor.takes("ARRAY");
        depth += 1;
        parsed = TypeName::Array(Box::new(parsed));
    }
    refuse_multiset(cursor)?;
    Ok(parsed)
}

/// How many types are nested in one another.
fn height(parsed: &TypeName) -> usize {
    match parsed {
        TypeName::Plain(_) => 0,
        TypeName::Array(item) => 1 + height(item),
        TypeName::Map(key, value) => 1 + height(key).max(height(value)),
        TypeName::Row(fields) => 1 + fields.iter().map(|(_, of)| height(of)).max().unwrap_or(0),
    }
}

fn check_depth(cursor: &Cursor, depth: usize) -> Result<()> {
    if depth < SQL_NESTING_MAX {
        return Ok(());
    }
    Err(Problem::new(cursor.at(), format!("more than {SQL_NESTING_MAX} types are nested")).hint("declare the inner ones as STRING"))
}

fn refuse_multiset(cursor: &Cursor) -> Result<()> {
    if !cursor.sees("MULTISET") {
        return Ok(());
    }
    Err(Problem::new(cursor.at(), "type MULTISET is not supported").hint("write ARRAY<t>"))
}

/// Reads a type without what may follow it.
fn prefixed(cursor: &mut Cursor, owed: &mut usize, depth: usize) -> Result<TypeName> {
    refuse_multiset(cursor)?;
    let Some(kind) = ["ARRAY", "MAP", "ROW"].into_iter().find(|word| cursor.sees(word)) else {
        return Ok(TypeName::Plain(cursor.data_type()?));
    };
    check_depth(cursor, depth)?;
    cursor.takes(kind);
    // Flink writes a ROW both ways.
    let is_round = kind == "ROW" && cursor.takes_symbol(&Token::LParen);
    if !is_round && !cursor.takes_symbol(&Token::Lt) {
        let example = match kind {
            "ARRAY" => "ARRAY<DOUBLE>",
            "MAP" => "MAP<STRING, DOUBLE>",
            _ => "ROW<name DOUBLE, …>",
        };
        return Err(cursor.unexpected("'<'").hint(format!("write {example}")));
    }
    let parsed = match kind {
        "ARRAY" => TypeName::Array(Box::new(nested(cursor, owed, depth + 1)?)),
        "MAP" => {
            let key = nested(cursor, owed, depth + 1)?;
            cursor.expect_symbol(&Token::Comma)?;
            TypeName::Map(Box::new(key), Box::new(nested(cursor, owed, depth + 1)?))
        }
        _ => {
            let mut fields = Vec::new();
            loop {
                let name = cursor.name("the name of a field")?;
                fields.push((name, nested(cursor, owed, depth + 1)?));
                if *owed > 0 || !cursor.takes_symbol(&Token::Comma) {
                    break;
                }
            }
            TypeName::Row(fields)
        }
    };
    if is_round {
        cursor.expect_symbol(&Token::RParen)?;
    } else {
        close(cursor, owed)?;
    }
    Ok(parsed)
}

fn close(cursor: &mut Cursor, owed: &mut usize) -> Result<()> {
    if *owed > 0 {
        *owed -= 1;
    } else if cursor.takes_symbol(&Token::ShiftRight) {
        *owed = 1;
    } else if cursor.sees("NOT NULL") {
        return Err(
            Problem::new(cursor.at(), "NOT NULL inside of a type is not supported").hint("leave it out: what is nested may be NULL")
        );
    } else {
        cursor.expect_symbol(&Token::Gt)?;
    }
    Ok(())
}
