//! Joins of a stream. Invariant: one stream, first; then reference tables, inner or left, each at the version of the stream's
//! event time.

use sqlparser::ast::{Expr, JoinConstraint, JoinOperator, Query, SetExpr, TableFactor};

use super::relations::{Relation, RelationKind};
use crate::diagnostics::{Problem, Result, start, start_or};
use crate::lower::reject::Unsupported;
use crate::parser::Tokens;
use crate::tables::TableDefinition;

/// Checks the form of every join; call after the clauses.
pub(super) fn check(query: &Query, tokens: &Tokens, relations: &[Relation]) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let Some(from) = select.from.first() else { return Ok(()) };
    for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation)) {
        match factor {
            TableFactor::Table { alias: Some(alias), .. } if !alias.columns.is_empty() => {
                return Err(
                    Unsupported::on_stream("renaming columns after a table", "rename them in SELECT with AS").at(alias.name.span.start)
                );
            }
            TableFactor::Table { .. } => {}
            TableFactor::Derived { .. } => {
                return Err(Unsupported::on_stream("a subquery", "write one SELECT").at(start(factor)));
            }
            other => return Err(Unsupported::on_stream("this table", "name the stream").at(start_or(other, tokens.find("FROM")))),
        }
    }
    let [first, others @ ..] = relations else { return Ok(()) };
    if let RelationKind::Reference { .. } = first.kind {
        return Err(
            Problem::new(first.at, "the stream comes first").hint("write FROM stream AS t JOIN reference FOR SYSTEM_TIME AS OF t.ts AS r")
        );
    }
    for other in others {
        if let RelationKind::Stream { .. } = other.kind {
            return Err(Unsupported::JOIN_STREAMS.at(other.at));
        }
    }
    for (i, relation) in relations.iter().enumerate() {
        if relations[..i].iter().any(|r| r.alias == relation.alias) {
            return Err(
                Problem::new(relation.at, format!("'{}' names two tables", relation.alias)).hint("give one of them another alias with AS")
            );
        }
    }
    for join in &from.joins {
        let on = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => c,
            _ => return Err(Unsupported::JOIN_KIND.at(start(&join.relation))),
        };
        if !matches!(on, JoinConstraint::On(_)) {
            return Err(Unsupported::JOIN_KIND.at(start(&join.relation)));
        }
    }
    Ok(())
}

/// Checks that every reference table is seen as of the stream's event time; call after names are resolved.
pub(super) fn check_versions(relations: &[Relation]) -> Result<()> {
    let stream = relations.iter().find_map(|r| match &r.kind {
        RelationKind::Stream { definition, .. } => Some((r.alias.as_str(), definition.as_ref())),
        _ => None,
    });
    let Some((alias, stream)) = stream else { return Ok(()) };
    for relation in relations {
        match &relation.kind {
            RelationKind::Reference { version: None, .. } => return Err(Unsupported::VERSION_MISSING.at(relation.at)),
            RelationKind::Reference { version: Some(time), .. } if !is_event_time(time, alias, stream) => {
                return Err(Unsupported::VERSION_TIME.at(start_or(time.as_ref(), relation.at)));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_event_time(time: &Expr, alias: &str, stream: &TableDefinition) -> bool {
    let Some(index) = stream.event_time() else { return false };
    let name = stream.columns[index].field.name();
    let same = |ident: &sqlparser::ast::Ident, name: &str| match ident.quote_style {
        Some(_) => ident.value == name,
        None => ident.value.eq_ignore_ascii_case(name),
    };
    match time {
        Expr::Identifier(column) => same(column, name),
        Expr::CompoundIdentifier(parts) => matches!(parts.as_slice(), [table, column] if same(table, alias) && same(column, name)),
        _ => false,
    }
}
