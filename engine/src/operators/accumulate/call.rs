//! One aggregate call: its inputs, and how its totals are kept. Invariant: the way is chosen once, by what the function can do and
//! which rows may leave; it shows in speed and memory, never in results.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion_common::ScalarValue;
use datafusion_expr_common::accumulator::Accumulator;

use super::trial::abilities;
use crate::error::{Error, Result};
use crate::plan::RetractableAggregate;

/// Which rows may leave a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// None.
    Never,
    /// The oldest.
    Oldest,
    /// Any.
    Any,
}

/// How a total is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// As an accumulator that lives on.
    Accumulator,
    /// As the state of one, which each row goes through.
    State,
    /// Not at all: its values are.
    Values,
}

/// An aggregate call, ready to be computed.
pub struct Call {
    aggregate: RetractableAggregate,
    /// Whether rows may be fed as they come, or one by one: a state that does not resume to the last bit must be taken after each
    /// row, or batches would show.
    pub(super) batches: bool,
    /// Whether accumulators are as they were when they have given their state. Others are resumed from it.
    pub(super) stays: bool,
    /// Whether accumulators hold on to more than they need, until they are resumed.
    pub(super) hoards: bool,
    pub(super) keeping: Keeping,
    /// For the bag of values, if there is one.
    pub(super) converter: Option<RowConverter>,
}

impl Call {
    /// For rows of `schema`.
    pub fn new(aggregate: RetractableAggregate, schema: &Schema, leaving: Leaving) -> Result<Self> {
        let types = aggregate.arguments.iter().map(|a| Ok(a.data_type(schema)?)).collect::<Result<Vec<DataType>>>()?;
        if types.is_empty() {
            return Err(Error::internal(format!("{} has no arguments", aggregate.name)));
        }
        let abilities = abilities(&aggregate.accumulator, &types)?;
        let takes_back = match leaving {
            Leaving::Never => true,
            Leaving::Oldest if !aggregate.distinct => abilities.slides,
            Leaving::Oldest | Leaving::Any => abilities.retracts,
        };
        let keeping = match leaving {
            _ if !takes_back => Keeping::Values,
            Leaving::Never if !abilities.resumes => Keeping::State,
            _ => Keeping::Accumulator,
        };
        let bag = aggregate.distinct || (keeping == Keeping::Values && leaving == Leaving::Any);
        let converter = bag.then(|| RowConverter::new(types.into_iter().map(SortField::new).collect())).transpose()?;
        let hoards = keeping == Keeping::Accumulator && leaving == Leaving::Never && !abilities.lean;
        let batches = abilities.batches && keeping != Keeping::State;
        Ok(Self { aggregate, batches, stays: abilities.stays, hoards, keeping, converter })
    }

    /// Whether totals follow the rows; otherwise `compute` is asked for each result, with all rows.
    pub fn follows(&self) -> bool {
        self.keeping != Keeping::Values || self.converter.is_some()
    }

    /// Whether values count once.
    pub(super) fn distinct(&self) -> bool {
        self.aggregate.distinct
    }

    /// What the call needs of `rows`.
    pub fn inputs(&self, rows: &RecordBatch) -> Result<Inputs> {
        let value = |e: &std::sync::Arc<dyn datafusion_physical_expr_common::physical_expr::PhysicalExpr>| -> Result<ArrayRef> {
            Ok(e.evaluate(rows)?.into_array(rows.num_rows())?)
        };
        let arguments = self.aggregate.arguments.iter().map(value).collect::<Result<_>>()?;
        Inputs::new(arguments, self.aggregate.filter.as_ref().map(value).transpose()?)
    }

    /// The result over rows that `inputs` gave part of.
    pub fn compute(&self, arguments: &[ArrayRef]) -> Result<ScalarValue> {
        let mut accumulator = self.accumulator()?;
        if arguments.first().is_some_and(|a| !a.is_empty()) {
            accumulator.update_batch(arguments)?;
        }
        Ok(accumulator.evaluate()?)
    }

    pub(super) fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        (self.aggregate.accumulator)()
    }

    /// An accumulator with that state.
    pub(super) fn resumed(&self, state: &[ArrayRef]) -> Result<Box<dyn Accumulator>> {
        let mut accumulator = self.accumulator()?;
        accumulator.merge_batch(state)?;
        Ok(accumulator)
    }
}

/// Arguments of a call for some rows, and which of them count.
pub struct Inputs {
    arguments: Vec<ArrayRef>,
    filter: Option<BooleanArray>,
}

impl Inputs {
    /// Arguments, and the value of FILTER.
    pub fn new(arguments: Vec<ArrayRef>, filter: Option<ArrayRef>) -> Result<Self> {
        let filter = match filter {
            None => None,
            Some(f) => {
                let mask = f.as_boolean_opt().ok_or_else(|| Error::internal("the FILTER of an aggregate is not BOOLEAN"))?;
                Some(if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() })
            }
        };
        Ok(Self { arguments, filter })
    }

    /// The same rows in another order.
    pub fn take(&self, order: &UInt32Array) -> Result<Self> {
        let arguments = self.arguments.iter().map(|a| take(a, order, None)).collect::<std::result::Result<_, _>>()?;
        let filter = self.filter.as_ref().map(|f| take(f, order, None)).transpose()?;
        Ok(Self { arguments, filter: filter.map(|f| f.as_boolean().clone()) })
    }

    /// Arguments of the rows from `from` to before `to` that count.
    pub fn part(&self, from: usize, to: usize) -> Result<Vec<ArrayRef>> {
        let parts = self.arguments.iter().map(|a| a.slice(from, to - from));
        let Some(mask) = &self.filter else { return Ok(parts.collect()) };
        let mask = mask.slice(from, to - from);
        if mask.true_count() == mask.len() { Ok(parts.collect()) } else { parts.map(|p| Ok(filter(&p, &mask)?)).collect() }
    }
}
