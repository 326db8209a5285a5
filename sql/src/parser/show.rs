//! `SHOW JOBS` and `SHOW TABLES`. Invariant: they take no filter; the caller shows everything.

use super::{Cursor, Parsed};
use crate::diagnostics::Result;

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("SHOW")?;
    if cursor.takes("JOBS") {
        return Ok(Parsed::ShowJobs);
    }
    if cursor.takes("TABLES") {
        return Ok(Parsed::ShowTables);
    }
    Err(cursor.unexpected("JOBS or TABLES"))
}
