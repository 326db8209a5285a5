//! Expressions of `CREATE TABLE`: computed columns and watermarks. Invariant: they pass the same checks as the expressions of a query
//! over a stream, and hold no query of their own.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Expr, Query, SelectItem, TableWithJoins, Visit, Visitor};

use super::relations::{Relation, RelationKind, named, plain_alias};
use super::windows::plain_query;
use super::{BoundQuery, Mode, expressions, names, size};
use crate::diagnostics::{Problem, Result, start};
use crate::functions::Functions;
use crate::parser::Tokens;
use crate::tables::TableDefinition;

/// `SELECT expression FROM table`, bound.
pub(crate) fn bind_expression(
    expression: &Expr,
    definition: Arc<TableDefinition>,
    tokens: &Tokens,
    functions: &Functions,
) -> Result<BoundQuery> {
    let at = start(expression);
    if let ControlFlow::Break(()) = expression.visit(&mut Queries) {
        return Err(Problem::new(at, "a computed column or a watermark holds no query").hint("compute it from columns of the same row"));
    }
    let name = definition.name.as_str().to_owned();
    let relation = Relation { key: format!("{name}#0"), alias: name.clone(), at, kind: RelationKind::Stream { definition } };
    let factor = named(&relation.key, plain_alias(&name, at), at);
    let mut query = plain_query(vec![SelectItem::UnnamedExpr(expression.clone())], TableWithJoins { relation: factor, joins: Vec::new() });
    let relations = vec![relation];
    size::check(&query, tokens)?;
    expressions::check(&mut query, tokens, functions, Mode::Stream)?;
    names::resolve(&mut query, &relations, false);
    Ok(BoundQuery { query: Box::new(query), relations, windows: Vec::new(), tokens: tokens.clone(), items: Vec::new() })
}

struct Queries;

impl Visitor for Queries {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}
