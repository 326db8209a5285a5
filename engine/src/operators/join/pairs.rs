//! Candidate pairs and what leaves of them. Invariant: rows leave in the order in which they were noted; the filter is
//! evaluated once over all candidates noted so far.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use super::bound::Bound;
use super::buffer::{NONE, RowBuffer};
use crate::batch::FailedRow;
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS_MAX;
use crate::plan::{JoinKind, JoinSide};

/// Whether left and right rows leave with NULLs if they have no partner.
pub fn outer(kind: JoinKind) -> [bool; 2] {
    [matches!(kind, JoinKind::Left | JoinKind::Full), matches!(kind, JoinKind::Right | JoinKind::Full)]
}

/// Whether only columns of the left side leave.
pub fn left_alone(kind: JoinKind) -> bool {
    matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti)
}

/// What must be true of a pair beside equal keys.
pub struct Condition {
    filter: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
}

impl Condition {
    /// `filter` is over left columns, then right columns.
    pub fn new(filter: Arc<dyn PhysicalExpr>, left: &JoinSide, right: &JoinSide) -> Self {
        let fields = left.schema.fields().iter().chain(right.schema.fields()).cloned();
        Self { filter, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }

    /// Of which of the pairs of these columns it is true. A pair of which that cannot be told is none.
    pub fn evaluate(&self, columns: Vec<ArrayRef>) -> Result<Judged> {
        let pairs = RecordBatch::try_new(self.schema.clone(), columns)?;
        let mut judged = Judged { truth: BooleanBuffer::new_unset(0), failed: Vec::new(), pairs };
        match self.truth(&judged.pairs) {
            Ok(truth) => judged.truth = truth,
            Err(_) => {
                let mut truth = BooleanBufferBuilder::new(judged.pairs.num_rows());
                self.halve(&judged.pairs, 0, &mut truth, &mut judged.failed);
                judged.truth = truth.finish();
            }
        }
        Ok(judged)
    }

    fn truth(&self, pairs: &RecordBatch) -> Result<BooleanBuffer> {
        let truth = self.filter.evaluate(pairs)?.into_array(pairs.num_rows())?;
        let truth = truth.as_boolean_opt().ok_or_else(|| Error::internal("the condition of a join is not BOOLEAN"))?;
        let truth = if truth.null_count() > 0 { prep_null_mask_filter(truth) } else { truth.clone() };
        Ok(truth.into_parts().0)
    }

    /// Part by part, until the pairs that fail stand alone; `first` is the place of the first one among all.
    fn halve(&self, pairs: &RecordBatch, first: usize, truth: &mut BooleanBufferBuilder, failed: &mut Vec<(usize, String)>) {
        let rows = pairs.num_rows();
        match self.truth(pairs) {
            Ok(known) => truth.append_buffer(&known),
            Err(_) if rows > 1 => {
                let half = rows / 2;
                self.halve(&pairs.slice(0, half), first, truth, failed);
                self.halve(&pairs.slice(half, rows - half), first + half, truth, failed);
            }
            Err(e) => {
                truth.append_n(rows, false);
                failed.push((first, e.message().to_owned()));
            }
        }
    }
}

/// What a condition says of pairs.
pub struct Judged {
    /// The pairs.
    pub pairs: RecordBatch,
    /// Of which of them it is true.
    pub truth: BooleanBuffer,
    /// Places of those of which it cannot be told, and why.
    pub failed: Vec<(usize, String)>,
}

impl Judged {
    /// Those of which it cannot be told, as rows.
    pub fn failed_rows(&self) -> impl Iterator<Item = FailedRow> {
        self.failed.iter().map(|(place, reason)| FailedRow { row: self.pairs.slice(*place, 1), reason: reason.clone() })
    }
}

/// Rows that may leave, by their numbers in the buffers of both sides.
pub struct Pairing {
    condition: Option<Condition>,
    /// Of the output.
    schema: SchemaRef,
    left_alone: bool,
    left: Vec<u64>,
    right: Vec<u64>,
    /// How many of them are pairs.
    pairs: usize,
    failed: Vec<FailedRow>,
    pub(super) bound: Bound,
}

impl Pairing {
    /// For a join of `kind` whose output has `schema`.
    pub fn new(kind: JoinKind, condition: Option<Condition>, schema: SchemaRef) -> Self {
        let (bound, left_alone) = (Bound::new(&schema), left_alone(kind));
        Self { condition, schema, left_alone, left: Vec::new(), right: Vec::new(), pairs: 0, failed: Vec::new(), bound }
    }

