//! Steps on results, after the merge: HAVING and the SELECT list. Invariant: they see whole results, never parts.

use arrow::array::RecordBatch;

use crate::batch::Batch;
use crate::contract::{Operator, Output};
use crate::error::{Error, Result};
use crate::operators::filter::Filter;
use crate::operators::project::Project;
use crate::plan::Stage;

/// The steps after a window.
#[derive(Default)]
pub struct Finish {
    steps: Vec<Box<dyn Operator>>,
}

impl Finish {
    /// Builds the steps. Errors: `Internal` for a step that needs the rows' offsets.
    pub fn new(stages: &[Stage]) -> Result<Self> {
        let step = |stage: &Stage| -> Result<Box<dyn Operator>> {
            match stage {
                Stage::Filter(predicate) => Ok(Box::new(Filter::new(predicate.clone()))),
                Stage::Project(p) => Ok(Box::new(Project::new(p.clone()))),
                Stage::Lookup(l) => Err(Error::internal(format!("a lookup of {} after a window", l.table))),
            }
        };
        Ok(Self { steps: stages.iter().map(step).collect::<Result<_>>()? })
    }

    /// Applies all steps; `None` if no row is left. An error here fails the job: a result cannot be rejected row by row.
    pub fn apply(&mut self, rows: RecordBatch) -> Result<Option<RecordBatch>> {
        let offsets = arrow::array::UInt64Array::from(vec![0; rows.num_rows()]);
        let mut batch = Some(Batch { rows, offsets, watermarks: None });
        let mut out = Output::default();
        for step in &mut self.steps {
            let Some(b) = batch else { return Ok(None) };
            batch = step.push(b, &mut out).map_err(|e| {
                Error::invalid(format!("a result cannot be computed: {}", e.message()))
                    .hint("guard the expression, for example with NULLIF or CASE")
            })?;
        }
        Ok(batch.map(|b| b.rows).filter(|r| r.num_rows() > 0))
    }
}
