//! The calls of an OVER clause, ready to be computed. Invariant: of a past row only those values are kept that a later row may look
//! at.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::error::Result;
use crate::operators::accumulate::{Call, Inputs, Leaving};
use crate::plan::{self, Frame, OverFunction};
use crate::time::Micros;

/// All calls of a clause.
pub struct Calls {
    /// What they look at, each once.
    pub expressions: Vec<Arc<dyn PhysicalExpr>>,
    /// Those whose values are kept of past rows, by place in `expressions`.
    pub kept: Vec<usize>,
    /// Schema of what is kept.
    pub schema: SchemaRef,
    /// In the order of the plan.
    pub calls: Vec<OverStep>,
}

/// One call.
pub struct OverStep {
    /// What it computes.
    pub kind: Kind,
    /// Over which rows.
    pub frame: Frame,
    /// Its result.
    pub result: FieldRef,
}

/// What a call computes; numbers are places in `Calls::expressions`.
pub enum Kind {
    /// Place in the partition.
    RowNumber,
    /// The value of the row `offset` rows before.
    Lag { value: usize, offset: usize, default: Option<usize> },
    /// The value of a later row: see `lead`.
    Lead,
    /// The value at an edge of the frame.
    Edge { value: usize, edge: Edge, ignore_nulls: bool },
    /// An aggregate.
    Aggregate { call: Call, arguments: Vec<usize>, filter: Option<usize> },
}

/// An edge of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Where it begins.
    First,
    /// Where it ends.
    Last,
}

impl Calls {
    /// The calls of `plan`.
    pub fn new(plan: &plan::Over) -> Result<Self> {
        let mut expressions: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let mut place = |e: &Arc<dyn PhysicalExpr>| {
            expressions.iter().position(|known| known == e).unwrap_or_else(|| {
                expressions.push(e.clone());
                expressions.len() - 1
            })
        };
        let mut calls = Vec::new();
        for call in &plan.calls {
            let kind = match &call.function {
                OverFunction::RowNumber => Kind::RowNumber,
                OverFunction::Lag { argument, offset, default } => {
                    let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                    Kind::Lag { value: place(argument), offset, default: default.as_ref().map(&mut place) }
                }
                OverFunction::Lead { .. } => Kind::Lead,
                OverFunction::FirstValue { argument, ignore_nulls } => {
                    Kind::Edge { value: place(argument), edge: Edge::First, ignore_nulls: *ignore_nulls }
                }
                OverFunction::LastValue { argument, ignore_nulls } => {
                    Kind::Edge { value: place(argument), edge: Edge::Last, ignore_nulls: *ignore_nulls }
                }
                OverFunction::Aggregate(aggregate) => {
                    let leaving = if is_bounded(call.frame) { Leaving::Oldest } else { Leaving::Never };
                    let arguments = aggregate.arguments.iter().map(&mut place).collect();
                    let filter = aggregate.filter.as_ref().map(&mut place);
                    Kind::Aggregate { call: Call::new(aggregate.clone(), &plan.input, leaving)?, arguments, filter }
                }
            };
            calls.push(OverStep { kind, frame: call.frame, result: call.result.clone() });
        }
        let mut kept: Vec<usize> = calls.iter().filter(|c| c.looks_back()).flat_map(OverStep::looks_at).collect();
        kept.sort_unstable();
        kept.dedup();
        let field = |&e: &usize| Ok(Field::new(format!("e{e}"), expressions[e].data_type(&plan.input)?, true));
        let schema = Arc::new(Schema::new(kept.iter().map(field).collect::<Result<Vec<_>>>()?));
        Ok(Self { expressions, kept, schema, calls })
    }

    /// Time after which no row sees a past one, in microseconds; `None` if there is no such time.
    pub fn sight(&self) -> Option<Micros> {
        let sight = |call: &OverStep| match (&call.kind, call.frame) {
            (Kind::Edge { .. } | Kind::Aggregate { .. }, Frame::Range(sight)) => sight,
            _ => None,
        };
        self.calls.iter().map(sight).collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

fn is_bounded(frame: Frame) -> bool {
    matches!(frame, Frame::Rows(Some(_)) | Frame::Range(Some(_)))
}

impl OverStep {
    /// Whether it looks at past rows themselves, not at what was carried along of them.
    pub fn looks_back(&self) -> bool {
        match self.kind {
            Kind::RowNumber | Kind::Lead => false,
            Kind::Lag { offset, .. } => offset > 0,
            Kind::Edge { .. } | Kind::Aggregate { .. } => is_bounded(self.frame),
        }
    }

    /// Whether it carries something along of all rows so far.
    pub fn carries(&self) -> bool {
        match self.kind {
            _ if self.looks_back() => false,
            Kind::RowNumber | Kind::Lag { .. } | Kind::Lead => false,
            // Without passing over NULLs, the last value is always a new one.
            Kind::Edge { edge, ignore_nulls, .. } => edge == Edge::First || ignore_nulls,
            Kind::Aggregate { .. } => true,
        }
    }

    /// What it looks at of past rows.
    fn looks_at(&self) -> Vec<usize> {
        match &self.kind {
            Kind::RowNumber | Kind::Lead => Vec::new(),
            Kind::Lag { value, .. } | Kind::Edge { value, .. } => vec![*value],
            Kind::Aggregate { arguments, filter, .. } => arguments.iter().chain(filter).copied().collect(),
        }
    }

    /// Of rows with these times, the first that a row of a later time may look at.
    pub fn first_seen(&self, times: &[Micros]) -> usize {
        let rows = match (&self.kind, self.frame) {
            _ if !self.looks_back() => 0,
            (Kind::Lag { offset, .. }, _) => *offset,
            (_, Frame::Range(Some(sight))) => {
                let last = times.last().copied().unwrap_or_default();
                return times.partition_point(|&t| t <= last.saturating_sub(sight));
            }
            (_, Frame::Rows(rows)) => rows.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX),
            (_, Frame::Range(None)) => 0,
        };
        times.len().saturating_sub(rows)
    }
}

/// Inputs of an aggregate from the values of all expressions.
pub fn inputs(values: &[ArrayRef], arguments: &[usize], filter: Option<usize>) -> Result<Inputs> {
    Inputs::new(arguments.iter().map(|&a| values[a].clone()).collect(), filter.map(|f| values[f].clone()))
}
