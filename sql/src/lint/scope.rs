//! What names mean within one statement. Invariant: a column is looked for only in tables that the script declares; as soon as a
//! table is read whose columns the script does not tell, plain names are not known.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem, Spanned,
    TableAlias, TableFactor, Visit, Visitor,
};
use sqlparser::tokenizer::{Location, Token};

use super::kinds::Kind;
use super::script::{self, Column, Declared, Script};
use super::windows::WindowCall;
use crate::diagnostics::start_or;
use crate::parser::Tokens;

/// A statement with the tables that its query reads.
pub(super) struct Scope<'s> {
    pub(super) script: &'s Script<'s>,
    pub(super) tokens: &'s Tokens,
    /// Where the statement's query begins.
    pub(super) at: Location,
    relations: Vec<Relation<'s>>,
    /// Names of WITH and of derived tables.
    pub(super) tables: BTreeSet<String>,
    /// Columns that the query itself names.
    pub(super) given: BTreeSet<String>,
    /// A table is read whose columns are not known.
    pub(super) is_opaque: bool,
}

/// A declared table and the name by which the query knows it.
pub(super) struct Relation<'s> {
    pub(super) visible: String,
    pub(super) table: &'s Declared,
}

impl<'s> Scope<'s> {
    /// Of a query.
    pub(super) fn of(script: &'s Script<'s>, tokens: &'s Tokens, query: &Query) -> Self {
        let mut scope = Self::empty(script, tokens, tokens.find("SELECT"));
        let _: ControlFlow<()> = query.visit(&mut Names(&mut scope));
        let _: ControlFlow<()> = query.visit(&mut Relations(&mut scope));
        scope
    }

    /// Of the expressions of a table's declaration.
    pub(super) fn within(script: &'s Script<'s>, tokens: &'s Tokens, table: &Ident) -> Self {
        let mut scope = Self::empty(script, tokens, table.span.start);
        let declared = script.declared(&table.value);
        scope.relations.extend(declared.map(|table| Relation { visible: table.name.value.clone(), table }));
        scope
    }

    fn empty(script: &'s Script<'s>, tokens: &'s Tokens, at: Location) -> Self {
        Self { script, tokens, at, relations: Vec::new(), tables: BTreeSet::new(), given: BTreeSet::new(), is_opaque: false }
    }

    /// The declared tables.
    pub(super) fn relations(&self) -> &[Relation<'s>] {
        &self.relations
    }

    /// Whether a declared table has a column of exactly this name.
    pub(super) fn has_column(&self, name: &str) -> bool {
        self.columns().any(|c| c.name == name)
    }

    /// The columns of the declared tables.
    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.relations.iter().filter_map(|r| r.table.columns.as_ref()).flatten()
    }

    /// Where an expression stands.
    pub(super) fn place(&self, expression: &impl Spanned) -> Location {
        start_or(expression, self.at)
    }

    /// Where an expression stands that begins with one of these words.
    pub(super) fn begins(&self, expression: &impl Spanned, words: &[&str]) -> Location {
        script::back(self.tokens, self.place(expression), words)
    }

    /// Where a clause of a SELECT stands.
    pub(super) fn clause(&self, select: &Select, word: &str) -> Location {
        let from = select.select_token.0.span.start;
        let found = script::next(self.tokens, from, |t| crate::parser::is_word(t, word));
        found.map_or(from, |t| t.span.start)
    }

    /// Where the operator between two expressions stands.
    pub(super) fn operator(&self, left: &Expr, right: &Expr) -> Location {
        let (from, to) = (left.span().end, right.span().start);
        let found = script::next(self.tokens, from, |t| *t != Token::RParen).filter(|t| t.span.start < to);
        found.map_or(self.place(left), |t| t.span.start)
    }

    /// What a column of one name, or of a table's alias and a name, is.
    pub(super) fn column(&self, expression: &Expr) -> Option<(&Declared, &Column)> {
        match expression {
            Expr::Nested(inner) => self.column(inner),
            Expr::Identifier(name) if !self.is_opaque && !self.given.contains(&name.value) => {
                let mut all = self.relations.iter().filter_map(|r| r.table.column(&name.value).map(|c| (r.table, c)));
                let first = all.next()?;
                all.all(|(_, c)| c.kind == first.1.kind).then_some(first)
            }
            Expr::CompoundIdentifier(parts) => {
                let [table, name] = parts.as_slice() else { return None };
                if self.tables.contains(&table.value) {
                    return None;
                }
                let relation = self.relations.iter().find(|r| r.visible.eq_ignore_ascii_case(&table.value))?;
                relation.table.column(&name.value).map(|c| (relation.table, c))
            }
            _ => None,
        }
    }

    /// The type of an expression, if that is sure.
    pub(super) fn kind(&self, expression: &Expr) -> Option<Kind> {
        match expression {
            Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => self.kind(inner),
            Expr::Cast { data_type, .. } => Some(Kind::of(data_type)),
            Expr::TypedString(typed) => Some(Kind::of(&typed.data_type)),
            Expr::Value(value) => Kind::literal(&value.value),
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
                | BinaryOperator::Modulo => self.kind(left)?.together(self.kind(right)?),
                _ => None,
            },
            Expr::Function(function) => match (function.name.to_string().to_lowercase().as_str(), arguments(function).as_slice()) {
                ("count" | "unix_timestamp", _) => Some(Kind::Integer(64)),
                ("timestampdiff", _) => Some(Kind::Integer(32)),
                ("max" | "min" | "abs", [only]) => self.kind(only),
                _ => None,
            },
            column => self.column(column).and_then(|(_, c)| c.kind),
        }
    }
}

