//! `CREATE TABLE … LIKE other`: what comes of two tables as they are written. Invariant: the result is a whole table of its own; it
//! stays as it is when the other one is dropped.

use sqlparser::ast::Ident;

use crate::diagnostics::{Problem, Result};
use crate::parser::{ColumnDeclaration, ColumnKind, CreateTable, Feature, Like, Merge};

/// `table`, with what it takes from `source`, the table that it is like.
pub(crate) fn merged(table: CreateTable, like: &Like, source: CreateTable) -> Result<CreateTable> {
    let columns = columns(&table, like, source.columns)?;
    let at = like.source.span.start;
    let twice = |what: &str, feature: &str| {
        Problem::new(at, format!("'{}' has a {what} too", like.source.value))
            .hint(format!("write LIKE {} (EXCLUDING {feature})", like.source))
    };
    let watermark = match (like.of(Feature::Watermarks), table.watermark, source.watermark) {
        (Merge::Excluding, own, _) | (_, own, None) => own,
        (_, None, theirs) => theirs,
        (Merge::Overwriting, own, _) => own,
        (Merge::Including, Some(_), Some(_)) => return Err(twice("WATERMARK", "WATERMARKS")),
    };
    let primary_key = match (like.of(Feature::Constraints), table.primary_key, source.primary_key) {
        (Merge::Excluding, own, _) | (_, own, None) => own,
        (_, None, theirs) => theirs,
        (_, Some(_), Some(_)) => return Err(twice("PRIMARY KEY", "CONSTRAINTS")),
    };
    let partitioned_by = match (like.of(Feature::Partitions), table.partitioned_by, source.partitioned_by) {
        (Merge::Excluding, own, _) | (_, own, None) => own,
        (_, None, theirs) => theirs,
        (_, Some(_), Some(_)) => return Err(twice("PARTITIONED BY", "PARTITIONS")),
    };
    let mut options = Vec::new();
    if like.of(Feature::Options) != Merge::Excluding {
        let own = |key: &String| table.options.iter().find(|(k, ..)| k == key);
        for (key, value, place) in source.options {
            match own(&key) {
                None => options.push((key, value, place)),
                Some(_) if like.of(Feature::Options) == Merge::Overwriting => {}
                Some((.., own)) => {
                    return Err(Problem::new(*own, format!("'{}' has the option '{key}' too", like.source.value))
                        .hint(format!("write LIKE {} (OVERWRITING OPTIONS)", like.source)));
                }
            }
        }
    }
    options.extend(table.options);
    Ok(CreateTable { columns, watermark, primary_key, partitioned_by, options, like: None, ..table })
}

/// Columns of the other table that are taken, then the new ones.
fn columns(table: &CreateTable, like: &Like, theirs: Vec<ColumnDeclaration>) -> Result<Vec<ColumnDeclaration>> {
    let mut columns = Vec::new();
    for column in theirs {
        let (merge, words) = match &column.kind {
            ColumnKind::Computed { .. } => (like.of(Feature::Generated), "GENERATED"),
            ColumnKind::Typed { metadata: Some(_), .. } => (like.of(Feature::Metadata), "METADATA"),
            ColumnKind::Typed { .. } => (Merge::Including, ""),
        };
        let same = |own: &&ColumnDeclaration| own.name.value.eq_ignore_ascii_case(&column.name.value);
        match (merge, table.columns.iter().find(same)) {
            (Merge::Excluding, _) | (Merge::Overwriting, Some(_)) => {}
            (_, None) => columns.push(column),
            (Merge::Including, Some(own)) => {
                let Ident { value, span, .. } = &own.name;
                let problem = Problem::new(span.start, format!("'{}' has a column '{value}' too", like.source.value));
                return Err(match words {
                    "" => problem.hint("leave it out: columns that are sent are always taken over"),
                    words => problem.hint(format!("write LIKE {} (OVERWRITING {words}), or leave it out", like.source)),
                });
            }
        }
    }
    columns.extend(table.columns.iter().cloned());
    Ok(columns)
}
