//! OVER windows. Invariant: rows are taken in the order of event time, and a row leaves when all that its calls see has come, so that its
//! values never change.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::logical_plan::Window as WindowNode;
use datafusion::logical_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::tokenizer::Location;
use thalweg_engine::limits::LEAD_ROWS_MAX;
use thalweg_engine::plan::{Frame, Over, OverCall, OverFunction, StepKind};

use super::aggregate::retractable;
use super::bounds::length;
use super::check::place;
use super::lowering::Lowering;
use super::project::materialize;
use super::reject::Unsupported;
use super::rel::{At, Late, Physical, Rel, Slot, Visible, unaliased};
use crate::diagnostics::{Problem, Result};

/// Functions that give rows of equal order one number.
const SHARED_NUMBERS: [&str; 2] = ["dense_rank", "rank"];

/// Lowers the calls of one or more OVER clauses; those of one clause become one step.
pub(super) fn over<'a>(lowering: &mut Lowering<'a>, node: &WindowNode) -> Result<Rel<'a>> {
    for expression in &node.window_expr {
        let (fun, _) = call(expression, lowering)?;
        if SHARED_NUMBERS.contains(&fun.name()) {
            return Err(Unsupported::SHARED_NUMBER.named(fun.name().to_uppercase(), lowering.call_place(fun.name())));
        }
    }
    let mut rel = lowering.lower(&node.input)?;
    materialize(lowering, &mut rel)?;
    if rel.updating {
        return Err(Unsupported::OVER_UPDATING.at(lowering.place("OVER")));
    }
    let shown = rel.columns.len();
    let mut left: Vec<usize> = (0..node.window_expr.len()).collect();
    let mut results: Vec<Option<Visible>> = vec![None; left.len()];
    while let Some(&first) = left.first() {
        let (_, params) = call(&node.window_expr[first], lowering)?;
        let clause = (params.partition_by.clone(), params.order_by.clone());
        let mut same = Vec::new();
        for i in std::mem::take(&mut left) {
            let (_, params) = call(&node.window_expr[i], lowering)?;
            let fits = (&params.partition_by, &params.order_by) == (&clause.0, &clause.1);
            if fits { same.push(i) } else { left.push(i) }
        }
        let names: Vec<(usize, FieldRef)> = same.iter().map(|&i| (i, node.schema.field(shown + i).clone())).collect();
        let slots = step(lowering, &mut rel, node, &names)?;
        for ((i, field), slot) in names.iter().zip(slots) {
            let table = node.schema.qualified_field(shown + i).0.cloned();
            let planned = field.data_type().clone();
            results[*i] = Some(Visible { table, name: field.name().clone(), planned, slot: Slot::Physical(slot) });
        }
    }
    rel.columns.extend(results.into_iter().flatten());
    Ok(rel)
}

/// Function and parameters of a call.
fn call<'e>(expression: &'e Expr, lowering: &Lowering<'_>) -> Result<(&'e WindowFunctionDefinition, &'e WindowFunctionParams)> {
    match unaliased(expression) {
        Expr::WindowFunction(f) => {
            let WindowFunction { fun, params } = f.as_ref();
            Ok((fun, params))
        }
        _ => Err(Unsupported::on_stream("this form of OVER", "write function(…) OVER (PARTITION BY … ORDER BY event_time)")
            .at(lowering.place("OVER"))),
    }
}

/// Adds the step of some calls with one clause; returns the physical columns of their results.
fn step<'a>(lowering: &mut Lowering<'a>, rel: &mut Rel<'a>, node: &WindowNode, calls: &[(usize, FieldRef)]) -> Result<Vec<usize>> {
    let at = lowering.place("OVER");
    let mut planned = Vec::new();
    let mut partition: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    let mut time = None;
    for (n, (i, _)) in calls.iter().enumerate() {
        let (fun, params) = call(&node.window_expr[*i], lowering)?;
        if n == 0 {
            partition = params.partition_by.iter().map(|e| rel.compile(e)).collect::<Result<_>>()?;
            let [sort] = params.order_by.as_slice() else { return Err(order_refused(rel, at)) };
            time = rel.physical_of(&sort.expr).filter(|t| sort.asc && rel.times.contains(t));
        }
        let function = function(rel, fun, params, lowering.call_place(fun.name()))?;
        let nullable = !matches!(function, OverFunction::RowNumber);
        let data_type = match &function {
            OverFunction::Aggregate(a) => a.result.data_type().clone(),
            OverFunction::RowNumber => DataType::Int64,
            OverFunction::Lag { argument, .. }
            | OverFunction::Lead { argument, .. }
            | OverFunction::FirstValue { argument, .. }
            | OverFunction::LastValue { argument, .. } => argument.data_type(&rel.schema())?,
        };
        let result = Arc::new(Field::new(shown(&function), data_type, nullable));
        planned.push(OverCall { frame: frame(&function, &params.window_frame, at)?, function, result });
    }
    let Some(time) = time else { return Err(order_refused(rel, at)) };
    let input = rel.schema();
    let from = lowering.behind(rel, Late::Row(time))?;
    // The step waits for this time: the watermark behind it says nothing of others.
    rel.times = BTreeSet::from([time]);
    let first = rel.physical.len();
    rel.physical.extend(planned.iter().map(|c| Physical { field: c.result.clone(), unit: 1 }));
    let fields: Vec<FieldRef> = rel.physical.iter().map(|p| p.field.clone()).collect();
    let schema = Arc::new(Schema::new(fields));
    let count = planned.len();
    let over = Over { input, partition, time, calls: planned, ttl: lowering.ttl, schema: schema.clone() };
    rel.at = At::Behind(lowering.step(vec![from], StepKind::Over(over), schema));
    rel.key = None;
    Ok((first..first + count).collect())
}