/// The plain arguments of a call.
pub(super) fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    list.args.iter().filter_map(argument).collect()
}

/// The value of an argument, named or not.
pub(super) fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e))
        | FunctionArg::Named { arg: FunctionArgExpr::Expr(e), .. }
        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(e), .. } => Some(e),
        _ => None,
    }
}

/// The name of a table of one part.
pub(super) fn single(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [only] => only.as_ident(),
        _ => None,
    }
}

/// Gathers the names that a query gives.
struct Names<'a, 's>(&'a mut Scope<'s>);

impl Names<'_, '_> {
    fn alias(&mut self, alias: &TableAlias) {
        self.0.given.extend(alias.columns.iter().map(|c| c.name.value.clone()));
    }
}

impl Visitor for Names<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|w| &w.cte_tables) {
            self.0.tables.insert(cte.alias.name.value.clone());
            self.alias(&cte.alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Derived { alias: Some(alias), .. } | TableFactor::UNNEST { alias: Some(alias), .. } => {
                self.0.tables.insert(alias.name.value.clone());
                self.alias(alias);
            }
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::TableFunction { alias: Some(alias), .. } => self.alias(alias),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// An alias that is the column's own name changes nothing.
    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
            let own = match expr {
                Expr::Identifier(column) => Some(&column.value),
                Expr::CompoundIdentifier(parts) => parts.last().map(|p| &p.value),
                _ => None,
            };
            if own != Some(&alias.value) {
                self.0.given.insert(alias.value.clone());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Gathers the tables that a query reads.
struct Relations<'a, 's>(&'a mut Scope<'s>);

impl Relations<'_, '_> {
    fn read(&mut self, name: Option<&Ident>, alias: Option<&TableAlias>) {
        let Some(name) = name else {
            self.0.is_opaque = true;
            return;
        };
        if self.0.tables.contains(&name.value) {
            return;
        }
        let script = self.0.script;
        match script.declared(&name.value) {
            Some(table) => {
                self.0.is_opaque |= table.columns.is_none();
                let visible = alias.map_or(&name.value, |a| &a.name.value).clone();
                self.0.relations.push(Relation { visible, table });
            }
            None => self.0.is_opaque = true,
        }
    }
}

impl Visitor for Relations<'_, '_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match (WindowCall::of(factor), factor) {
            (Some(call), TableFactor::Table { alias, .. } | TableFactor::TableFunction { alias, .. }) => {
                self.read(call.table, alias.as_ref());
            }
            (None, TableFactor::Table { name, alias, args: None, .. }) => self.read(single(name), alias.as_ref()),
            (_, TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } | TableFactor::UNNEST { .. }) => {}
            _ => self.0.is_opaque = true,
        }
        ControlFlow::Continue(())
    }
}
