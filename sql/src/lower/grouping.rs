//! GROUPING SETS, CUBE and ROLLUP. Invariant: each set is an aggregation of its own over the same rows; what is not in it is NULL.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::{Aggregate, Expr};
use thalweg_engine::plan::StepKind;

use super::lowering::Lowering;
use super::project::{align_all, attach_markers, project};
use super::reject::Unsupported;
use super::rel::{At, Late, Rel};
use super::window::{distinct, grouped, sets_of};
use crate::diagnostics::Result;

/// Lowers an aggregation with grouping sets.
pub(super) fn sets<'a>(lowering: &mut Lowering<'a>, mut rel: Rel<'a>, node: &AggregateNode, sets: &GroupingSet) -> Result<Rel<'a>> {
    let at = lowering.place("GROUP BY");
    let Some(each) = sets_of(sets) else { return Err(Unsupported::CUBE_SIZE.at(at)) };
    let all: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
    let original = node.aggr_expr.clone();
    let calls = attach_markers(lowering, &mut rel, &original)?;
    lowering.shared = lowering.steps.len();
    let mut results = Vec::new();
    for set in &each {
        let set = &distinct(set);
        let groups = attach_markers(lowering, &mut rel, set)?;
        // The schema of this set alone: its groups, then the calls.
        let plain = Aggregate::try_new(node.input.clone(), set.clone(), original.clone())?;
        let result = grouped(lowering, rel.clone(), &groups, &calls, &plain.schema)?;
        let mut items: Vec<Expr> = Vec::new();
        let mut mask = 0_u64;
        for (i, expression) in all.iter().enumerate() {
            match set.iter().position(|e| e == expression) {
                Some(place) => items.push(Expr::Column(plain.schema.qualified_field(place).into())),
                None => {
                    mask |= 1 << (all.len() - 1 - i);
                    items.push(Expr::Literal(ScalarValue::try_from(node.schema.field(i).data_type())?, None));
                }
            }
        }
        items.push(grouping_id(node.schema.as_ref(), all.len(), mask)?);
        items.extend((0..original.len()).map(|i| Expr::Column(plain.schema.qualified_field(set.len() + i).into())));
        results.push(project(lowering, result, &items, &node.schema)?);
    }
    let updating = results.iter().any(|r| r.updating);
    let aligned = align_all(lowering, results, &node.schema)?;
    let Some(mut first) = aligned.first().cloned() else { return Err(Unsupported::CUBE_SIZE.at(at)) };
    let attached = first.attached.filter(|a| aligned.iter().all(|r| r.attached == Some(*a)));
    let froms = aligned.into_iter().map(|mut r| lowering.behind(&mut r, Late::Keep)).collect::<Result<Vec<_>>>()?;
    let schema = first.schema();
    first.at = At::Behind(lowering.step(froms, StepKind::Union, schema));
    first.attached = attached;
    first.updating = updating;
    first.key = Some((0..=all.len()).collect());
    Ok(first)
}

/// DataFusion's column that tells the sets apart, in the type that it planned.
fn grouping_id(schema: &DFSchema, index: usize, mask: u64) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::UInt64(Some(mask)).cast_to(schema.field(index).data_type())?, None))
}
