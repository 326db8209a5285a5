//! Tables that nobody declares: those of the lake, late rows, rejected records. Invariant: a table of the script's own is not found.

use sqlparser::ast::TableFactor;

use super::finding::{Effect, Rule};
use super::report::Report;
use super::scope::Scope;
use super::script::{Script, Stated};
use super::walk::Family;
use crate::diagnostics::start;
use crate::parser::Parsed;

pub(super) static FAMILY: Family = Family { statement, table, ..Family::BLIND };

pub(super) static TABLE: Rule = Rule {
    name: "lake-table",
    finds: "tables of the lake, of late rows and of rejected records",
    effect: Effect::Refuses,
    why: "this engine makes the table, Flink does not",
    hint: "on Flink declare a table over its files",
};

/// Namespaces, ends of names, and what Flink has instead.
const PARTS: [(&str, &str, &str); 4] = [
    ("cold", "", "on Flink declare a table over the files of the archive"),
    ("warm", "", "on Flink declare a table over the files of the result"),
    ("late", "$late", "Flink drops late rows; CURRENT_WATERMARK(ts) tells them before the window"),
    ("dlq", "$dlq", "Flink fails on records that cannot be decoded, or skips them: 'json.ignore-parse-errors' = 'true'"),
];

fn statement(stated: &Stated, _script: &Script<'_>, report: &mut Report<'_>) {
    if let Parsed::Describe(parts) = &stated.parsed
        && let Some(first) = parts.first()
    {
        let names: Vec<&str> = parts.iter().map(|p| p.value.as_str()).collect();
        if let Some(hint) = instead(&names) {
            report.hint(&TABLE, first.span.start, format!("table {}", names.join(".")), hint);
        }
    }
}

fn table(table: &TableFactor, _scope: &Scope<'_>, report: &mut Report<'_>) {
    let TableFactor::Table { name, .. } = table else { return };
    let names: Vec<&str> = name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.as_str()).collect();
    if let Some(hint) = instead(&names) {
        report.hint(&TABLE, start(name), format!("table {}", names.join(".")), hint);
    }
}

fn instead(names: &[&str]) -> Option<&'static str> {
    let (namespace, name) = match names {
        [name] => ("", *name),
        [namespace, name] => (*namespace, *name),
        _ => return None,
    };
    let is = |(space, end, _): &&(&str, &str, &str)| {
        namespace.eq_ignore_ascii_case(space) || !end.is_empty() && name.to_lowercase().ends_with(end)
    };
    PARTS.iter().find(is).map(|(.., hint)| *hint)
}
