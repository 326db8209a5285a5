//! `EXPLAIN [PLAN FOR] statement`. Invariant: it only plans.

use super::{Cursor, Parsed, statement};
use crate::diagnostics::{Problem, Result};

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("EXPLAIN")?;
    cursor.takes("PLAN FOR");
    let at = cursor.at();
    match statement(cursor).map_err(|p| p.or_at(at))? {
        inner @ (Parsed::Query(_) | Parsed::Insert(_)) => Ok(Parsed::Explain(Box::new(inner))),
        _ => Err(Problem::new(at, "only INSERT INTO and SELECT can be explained").hint("write EXPLAIN INSERT INTO … or EXPLAIN SELECT …")),
    }
}
