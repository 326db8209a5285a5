//! Steps without state behind the exchange: HAVING, the SELECT list, look-ups. Invariant: each change is taken for itself, and what is left
//! of it does what it did; one that cannot be computed is left out alone, as the stage got it.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};

use super::salvage::salvage;
use super::stage::open_stage;
use crate::batch::{Batch, FailedRow};
use crate::changes::Changes;
use crate::contract::{Operator, Output, Stateful};
use crate::error::{Error, Result};
use crate::operators::filter::Filter;
use crate::operators::project::Project;
use crate::operators::unnest::UnnestOperator;
use crate::plan::Stage;
use crate::reference::ReferenceTable;
use crate::time::Micros;

enum Compiled {
    Filter(Filter),
    Project(Project),
    /// Makes any number of rows of each; they do what it did.
    Unnest(UnnestOperator),
    /// Makes other rows of rows; only rows that do not change come here.
    Other(Box<dyn Operator>),
}

/// Stages one after another.
pub struct Stages {
    stages: Vec<Compiled>,
    failed: Vec<FailedRow>,
}

impl Stages {
    /// `references` must hold a table for each lookup. Errors: `NotFound` if one is missing.
    pub fn new(stages: &[Stage], references: &[Arc<ReferenceTable>]) -> Result<Self> {
        let compile = |stage: &Stage| match stage {
            Stage::Filter(predicate) => Ok(Compiled::Filter(Filter::new(predicate.clone()))),
            Stage::Project(project) => Ok(Compiled::Project(Project::new(project.clone()))),
            Stage::Unnest(unnest) => Ok(Compiled::Unnest(UnnestOperator::new(unnest.clone()))),
            other => Ok(Compiled::Other(open_stage(other, references)?)),
        };
        Ok(Self { stages: stages.iter().map(compile).collect::<Result<_>>()?, failed: Vec::new() })
    }

    /// A stage alone; rows of which it can make nothing are left out.
    fn stage(stage: &mut Compiled, changes: Changes, out: &mut Vec<Changes>, failed: &mut Vec<FailedRow>) -> Result<()> {
        if matches!(stage, Compiled::Other(_)) && changes.kinds.is_some() {
            return Err(Error::internal("rows that change reached a step that takes new rows only"));
        }
        let mut compute = |changes: Changes| match &mut *stage {
            Compiled::Filter(filter) => {
                let mask = filter.mask(&changes.rows)?;
                if mask.true_count() == changes.len() { Ok(changes) } else { changes.keep(&mask) }
            }
            Compiled::Project(project) => Ok(Changes { rows: project.apply(&changes.rows)?, kinds: changes.kinds }),
            Compiled::Unnest(operator) => through(operator, changes),
            Compiled::Other(operator) => through(operator.as_mut(), changes),
        };
        salvage(changes, &mut compute, out, failed);
        Ok(())
    }
}

/// Rows through an operator that was made for the partitions: here there are no late rows, and their places stand in for offsets.
fn through(operator: &mut dyn Operator, changes: Changes) -> Result<Changes> {
    let Changes { rows, kinds } = changes;
    let (schema, offsets) = (rows.schema(), UInt64Array::from_iter_values(0..rows.num_rows() as u64));
    let mut out = Output::default();
    let Some(left) = operator.push(Batch { rows, offsets, watermarks: None }, &mut out)? else {
        return Ok(Changes::inserts(RecordBatch::new_empty(schema)));
    };
    let kinds = kinds.map(|kinds| left.offsets.values().iter().map(|&place| kinds[place as usize]).collect());
    Ok(Changes { rows: left.rows, kinds })
}

impl Stateful for Stages {
    fn push(&mut self, _input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        let mut parts = if changes.is_empty() { Vec::new() } else { vec![changes] };
        for stage in &mut self.stages {
            let mut left = Vec::with_capacity(parts.len());
            parts.into_iter().try_for_each(|part| Self::stage(stage, part, &mut left, &mut self.failed))?;
            parts = left;
        }
        out.extend(parts);
        Ok(())
    }

    fn advance(&mut self, watermark: Micros, _out: &mut Vec<Changes>) -> Result<Micros> {
        Ok(watermark)
    }

    fn failed(&mut self) -> Vec<FailedRow> {
        std::mem::take(&mut self.failed)
    }

    fn held(&self) -> u64 {
        0
    }

    fn snapshot_into(&mut self, _bytes: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn restore(&mut self, _state: &[u8]) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array, Int64Builder, ListBuilder};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion_common::ScalarValue;
    use datafusion_expr_common::operator::Operator;
    use datafusion_physical_expr::expressions::{binary, col, lit};

