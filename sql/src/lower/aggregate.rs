//! Aggregate calls. Invariant: an accumulator handed to the engine has the state and the result that the plan says, which is
//! tried out here once.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_empty_array};
use arrow::datatypes::{Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{AggregateUDF, EmitTo, Expr, GroupsAccumulator};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use sqlparser::tokenizer::Location;
use thalweg_engine::error::Error;
use thalweg_engine::plan::{Aggregate, RetractableAggregate};

use super::check::place;
use super::reject::Unsupported;
use super::rel::{Rel, unaliased};
use crate::diagnostics::{Problem, Result};
use crate::types;

/// Aggregates whose result depends on the order of rows: computed behind the exchange, in the order of time.
const ORDERED: [&str; 6] = ["any_value", "array_agg", "first_value", "last_value", "nth_value", "string_agg"];

/// Aggregates whose sliding accumulator gives back only the oldest row.
const OLDEST_FIRST: [&str; 2] = ["max", "min"];

/// Whether the result of a call depends on the order of rows.
pub(super) fn is_ordered(call: &Expr) -> bool {
    matches!(unaliased(call), Expr::AggregateFunction(f) if ORDERED.contains(&f.func.name()))
}

/// The parts of a call.
struct Call<'a> {
    function: &'a Arc<AggregateUDF>,
    params: &'a AggregateFunctionParams,
    name: String,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

fn parts<'e>(call: &'e Expr, rel: &Rel<'_>) -> Result<Call<'e>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(call) else {
        return Err(Error::internal(format!("{call} is no aggregate call")).into());
    };
    let at = place(call);
    if !params.order_by.is_empty() || params.null_treatment.is_some() {
        return Err(Unsupported::AGGREGATE_DETAIL.at(at));
    }
    let name = display(func.name(), params, rel)?;
    let arguments = params.args.iter().map(|e| rel.compile(e)).collect::<Result<Vec<_>>>()?;
    let filter = params.filter.as_ref().map(|e| rel.compile(e)).transpose()?;
    Ok(Call { function: func, params, name, arguments, filter })
}

/// Lowers a call over the rows of a window.
pub(super) fn windowed(call: &Expr, rel: &Rel<'_>) -> Result<Aggregate> {
    let at = place(call);
    let Call { function, params, name, arguments, filter } = parts(call, rel)?;
    let call = AggregateExprBuilder::new(function.clone(), arguments.clone()).schema(rel.schema()).alias(&name);
    let call = call.with_distinct(params.distinct).build()?;
    takes(&call, &arguments, rel, at)?;
    let state = call.state_fields()?;
    let result = Arc::new(Field::new(&name, call.field().data_type().clone(), call.is_nullable()));
    let call = Arc::new(call);
    try_out(&call, &arguments, rel, &state, &result)?;
    let accumulator = Arc::new(move || groups(&call));
    Ok(Aggregate { name, arguments, distinct: params.distinct, filter, accumulator, state, result })
}

/// An accumulator of many groups: the function's own, or one of one group for each.
fn groups(call: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>, Error> {
    if call.groups_accumulator_supported() {
        return call.create_groups_accumulator().map_err(Error::from);
    }
    let call = call.clone();
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || call.create_accumulator())))
}

/// Lowers a call over rows that may be taken back: `oldest_first` if always the oldest one.
pub(super) fn retractable(call: &Expr, rel: &Rel<'_>, oldest_first: bool) -> Result<RetractableAggregate> {
    let at = place(call);
    let Call { function, params, name, arguments, filter } = parts(call, rel)?;
    let retracts = oldest_first || !OLDEST_FIRST.contains(&function.name());
    let call = AggregateExprBuilder::new(function.clone(), arguments.clone()).schema(rel.schema()).alias(&name).build()?;
    takes(&call, &arguments, rel, at)?;
    let result = Arc::new(Field::new(&name, call.field().data_type().clone(), call.is_nullable()));
    let sliding = retracts && call.create_sliding_accumulator().is_ok();
    let accumulator = Arc::new(move || {
        let made = if sliding { call.create_sliding_accumulator() } else { call.create_accumulator() };
        made.map_err(Error::from)
    });
    Ok(RetractableAggregate { name, arguments, distinct: params.distinct, filter, accumulator, result })
}

/// Refuses arguments that a function declares to take, and for which it makes no accumulator.
fn takes(call: &AggregateFunctionExpr, arguments: &[Arc<dyn PhysicalExpr>], rel: &Rel<'_>, at: Location) -> Result<()> {
    if call.create_accumulator().is_ok() {
        return Ok(());
    }
    let schema = rel.schema();
    let of = arguments.iter().map(|a| Ok(types::name(&a.data_type(&schema)?))).collect::<datafusion::error::Result<Vec<_>>>()?;
    let function = call.fun().name().to_uppercase();
    let hint = match function.as_str() {
        "APPROX_DISTINCT" => "write COUNT(DISTINCT x), or CAST the argument to STRING",
        _ => "CAST the argument to a type that it takes, for example BIGINT or STRING",
    };
    Err(Problem::new(at, format!("{function} does not take {}", of.join(", "))).hint(hint))
}

/// Runs an accumulator of one group over no rows and compares the types of its state and result with those of the plan.
fn try_out(
    call: &Arc<AggregateFunctionExpr>,
    arguments: &[Arc<dyn PhysicalExpr>],
    rel: &Rel<'_>,
    state: &[FieldRef],
    result: &FieldRef,
) -> Result<()> {
    let schema = rel.schema();
    let empty: Vec<ArrayRef> =
        arguments.iter().map(|a| Ok(new_empty_array(&a.data_type(&schema)?))).collect::<datafusion::error::Result<_>>()?;
    let mut accumulator = groups(call)?;
    accumulator.update_batch(&empty, &[], None, 1)?;
    let states = accumulator.state(EmitTo::All)?;
    let fits = states.len() == state.len() && states.iter().zip(state).all(|(array, field)| array.data_type() == field.data_type());
    let mut accumulator = groups(call)?;
    // With a filter it notes which groups have rows; without one a mean would be of no rows.
    accumulator.update_batch(&empty, &[], Some(&BooleanArray::from(Vec::<bool>::new())), 1)?;
    let value = accumulator.evaluate(EmitTo::All)?;
    if fits && value.data_type() == result.data_type() {
        return Ok(());
    }
    Err(Error::internal(format!("the accumulator of {} does not have the types that it declares", call.name())).into())
}

/// A call as EXPLAIN shows it, casts included, in a form that does not depend on the aliases of tables. Two calls whose
/// states differ never look the same.
pub(super) fn display(function: &str, params: &AggregateFunctionParams, rel: &Rel<'_>) -> Result<String> {
    let plain = |e: &Expr| -> Result<String> {
        let plain = rel.simplify(e.clone())?.transform(|e| {
            Ok(match e {
                Expr::Column(c) if c.relation.is_some() => Transformed::yes(Expr::Column(Column::new_unqualified(c.name))),
                e => Transformed::no(e),
            })
        })?;
        Ok(plain.data.to_string())
    };
    let arguments = match params.args.as_slice() {
        [Expr::Literal(ScalarValue::Int64(Some(1)), _)] if function == "count" => "*".to_owned(),
        all => all.iter().map(plain).collect::<Result<Vec<_>>>()?.join(", "),
    };
    let distinct = if params.distinct { "DISTINCT " } else { "" };
    let filter = params.filter.as_ref().map(|f| Ok::<_, Problem>(format!(" FILTER (WHERE {})", plain(f)?))).transpose()?;
    Ok(format!("{function}({distinct}{arguments}){}", filter.unwrap_or_default()))
}
