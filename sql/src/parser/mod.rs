//! Text to syntax tree, one statement a file. Invariant: every word of the text is understood or refused; nothing is skipped.

mod create_table;
mod cursor;
mod data_type;
mod describe;
mod dialect;
mod drop_table;
mod explain;
mod insert;
mod interval;
mod query;
mod set;
mod show;
mod split;
mod stop_job;
mod tokens;

use sqlparser::ast::Ident;
use thalweg_engine::limits::{SQL_ATTEMPTS_MIN, SQL_ATTEMPTS_PER_TOKEN_MAX};

use crate::diagnostics::{Problem, Result};
use cursor::Cursor;
use dialect::StreamDialect;

pub(crate) use create_table::{ColumnDeclaration, CreateTable};
pub(crate) use data_type::TypeName;
pub(crate) use dialect::TABLE_ARGUMENT;
pub(crate) use drop_table::DropTable;
pub(crate) use insert::Insert;
pub(crate) use interval::{micros, signed_micros};
pub(crate) use query::QueryText;
pub(crate) use set::SetOption;
pub use split::ScriptStatement;
pub(crate) use split::split;
pub(crate) use tokens::Tokens;

/// A statement as written: no name in it is resolved yet.
#[derive(Debug)]
pub(crate) enum Parsed {
    CreateTable(Box<CreateTable>),
    DropTable(DropTable),
    Insert(Insert),
    Query(QueryText),
    Explain(Box<Parsed>),
    ShowJobs,
    ShowTables,
    Describe(Vec<Ident>),
    DescribeJob(Vec<Ident>),
    StopJob(Vec<Ident>),
    Set(SetOption),
}

/// Statements by their first word, for parsing and for help.
type Parse = fn(&mut Cursor) -> Result<Parsed>;
const STATEMENTS: &[(&str, Parse)] = &[
    ("CREATE", create_table::parse),
    ("DESC", describe::parse),
    ("DESCRIBE", describe::parse),
    ("DROP", drop_table::parse),
    ("EXPLAIN", explain::parse),
    ("INSERT", insert::parse),
    ("SELECT", query::parse),
    ("SET", set::parse),
    ("SHOW", show::parse),
    ("STOP", stop_job::parse),
    ("WITH", query::parse),
];

/// Parses exactly one statement; a `;` may end it.
pub(crate) fn parse(sql: &str) -> Result<Parsed> {
    let tokens = Tokens::new(sql)?;
    let dialect = StreamDialect::new(SQL_ATTEMPTS_MIN + SQL_ATTEMPTS_PER_TOKEN_MAX * tokens.all().len());
    let mut cursor = Cursor::new(&dialect, tokens)?;
    let parsed = statement(&mut cursor)?;
    cursor.finish()?;
    Ok(parsed)
}

/// Parses the statement that begins here.
fn statement(cursor: &mut Cursor) -> Result<Parsed> {
    if cursor.at_open_parenthesis() {
        return query::parse(cursor);
    }
    let (at, word) = (cursor.at(), cursor.peek_text());
    match STATEMENTS.iter().find(|(first, _)| word.eq_ignore_ascii_case(first)) {
        Some((_, parse)) => parse(cursor),
        None if word.is_empty() => Err(Problem::new(at, "there is no statement").hint(statements_hint())),
        None => Err(Problem::new(at, format!("statement {} is not supported", shorten(&word))).hint(statements_hint())),
    }
}

fn statements_hint() -> String {
    let words: Vec<&str> = STATEMENTS.iter().map(|(first, _)| *first).collect();
    format!("statements begin with {}", words.join(", "))
}

fn shorten(word: &str) -> String {
    word.chars().take(40).collect()
}
