//! Names: case, quotes, reserved words. Invariant: a name is found in another case only if the script itself says how it is written.

use sqlparser::ast::{Expr, Ident, ObjectName, Query, Select, SelectItem, TableAlias, TableFactor};

use super::finding::{Effect, Rule};
use super::flink::is_reserved;
use super::report::Report;
use super::scope::{Scope, single};
use super::script::{Script, Stated};
use super::walk::Family;
use crate::bind::WINDOW_COLUMNS;
use crate::parser::{ColumnKind, CreateTable, CreateView, Parsed, TABLE_ARGUMENT, TypeName};
use sqlparser::tokenizer::Token;

pub(super) static FAMILY: Family = Family { statement, query, select, table, expression };

pub(super) static CASE: Rule = Rule {
    name: "name-case",
    finds: "a name in another case than it is declared in",
    effect: Effect::Refuses,
    why: "names are case-sensitive there",
    hint: "write it as it is declared",
};
pub(super) static QUOTES: Rule = Rule {
    name: "quoted-name",
    finds: "names in double quotes",
    effect: Effect::Refuses,
    why: "",
    hint: "write `name`, which this engine takes too",
};
pub(super) static RESERVED: Rule = Rule {
    name: "reserved-word",
    finds: "reserved words as names",
    effect: Effect::Refuses,
    why: "the word is reserved",
    hint: "write it in backquotes, as `value`, or choose another name",
};

fn statement(stated: &Stated, script: &Script<'_>, report: &mut Report<'_>) {
    for token in stated.tokens.all() {
        if let Token::Word(word) = &token.token
            && word.quote_style == Some('"')
        {
            report.hint(&QUOTES, token.span.start, format!("\"{}\"", word.value), format!("write `{}`", word.value));
        }
    }
    stated.inserts().iter().for_each(|insert| of_table(&insert.sink, script, report));
    match &stated.parsed {
        Parsed::CreateTable(table) => created(table, script, report),
        Parsed::CreateView(view) => view_names(view, report),
        Parsed::Drop(drop) => of_table(&drop.name, script, report),
        Parsed::ShowCreate(name) => of_table(name, script, report),
        Parsed::Describe(parts) => {
            if let [only] = parts.as_slice() {
                of_table(only, script, report);
            }
        }
        _ => {}
    }
}

fn created(table: &CreateTable, script: &Script<'_>, report: &mut Report<'_>) {
    reserved(&table.name, report);
    if let Some(like) = &table.like {
        of_table(&like.source, script, report);
    }
    for column in &table.columns {
        reserved(&column.name, report);
        if let ColumnKind::Typed { data_type, .. } = &column.kind {
            fields(data_type, report);
        }
    }
    let named = table.watermark.iter().map(|w| &w.column).chain(table.primary_key.iter().flatten());
    let known: Vec<&str> = table.columns.iter().map(|c| c.name.value.as_str()).collect();
    named.for_each(|column| spelled(column, &known, report));
}

fn fields(data_type: &TypeName, report: &mut Report<'_>) {
    match data_type {
        TypeName::Plain(_) => {}
        TypeName::Array(item) => fields(item, report),
        TypeName::Map(key, value) => [key, value].into_iter().for_each(|t| fields(t, report)),
        TypeName::Row(all) => all.iter().for_each(|(name, t)| {
            reserved(name, report);
            fields(t, report);
        }),
    }
}

fn view_names(view: &CreateView, report: &mut Report<'_>) {
    std::iter::once(&view.name).chain(&view.columns).for_each(|name| reserved(name, report));
}

fn query(query: &Query, _scope: &Scope<'_>, report: &mut Report<'_>) {
    query.with.iter().flat_map(|w| &w.cte_tables).for_each(|cte| alias(&cte.alias, report));
}

fn select(select: &Select, _scope: &Scope<'_>, report: &mut Report<'_>) {
    for item in &select.projection {
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            reserved(alias, report);
        }
    }
    select.named_window.iter().for_each(|window| reserved(&window.0, report));
}