    /// What was settled before has gone on.
    pub fn begin(&mut self) {
        self.bound.begin();
    }

    /// Pairs of which the condition could not tell anything, since this was asked last.
    pub fn failed(&mut self) -> Vec<FailedRow> {
        std::mem::take(&mut self.failed)
    }

    /// Whether every candidate is a pair.
    pub fn unconditional(&self) -> bool {
        self.condition.is_none()
    }

    /// Notes a candidate.
    pub fn pair(&mut self, left: u64, right: u64) {
        self.left.push(left);
        self.right.push(right);
        self.pairs += 1;
    }

    /// Notes a row of side 0 (left) or 1 that may leave alone, depending on what became of the candidates before it.
    pub fn alone(&mut self, side: usize, row: u64) {
        self.left.push(if side == 0 { row } else { NONE });
        self.right.push(if side == 0 { NONE } else { row });
    }

    /// Whether enough is noted to be settled at once.
    pub fn is_full(&self) -> bool {
        self.left.len() >= BATCH_ROWS_MAX
    }

    /// Decides about all that is noted, in order: `leaves` is told left row, right row (`NONE` for that of a row alone) and whether
    /// the condition is true. Gives the rows that leave. Errors: `Invalid` if too many have left since `begin`.
    pub fn settle(&mut self, rows: [&RowBuffer; 2], mut leaves: impl FnMut(u64, u64, bool) -> bool) -> Result<Option<RecordBatch>> {
        let (mut left, mut right) = (std::mem::take(&mut self.left), std::mem::take(&mut self.right));
        let pairs = std::mem::take(&mut self.pairs);
        let judged = match &self.condition {
            Some(condition) if pairs > 0 => Some(judge(condition, rows, &left, &right)?),
            _ => None,
        };
        self.failed.extend(judged.iter().flat_map(Judged::failed_rows));
        self.bound.add_failed(pairs, judged.as_ref().map_or(0, |j| j.failed.len()))?;
        let only_pairs = pairs == left.len() && !self.left_alone;
        let (mut pair, mut kept) = (0, 0);
        for i in 0..left.len() {
            let mut holds = true;
            if left[i] != NONE && right[i] != NONE {
                holds = judged.as_ref().is_none_or(|j| j.truth.value(pair));
                pair += 1;
            }
            if leaves(left[i], right[i], holds) {
                (left[kept], right[kept]) = (left[i], right[i]);
                kept += 1;
            }
        }
        if kept == 0 {
            return Ok(None);
        }
        self.bound.add(kept as u64)?;
        if let Some(Judged { pairs, truth, .. }) = judged.filter(|_| only_pairs) {
            let pairs = filter_record_batch(&pairs, &truth.into())?;
            return Ok(Some(RecordBatch::try_new(self.schema.clone(), pairs.columns().to_vec())?));
        }
        left.truncate(kept);
        right.truncate(kept);
        let mut columns = rows[0].gather(&left)?;
        if !self.left_alone {
            columns.extend(rows[1].gather(&right)?);
        }
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }
}

/// The candidates among what is noted, and of which the condition is true.
fn judge(condition: &Condition, rows: [&RowBuffer; 2], left: &[u64], right: &[u64]) -> Result<Judged> {
    let pairs = left.iter().zip(right).filter(|(l, r)| **l != NONE && **r != NONE);
    let (left, right): (Vec<u64>, Vec<u64>) = pairs.unzip();
    let mut columns = rows[0].gather(&left)?;
    columns.extend(rows[1].gather(&right)?);
    condition.evaluate(columns)
}
