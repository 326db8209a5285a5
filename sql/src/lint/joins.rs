//! Joins and what is joined. Invariant: a join that Flink has in the same form and with what it needs is not found.

use sqlparser::ast::{Expr, Join, JoinOperator, Select, TableFactor, TableVersion, TableWithJoins};

use super::finding::{Effect, Rule};
use super::report::Report;
use super::scope::{Scope, single};
use super::script::{What, next};
use super::walk::Family;
use super::windows::TIME_ATTRIBUTE;
use crate::parser::{is_proctime, is_word};

pub(super) static FAMILY: Family = Family { select, table, ..Family::BLIND };

pub(super) static ASOF: Rule = Rule {
    name: "asof-join",
    finds: "ASOF JOIN",
    effect: Effect::Refuses,
    why: "",
    hint: "on Flink declare b with a PRIMARY KEY and write a LEFT JOIN b FOR SYSTEM_TIME AS OF a.ts AS b ON a.key = b.key",
};
pub(super) static FORM: Rule = Rule {
    name: "join-form",
    finds: "SEMI, ANTI and other joins that are not in the SQL standard",
    effect: Effect::Refuses,
    why: "",
    hint: "write WHERE EXISTS (SELECT …), or WHERE NOT EXISTS (SELECT …)",
};
pub(super) static ORDINALITY: Rule = Rule {
    name: "unnest-ordinality",
    finds: "UNNEST WITH ORDINALITY",
    effect: Effect::Refuses,
    why: "Flink 1.20 has no WITH ORDINALITY, and later ones have it in CROSS JOIN only",
    hint: "leave it out, or write CROSS JOIN UNNEST(…) WITH ORDINALITY for Flink 2",
};
pub(super) static PROCTIME: Rule = Rule {
    name: "proctime-call",
    finds: "FOR SYSTEM_TIME AS OF PROCTIME()",
    effect: Effect::Refuses,
    why: "the time is a column of the left table",
    hint: "declare p AS PROCTIME() in the left table, and write FOR SYSTEM_TIME AS OF t.p",
};
pub(super) static VERSIONED: Rule = Rule {
    name: "versioned-join",
    finds: "a version of a table that has no event time",
    effect: Effect::Refuses,
    why: "a table whose versions go by event time needs a WATERMARK and a PRIMARY KEY",
    hint: "on Flink declare its event time with WATERMARK FOR, or join by processing time: p AS PROCTIME() in the left table",
};

fn select(select: &Select, scope: &Scope<'_>, report: &mut Report<'_>) {
    select.from.iter().for_each(|from| joins(from, scope, report));
}

fn table(table: &TableFactor, scope: &Scope<'_>, report: &mut Report<'_>) {
    match table {
        TableFactor::NestedJoin { table_with_joins, .. } => joins(table_with_joins, scope, report),
        TableFactor::Table { version: Some(TableVersion::ForSystemTimeAsOf(time)), .. } => version(table, time, scope, report),
        TableFactor::UNNEST { with_ordinality: true, array_exprs, .. } => {
            let from = array_exprs.first().map_or(scope.at, |list| scope.place(list));
            let at = next(scope.tokens, from, |t| is_word(t, "ORDINALITY")).map_or(from, |t| t.span.start);
            report.add(&ORDINALITY, at, "UNNEST WITH ORDINALITY");
        }
        _ => {}
    }
}

fn joins(from: &TableWithJoins, scope: &Scope<'_>, report: &mut Report<'_>) {
    for join in &from.joins {
        if let Some((rule, form)) = form(join) {
            let at = scope.begins(&join.relation, &[form.split(' ').next().unwrap_or("JOIN")]);
            report.add(rule, at, form);
        }
    }
}

fn form(join: &Join) -> Option<(&'static Rule, &'static str)> {
    Some(match &join.join_operator {
        JoinOperator::AsOf { .. } => (&ASOF, "ASOF JOIN"),
        JoinOperator::Semi(_) => (&FORM, "SEMI JOIN"),
        JoinOperator::LeftSemi(_) => (&FORM, "LEFT SEMI JOIN"),
        JoinOperator::RightSemi(_) => (&FORM, "RIGHT SEMI JOIN"),
        JoinOperator::Anti(_) => (&FORM, "ANTI JOIN"),
        JoinOperator::LeftAnti(_) => (&FORM, "LEFT ANTI JOIN"),
        JoinOperator::RightAnti(_) => (&FORM, "RIGHT ANTI JOIN"),
        JoinOperator::CrossApply => (&FORM, "CROSS APPLY"),
        JoinOperator::OuterApply => (&FORM, "OUTER APPLY"),
        JoinOperator::StraightJoin(_) => (&FORM, "STRAIGHT_JOIN"),
        JoinOperator::ArrayJoin | JoinOperator::LeftArrayJoin | JoinOperator::InnerArrayJoin => (&FORM, "ARRAY JOIN"),
        JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => return None,
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => return None,
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_) => return None,
    })
}

/// `FOR SYSTEM_TIME AS OF time` of a table.
fn version(table: &TableFactor, time: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    let TableFactor::Table { name, .. } = table else { return };
    let at = scope.place(time);
    if is_proctime(time) {
        report.add(&PROCTIME, at, "FOR SYSTEM_TIME AS OF PROCTIME()");
        return;
    }
    let by = scope.column(time);
    if let Some((left, column)) = by
        && !left.is_time(&column.name)
    {
        report.add(&TIME_ATTRIBUTE, at, format!("'{}' as a time", column.name));
    }
    let right = single(name).and_then(|n| scope.script.declared(&n.value));
    let goes_by_processing_time = by.is_some_and(|(_, column)| column.is_processing_time);
    if let Some(right) = right.filter(|r| r.what == What::Table && r.event_time.is_none() && !goes_by_processing_time) {
        report.add(&VERSIONED, at, format!("FOR SYSTEM_TIME AS OF an event time, of '{}'", right.name.value));
    }
}
