//! The operator of a step behind the exchange. Invariant: every kind of step is made here, and nowhere else, and none fails for a row
//! that cannot be computed.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use super::group::GroupOperator;
use super::join::{AsofJoinOperator, IntervalJoinOperator, RegularJoinOperator, WindowJoinOperator};
use super::over::OverOperator;
use super::rank::RankOperator;
use super::salvage::guarded;
use super::shards::Shards;
use super::stages::Stages;
use super::union::Union;
use super::upsert::UpsertOperator;
use super::window::WindowStep;
use crate::contract::Stateful;
use crate::error::{Error, Result};
use crate::parallel::Helpers;
use crate::plan::{AsofJoin, IntervalJoin, OverCall, OverFunction, RegularJoin, RetractableAggregate, StepKind, WindowJoin};
use crate::reference::ReferenceTable;

/// Makes the operator of a step whose inputs have the schemas `inputs`; `references` must hold a table for each lookup. If `helpers` are
/// several threads, its keys are spread over groups.
pub fn open_step(
    kind: &StepKind,
    inputs: &[SchemaRef],
    references: &[Arc<ReferenceTable>],
    helpers: &Arc<Helpers>,
) -> Result<Box<dyn Stateful>> {
    let wanted = match kind {
        StepKind::Union => inputs.len(),
        StepKind::IntervalJoin(_) | StepKind::WindowJoin(_) | StepKind::AsofJoin(_) | StepKind::RegularJoin(_) => 2,
        StepKind::Stages(_)
        | StepKind::Window { .. }
        | StepKind::Rank(_)
        | StepKind::Group(_)
        | StepKind::Over(_)
        | StepKind::Upsert(_) => 1,
    };
    if inputs.len() != wanted {
        return Err(Error::internal(format!("{kind}: {} inputs instead of {wanted}", inputs.len())));
    }
    let open = || operator(kind, inputs, references);
    let mut tried = evaluated(kind);
    let Some(keys) = kind.keys().filter(|_| helpers.threads() > 1) else { return Ok(guarded(open()?, tried)) };
    if let StepKind::Window { window, .. } = kind {
        // It leaves out rows that fail itself, but behind their keys.
        tried[0].extend(window.keys.iter().map(|(e, _)| e.clone()));
    }
    Ok(guarded(Box::new(Shards::new(inputs, keys, helpers.clone(), open)?), tried))
}

fn operator(kind: &StepKind, inputs: &[SchemaRef], references: &[Arc<ReferenceTable>]) -> Result<Box<dyn Stateful>> {
    match kind {
        StepKind::Stages(stages) => Ok(Box::new(Stages::new(stages, references)?)),
        StepKind::Union => Ok(Box::new(Union)),
        StepKind::Window { window, source, unit } => {
            let input = inputs.first().ok_or_else(|| Error::internal("a window without an input"))?;
            Ok(Box::new(WindowStep::new(window.clone(), *source, input.clone(), *unit)?))
        }
        StepKind::IntervalJoin(join) => Ok(Box::new(IntervalJoinOperator::new(join.clone())?)),
        StepKind::WindowJoin(join) => Ok(Box::new(WindowJoinOperator::new(join.clone())?)),
        StepKind::AsofJoin(join) => Ok(Box::new(AsofJoinOperator::new(join.clone())?)),
        StepKind::RegularJoin(join) => Ok(Box::new(RegularJoinOperator::new(join.clone())?)),
        StepKind::Rank(rank) => Ok(Box::new(RankOperator::new(rank.clone())?)),
        StepKind::Group(group) => Ok(Box::new(GroupOperator::new(group.clone())?)),
        StepKind::Over(over) => Ok(Box::new(OverOperator::new(over.clone())?)),
        StepKind::Upsert(upsert) => Ok(Box::new(UpsertOperator::new(upsert.clone())?)),
    }
}

/// What the operator of a step evaluates over each of its inputs when it is too late to leave a row out.
fn evaluated(kind: &StepKind) -> [Vec<Arc<dyn PhysicalExpr>>; 2] {
    let aggregate = |a: &RetractableAggregate| a.arguments.iter().chain(&a.filter).cloned().collect::<Vec<_>>();
    let call = |c: &OverCall| match &c.function {
        OverFunction::RowNumber => Vec::new(),
        OverFunction::Aggregate(a) => aggregate(a),
        OverFunction::Lag { argument, default, .. } | OverFunction::Lead { argument, default, .. } => {
            [argument].into_iter().chain(default).cloned().collect()
        }
        OverFunction::FirstValue { argument, .. } | OverFunction::LastValue { argument, .. } => vec![argument.clone()],
    };
    match kind {
        StepKind::IntervalJoin(IntervalJoin { left, right, .. })
        | StepKind::WindowJoin(WindowJoin { left, right, .. })
        | StepKind::AsofJoin(AsofJoin { left, right, .. })
        | StepKind::RegularJoin(RegularJoin { left, right, .. }) => [left.keys.clone(), right.keys.clone()],
        StepKind::Group(group) => {
            let keys = group.keys.iter().map(|(e, _)| e.clone());
            [keys.chain(group.aggregates.iter().flat_map(aggregate)).collect(), Vec::new()]
        }
        StepKind::Over(over) => [over.partition.iter().cloned().chain(over.calls.iter().flat_map(call)).collect(), Vec::new()],
        StepKind::Stages(_) | StepKind::Union | StepKind::Window { .. } | StepKind::Rank(_) | StepKind::Upsert(_) => Default::default(),
    }
}
