//! `STOP JOB job [WITH SAVEPOINT]`. Invariant: a stopped job keeps its last checkpoint, asked for or not.

use super::{Cursor, Parsed};
use crate::diagnostics::{Problem, Result};

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("STOP JOB")?;
    let name = cursor.qualified_name("a job")?;
    cursor.takes("WITH SAVEPOINT");
    let at = cursor.at();
    if cursor.takes("WITH") {
        return Err(Problem::new(at, format!("STOP JOB … WITH {} is not supported", cursor.peek_text()))
            .hint("write STOP JOB name: its last checkpoint is kept, and its open windows are in it"));
    }
    Ok(Parsed::StopJob(name))
}
