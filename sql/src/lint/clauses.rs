//! Clauses of queries. Invariant: a clause is found where it stands, and only if the tables that the script declares do not give it
//! another meaning.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, Ident, NamedWindowExpr, OrderByKind, Query, Select, SelectItem, SetExpr, SetQuantifier, Value,
    WildcardAdditionalOptions, WindowType, visit_expressions,
};

use super::finding::{Effect, Rule};
use super::report::Report;
use super::scope::Scope;
use super::walk::Family;

pub(super) static FAMILY: Family = Family { query, select, ..Family::BLIND };

pub(super) static BY_NAME: Rule = Rule {
    name: "union-by-name",
    finds: "UNION BY NAME",
    effect: Effect::Refuses,
    why: "",
    hint: "select the columns in the same order, and leave BY NAME out",
};
pub(super) static DISTINCT_ON: Rule = Rule {
    name: "distinct-on",
    finds: "DISTINCT ON",
    effect: Effect::Refuses,
    why: "",
    hint: "number the rows: ROW_NUMBER() OVER (PARTITION BY key ORDER BY …), and keep those with 1",
};
pub(super) static GROUP_ALIAS: Rule = Rule {
    name: "group-alias",
    finds: "GROUP BY of a name that SELECT gives",
    effect: Effect::Refuses,
    why: "GROUP BY knows columns of the tables only",
    hint: "repeat the expression, or name it in a subquery",
};
pub(super) static GROUP_ALL: Rule =
    Rule { name: "group-all", finds: "GROUP BY ALL", effect: Effect::Refuses, why: "", hint: "name the columns" };
pub(super) static GROUP_NUMBER: Rule = Rule {
    name: "group-number",
    finds: "GROUP BY of the number of a column",
    effect: Effect::Refuses,
    why: "the number is a constant there, and the column is not grouped",
    hint: "repeat the expression",
};
pub(super) static HAVING_ALIAS: Rule = Rule {
    name: "having-alias",
    finds: "HAVING with a name that SELECT gives",
    effect: Effect::Refuses,
    why: "HAVING knows columns of the tables only",
    hint: "repeat the expression",
};
pub(super) static ORDER: Rule = Rule {
    name: "order-by",
    finds: "ORDER BY of a whole result",
    effect: Effect::Refuses,
    why: "a stream is sorted by its ascending event time only",
    hint: "add LIMIT, or on Flink SET 'execution.runtime-mode' = 'batch'",
};
pub(super) static OVER: Rule = Rule {
    name: "over-windows",
    finds: "several OVER in one SELECT that are not the same",
    effect: Effect::Refuses,
    why: "all OVER of a SELECT over a stream must be identical",
    hint: "compute one of them in a subquery",
};
pub(super) static QUALIFY: Rule = Rule {
    name: "qualify",
    finds: "QUALIFY",
    effect: Effect::Refuses,
    why: "its documentation has it since Flink 2, that of 1.20 has not",
    hint: "write SELECT … FROM (SELECT …, ROW_NUMBER() OVER (…) AS rn FROM …) WHERE rn <= 3",
};
pub(super) static STAR: Rule =
    Rule { name: "star", finds: "* EXCEPT, EXCLUDE and REPLACE", effect: Effect::Refuses, why: "", hint: "name the columns" };

fn query(query: &Query, scope: &Scope<'_>, report: &mut Report<'_>) {
    if let SetExpr::SetOperation { set_quantifier, left, .. } = query.body.as_ref()
        && matches!(set_quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName)
    {
        let from = scope.place(left.as_ref());
        let at = super::script::next(scope.tokens, from, |t| crate::parser::is_word(t, "NAME")).map_or(from, |t| t.span.start);
        report.add(&BY_NAME, at, "UNION BY NAME");
    }
    let Some(OrderByKind::Expressions(orders)) = query.order_by.as_ref().map(|o| &o.kind) else { return };
    let Some(first) = orders.first() else { return };
    let by_time = scope.column(&first.expr).is_some_and(|(table, column)| table.event_time.as_deref() == Some(column.name.as_str()));
    let is_ascending = first.options.asc != Some(false);
    if query.limit_clause.is_none() && query.fetch.is_none() && !(by_time && is_ascending) {
        report.add(&ORDER, scope.begins(&first.expr, &["ORDER"]), "ORDER BY without LIMIT");
    }
}

