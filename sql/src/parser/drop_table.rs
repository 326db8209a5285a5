//! `DROP TABLE [IF EXISTS] table`. Invariant: it names one declared table; data in the lake stays.

use sqlparser::ast::Ident;

use super::{Cursor, Parsed};
use crate::diagnostics::Result;

/// Which table, and whether it may be missing.
#[derive(Debug)]
pub(crate) struct DropTable {
    pub(crate) name: Ident,
    pub(crate) if_exists: bool,
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("DROP TABLE")?;
    let if_exists = cursor.takes("IF EXISTS");
    Ok(Parsed::DropTable(DropTable { name: cursor.name("a table")?, if_exists }))
}
