//! Windows. Invariant: a window that Flink cuts the same way is not found.

use sqlparser::ast::{DateTimeField, Expr, Function, FunctionArg, FunctionArguments, GroupByExpr, Ident, Select, TableFactor};
use sqlparser::tokenizer::{Location, Token};

use super::finding::{Effect, Rule};
use super::report::Report;
use super::scope::{Scope, argument};
use super::walk::Family;
use crate::diagnostics::start;
use crate::parser::{TABLE_ARGUMENT, micros};

pub(super) static FAMILY: Family = Family { select, table, ..Family::BLIND };

pub(super) static CALL: Rule = Rule {
    name: "window-call",
    finds: "a window function in FROM without TABLE( )",
    effect: Effect::Refuses,
    why: "Flink 1.20 wants TABLE( ) around it, later ones do not",
    hint: "write FROM TABLE(TUMBLE(TABLE stream, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
};
pub(super) static GROUPED_CUMULATE: Rule = Rule {
    name: "grouped-cumulate",
    finds: "GROUP BY CUMULATE(…)",
    effect: Effect::Refuses,
    why: "the windows of GROUP BY are TUMBLE, HOP and SESSION",
    hint: "write FROM TABLE(CUMULATE(TABLE stream, DESCRIPTOR(ts), step, size)), and GROUP BY window_start, window_end",
};
pub(super) static HOP_MULTIPLE: Rule = Rule {
    name: "hop-multiple",
    finds: "a HOP in FROM whose size is no multiple of its slide",
    effect: Effect::Refuses,
    why: "the size must be a multiple of the slide",
    hint: "choose a slide that goes into the size, or write GROUP BY HOP(ts, slide, size)",
};
pub(super) static MONTHS: Rule = Rule {
    name: "month-window",
    finds: "a window of months",
    effect: Effect::Refuses,
    why: "windows have a fixed length",
    hint: "choose days or less, or group by the month of a column",
};
pub(super) static PARTITION: Rule = Rule {
    name: "window-partition",
    finds: "several keys of PARTITION BY in a window function, without parentheses",
    effect: Effect::Refuses,
    why: "a comma ends the argument",
    hint: "write PARTITION BY (a, b)",
};
pub(super) static TIME_ATTRIBUTE: Rule = Rule {
    name: "time-attribute",
    finds: "a time that no WATERMARK is declared for",
    effect: Effect::Refuses,
    why: "a time in windows and versions is the column of WATERMARK FOR, or PROCTIME()",
    hint: "declare WATERMARK FOR that column",
};

/// A call of a window function in FROM.
pub(super) struct WindowCall<'q> {
    /// In lower case.
    name: String,
    at: Location,
    /// None if it is not one name.
    pub(super) table: Option<&'q Ident>,
    time: Option<&'q Ident>,
    /// The first key of PARTITION BY, if there are several.
    first_key: Option<&'q Ident>,
    sizes: Vec<&'q Expr>,
    is_wrapped: bool,
}

impl<'q> WindowCall<'q> {
    /// Of a table, if it is one.
    pub(super) fn of(table: &'q TableFactor) -> Option<Self> {
        let (name, args, is_wrapped): (_, &[FunctionArg], _) = match table {
            TableFactor::Table { name, args: Some(args), .. } => (name, &args.args, false),
            TableFactor::Function { name, args, .. } => (name, args, false),
            TableFactor::TableFunction { expr: Expr::Function(Function { name, args: FunctionArguments::List(list), .. }), .. } => {
                (name, &list.args, true)
            }
            _ => return None,
        };
        let values: Vec<&Expr> = args.iter().filter_map(argument).collect();
        let sizes = values.iter().copied().filter(|e| matches!(e, Expr::Interval(_))).collect();
        let table = values.iter().find_map(|e| table_argument(e));
        let time = values.iter().find_map(|e| descriptor(e));
        let first_key = values.iter().find_map(|e| first_key(e));
        Some(Self { name: name.to_string().to_lowercase(), at: start(name), table, time, first_key, sizes, is_wrapped })
    }
}