fn table(table: &TableFactor, scope: &Scope<'_>, report: &mut Report<'_>) {
    match table {
        TableFactor::Table { name, alias: named, args, .. } => {
            named.iter().for_each(|a| alias(a, report));
            if args.is_none() {
                relation(name, scope, report);
            }
        }
        TableFactor::Derived { alias: Some(named), .. }
        | TableFactor::TableFunction { alias: Some(named), .. }
        | TableFactor::UNNEST { alias: Some(named), .. }
        | TableFactor::NestedJoin { alias: Some(named), .. } => alias(named, report),
        _ => {}
    }
}

fn alias(alias: &TableAlias, report: &mut Report<'_>) {
    reserved(&alias.name, report);
    alias.columns.iter().for_each(|c| reserved(&c.name, report));
}

fn relation(name: &ObjectName, scope: &Scope<'_>, report: &mut Report<'_>) {
    name.0.iter().filter_map(|p| p.as_ident()).for_each(|part| reserved(part, report));
    match single(name) {
        Some(only) if !scope.tables.contains(&only.value) => of_table(only, scope.script, report),
        _ => {}
    }
}

fn expression(expression: &Expr, scope: &Scope<'_>, report: &mut Report<'_>) {
    match expression {
        Expr::Identifier(name) => column(name, scope, report),
        Expr::CompoundIdentifier(parts) => {
            parts.iter().for_each(|part| reserved(part, report));
            if let [table, name] = parts.as_slice() {
                let tables: Vec<&str> =
                    scope.relations().iter().map(|r| r.visible.as_str()).chain(scope.tables.iter().map(String::as_str)).collect();
                spelled(table, &tables, report);
                let relation = scope.relations().iter().find(|r| r.visible.eq_ignore_ascii_case(&table.value));
                if let Some(columns) = relation.and_then(|r| r.table.columns.as_ref()) {
                    let known: Vec<&str> = columns.iter().map(|c| c.name.as_str()).chain(WINDOW_COLUMNS).collect();
                    spelled(name, &known, report);
                }
            }
        }
        Expr::Prefixed { prefix, value } if prefix.value == TABLE_ARGUMENT => {
            let parts = match value.as_ref() {
                Expr::Tuple(parts) => parts.first(),
                other => Some(other),
            };
            if let Some(Expr::CompoundIdentifier(parts)) = parts
                && let [only] = parts.as_slice()
                && !scope.tables.contains(&only.value)
            {
                of_table(only, scope.script, report);
            }
        }
        _ => {}
    }
}

fn column(name: &Ident, scope: &Scope<'_>, report: &mut Report<'_>) {
    reserved(name, report);
    if !scope.is_opaque {
        let known: Vec<&str> =
            scope.columns().map(|c| c.name.as_str()).chain(scope.given.iter().map(String::as_str)).chain(WINDOW_COLUMNS).collect();
        spelled(name, &known, report);
    }
}

/// A table's name against those that the script declares.
fn of_table(name: &Ident, script: &Script<'_>, report: &mut Report<'_>) {
    reserved(name, report);
    if let Some(declared) = script.declared(&name.value) {
        spelled(name, &[declared.name.value.as_str()], report);
    }
}

/// A name against those that there are: it is none of them, but one in another case.
fn spelled(name: &Ident, known: &[&str], report: &mut Report<'_>) {
    if known.contains(&name.value.as_str()) {
        return;
    }
    if let Some(right) = known.iter().find(|k| k.eq_ignore_ascii_case(&name.value)) {
        report.hint(&CASE, name.span.start, format!("'{}'", name.value), format!("it is declared as '{right}': write it like that"));
    }
}

fn reserved(name: &Ident, report: &mut Report<'_>) {
    if name.quote_style.is_none() && is_reserved(&name.value) {
        report.hint(
            &RESERVED,
            name.span.start,
            format!("'{}' as a name", name.value),
            format!("write `{}`, or choose another name", name.value),
        );
    }
}
