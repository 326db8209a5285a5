//! `CROSS JOIN UNNEST(list) AS t (element)`. Invariant: it becomes a table of its own whose condition is a marker with the list, so
//! that the list is planned over the tables to its left; what types its columns have is known from a query over those.
//!
//! ```text
//! a CROSS JOIN UNNEST(a.l) WITH ORDINALITY AS t (e, n)   ->   a JOIN "unnest#1" AS t ON "$unnest"(a.l, t.e)
//! ```

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Cte, Expr, Ident, Join, JoinConstraint, JoinOperator, Query, Select, SelectItem, TableAlias, TableFactor, TableWithJoins, Value, Visit,
    VisitMut, Visitor, VisitorMut, With, visit_expressions,
};
use sqlparser::tokenizer::Location;

use super::joins::and;
use super::relations::{Relation, RelationKind, named};
use super::spelling::call;
use super::windows::{UNNEST_MARKER, plain_query};
use crate::diagnostics::{Problem, Result, start_or};
use crate::lower::reject::Unsupported;
use crate::parser::Tokens;

/// The elements of a list as a table.
#[derive(Debug, Clone)]
pub(crate) struct Elements {
    /// A query over what stands to the left, whose only column is the list.
    pub(crate) list: Box<Query>,
    /// Names of the columns.
    pub(crate) names: Vec<Ident>,
    /// Whether the place of the element is the last column.
    pub(crate) ordinality: bool,
}

