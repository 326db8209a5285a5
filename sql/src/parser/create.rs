//! `CREATE …`. Invariant: tables and views are all that can be made; each has a file of its own.

use super::{Cursor, Parsed, create_table, create_view};
use crate::diagnostics::{Problem, Result};

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("CREATE")?;
    let at = cursor.at();
    if cursor.takes("TABLE") {
        return create_table::parse(cursor);
    }
    if cursor.takes("VIEW") {
        return create_view::parse(cursor, None);
    }
    if cursor.takes("TEMPORARY VIEW") {
        return create_view::parse(cursor, Some(at));
    }
    let (what, hint) = match cursor.peek_text() {
        word if word.eq_ignore_ascii_case("OR") => ("OR REPLACE".to_owned(), "DROP TABLE or DROP VIEW it first"),
        word if word.eq_ignore_ascii_case("TEMPORARY") => ("TEMPORARY TABLE".to_owned(), "leave TEMPORARY out"),
        word => (word.chars().take(40).collect(), "write CREATE TABLE name (…) WITH (…), or CREATE VIEW name AS SELECT …"),
    };
    Err(Problem::new(at, format!("CREATE {what} is not supported")).hint(hint))
}
