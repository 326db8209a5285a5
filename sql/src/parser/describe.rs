//! `DESCRIBE table` and `DESCRIBE JOB job`. Invariant: the table may be declared or, with its namespace, in the lake; a job has the
//! name that `SHOW JOBS` prints. `DESCRIBE job` alone is the table of that name.

use super::{Cursor, Parsed};
use crate::diagnostics::Result;

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    if !cursor.takes("DESC") {
        cursor.expect("DESCRIBE")?;
    }
    if cursor.sees_before_name("JOB") {
        cursor.expect("JOB")?;
        return Ok(Parsed::DescribeJob(cursor.qualified_name("a job")?));
    }
    cursor.takes("TABLE");
    Ok(Parsed::Describe(cursor.qualified_name("a table")?))
}
