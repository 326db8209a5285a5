//! A script as the lint sees it. Invariant: it is parsed by the parser of this engine, nothing in it is resolved or run, and every
//! place is one of the script.

use sqlparser::ast::{Expr, Ident, SelectItem, SetExpr};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::kinds::Kind;
use crate::diagnostics::Result;
use crate::parser::{self, ColumnKind, CreateTable, CreateView, Insert, Parsed, QueryText, Setting, Tokens, is_word};

/// All statements, and what they declare.
pub(super) struct Script<'a> {
    lines: Vec<&'a str>,
    pub(super) statements: Vec<Stated>,
    declared: Vec<Declared>,
}

/// A statement and its tokens.
pub(super) struct Stated {
    pub(super) parsed: Parsed,
    pub(super) tokens: Tokens,
}

/// A table or view that the script declares.
pub(super) struct Declared {
    /// As written.
    pub(super) name: Ident,
    pub(super) what: What,
    /// Its columns; `None` if the script does not say which it has.
    pub(super) columns: Option<Vec<Column>>,
    /// The column of WATERMARK FOR, as written there.
    pub(super) event_time: Option<String>,
    pub(super) connector: Option<String>,
}

/// What is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Table,
    View { temporary: bool },
}

/// A column as far as the script tells.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Option<Kind>,
    /// It is `AS PROCTIME()`.
    pub(super) is_processing_time: bool,
}

impl<'a> Script<'a> {
    /// Parses every statement. Errors: one of them is none of this engine's.
    pub(super) fn new(text: &'a str) -> Result<Self> {
        let mut script = Self { lines: text.split('\n').collect(), statements: Vec::new(), declared: Vec::new() };
        for statement in parser::split(text)? {
            let sql = statement.in_place();
            let stated = Stated { parsed: parser::parse(&sql)?, tokens: Tokens::new(&sql)? };
            match &stated.parsed {
                Parsed::CreateTable(table) => script.declared.push(Declared::table(table, &script)),
                Parsed::CreateView(view) => script.declared.push(Declared::view(view)),
                _ => {}
            }
            script.statements.push(stated);
        }
        Ok(script)
    }

    /// What a name means, in whatever case it is written.
    pub(super) fn declared(&self, name: &str) -> Option<&Declared> {
        self.declared
            .iter()
            .find(|d| d.name.value == name)
            .or_else(|| self.declared.iter().find(|d| d.name.value.eq_ignore_ascii_case(name)))
    }

    /// Whether a statement of it is `SET 'key' = 'value'`.
    pub(super) fn sets(&self, key: &str, value: &str) -> bool {
        let is = |s: &Stated| matches!(&s.parsed, Parsed::Setting(Setting::Set { key: k, value: v }) if k.0 == key && v.0.trim() == value);
        self.statements.iter().any(is)
    }

    /// The character at a place.
    pub(super) fn character(&self, at: Location) -> Option<char> {
        let line = self.lines.get(usize::try_from(at.line.checked_sub(1)?).ok()?)?;
        line.chars().nth(usize::try_from(at.column.checked_sub(1)?).ok()?)
    }
}

impl Stated {
    /// Every query of it.
    pub(super) fn queries(&self) -> Vec<&QueryText> {
        queries(&self.parsed)
    }

    /// Every INSERT of it.
    pub(super) fn inserts(&self) -> &[Insert] {
        match explained(&self.parsed) {
            Parsed::Insert(insert) => std::slice::from_ref(insert),
            Parsed::StatementSet(inserts) => inserts,
            _ => &[],
        }
    }

    /// The n-th token, if it is a word.
    pub(super) fn word(&self, n: usize, word: &str) -> Option<Location> {
        self.tokens.all().get(n).filter(|t| is_word(&t.token, word)).map(|t| t.span.start)
    }
}

fn explained(parsed: &Parsed) -> &Parsed {
    match parsed {
        Parsed::Explain(inner) => inner,
        other => other,
    }
}

