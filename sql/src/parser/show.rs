//! `SHOW JOBS`, `SHOW SAVEPOINTS`, `SHOW TABLES`, `SHOW VIEWS`, `SHOW FUNCTIONS`, `SHOW CREATE TABLE table` and `SHOW CREATE VIEW view`. Invariant: lists
//! take no filter; the caller shows everything.

use super::{Cursor, Parsed};
use crate::diagnostics::Result;

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("SHOW")?;
    if cursor.takes("CREATE") {
        if !cursor.takes("TABLE") && !cursor.takes("VIEW") {
            return Err(cursor.unexpected("TABLE or VIEW"));
        }
        return Ok(Parsed::ShowCreate(cursor.name("a table or a view")?));
    }
    let lists = [
        ("JOBS", Parsed::ShowJobs),
        ("SAVEPOINTS", Parsed::ShowSavepoints),
        ("TABLES", Parsed::ShowTables),
        ("VIEWS", Parsed::ShowViews),
        ("FUNCTIONS", Parsed::ShowFunctions),
    ];
    for (word, list) in lists {
        if cursor.takes(word) {
            return Ok(list);
        }
    }
    Err(cursor.unexpected("JOBS, SAVEPOINTS, TABLES, VIEWS, FUNCTIONS, CREATE TABLE or CREATE VIEW"))
}
