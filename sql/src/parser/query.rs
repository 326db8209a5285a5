//! `SELECT …`. Invariant: the tokens travel with the tree, because the tree does not know where its clauses stand.

use sqlparser::ast::Query;

use super::{Cursor, Parsed, Tokens};
use crate::diagnostics::Result;

/// A query and its tokens.
#[derive(Debug)]
pub(crate) struct QueryText {
    pub(crate) query: Box<Query>,
    pub(crate) tokens: Tokens,
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    Ok(Parsed::Query(query(cursor)?))
}

/// Parses a query that may be part of another statement.
pub(super) fn query(cursor: &mut Cursor) -> Result<QueryText> {
    let query = cursor.query()?;
    Ok(QueryText { query, tokens: cursor.tokens().clone() })
}