fn select(select: &Select, scope: &Scope<'_>, report: &mut Report<'_>) {
    if select.qualify.is_some() {
        report.add(&QUALIFY, scope.clause(select, "QUALIFY"), "QUALIFY");
    }
    if let Some(Distinct::On(_)) = select.distinct {
        report.add(&DISTINCT_ON, scope.clause(select, "DISTINCT"), "DISTINCT ON");
    }
    for item in &select.projection {
        if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
            star(options, select, scope, report);
        }
    }
    groups(select, scope, report);
    overs(select, scope, report);
}

fn star(options: &WildcardAdditionalOptions, select: &Select, scope: &Scope<'_>, report: &mut Report<'_>) {
    let words = [
        (options.opt_except.is_some(), "EXCEPT"),
        (options.opt_exclude.is_some(), "EXCLUDE"),
        (options.opt_replace.is_some(), "REPLACE"),
        (options.opt_rename.is_some(), "RENAME"),
        (options.opt_ilike.is_some(), "ILIKE"),
    ];
    for (_, word) in words.into_iter().filter(|(there, _)| *there) {
        report.add(&STAR, scope.clause(select, word), format!("* {word}"));
    }
}

fn groups(select: &Select, scope: &Scope<'_>, report: &mut Report<'_>) {
    let aliases = aliases(select);
    let is_alias = |name: &Ident| aliases.contains(name.value.as_str()) && !scope.has_column(&name.value);
    match &select.group_by {
        GroupByExpr::All(_) => report.add(&GROUP_ALL, scope.clause(select, "GROUP"), "GROUP BY ALL"),
        GroupByExpr::Expressions(groups, _) => {
            for group in groups {
                match group {
                    Expr::Identifier(name) if is_alias(name) => {
                        report.add(&GROUP_ALIAS, name.span.start, format!("GROUP BY {name}"));
                    }
                    Expr::Value(number) if matches!(number.value, Value::Number(..)) => {
                        report.add(&GROUP_NUMBER, scope.place(group), format!("GROUP BY {number}"));
                    }
                    _ => {}
                }
            }
        }
    }
    if let Some(having) = &select.having {
        let _: ControlFlow<()> = visit_expressions(having, |e| {
            if let Expr::Identifier(name) = e
                && is_alias(name)
            {
                report.add(&HAVING_ALIAS, name.span.start, format!("{name} in HAVING"));
            }
            ControlFlow::Continue(())
        });
    }
}

/// Names that SELECT gives to something that is not the column of that name.
fn aliases(select: &Select) -> BTreeSet<&str> {
    select.projection.iter().filter_map(renamed).collect()
}

fn renamed(item: &SelectItem) -> Option<&str> {
    match item {
        SelectItem::ExprWithAlias { expr, alias } => {
            let own = match expr {
                Expr::Identifier(column) => Some(column),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            own.is_none_or(|own| own.value != alias.value).then_some(alias.value.as_str())
        }
        _ => None,
    }
}

/// The windows of OVER; tables of the lake are queried by batches, which may have several.
fn overs(select: &Select, scope: &Scope<'_>, report: &mut Report<'_>) {
    let mut first: Option<String> = None;
    for item in &select.projection {
        let (SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }) = item else { continue };
        let _: ControlFlow<()> = visit_expressions(expression, |e| {
            if let Expr::Function(Function { over: Some(over), .. }) = e {
                let over = resolved(over, select);
                match &first {
                    Some(known) if *known != over => report.add(&OVER, scope.place(e), "a second OVER"),
                    Some(_) => {}
                    None => first = Some(over),
                }
            }
            ControlFlow::Continue(())
        });
    }
}

/// The text of a window, whether it is named or not.
fn resolved(over: &WindowType, select: &Select) -> String {
    let name = match over {
        WindowType::WindowSpec(spec) => return spec.to_string(),
        WindowType::NamedWindow(name) => name,
    };
    match select.named_window.iter().find(|w| w.0.value == name.value).map(|w| &w.1) {
        Some(NamedWindowExpr::WindowSpec(spec)) => spec.to_string(),
        _ => name.to_string(),
    }
}
