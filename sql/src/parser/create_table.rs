//! `CREATE TABLE [IF NOT EXISTS] name (columns, WATERMARK, PRIMARY KEY) PARTITIONED BY (columns) WITH ('key' = 'value', …)
//! LIKE other (…)`. Invariant: what is parsed here is only syntax; whether the table makes sense is decided where it is declared.

use sqlparser::ast::{Expr, Ident};
use sqlparser::tokenizer::{Location, Token};

use super::data_type::{self, TypeName};
use super::like::{Like, like};
use super::{Cursor, Parsed, Tokens};
use crate::diagnostics::{Problem, Result};

/// A table as written.
#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Ident,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<ColumnDeclaration>,
    /// `WATERMARK FOR column AS expression`.
    pub(crate) watermark: Option<WatermarkDeclaration>,
    pub(crate) primary_key: Option<Vec<Ident>>,
    pub(crate) partitioned_by: Option<Vec<Ident>>,
    /// Keys, values, and where each key stands.
    pub(crate) options: Vec<(String, String, Location)>,
    /// Where `WITH` stands, or the end.
    pub(crate) options_at: Location,
    /// `LIKE other`.
    pub(crate) like: Option<Like>,
    /// Of the whole statement.
    pub(crate) tokens: Tokens,
}

/// A column as written.
#[derive(Debug, Clone)]
pub(crate) struct ColumnDeclaration {
    pub(crate) name: Ident,
    /// Where its type stands, or the AS of its expression.
    pub(crate) at: Location,
    pub(crate) kind: ColumnKind,
}

/// What a column says of itself.
#[derive(Debug, Clone)]
pub(crate) enum ColumnKind {
    /// It is sent, or known to the log.
    Typed {
        data_type: TypeName,
        /// The type as written.
        text: String,
        not_null: bool,
        /// `METADATA [FROM 'key']`: the key, or none if it is the column's name; and where it stands.
        metadata: Option<(Option<String>, Location)>,
    },
    /// `AS expression`, and the expression as written.
    Computed { expression: Box<Expr>, text: String },
}

/// A watermark as written.
#[derive(Debug, Clone)]
pub(crate) struct WatermarkDeclaration {
    pub(crate) column: Ident,
    pub(crate) expression: Box<Expr>,
    /// The expression as written.
    pub(crate) text: String,
    pub(crate) at: Location,
}

impl ColumnDeclaration {
    /// Whether it is `AS PROCTIME()`.
    pub(crate) fn is_processing_time(&self) -> bool {
        matches!(&self.kind, ColumnKind::Computed { expression, .. } if is_proctime(expression))
    }
}

/// Whether an expression is `PROCTIME()`.
pub(crate) fn is_proctime(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("proctime"))
}

/// After `CREATE TABLE`.
pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = cursor.name("a table name")?;
    let mut table = CreateTable {
        name,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        primary_key: None,
        partitioned_by: None,
        options: Vec::new(),
        options_at: Location { line: 0, column: 0 },
        like: None,
        tokens: cursor.tokens().clone(),
    };
    if cursor.takes_symbol(&Token::LParen) {
        loop {
            element(cursor, &mut table)?;
            if !cursor.takes_symbol(&Token::Comma) {
                break;
            }
        }
        cursor.expect_symbol(&Token::RParen)?;
    } else if !["AS", "LIKE", "PARTITIONED BY", "WITH"].iter().any(|word| cursor.sees(word)) {
        return Err(cursor.unexpected("'(' and the columns, WITH or LIKE"));
    }
    refuse_clauses(cursor)?;
    if cursor.takes("PARTITIONED BY") {
        table.partitioned_by = Some(cursor.names("a column of the table")?);
    }
    table.options_at = cursor.at();
    if cursor.takes("WITH") {
        table.options = options(cursor)?;
    }
    table.like = like(cursor)?;
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
        let (expression, text) = expression(cursor)?;
        if table.watermark.replace(WatermarkDeclaration { column, expression, text, at }).is_some() {
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

/// An expression, and its text.
fn expression(cursor: &mut Cursor) -> Result<(Box<Expr>, String)> {
    let mark = cursor.mark();
    let expression = cursor.expression()?;
    Ok((Box::new(expression), cursor.text_since(mark).to_owned()))
}

fn column(cursor: &mut Cursor, table: &mut CreateTable) -> Result<()> {
    let name = cursor.name("a column, WATERMARK FOR or PRIMARY KEY")?;
    let at = cursor.at();
    if cursor.takes("AS") {
        let (expression, text) = expression(cursor)?;
        table.columns.push(ColumnDeclaration { name, at, kind: ColumnKind::Computed { expression, text } });
        return Ok(());
    }
    let mark = cursor.mark();
    let data_type = data_type::parse(cursor)?;
    let text = cursor.text_since(mark).to_owned();
    let (mut not_null, mut metadata) = (false, None);
    loop {
        let at = cursor.at();
        if cursor.takes("NOT NULL") {
            not_null = true;
        } else if cursor.takes("NULL") {
            not_null = false;
        } else if cursor.takes("METADATA") {
            let key = if cursor.takes("FROM") { Some(cursor.text("a metadata key")?) } else { None };
            cursor.takes("VIRTUAL");
            metadata = Some((key, at));
        } else if cursor.takes("PRIMARY KEY") {
            primary_key(cursor, table, vec![name.clone()], at)?;
        } else if cursor.sees("COMMENT") {
            return Err(Problem::new(at, "COMMENT of a column is not supported").hint("write it as an SQL comment: -- …"));
        } else {
            break;
        }
    }
    table.columns.push(ColumnDeclaration { name, at, kind: ColumnKind::Typed { data_type, text, not_null, metadata } });
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
        ("DISTRIBUTED", "leave it out: a stream is distributed by device"),
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
