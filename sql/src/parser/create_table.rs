//! `CREATE TABLE [IF NOT EXISTS] name (columns, WATERMARK, PRIMARY KEY) WITH ('key' = 'value', …)`. Invariant: what is
//! parsed here is only syntax; whether the table makes sense is decided where it is declared.

use sqlparser::ast::{Expr, Ident};
use sqlparser::tokenizer::{Location, Token};

use super::data_type::{self, TypeName};
use super::{Cursor, Parsed};
use crate::diagnostics::{Problem, Result};

/// A table as written.
#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Ident,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<ColumnDeclaration>,
    /// `WATERMARK FOR column AS expression`.
    pub(crate) watermark: Option<(Ident, Expr, Location)>,
    pub(crate) primary_key: Option<Vec<Ident>>,
    /// Keys, values, and where each key stands.
    pub(crate) options: Vec<(String, String, Location)>,
    /// Where `WITH` stands, or the end.
    pub(crate) options_at: Location,
}

/// A column as written.
#[derive(Debug)]
pub(crate) struct ColumnDeclaration {
    pub(crate) name: Ident,
    pub(crate) data_type: TypeName,
    pub(crate) type_at: Location,
    pub(crate) not_null: bool,
    /// `METADATA [FROM 'key']`: the key, or none if it is the column's name; and where it stands.
    pub(crate) metadata: Option<(Option<String>, Location)>,
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("CREATE")?;
    let at = cursor.at();
    if !cursor.takes("TABLE") {
        let what: String = cursor.peek_text().chars().take(40).collect();
        return Err(Problem::new(at, format!("CREATE {what} is not supported")).hint("write CREATE TABLE name (…) WITH (…)"));
    }
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = cursor.name("a table name")?;
    let mut table = CreateTable {
        name,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        primary_key: None,
        options: Vec::new(),
        options_at: Location { line: 0, column: 0 },
    };
    if !cursor.at_open_parenthesis() {
        return Err(cursor.unexpected("'(' and the columns"));
    }
    cursor.expect_symbol(&Token::LParen)?;
    loop {
        element(cursor, &mut table)?;
        if !cursor.takes_symbol(&Token::Comma) {
            break;
        }
    }
    cursor.expect_symbol(&Token::RParen)?;
    refuse_clauses(cursor)?;
    table.options_at = cursor.at();
    if cursor.takes("WITH") {
        table.options = options(cursor)?;
    }
    let at = cursor.at();
    if cursor.sees("AS") {
        return Err(Problem::new(at, "CREATE TABLE … AS SELECT is not supported").hint("declare the columns, then INSERT INTO … SELECT"));
    }
    Ok(Parsed::CreateTable(Box::new(table)))
}

fn element(cursor: &mut Cursor, table: &mut CreateTable) -> Result<()> {
    let at = cursor.at();
    if cursor.takes("WATERMARK FOR") {
        let column = cursor.name("a column")?;
        cursor.expect("AS")?;
        let expression = cursor.expression()?;
        if table.watermark.replace((column, expression, at)).is_some() {
            return Err(Problem::new(at, "a table has one WATERMARK").hint("leave one of them out"));
        }
        return Ok(());
    }
    if cursor.sees("CONSTRAINT") {
        cursor.takes("CONSTRAINT");
        cursor.name("a constraint name")?;
        if !cursor.sees("PRIMARY KEY") {
            return Err(cursor.unexpected("PRIMARY KEY"));
        }
    }
    if cursor.takes("PRIMARY KEY") {
        let key = cursor.names("a column")?;
        return primary_key(cursor, table, key, at);
    }
    column(cursor, table)
}

fn column(cursor: &mut Cursor, table: &mut CreateTable) -> Result<()> {
    let name = cursor.name("a column, WATERMARK FOR or PRIMARY KEY")?;
    let type_at = cursor.at();
    if cursor.sees("AS") {
        return Err(Problem::new(type_at, "computed columns are not supported yet").hint("compute it in the SELECT"));
    }
    let data_type = data_type::parse(cursor)?;
    let mut column = ColumnDeclaration { name, data_type, type_at, not_null: false, metadata: None };
    loop {
        let at = cursor.at();
        if cursor.takes("NOT NULL") {
            column.not_null = true;
        } else if cursor.takes("NULL") {
            column.not_null = false;
        } else if cursor.takes("METADATA") {
            let key = if cursor.takes("FROM") { Some(cursor.text("a metadata key")?) } else { None };
            cursor.takes("VIRTUAL");
            column.metadata = Some((key, at));
        } else if cursor.takes("PRIMARY KEY") {
            primary_key(cursor, table, vec![column.name.clone()], at)?;
        } else {
            break;
        }
    }
    table.columns.push(column);
    Ok(())
}

fn primary_key(cursor: &mut Cursor, table: &mut CreateTable, key: Vec<Ident>, at: Location) -> Result<()> {
    if !cursor.takes("NOT ENFORCED") {
        return Err(cursor.unexpected("NOT ENFORCED").hint("write PRIMARY KEY (…) NOT ENFORCED: the key is declared, not checked"));
    }
    if table.primary_key.replace(key).is_some() {
        return Err(Problem::new(at, "a table has one PRIMARY KEY").hint("name all its columns in one PRIMARY KEY (a, b) NOT ENFORCED"));
    }
    Ok(())
}

/// Clauses between the columns and WITH that Flink knows and this engine does not.
fn refuse_clauses(cursor: &mut Cursor) -> Result<()> {
    let refused: &[(&str, &str)] = &[
        ("PARTITIONED BY", "leave it out: tables of the lake are partitioned by date"),
        ("DISTRIBUTED", "leave it out: a stream is distributed by device"),
        ("LIKE", "declare the columns"),
        ("COMMENT", "write it as 'description' in WITH (…), or as an SQL comment"),
    ];
    match refused.iter().find(|(words, _)| cursor.sees(words)) {
        Some((words, hint)) => Err(Problem::new(cursor.at(), format!("{words} is not supported")).hint(*hint)),
        None => Ok(()),
    }
}

fn options(cursor: &mut Cursor) -> Result<Vec<(String, String, Location)>> {
    let mut options: Vec<(String, String, Location)> = Vec::new();
    cursor.expect_symbol(&Token::LParen)?;
    loop {
        let at = cursor.at();
        let key = cursor.text("an option's name")?;
        cursor.expect_symbol(&Token::Eq)?;
        let value = cursor.text("its value")?;
        if options.iter().any(|(k, ..)| *k == key) {
            return Err(Problem::new(at, format!("option '{key}' is given twice")).hint("leave one of them out"));
        }
        options.push((key, value, at));
        if !cursor.takes_symbol(&Token::Comma) {
            break;
        }
    }
    cursor.expect_symbol(&Token::RParen)?;
    Ok(options)
}
