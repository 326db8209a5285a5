//! `INSERT INTO table SELECT …`. Invariant: columns go by position, all of them.

use sqlparser::ast::Ident;

use super::query::{QueryText, query};
use super::{Cursor, Parsed};
use crate::diagnostics::{Problem, Result};

/// A job: where its rows go, and the query that makes them.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) sink: Ident,
    pub(crate) query: QueryText,
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    Ok(Parsed::Insert(insert(cursor)?))
}

/// Parses an INSERT that may be part of another statement.
pub(super) fn insert(cursor: &mut Cursor) -> Result<Insert> {
    cursor.expect("INSERT")?;
    let at = cursor.at();
    if cursor.takes("OVERWRITE") {
        return Err(Problem::new(at, "INSERT OVERWRITE is not supported").hint("write INSERT INTO; a job only appends"));
    }
    cursor.expect("INTO")?;
    let sink = cursor.name("a table")?;
    let at = cursor.at();
    if cursor.at_open_parenthesis() && !cursor.sees_query_in_parentheses() {
        return Err(Problem::new(at, "a column list after INSERT INTO is not supported")
            .hint("select the columns in the order in which the table declares them"));
    }
    Ok(Insert { sink, query: query(cursor)? })
}