    use super::*;
    use crate::changes::RowKind;
    use crate::plan;

    /// `SELECT 60 / v WHERE v > least`.
    fn stages(least: i64) -> Stages {
        let schema = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
        let v = || col("v", &schema).unwrap();
        let predicate = binary(v(), Operator::Gt, lit(ScalarValue::Int64(Some(least))), &schema).unwrap();
        let part = binary(lit(ScalarValue::Int64(Some(60))), Operator::Divide, v(), &schema).unwrap();
        let out = Arc::new(Schema::new(vec![Field::new("d", DataType::Int64, true)]));
        Stages::new(&[Stage::Filter(predicate), Stage::Project(plan::Project { expressions: vec![part], schema: out })], &[]).unwrap()
    }

    fn rows(values: &[Option<i64>]) -> RecordBatch {
        RecordBatch::try_from_iter([("v", Arc::new(Int64Array::from(values.to_vec())) as ArrayRef)]).unwrap()
    }

    #[test]
    fn kinds_stay_with_their_rows() {
        use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
        let mut out = Vec::new();
        let changes =
            Changes::new(rows(&[Some(1), Some(3), Some(2), None, Some(6)]), vec![Insert, UpdateBefore, UpdateAfter, Delete, Delete]);
        stages(2).push(0, changes, &mut out).unwrap();
        assert_eq!(out[0].rows.column(0).as_primitive::<Int64Type>().values().as_ref(), [20, 10]);
        assert_eq!(out[0].kinds, Some(vec![UpdateBefore, Delete]));
        stages(2).push(0, Changes::inserts(rows(&[Some(1)])), &mut out).unwrap();
        assert_eq!(out.len(), 1, "nothing leaves when no row is left");
        stages(2).push(0, Changes::inserts(rows(&[Some(4)])), &mut out).unwrap();
        assert_eq!(out[1].kinds, None);
    }

    #[test]
    fn elements_do_what_their_row_did() {
        use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
        let lists: [Vec<i64>; 5] = [vec![1, 2], vec![], vec![3, 4, 5], vec![6], vec![7]];
        let mut builder = ListBuilder::new(Int64Builder::new());
        lists.into_iter().for_each(|list| builder.append_value(list.into_iter().map(Some)));
        let rows = RecordBatch::try_from_iter([("list", Arc::new(builder.finish()) as ArrayRef)]).unwrap();
        let fields = vec![rows.schema().field(0).clone(), Field::new("element", DataType::Int64, true)];
        let kinds = vec![Insert, UpdateBefore, UpdateAfter, Delete, Insert];
        for outer in [false, true] {
            let unnest = plan::Unnest { column: 0, ordinality: false, outer, schema: Arc::new(Schema::new(fields.clone())) };
            let (mut stages, mut out) = (Stages::new(&[Stage::Unnest(unnest)], &[]).unwrap(), Vec::new());
            stages.push(0, Changes::new(rows.clone(), kinds.clone()), &mut out).unwrap();
            let elements = out[0].rows.column(1).as_primitive::<Int64Type>().iter();
            let left: Vec<(Option<i64>, RowKind)> = elements.enumerate().map(|(i, element)| (element, out[0].kind(i))).collect();
            let mut want: Vec<(Option<i64>, RowKind)> = vec![(Some(1), Insert), (Some(2), Insert), (None, UpdateBefore)];
            want.extend([3, 4, 5].map(|element| (Some(element), UpdateAfter)));
            want.extend([(Some(6), Delete), (Some(7), Insert)]);
            want.retain(|(element, _)| outer || element.is_some());
            assert_eq!(left, want);
            stages.push(0, Changes::inserts(rows.slice(2, 2)), &mut out).unwrap();
            assert_eq!((out[1].len(), &out[1].kinds), (4, &None));
        }
    }

    #[test]
    fn a_result_that_cannot_be_computed_is_left_out_alone() {
        let (mut stages, mut out) = (stages(-1), Vec::new());
        stages.push(0, Changes::inserts(rows(&[Some(5), Some(0), Some(-3), Some(6)])), &mut out).unwrap();
        let kept: Vec<i64> = out.iter().flat_map(|c| c.rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(kept, [12, 10]);
        let failed = stages.failed();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].row, rows(&[Some(0)]));
        assert!(failed[0].reason.to_lowercase().contains("divide by zero"), "{}", failed[0].reason);
    }
}