fn queries(parsed: &Parsed) -> Vec<&QueryText> {
    match explained(parsed) {
        Parsed::Query(query) => vec![query],
        Parsed::Insert(insert) => vec![&insert.query],
        Parsed::StatementSet(inserts) => inserts.iter().map(|i| &i.query).collect(),
        Parsed::CreateView(view) => vec![&view.query],
        _ => Vec::new(),
    }
}

impl Declared {
    /// LIKE takes over what its source has.
    fn table(table: &CreateTable, script: &Script<'_>) -> Self {
        let source = table.like.as_ref().and_then(|like| script.declared(&like.source.value));
        let mut columns: Vec<Column> = table.columns.iter().map(Column::new).collect();
        let inherited = source.and_then(|s| s.columns.as_deref()).unwrap_or_default();
        columns.extend(inherited.iter().map(Column::same));
        let is_known = !columns.is_empty() && (table.like.is_none() || source.is_some());
        let own = table.watermark.as_ref().map(|w| w.column.value.clone());
        let connector = table.options.iter().find(|(key, ..)| key == "connector").map(|(_, value, _)| value.clone());
        Self {
            name: table.name.clone(),
            what: What::Table,
            columns: is_known.then_some(columns),
            event_time: own.or_else(|| source.and_then(|s| s.event_time.clone())),
            connector: connector.or_else(|| source.and_then(|s| s.connector.clone())),
        }
    }

    fn view(view: &CreateView) -> Self {
        let named = match view.columns.as_slice() {
            [] => output_names(&view.query.query.body),
            columns => Some(columns.iter().map(|c| c.value.clone()).collect()),
        };
        let column = |name| Column { name, kind: None, is_processing_time: false };
        Self {
            name: view.name.clone(),
            what: What::View { temporary: view.temporary.is_some() },
            columns: named.map(|names| names.into_iter().map(column).collect()),
            event_time: None,
            connector: None,
        }
    }

    /// The column of this name, in whatever case.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.as_ref()?.iter().find(|c| c.name.eq_ignore_ascii_case(name))
    }

    /// Whether a column is its event time or a processing time; true if the script does not tell.
    pub(super) fn is_time(&self, column: &str) -> bool {
        let is_event_time = self.event_time.as_ref().is_some_and(|t| t.eq_ignore_ascii_case(column));
        match (self.what, self.column(column)) {
            (What::Table, Some(found)) => is_event_time || found.is_processing_time,
            _ => true,
        }
    }
}

impl Column {
    fn new(declared: &parser::ColumnDeclaration) -> Self {
        let kind = match &declared.kind {
            ColumnKind::Typed { data_type, .. } => Kind::declared(data_type),
            ColumnKind::Computed { expression, .. } => Kind::computed(expression),
        };
        Self { name: declared.name.value.clone(), kind, is_processing_time: declared.is_processing_time() }
    }

    fn same(other: &Self) -> Self {
        Self { name: other.name.clone(), ..*other }
    }
}

/// Names of the columns of a query; `None` if they are those of its tables.
fn output_names(body: &SetExpr) -> Option<Vec<String>> {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => return output_names(&query.body),
        SetExpr::SetOperation { left, .. } => return output_names(left),
        _ => return None,
    };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(column)) => Some(column.value.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(|p| p.value.clone()),
        SelectItem::UnnamedExpr(_) => Some(String::new()),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

/// The first token from a place on that is wanted.
pub(super) fn next(tokens: &Tokens, from: Location, wanted: impl Fn(&Token) -> bool) -> Option<&TokenWithSpan> {
    tokens.all().iter().find(|t| t.span.start >= from && wanted(&t.token))
}

/// Where the nearest of some words stands before a place; the place itself if none does.
pub(super) fn back(tokens: &Tokens, from: Location, words: &[&str]) -> Location {
    let before = tokens.all().iter().rev().filter(|t| t.span.start < from);
    let found = before.take(SEARCHED).find(|t| words.iter().any(|word| is_word(&t.token, word)));
    found.map_or(from, |t| t.span.start)
}

/// How many tokens are searched for the word that an expression begins with.
const SEARCHED: usize = 8;
