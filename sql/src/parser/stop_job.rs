//! `STOP JOB job | 'job' [WITH SAVEPOINT ['name']]`. Invariant: a stopped job keeps its last checkpoint, whether a savepoint is asked for or not.

use sqlparser::ast::Ident;

use super::{Cursor, Parsed};
use crate::diagnostics::{Problem, Result};

/// Whether a job leaves a savepoint when it stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavepointWanted {
    /// No.
    No,
    /// Under a name of its own: that of the job and the number of the checkpoint.
    Yes,
    /// Under this name.
    Named(String),
}

/// Which job, and what it leaves.
#[derive(Debug)]
pub(crate) struct StopJob {
    pub(crate) name: Vec<Ident>,
    pub(crate) savepoint: SavepointWanted,
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("STOP JOB")?;
    // Flink writes the job in quotes.
    let name = match cursor.text("a job") {
        Ok(text) => text.split('.').map(Ident::new).collect(),
        Err(_) => cursor.qualified_name("a job")?,
    };
    let savepoint = if !cursor.takes("WITH SAVEPOINT") {
        SavepointWanted::No
    } else if cursor.at_end() || cursor.sees("WITH") {
        SavepointWanted::Yes
    } else {
        SavepointWanted::Named(cursor.text("the name of the savepoint")?)
    };
    let at = cursor.at();
    if cursor.takes("WITH") {
        return Err(Problem::new(at, format!("STOP JOB … WITH {} is not supported", cursor.peek_text()))
            .hint("write STOP JOB name: its last checkpoint is kept, and its open windows are in it"));
    }
    Ok(Parsed::StopJob(StopJob { name, savepoint }))
}
