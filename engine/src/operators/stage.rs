//! The operator of a stage. Invariant: every kind of stage is made here, for the partitions and for behind the exchange alike.

use std::sync::Arc;

use super::filter::Filter;
use super::lookup::LookupOperator;
use super::project::Project;
use super::unnest::UnnestOperator;
use super::window::AssignOperator;
use crate::contract::Operator;
use crate::error::{Error, Result};
use crate::plan::Stage;
use crate::reference::ReferenceTable;

/// Makes the operator of a stage; `references` must hold the table of a lookup. Errors: `NotFound` if it does not.
pub fn open_stage(stage: &Stage, references: &[Arc<ReferenceTable>]) -> Result<Box<dyn Operator>> {
    match stage {
        Stage::Assign(assign) => Ok(Box::new(AssignOperator::new(assign.clone())?)),
        Stage::Unnest(unnest) => Ok(Box::new(UnnestOperator::new(unnest.clone()))),
        Stage::Filter(predicate) => Ok(Box::new(Filter::new(predicate.clone()))),
        Stage::Project(project) => Ok(Box::new(Project::new(project.clone()))),
        Stage::Lookup(lookup) => {
            let table = references.iter().find(|t| t.name() == &lookup.table);
            let table = table.ok_or_else(|| Error::not_found(format!("reference table {} is not loaded", lookup.table)))?;
            Ok(Box::new(LookupOperator::new(lookup.clone(), table.clone())?))
        }
    }
}
