//! `DROP TABLE [IF EXISTS] table`, `DROP [TEMPORARY] VIEW [IF EXISTS] view`, `DROP JOB job` and `DROP SAVEPOINT 'name'`. Invariant: it
//! names one thing; data in the lake stays.

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
    if cursor.takes("JOB") {
        return Ok(Parsed::DropJob(cursor.qualified_name("a job")?));
    }
    if cursor.takes("SAVEPOINT") {
        return Ok(Parsed::DropSavepoint(cursor.text("the name of a savepoint")?));
    }
    let as_what = if cursor.takes("TABLE") {
        Dropped::Table
    } else if cursor.takes("VIEW") || cursor.takes("TEMPORARY VIEW") {
        Dropped::View
    } else {
        return Err(cursor.unexpected("TABLE, VIEW, JOB or SAVEPOINT"));
    };
    let if_exists = cursor.takes("IF EXISTS");
    Ok(Parsed::Drop(DropStatement { name: cursor.name("a table or a view")?, as_what, if_exists }))
}
