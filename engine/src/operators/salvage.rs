//! Rows that cannot be computed, behind the exchange. Invariant: a row that fails leaves alone, with its reason, and all others go on in
//! their order as if it had never been there; a row that takes one back fails as that one did, and is not told again.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::batch::FailedRow;
use crate::changes::Changes;
use crate::contract::{Stateful, Usage};
use crate::error::Result;
use crate::time::Micros;

/// What is made of rows, each for itself.
pub type Compute<'a> = &'a mut dyn FnMut(Changes) -> Result<Changes>;

/// Computes rows; if that fails, halves them until the rows that fail stand alone. What is left goes to `out`, in order.
pub fn salvage(changes: Changes, compute: Compute<'_>, out: &mut Vec<Changes>, failed: &mut Vec<FailedRow>) {
    let error = match compute(changes.clone()) {
        Ok(computed) => {
            if !computed.is_empty() {
                out.push(computed);
            }
            return;
        }
        Err(e) => e,
    };
    let rows = changes.len();
    if rows > 1 {
        salvage(changes.slice(0, rows / 2), compute, out, failed);
        salvage(changes.slice(rows / 2, rows - rows / 2), compute, out, failed);
    } else if rows == 1 && changes.kind(0).adds() {
        failed.push(FailedRow { row: changes.rows, reason: error.message().to_owned() });
    }
}

/// A step whose keys, arguments or conditions may fail: what it would evaluate is tried before it gets a row.
pub struct Guarded {
    inner: Box<dyn Stateful>,
    /// Of each input.
    tried: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    failed: Vec<FailedRow>,
}

/// The step, behind a guard if it evaluates anything that may fail; `evaluated` is that, of each input.
pub fn guarded(inner: Box<dyn Stateful>, evaluated: [Vec<Arc<dyn PhysicalExpr>>; 2]) -> Box<dyn Stateful> {
    // A column or a literal cannot fail.
    let tried = evaluated.map(|of| of.into_iter().filter(|e| !e.children().is_empty()).collect::<Vec<_>>());
    match tried.iter().all(Vec::is_empty) {
        true => inner,
        false => Box::new(Guarded { inner, tried: tried.into(), failed: Vec::new() }),
    }
}

fn attempt(expressions: &[Arc<dyn PhysicalExpr>], rows: &RecordBatch) -> Result<()> {
    expressions.iter().try_for_each(|e| Ok(e.evaluate(rows)?.into_array(rows.num_rows()).map(drop)?))
}

impl Stateful for Guarded {
    fn push(&mut self, input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
        let Some(tried) = self.tried.get(input).filter(|t| !t.is_empty()) else { return self.inner.push(input, changes, out) };
        let mut good = Vec::new();
        let mut compute = |changes: Changes| attempt(tried, &changes.rows).map(|()| changes);
        salvage(changes, &mut compute, &mut good, &mut self.failed);
        good.into_iter().try_for_each(|changes| self.inner.push(input, changes, out))
    }

    fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
        self.inner.advance(watermark, out)
    }

    fn failed(&mut self) -> Vec<FailedRow> {
        let mut failed = std::mem::take(&mut self.failed);
        failed.extend(self.inner.failed());
        failed
    }

    fn held(&self) -> u64 {
        self.inner.held()
    }

    fn keys(&self) -> Option<u64> {
        self.inner.keys()
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }

    fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        self.inner.snapshot_into(bytes)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.inner.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use datafusion_common::ScalarValue;
    use datafusion_expr_common::operator::Operator;
    use datafusion_physical_expr::expressions::{binary, col, lit};

    use super::*;
    use crate::changes::RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    use crate::operators::union::Union;

    fn rows(values: &[i64]) -> RecordBatch {
        RecordBatch::try_from_iter([("v", Arc::new(Int64Array::from(values.to_vec())) as ArrayRef)]).unwrap()
    }

    fn values(changes: &[Changes]) -> Vec<i64> {
        changes.iter().flat_map(|c| c.rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    /// A step that gets rows for which `60 / v` can be computed.
    fn divided(inner: Box<dyn Stateful>) -> Box<dyn Stateful> {
        let schema = rows(&[]).schema();
        let part = binary(lit(ScalarValue::Int64(Some(60))), Operator::Divide, col("v", &schema).unwrap(), &schema).unwrap();
        guarded(inner, [vec![part], Vec::new()])
    }

    #[test]
    fn rows_that_fail_stand_alone_and_the_others_stay_in_order() {
        let mut step = divided(Box::new(Union));
        let mut out = Vec::new();
        step.push(0, Changes::inserts(rows(&[1, 0, 2, 3, 0, 0, 4])), &mut out).unwrap();
        step.push(0, Changes::inserts(rows(&[0])), &mut out).unwrap();
        assert_eq!(values(&out), [1, 2, 3, 4]);
        let failed = step.failed();
        assert_eq!(failed.len(), 4);
        assert!(failed.iter().all(|f| f.row == rows(&[0]) && f.reason.to_lowercase().contains("divide by zero")), "{failed:?}");
        assert!(step.failed().is_empty(), "each is told once");
        step.push(1, Changes::inserts(rows(&[0])), &mut out).unwrap();
        assert_eq!((values(&out), step.failed().len()), (vec![1, 2, 3, 4, 0], 0), "nothing is tried of the other input");
    }

    /// Knows what it takes of memory.
    struct Large(Union);

    impl Stateful for Large {
        fn push(&mut self, input: usize, changes: Changes, out: &mut Vec<Changes>) -> Result<()> {
            self.0.push(input, changes, out)
        }

        fn advance(&mut self, watermark: Micros, out: &mut Vec<Changes>) -> Result<Micros> {
            self.0.advance(watermark, out)
        }

        fn held(&self) -> u64 {
            7
        }

        fn keys(&self) -> Option<u64> {
            Some(3)
        }

        fn usage(&self) -> Option<Usage> {
            Some(Usage { bytes: 1 << 20, groups: 3 })
        }

        fn snapshot_into(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
            self.0.snapshot_into(bytes)
        }

        fn restore(&mut self, state: &[u8]) -> Result<()> {
            self.0.restore(state)
        }
    }

    #[test]
    fn a_guard_tells_what_its_step_holds_and_takes() {
        let step = divided(Box::new(Large(Union)));
        assert_eq!((step.held(), step.keys(), step.usage()), (7, Some(3), Some(Usage { bytes: 1 << 20, groups: 3 })));
    }

    #[test]
    fn what_takes_back_a_row_that_failed_is_not_told_again() {
        let mut step = divided(Box::new(Union));
        let mut out = Vec::new();
        let kinds = vec![Insert, Insert, UpdateBefore, UpdateAfter, Delete];
        step.push(0, Changes::new(rows(&[0, 5, 0, 0, 5]), kinds), &mut out).unwrap();
        assert_eq!(values(&out), [5, 5]);
        assert_eq!(out.iter().flat_map(|c| (0..c.len()).map(|i| c.kind(i))).collect::<Vec<_>>(), [Insert, Delete]);
        assert_eq!(step.failed().len(), 2, "a row that is new, and one that changed");
    }
}
