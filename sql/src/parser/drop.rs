//! `DROP TABLE [IF EXISTS] table` and `DROP [TEMPORARY] VIEW [IF EXISTS] view`. Invariant: it names one declared table or view;
//! data in the lake stays.

use sqlparser::ast::Ident;

use super::{Cursor, Parsed};
use crate::diagnostics::Result;

/// What a name is dropped as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// DROP TABLE.
    Table,
    /// DROP VIEW.
    View,
}

/// Which table or view, and whether it may be missing.
#[derive(Debug)]
pub(crate) struct DropStatement {
    pub(crate) name: Ident,
    pub(crate) as_what: Dropped,
    pub(crate) if_exists: bool,
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("DROP")?;
    let as_what = if cursor.takes("TABLE") {
        Dropped::Table
    } else if cursor.takes("VIEW") || cursor.takes("TEMPORARY VIEW") {
        Dropped::View
    } else {
        return Err(cursor.unexpected("TABLE or VIEW"));
    };
    let if_exists = cursor.takes("IF EXISTS");
    Ok(Parsed::Drop(DropStatement { name: cursor.name("a table or a view")?, as_what, if_exists }))
}
