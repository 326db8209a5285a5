//! The operator of a step behind the exchange. Invariant: every kind of step is made here, and nowhere else.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::group::GroupOperator;
use super::join::{AsofJoinOperator, IntervalJoinOperator, RegularJoinOperator, WindowJoinOperator};
use super::over::OverOperator;
use super::rank::RankOperator;
use super::stages::Stages;
use super::union::Union;
use super::upsert::UpsertOperator;
use super::window::WindowStep;
use crate::contract::Stateful;
use crate::error::{Error, Result};
use crate::plan::StepKind;
use crate::reference::ReferenceTable;

/// Makes the operator of a step whose inputs have the schemas `inputs`; `references` must hold a table for each lookup.
pub fn open_step(kind: &StepKind, inputs: &[SchemaRef], references: &[Arc<ReferenceTable>]) -> Result<Box<dyn Stateful>> {
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
