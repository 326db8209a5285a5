//! `DESCRIBE table`. Invariant: the table may be declared or, with its namespace, in the lake.

use super::{Cursor, Parsed};
use crate::diagnostics::Result;

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    if !cursor.takes("DESC") {
        cursor.expect("DESCRIBE")?;
    }
    cursor.takes("TABLE");
    Ok(Parsed::Describe(cursor.qualified_name("a table")?))
}
