//! Processing times: columns `AS PROCTIME()` of a table or of a subquery. Invariant: such a column is nowhere a value: it says that a
//! reference table is meant in its newest version, or the query is refused.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, Visit, VisitMut, Visitor, VisitorMut};

use super::names::given_columns;
use super::relations::{Relation, RelationKind};
use crate::diagnostics::{Problem, Result, start};
use crate::lower::reject::Unsupported;
use crate::parser::is_proctime;

/// Stands in FOR SYSTEM_TIME AS OF for the newest version.
const NEWEST: &str = "$newest";

/// Whether a version is the newest one, whenever that is.
pub(crate) fn is_newest(version: &Expr) -> bool {
    matches!(version, Expr::Identifier(i) if i.value == NEWEST) || is_proctime(version)
}

/// Gives versions at a processing time their meaning. Errors: a processing time stands elsewhere.
pub(super) fn resolve(query: &mut Query, relations: &mut [Relation]) -> Result<()> {
    let mut inner = Inner { depth: 0, times: Times::of(relations) };
    let _: ControlFlow<()> = query.visit(&mut inner);
    let times = inner.times;
    if times.names.is_empty() {
        return Ok(());
    }
    for relation in relations {
        if let RelationKind::Reference { version: Some(version), .. } = &mut relation.kind
            && let Some(ident) = times.in_expression(version)
        {
            **version = Expr::Identifier(Ident { value: NEWEST.to_owned(), quote_style: Some('"'), span: ident.span });
        }
    }
    let given = given_columns(query);
    match Visit::visit(query, &mut Elsewhere { times, given }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(problem) => Err(*problem),
    }
}

/// Names of processing times, and of all real columns.
struct Times {
    names: BTreeSet<String>,
    columns: BTreeSet<String>,
}

impl Times {
    /// Those of the streams of a query.
    fn of(relations: &[Relation]) -> Self {
        let names: BTreeSet<String> = relations.iter().filter_map(Relation::stream).flat_map(|d| d.processing_time.clone()).collect();
        let declared = relations.iter().filter_map(|r| match &r.kind {
            RelationKind::Stream { definition } | RelationKind::Reference { definition, .. } => Some(definition),
            RelationKind::Lake(_) | RelationKind::Elements(_) => None,
        });
        let columns = declared.flat_map(|d| d.columns.iter().map(|c| c.field.name().clone())).collect();
        Self { names, columns }
    }

    /// The processing time that an expression is, and nothing else.
    fn in_expression<'e>(&self, expression: &'e Expr) -> Option<&'e Ident> {
        let ident = match expression {
            Expr::Identifier(ident) => ident,
            Expr::CompoundIdentifier(parts) => parts.last()?,
            _ => return None,
        };
        let is = |name: &String| match ident.quote_style {
            Some(_) => *name == ident.value,
            None => name.eq_ignore_ascii_case(&ident.value),
        };
        (self.names.iter().any(is) && !self.columns.iter().any(is)).then_some(ident)
    }
}

/// Takes processing times out of the items of subqueries, where the query around them may name them.
struct Inner {
    depth: usize,
    times: Times,
}

impl VisitorMut for Inner {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if self.depth < 2 {
            return ControlFlow::Continue(());
        }
        let is_time = |item: &SelectItem| match item {
            SelectItem::ExprWithAlias { expr, alias } if is_proctime(expr) => Some(alias.value.clone()),
            SelectItem::ExprWithAlias { expr, alias } => self.times.in_expression(expr).map(|_| alias.value.clone()),
            SelectItem::UnnamedExpr(expr) => self.times.in_expression(expr).map(|ident| ident.value.clone()),
            _ => None,
        };
        let found: Vec<Option<String>> = select.projection.iter().map(is_time).collect();
        // An item has to be left.
        if found.iter().any(Option::is_none) {
            let mut kept = found.iter().map(Option::is_none);
            select.projection.retain(|_| kept.next().unwrap_or(true));
            self.times.names.extend(found.into_iter().flatten());
        }
        ControlFlow::Continue(())
    }
}

/// Finds processing times that are taken for values.
struct Elsewhere {
    times: Times,
    /// Columns that the query itself names.
    given: BTreeSet<String>,
}

impl Visitor for Elsewhere {
    type Break = Box<Problem>;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        match self.times.in_expression(expression) {
            Some(ident) if !self.given.contains(&ident.value) => {
                ControlFlow::Break(Box::new(Unsupported::PROCESSING_TIME.named(&ident.value, start(expression))))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