/// Makes tables of all that a query unnests. Errors: `Invalid` if one has no names, or stands where no list can be.
pub(super) fn rewrite(query: &mut Query, relations: &mut Vec<Relation>, tokens: &Tokens) -> Result<()> {
    match query.visit(&mut Unnests { relations, at: tokens.find("UNNEST"), scopes: Vec::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

/// Over tables of the lake a list of literals may be unnested in FROM. Errors: `Invalid` for a column, which only SELECT can unnest there.
pub(super) fn check_batch(query: &Query, tokens: &Tokens) -> Result<()> {
    match query.visit(&mut OfColumns { at: tokens.find("UNNEST") }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

struct OfColumns {
    at: Location,
}

impl Visitor for OfColumns {
    type Break = Box<Problem>;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        let TableFactor::UNNEST { array_exprs, .. } = factor else { return ControlFlow::Continue(()) };
        let names_column = |e: &Expr| {
            let found = visit_expressions(e, |part| match part {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(start_or(part, self.at)),
                _ => ControlFlow::Continue(()),
            });
            if let ControlFlow::Break(at) = found { Some(at) } else { None }
        };
        match array_exprs.iter().find_map(names_column) {
            Some(at) => ControlFlow::Break(Box::new(Unsupported::UNNEST_OF_LAKE.at(at))),
            None => ControlFlow::Continue(()),
        }
    }
}

struct Unnests<'a> {
    relations: &'a mut Vec<Relation>,
    at: Location,
    /// The queries that are being looked at, the outermost first.
    scopes: Vec<Scope>,
}

/// A query, and how many of the tables of its WITH are rewritten.
struct Scope {
    with: Option<With>,
    done: usize,
}

impl VisitorMut for Unnests<'_> {
    type Break = Box<Problem>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.scopes.push(Scope { with: query.with.clone(), done: 0 });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.scopes.pop();
        // The tables of a WITH come before all other queries inside of a query.
        if let Some(Scope { with: Some(with), done }) = self.scopes.last_mut()
            && let Some(table) = with.cte_tables.get_mut(*done)
        {
            *table.query = query.clone();
            *done += 1;
        }
        ControlFlow::Continue(())
    }

    /// After the queries inside of it: a list is planned over what stands to its left.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        if let Err(problem) = comma_is_cross_join(&mut select.from, self.at) {
            return ControlFlow::Break(Box::new(problem));
        }
        for from in &mut select.from {
            if matches!(from.relation, TableFactor::UNNEST { .. }) {
                return ControlFlow::Break(Box::new(Unsupported::UNNEST_FIRST.at(self.at)));
            }
            for i in 0..from.joins.len() {
                let left = TableWithJoins { relation: from.relation.clone(), joins: from.joins[..i].to_vec() };
                if let Err(problem) = self.join(&mut from.joins[i], left) {
                    return ControlFlow::Break(Box::new(problem));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Unnests<'_> {
    /// The tables of every WITH that can be seen here.
    fn with(&self) -> Option<With> {
        let mut visible: Vec<Cte> = Vec::new();
        for Scope { with, done } in &self.scopes {
            for table in with.iter().flat_map(|with| &with.cte_tables[..*done]) {
                visible.retain(|other| other.alias.name.value != table.alias.name.value);
                visible.push(table.clone());
            }
        }
        let with_token = AttachedToken::empty();
        (!visible.is_empty()).then_some(With { with_token, recursive: false, cte_tables: visible })
    }

    fn join(&mut self, join: &mut Join, left: TableWithJoins) -> Result<()> {
        let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = &join.relation else { return Ok(()) };
        let [list] = array_exprs.as_slice() else { return Err(Unsupported::UNNEST_ONE.at(self.at)) };
        let at = start_or(list, self.at);
        let Some(alias) = alias.clone().filter(|a| !a.columns.is_empty()) else { return Err(Unsupported::UNNEST_NAMES.at(at)) };
        let names: Vec<Ident> = alias.columns.iter().map(|c| c.name.clone()).collect();
        let element = Expr::CompoundIdentifier(vec![alias.name.clone(), names[0].clone()]);
        let marked = call(UNNEST_MARKER, vec![list.clone(), element]);
        let (outer, on) = match &join.join_operator {
            JoinOperator::CrossJoin(_) => (false, None),
            JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) => (false, Some(on.clone())),
            JoinOperator::Left(JoinConstraint::On(on)) | JoinOperator::LeftOuter(JoinConstraint::On(on)) => (true, Some(on.clone())),
            _ => return Err(Unsupported::UNNEST_KIND.at(at)),
        };
        let on = match on {
            Some(on) if !is_true(&on) => and(on, marked),
            _ => marked,
        };
        let constraint = JoinConstraint::On(on);
        let elements = Elements {
            list: Box::new(Query { with: self.with(), ..plain_query(vec![SelectItem::UnnamedExpr(list.clone())], left) }),
            names,
            ordinality: *with_ordinality,
        };
        let key = format!("unnest#{}", self.relations.len());
        let visible = alias.name.value.clone();
        join.relation = named(&key, TableAlias { columns: Vec::new(), ..alias }, at);
        join.join_operator = if outer { JoinOperator::LeftOuter(constraint) } else { JoinOperator::Inner(constraint) };
        self.relations.push(Relation { key, alias: visible, at, kind: RelationKind::Elements(elements) });
        Ok(())
    }
}

/// `FROM a, UNNEST(a.l) AS t (e)` is `FROM a CROSS JOIN UNNEST(a.l) AS t (e)`. Errors: `Invalid` if the list is not of what stands between
/// the last two commas.
fn comma_is_cross_join(from: &mut Vec<TableWithJoins>, at: Location) -> Result<()> {
    let mut merged: Vec<TableWithJoins> = Vec::new();
    for table in std::mem::take(from) {
        if let TableFactor::UNNEST { array_exprs, .. } = &table.relation
            && let Some((_, earlier)) = merged.split_last()
            && let Some(at) = array_exprs.iter().find_map(|list| column_of(list, earlier, at))
        {
            return Err(Unsupported::UNNEST_EARLIER.at(at));
        }
        match (merged.last_mut(), &table.relation) {
            (Some(before), TableFactor::UNNEST { .. }) => {
                let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
                before.joins.push(Join { relation: table.relation, global: false, join_operator });
                before.joins.extend(table.joins);
            }
            _ => merged.push(table),
        }
    }
    *from = merged;
    Ok(())
}

/// Where an expression names a column of one of the tables.
fn column_of(expression: &Expr, tables: &[TableWithJoins], at: Location) -> Option<Location> {
    let factors = || tables.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|join| &join.relation)));
    let is_table = |name: &str| factors().any(|factor| visible(factor) == Some(name));
    let found = visit_expressions(expression, |part| match part {
        Expr::CompoundIdentifier(parts) if parts.first().is_some_and(|table| is_table(&table.value)) => {
            ControlFlow::Break(start_or(part, at))
        }
        _ => ControlFlow::Continue(()),
    });
    if let ControlFlow::Break(at) = found { Some(at) } else { None }
}

/// The name that columns of a table are qualified with.
fn visible(factor: &TableFactor) -> Option<&str> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(alias.name.value.as_str()),
        TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.as_str()),
        _ => None,
    }
}

fn is_true(on: &Expr) -> bool {
    matches!(on, Expr::Value(v) if v.value == Value::Boolean(true))
}
