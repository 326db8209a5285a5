//! `STOP JOB job`. Invariant: a stopped job keeps its last checkpoint; there is nothing to choose.

use super::{Cursor, Parsed};
use crate::diagnostics::{Problem, Result};

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("STOP JOB")?;
    let name = cursor.qualified_name("a job")?;
    let at = cursor.at();
    if cursor.sees("WITH") {
        return Err(Problem::new(at, "STOP JOB … WITH is not supported").hint("write STOP JOB name: its last checkpoint is kept"));
    }
    Ok(Parsed::StopJob(name))
}