/// The table of `TABLE t` or `TABLE t PARTITION BY a`.
fn table_argument(expression: &Expr) -> Option<&Ident> {
    let Expr::Prefixed { prefix, value } = expression else { return None };
    let parts = match value.as_ref() {
        Expr::Tuple(parts) => parts.first()?,
        other => other,
    };
    match parts {
        Expr::CompoundIdentifier(parts) if prefix.value == TABLE_ARGUMENT && parts.len() == 1 => parts.first(),
        _ => None,
    }
}

/// The first of several keys of `TABLE t PARTITION BY a, b`.
fn first_key(expression: &Expr) -> Option<&Ident> {
    let Expr::Prefixed { value, .. } = expression else { return None };
    match value.as_ref() {
        Expr::Tuple(parts) => match parts.as_slice() {
            [_, Expr::Identifier(first), _, ..] => Some(first),
            _ => None,
        },
        _ => None,
    }
}

/// The column of `DESCRIPTOR(column)`.
fn descriptor(expression: &Expr) -> Option<&Ident> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expression else { return None };
    match list.args.as_slice() {
        [only] if name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => match argument(only)? {
            Expr::Identifier(column) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

fn table(table: &TableFactor, scope: &Scope<'_>, report: &mut Report<'_>) {
    let Some(call) = WindowCall::of(table) else { return };
    let shown = call.name.to_uppercase();
    if !call.is_wrapped {
        report.add(&CALL, call.at, format!("FROM {shown}(…)"));
    }
    if let Some(key) = call.first_key {
        // The parentheses are not in the tree.
        let before = scope.tokens.all().iter().take_while(|t| t.span.start != key.span.start).last();
        if before.is_none_or(|t| t.token != Token::LParen) {
            report.add(&PARTITION, key.span.start, "several keys of PARTITION BY without parentheses");
        }
    }
    months(&shown, &call.sizes, scope, report);
    multiple(&shown, &call.sizes, call.at, report);
    if let (Some(table), Some(time)) = (call.table, call.time)
        && !scope.tables.contains(&table.value)
        && scope.script.declared(&table.value).is_some_and(|t| !t.is_time(&time.value))
    {
        let hint = format!("declare WATERMARK FOR {} in '{}'", time.value, table.value);
        report.hint(&TIME_ATTRIBUTE, time.span.start, format!("DESCRIPTOR({})", time.value), hint);
    }
}

fn select(select: &Select, scope: &Scope<'_>, report: &mut Report<'_>) {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return };
    for group in groups {
        let Expr::Function(function) = group else { continue };
        let name = function.name.to_string().to_uppercase();
        let sizes: Vec<&Expr> = super::scope::arguments(function).into_iter().filter(|e| matches!(e, Expr::Interval(_))).collect();
        match name.as_str() {
            "CUMULATE" => report.add(&GROUPED_CUMULATE, scope.place(group), "GROUP BY CUMULATE(…)"),
            // A HOP of GROUP BY may have any size and slide there.
            "TUMBLE" | "HOP" | "SESSION" => months(&name, &sizes, scope, report),
            _ => {}
        }
    }
}

fn months(name: &str, sizes: &[&Expr], scope: &Scope<'_>, report: &mut Report<'_>) {
    let is_months = |e: &&&Expr| match e {
        Expr::Interval(interval) => matches!(
            interval.leading_field,
            Some(DateTimeField::Month | DateTimeField::Months | DateTimeField::Year | DateTimeField::Years | DateTimeField::Quarter)
        ),
        _ => false,
    };
    if let Some(months) = sizes.iter().find(is_months) {
        report.add(&MONTHS, scope.begins(*months, &["INTERVAL"]), format!("{name} of months"));
    }
}

fn multiple(name: &str, sizes: &[&Expr], at: Location, report: &mut Report<'_>) {
    if let ("HOP", [slide, size, ..]) = (name, sizes)
        && let (Ok(slide), Ok(size)) = (micros(slide, at), micros(size, at))
        && slide > 0
        && size % slide != 0
    {
        report.add(&HOP_MULTIPLE, at, "this HOP");
    }
}
