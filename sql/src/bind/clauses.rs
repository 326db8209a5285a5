//! Clauses. Invariant: every field of a query and of a SELECT is looked at by name, so that a new one is a compile error here
//! before it can be dropped silently.

use std::ops::ControlFlow;

use sqlparser::ast::{
    GroupByExpr, JoinOperator, LimitClause, OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, Visit, Visitor, WildcardAdditionalOptions,
};
use sqlparser::tokenizer::Location;

use crate::diagnostics::{Problem, Result, start};
use crate::lower::reject::Unsupported;
use crate::parser::Tokens;

/// Refuses what DataFusion would drop or has no meaning here, in every query and subquery.
pub(super) fn check(query: &Query, tokens: &Tokens) -> Result<()> {
    match query.visit(&mut Clauses { tokens }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

/// Where each item of the outermost SELECT stands; empty if one of them is `*`.
pub(super) fn items(query: &Query) -> Vec<Location> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Vec::new() };
    let named = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if select.projection.iter().all(named) { select.projection.iter().map(start).collect() } else { Vec::new() }
}

struct Clauses<'a> {
    tokens: &'a Tokens,
}

impl Visitor for Clauses<'_> {
    type Break = Box<Problem>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|table| &table.alias);
        untyped(names)?;
        self.refuse(&self.query(query))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => untyped(alias),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        self.refuse(&self.select(select))
    }
}

/// Whether a clause is there, its name for the message, and the words to find it by.
type Clause = (bool, &'static str, &'static str);

impl Clauses<'_> {
    fn refuse(&self, clauses: &[Clause]) -> ControlFlow<Box<Problem>> {
        match clauses.iter().find(|(present, ..)| *present) {
            Some((_, what, words)) => ControlFlow::Break(Box::new(Unsupported::clause(what).at(self.tokens.find(words)))),
            None => ControlFlow::Continue(()),
        }
    }

    fn query(&self, query: &Query) -> Vec<Clause> {
        let Query { with: _, body, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } = query;
        let limit_by = matches!(limit_clause, Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty());
        let (mut interpolate, mut with_fill) = (false, false);
        if let Some(order_by) = order_by {
            interpolate = order_by.interpolate.is_some();
            with_fill = matches!(&order_by.kind, OrderByKind::Expressions(all) if all.iter().any(|e| e.with_fill.is_some()));
        }
        let changes = matches!(body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_));
        vec![
            (fetch.is_some(), "FETCH", "FETCH"),
            (!locks.is_empty(), "FOR UPDATE", "FOR"),
            (for_clause.is_some(), "FOR XML, JSON or BROWSE", "FOR"),
            (settings.is_some(), "SETTINGS", "SETTINGS"),
            (format_clause.is_some(), "FORMAT", "FORMAT"),
            (!pipe_operators.is_empty(), "|>", "FROM"),
            (limit_by, "LIMIT … BY", "LIMIT"),
            (interpolate, "INTERPOLATE", "INTERPOLATE"),
            (with_fill, "WITH FILL", "WITH FILL"),
            (changes, "changing data in a query", "WITH"),
            (matches!(body.as_ref(), SetExpr::Table(_)), "TABLE as a query", "TABLE"),
        ]
    }

    fn select(&self, select: &Select) -> Vec<Clause> {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct: _,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window: _,
            qualify: _,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let modifiers = match group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => !modifiers.is_empty(),
        };
        vec![
            (!optimizer_hints.is_empty(), "a hint", "SELECT"),
            (select_modifiers.is_some(), "a modifier after SELECT", "SELECT"),
            (top.is_some(), "TOP", "TOP"),
            (projection.is_empty(), "SELECT without columns", "SELECT"),
            (projection.iter().any(odd_item), "this form of *, or more than one alias,", "SELECT"),
            (exclude.is_some(), "EXCLUDE", "EXCLUDE"),
            (into.is_some(), "SELECT INTO", "INTO"),
            (from.iter().any(global_join), "GLOBAL JOIN", "GLOBAL"),
            (!lateral_views.is_empty(), "LATERAL VIEW", "LATERAL"),
            (prewhere.is_some(), "PREWHERE", "PREWHERE"),
            (!connect_by.is_empty(), "CONNECT BY", "CONNECT"),
            (modifiers, "a modifier of GROUP BY", "GROUP BY"),
            (!cluster_by.is_empty(), "CLUSTER BY", "CLUSTER BY"),
            (!distribute_by.is_empty(), "DISTRIBUTE BY", "DISTRIBUTE BY"),
            (!sort_by.is_empty(), "SORT BY", "SORT BY"),
            (value_table_mode.is_some(), "SELECT AS", "AS"),
            (*flavor != SelectFlavor::Standard, "FROM before SELECT", "FROM"),
        ]
    }
}

/// Refuses types behind the names of columns, which no planner looks at.
fn untyped<'a>(aliases: impl IntoIterator<Item = &'a TableAlias>) -> ControlFlow<Box<Problem>> {
    match aliases.into_iter().flat_map(|alias| &alias.columns).find(|column| column.data_type.is_some()) {
        Some(typed) => ControlFlow::Break(Box::new(Unsupported::ALIAS_TYPE.at(typed.name.span.start))),
        None => ControlFlow::Continue(()),
    }
}

/// Forms of select items that DataFusion has no meaning for.
fn odd_item(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => false,
        SelectItem::ExprWithAliases { .. } => true,
        SelectItem::QualifiedWildcard(_, options) | SelectItem::Wildcard(options) => {
            let WildcardAdditionalOptions {
                wildcard_token: _,
                opt_ilike,
                opt_exclude: _,
                opt_except: _,
                opt_replace: _,
                opt_rename,
                opt_alias,
            } = options;
            opt_ilike.is_some() || opt_rename.is_some() || opt_alias.is_some()
        }
    }
}

/// An ASOF join that is global was written as an inner one.
fn global_join(table: &TableWithJoins) -> bool {
    table.joins.iter().any(|j| j.global && !matches!(j.join_operator, JoinOperator::AsOf { .. }))
}

/// Refuses what a stream cannot do; call after `check`.
pub(super) fn check_stream(query: &Query, tokens: &Tokens) -> Result<()> {
    let refuse = |what, hint, words: &str| Err(Unsupported::on_stream(what, hint).at(tokens.find(words)));
    if query.order_by.is_some() {
        return refuse("ORDER BY", "leave it out: a stream has no end at which it could be sorted", "ORDER BY");
    }
    if let Some(limit) = &query.limit_clause {
        let words = match limit {
            LimitClause::LimitOffset { limit: None, .. } => "OFFSET",
            _ => "LIMIT",
        };
        return refuse("LIMIT or OFFSET", "leave it out, and stop reading when you have enough", words);
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    if let GroupByExpr::All(_) = &select.group_by {
        return refuse("GROUP BY ALL", "name the columns: GROUP BY window_start, window_end, …", "GROUP BY");
    }
    Ok(())
}
