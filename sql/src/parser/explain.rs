//! `EXPLAIN [PLAN FOR] statement`. Invariant: it only plans.

use super::{Cursor, Parsed, statement, statement_set};
use crate::diagnostics::{Problem, Result};

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("EXPLAIN")?;
    cursor.takes("PLAN FOR");
    let at = cursor.at();
    let inner = if cursor.sees("STATEMENT SET") { statement_set::parse(cursor) } else { statement(cursor) };
    match inner.map_err(|p| p.or_at(at))? {
        inner @ (Parsed::Query(_) | Parsed::Insert(_) | Parsed::StatementSet(_)) => Ok(Parsed::Explain(Box::new(inner))),
        _ => Err(Problem::new(at, "only INSERT INTO and SELECT can be explained")
            .hint("write EXPLAIN INSERT INTO …, EXPLAIN SELECT … or EXPLAIN STATEMENT SET BEGIN … END")),
    }
}
