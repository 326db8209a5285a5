//! Aggregate calls. Invariant: an accumulator handed to the engine has the state and the result that the plan says, which is
//! tried out here once.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{EmitTo, Expr};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use thalweg_engine::error::Error;
use thalweg_engine::plan::Aggregate;

use super::check::place;
use super::reject::Unsupported;
use super::row::Row;
use crate::diagnostics::{Problem, Result};
use crate::functions::STREAM_AGGREGATES;
use crate::types;

/// Lowers a call over the rows of a window; `stream` is the alias of its stream.
pub(super) fn aggregate(call: &Expr, row: &Row<'_>, stream: &str) -> Result<Aggregate> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(call) else {
        return Err(Error::internal(format!("{call} is no aggregate call")).into());
    };
    let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = params;
    let at = place(call);
    if STREAM_AGGREGATES.binary_search(&func.name()).is_err() {
        return Err(Unsupported::on_stream("this aggregate", "aggregates are COUNT, SUM, AVG, MIN and MAX").at(at));
    }
    if *distinct {
        return Err(Unsupported::DISTINCT.at(at));
    }
    if !order_by.is_empty() || null_treatment.is_some() {
        return Err(Unsupported::AGGREGATE_DETAIL.at(at));
    }
    let name = display(func.name(), params, row, stream)?;
    let arguments = args.iter().map(|e| row.compile(e)).collect::<Result<Vec<_>>>()?;
    let filter = filter.as_ref().map(|e| row.compile(e)).transpose()?;
    let call = AggregateExprBuilder::new(func.clone(), arguments.clone()).schema(row.schema()).alias(&name).build()?;
    if !call.groups_accumulator_supported() {
        let of: Vec<String> = arguments.iter().filter_map(|a| a.data_type(&row.schema()).ok()).map(|t| types::name(&t)).collect();
        return Err(Problem::new(at, format!("{} over {} is not supported on a stream", func.name().to_uppercase(), of.join(", ")))
            .hint("CAST the argument to another type"));
    }
    let state = call.state_fields()?;
    let result = Arc::new(Field::new(&name, call.field().data_type().clone(), call.is_nullable()));
    try_out(&call, &arguments, row, &state, &result)?;
    let accumulator = Arc::new(move || call.create_groups_accumulator().map_err(Error::from));
    Ok(Aggregate { name, arguments, filter, accumulator, state, result })
}

/// Runs an accumulator over no rows and compares the types of its state and result with those of the plan.
fn try_out(
    call: &AggregateFunctionExpr,
    arguments: &[Arc<dyn PhysicalExpr>],
    row: &Row<'_>,
    state: &[FieldRef],
    result: &FieldRef,
) -> Result<()> {
    let schema = row.schema();
    let empty: Vec<ArrayRef> =
        arguments.iter().map(|a| Ok(new_empty_array(&a.data_type(&schema)?))).collect::<datafusion::error::Result<_>>()?;
    let mut accumulator = call.create_groups_accumulator()?;
    accumulator.update_batch(&empty, &[], None, 0)?;
    let states = accumulator.state(EmitTo::All)?;
    let fits = states.len() == state.len() && states.iter().zip(state).all(|(array, field)| array.data_type() == field.data_type());
    let mut accumulator = call.create_groups_accumulator()?;
    accumulator.update_batch(&empty, &[], None, 0)?;
    let value = accumulator.evaluate(EmitTo::All)?;
    if fits && value.data_type() == result.data_type() {
        return Ok(());
    }
    Err(Error::internal(format!("the accumulator of {} does not have the types that it declares", call.name())).into())
}

/// A call as EXPLAIN shows it, casts included, in a form that does not depend on the alias of the stream. Two calls whose
/// states differ never look the same.
fn display(function: &str, params: &AggregateFunctionParams, row: &Row<'_>, stream: &str) -> Result<String> {
    let stream = TableReference::bare(stream.to_owned());
    let plain = |e: &Expr| -> Result<String> {
        let plain = row.simplify(e.clone())?.transform(|e| {
            Ok(match e {
                Expr::Column(c) if c.relation.as_ref() == Some(&stream) => Transformed::yes(Expr::Column(Column::new_unqualified(c.name))),
                e => Transformed::no(e),
            })
        })?;
        Ok(plain.data.to_string())
    };
    let arguments = match params.args.as_slice() {
        [Expr::Literal(ScalarValue::Int64(Some(1)), _)] if function == "count" => "*".to_owned(),
        all => all.iter().map(plain).collect::<Result<Vec<_>>>()?.join(", "),
    };
    let filter = params.filter.as_ref().map(|f| Ok::<_, Problem>(format!(" FILTER (WHERE {})", plain(f)?))).transpose()?;
    Ok(format!("{function}({arguments}){}", filter.unwrap_or_default()))
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
