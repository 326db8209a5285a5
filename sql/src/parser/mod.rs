//! Text to syntax tree, one statement a file. Invariant: every word of the text is understood or refused; nothing is skipped.

mod cast;
mod create;
mod create_table;
mod create_view;
mod cursor;
mod data_type;
mod describe;
mod dialect;
mod drop;
mod explain;
mod insert;
mod interval;
mod json;
mod json_writer;
mod like;
mod offsets;
mod query;
mod secrets;
mod set;
mod show;
mod split;
mod statement_set;
mod stop_job;
mod tokens;

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Location;
use thalweg_engine::limits::{SQL_ATTEMPTS_MIN, SQL_ATTEMPTS_PER_TOKEN_MAX};

use crate::diagnostics::{Problem, Result};
use cursor::Cursor;
use dialect::StreamDialect;

pub(crate) use create_table::{ColumnDeclaration, ColumnKind, CreateTable, WatermarkDeclaration, is_proctime};
pub(crate) use create_view::CreateView;
pub(crate) use data_type::TypeName;
pub(crate) use dialect::TABLE_ARGUMENT;
pub(crate) use drop::{DropStatement, Dropped};
pub(crate) use insert::Insert;
pub(crate) use interval::{micros, signed_micros};
pub(crate) use json::CLAUSES as JSON_CLAUSES;
pub(crate) use like::{Feature, Like, Merge};
pub(crate) use query::QueryText;
pub use secrets::without_secrets;
pub(crate) use set::Setting;
pub use split::ScriptStatement;
pub(crate) use split::split;
pub use stop_job::SavepointWanted;
pub(crate) use stop_job::StopJob;
pub(crate) use tokens::{Tokens, is_word};

/// A statement as written: no name in it is resolved yet.
#[derive(Debug)]
pub(crate) enum Parsed {
    CreateTable(Box<CreateTable>),
    CreateView(Box<CreateView>),
    Drop(DropStatement),
    Insert(Insert),
    StatementSet(Vec<Insert>),
    Query(QueryText),
    Explain(Box<Parsed>),
    ShowJobs,
    ShowSavepoints,
    ShowTables,
    ShowViews,
    ShowFunctions,
    ShowCreate(Ident),
    Describe(Vec<Ident>),
    DescribeJob(Vec<Ident>),
    StopJob(StopJob),
    DropJob(Vec<Ident>),
    DropSavepoint(String),
    Setting(Setting),
}

/// Statements by their first word, for parsing and for help.
type Parse = fn(&mut Cursor) -> Result<Parsed>;
const STATEMENTS: &[(&str, Parse)] = &[
    ("BEGIN", statement_set::parse),
    ("CREATE", create::parse),
    ("DESC", describe::parse),
    ("DESCRIBE", describe::parse),
    ("DROP", drop::parse),
    ("EXECUTE", statement_set::parse),
    ("EXPLAIN", explain::parse),
    ("INSERT", insert::parse),
    ("RESET", set::parse_reset),
    ("SELECT", query::parse),
    ("SET", set::parse),
    ("SHOW", show::parse),
    ("STOP", stop_job::parse),
    ("WITH", query::parse),
];

/// Parses exactly one statement; a `;` may end it.
pub(crate) fn parse(sql: &str) -> Result<Parsed> {
    whole(sql, None)
}

/// Parses a text that another statement names: every place in it is the place where it is named.
pub(crate) fn parse_at(sql: &str, at: Location) -> Result<Parsed> {
    whole(sql, Some(at)).map_err(|p| p.or_at(at))
}

fn whole(sql: &str, at: Option<Location>) -> Result<Parsed> {
    let tokens = Tokens::new(sql)?;
    let dialect = StreamDialect::new(SQL_ATTEMPTS_MIN + SQL_ATTEMPTS_PER_TOKEN_MAX * tokens.all().len());
    let mut cursor = Cursor::new(&dialect, sql, tokens, at)?;
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
