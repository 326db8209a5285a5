//! Joins that DataFusion has no form for. Invariant: what it would drop (the time of a version, the condition of an ASOF join) becomes
//! a marker in ON, so that it goes through planning with its columns.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, Query, Select, TableFactor, VisitMut, VisitorMut};
use sqlparser::tokenizer::Span;

use super::proctime::is_newest;
use super::relations::{Relation, RelationKind};
use super::spelling::call;
use super::windows::{ASOF_INNER_MARKER, ASOF_MARKER, VERSION_MARKER};

/// ```text
/// ASOF JOIN r MATCH_CONDITION (a >= b) ON c           ->  LEFT JOIN r ON c AND "$asof"(a >= b)
/// INNER ASOF JOIN r MATCH_CONDITION (a >= b) ON c     ->  LEFT JOIN r ON c AND "$asof_inner"(a >= b)
/// JOIN r FOR SYSTEM_TIME AS OF t AS x ON c            ->  JOIN r AS x ON c AND "$version"(t, x.key)
/// ```
///
/// An inner one is a LEFT JOIN too: behind an inner join DataFusion would choose among the rows of `r` before the newest is.
pub(super) fn rewrite(query: &mut Query, relations: &[Relation]) {
    let _: ControlFlow<()> = query.visit(&mut Joins(relations));
}

struct Joins<'a>(&'a [Relation]);

impl VisitorMut for Joins<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for join in select.from.iter_mut().flat_map(|f| &mut f.joins) {
            if let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator {
                let marker = if std::mem::take(&mut join.global) { ASOF_INNER_MARKER } else { ASOF_MARKER };
                let marked = call(marker, vec![match_condition.clone()]);
                let on = match constraint {
                    JoinConstraint::On(on) => and(on.clone(), marked),
                    _ => marked,
                };
                join.join_operator = JoinOperator::LeftOuter(JoinConstraint::On(on));
            }
            if let Some(marked) = self.version(join)
                && let JoinOperator::Join(JoinConstraint::On(on))
                | JoinOperator::Inner(JoinConstraint::On(on))
                | JoinOperator::Left(JoinConstraint::On(on))
                | JoinOperator::LeftOuter(JoinConstraint::On(on)) = &mut join.join_operator
            {
                *on = and(on.clone(), marked);
            }
        }
        ControlFlow::Continue(())
    }
}

impl Joins<'_> {
    /// The marker of a version that is named by a time.
    fn version(&self, join: &Join) -> Option<Expr> {
        let TableFactor::Table { name, alias: Some(alias), .. } = &join.relation else { return None };
        let [part] = name.0.as_slice() else { return None };
        let key = &part.as_ident()?.value;
        let relation = self.0.iter().find(|r| r.key == *key)?;
        let RelationKind::Reference { definition, version: Some(time) } = &relation.kind else { return None };
        if is_newest(time) {
            return None;
        }
        let quoted = |value: &str| Ident { value: value.to_owned(), quote_style: Some('"'), span: Span::new(relation.at, relation.at) };
        let column = Expr::CompoundIdentifier(vec![alias.name.clone(), quoted(definition.primary_key.first()?)]);
        Some(call(VERSION_MARKER, vec![time.as_ref().clone(), column]))
    }
}

/// Both conditions.
pub(super) fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(Expr::Nested(Box::new(left))), op: BinaryOperator::And, right: Box::new(right) }
}