fn order_refused(rel: &Rel<'_>, at: Location) -> Problem {
    let time = rel.columns.iter().find(|v| matches!(v.slot, Slot::Physical(i) if rel.times.contains(&i)));
    let hint = match time {
        Some(v) => format!("write OVER (PARTITION BY … ORDER BY {})", v.name),
        None => "select the event time in the subquery".to_owned(),
    };
    Problem::new(at, "OVER on a stream is ordered by the event time, ascending").hint(hint)
}

fn function(rel: &Rel<'_>, fun: &WindowFunctionDefinition, params: &WindowFunctionParams, at: Location) -> Result<OverFunction> {
    let WindowFunctionParams { args, filter, null_treatment, distinct, .. } = params;
    let argument = |i: usize| -> Result<Arc<dyn PhysicalExpr>> {
        let e = args.get(i).ok_or_else(|| Problem::new(at, format!("{} has an argument too few", fun.name())))?;
        rel.compile(e)
    };
    let ignore_nulls = *null_treatment == Some(NullTreatment::IgnoreNulls);
    match (fun.name(), fun) {
        ("first_value", _) => Ok(OverFunction::FirstValue { argument: argument(0)?, ignore_nulls }),
        ("last_value", _) => Ok(OverFunction::LastValue { argument: argument(0)?, ignore_nulls }),
        (_, WindowFunctionDefinition::AggregateUDF(udaf)) => {
            let inner = AggregateFunctionParams {
                args: args.clone(),
                distinct: *distinct,
                filter: filter.clone(),
                order_by: Vec::new(),
                null_treatment: *null_treatment,
            };
            let expression = Expr::AggregateFunction(AggregateFunction { func: udaf.clone(), params: inner });
            Ok(OverFunction::Aggregate(retractable(&expression, rel, true)?))
        }
        ("row_number", _) => Ok(OverFunction::RowNumber),
        (name @ ("lag" | "lead"), _) if !ignore_nulls => {
            let offset = match args.get(1) {
                None => 1,
                Some(Expr::Literal(value, _)) => whole(value).ok_or_else(|| Unsupported::ROW_OFFSET.at(at))?,
                Some(other) => return Err(Unsupported::ROW_OFFSET.at(place(other))),
            };
            let wanted = argument(0)?.data_type(&rel.schema())?;
            let default = args.get(2).map(|e| rel.compile_as(e, &wanted)).transpose()?;
            let argument = argument(0)?;
            Ok(match name {
                "lag" => OverFunction::Lag { argument, offset, default },
                _ if offset > LEAD_ROWS_MAX => return Err(Unsupported::LEAD_ROWS.at(at)),
                _ => OverFunction::Lead { argument, offset, default },
            })
        }
        (name, _) => {
            Err(Unsupported::on_stream("this function with OVER", "ROW_NUMBER, LAG, LEAD, FIRST_VALUE, LAST_VALUE and aggregates are")
                .named(name.to_uppercase(), at))
        }
    }
}

/// A call as EXPLAIN shows it.
fn shown(function: &OverFunction) -> String {
    match function {
        OverFunction::Aggregate(a) => a.name.clone(),
        OverFunction::RowNumber => "row_number()".to_owned(),
        OverFunction::Lag { argument, offset, .. } => format!("lag({argument}, {offset})"),
        OverFunction::Lead { argument, offset, .. } => format!("lead({argument}, {offset})"),
        OverFunction::FirstValue { argument, .. } => format!("first_value({argument})"),
        OverFunction::LastValue { argument, .. } => format!("last_value({argument})"),
    }
}

fn whole(value: &ScalarValue) -> Option<u64> {
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(Some(n)) => u64::try_from(n).ok(),
        _ => None,
    }
}

fn frame(function: &OverFunction, frame: &WindowFrame, at: Location) -> Result<Frame> {
    if matches!(function, OverFunction::RowNumber | OverFunction::Lag { .. } | OverFunction::Lead { .. }) {
        return Ok(Frame::Rows(None));
    }
    let refused = || Unsupported::FRAME.at(at);
    if !matches!(frame.end_bound, WindowFrameBound::CurrentRow) {
        return Err(refused());
    }
    let preceding = match &frame.start_bound {
        WindowFrameBound::Preceding(value) if value.is_null() => None,
        WindowFrameBound::Preceding(value) => Some(value.clone()),
        WindowFrameBound::CurrentRow => Some(ScalarValue::UInt64(Some(0))),
        WindowFrameBound::Following(_) => return Err(refused()),
    };
    match (frame.units, preceding) {
        (WindowFrameUnits::Rows, None) => Ok(Frame::Rows(None)),
        (WindowFrameUnits::Rows, Some(value)) => Ok(Frame::Rows(Some(whole(&value).ok_or_else(refused)?))),
        (WindowFrameUnits::Range, None) => Ok(Frame::Range(None)),
        (WindowFrameUnits::Range, Some(value)) => {
            let micros = length(&value).or_else(|| whole(&value).filter(|n| *n == 0).map(|_| 0));
            Ok(Frame::Range(Some(micros.filter(|m| *m >= 0).ok_or_else(refused)?)))
        }
        (WindowFrameUnits::Groups, _) => Err(refused()),
    }
}
