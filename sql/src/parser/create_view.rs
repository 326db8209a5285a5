//! `CREATE [TEMPORARY] VIEW [IF NOT EXISTS] name [(column, …)] AS SELECT …`. Invariant: the text of the query is kept as written; a
//! query that names the view reads it anew.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Location;

use super::query::{QueryText, query};
use super::{Cursor, Parsed};
use crate::diagnostics::{Problem, Result};

/// A view as written.
#[derive(Debug)]
pub(crate) struct CreateView {
    pub(crate) name: Ident,
    pub(crate) if_not_exists: bool,
    /// Where TEMPORARY stands.
    pub(crate) temporary: Option<Location>,
    /// Names for the columns of the query; empty if it names them itself.
    pub(crate) columns: Vec<Ident>,
    pub(crate) query: QueryText,
    /// The query as written.
    pub(crate) text: String,
}

/// After `CREATE [TEMPORARY] VIEW`.
pub(super) fn parse(cursor: &mut Cursor, temporary: Option<Location>) -> Result<Parsed> {
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = cursor.name("a name for the view")?;
    let columns = if cursor.at_open_parenthesis() { cursor.names("a column")? } else { Vec::new() };
    let at = cursor.at();
    if cursor.sees("COMMENT") {
        return Err(Problem::new(at, "COMMENT is not supported").hint("write it as an SQL comment"));
    }
    cursor.expect("AS")?;
    let mark = cursor.mark();
    let query = query(cursor)?;
    let text = cursor.text_since(mark).to_owned();
    Ok(Parsed::CreateView(Box::new(CreateView { name, if_not_exists, temporary, columns, query, text })))
}
