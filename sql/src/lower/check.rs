//! What types tell before they are coerced. Invariant: no conversion between text, numbers and times happens on a stream unless
//! the query asks for it, or one side is a literal.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue, Spans};
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Union, Volatility};
use sqlparser::tokenizer::Location;

use super::reject::Unsupported;
use crate::diagnostics::{Problem, Result};
use crate::types;

/// Functions that give one of their arguments.
const CHOICES: [&str; 5] = ["coalesce", "greatest", "least", "nullif", "nvl"];

/// Checks every expression of the plan of a stream.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut problem = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Distinct(Distinct::On(_)) = node {
            problem = Some(Unsupported::DISTINCT_ON.at(Location { line: 0, column: 0 }));
            return Ok(TreeNodeRecursion::Stop);
        }
        if let LogicalPlan::Union(union) = node
            && let Err(p) = check_union(union)
        {
            problem = Some(p);
            return Ok(TreeNodeRecursion::Stop);
        }
        let schema = input_schema(node);
        node.apply_expressions(|expression| {
            expression.apply(|e| match check_expression(e, &schema) {
                Ok(()) => Ok(TreeNodeRecursion::Continue),
                Err(p) => {
                    problem = Some(p);
                    Ok(TreeNodeRecursion::Stop)
                }
            })
        })
    })?;
    problem.map_or(Ok(()), Err)
}

/// The columns that the expressions of a node see.
pub(super) fn input_schema(node: &LogicalPlan) -> DFSchema {
    let mut inputs = node.inputs().into_iter();
    let mut schema = inputs.next().map_or_else(DFSchema::empty, |i| i.schema().as_ref().clone());
    inputs.for_each(|i| schema.merge(i.schema()));
    schema
}

/// A column of a UNION has values of one kind.
fn check_union(union: &Union) -> Result<()> {
    let Some((first, others)) = union.inputs.split_first() else { return Ok(()) };
    let unknown = Expr::Literal(ScalarValue::Null, None);
    for other in others {
        for (i, (a, b)) in first.schema().fields().iter().zip(other.schema().fields()).enumerate() {
            let item = match &**other {
                LogicalPlan::Projection(node) => node.expr.get(i).unwrap_or(&unknown),
                _ => &unknown,
            };
            comparable(Some(a.data_type().clone()), Some(b.data_type().clone()), false, item)?;
        }
    }
    Ok(())
}

fn check_expression(expression: &Expr, schema: &DFSchema) -> Result<()> {
    let type_of = |e: &Expr| e.get_type(schema).ok();
    match expression {
        Expr::ScalarFunction(call) if call.func.name().starts_with('$') => Ok(()),
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            Err(Unsupported::VOLATILE.at(place(expression)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if !op.is_logic_operator() => {
            comparable(type_of(left), type_of(right), is_literal(left) || is_literal(right), expression)
        }
        Expr::Between(between) => {
            let literal = is_literal(&between.low) && is_literal(&between.high);
            comparable(type_of(&between.expr), type_of(&between.low), literal, expression)?;
            comparable(type_of(&between.expr), type_of(&between.high), literal, expression)
        }
        Expr::InList(list) => {
            let of = type_of(&list.expr);
            list.list.iter().try_for_each(|e| comparable(of.clone(), type_of(e), is_literal(e), expression))
        }
        Expr::InSubquery(of) => {
            let found = of.subquery.subquery.schema().fields().first().map(|f| f.data_type().clone());
            comparable(type_of(&of.expr), found, is_literal(&of.expr), expression)
        }
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref());
            alike(results, schema, expression)
        }
        Expr::ScalarFunction(call) if CHOICES.contains(&call.func.name()) => alike(call.args.iter(), schema, expression),
        Expr::Cast(cast) => convertible(type_of(&cast.expr), cast.field.data_type(), &cast.expr),
        Expr::TryCast(cast) => convertible(type_of(&cast.expr), cast.field.data_type(), &cast.expr),
        _ => Ok(()),
    }
}

/// Whether values of which one is taken have types that meet.
fn alike<'e>(values: impl Iterator<Item = &'e Expr>, schema: &DFSchema, whole: &Expr) -> Result<()> {
    let mut typed = values.filter_map(|e| Some((e, e.get_type(schema).ok().filter(|t| *t != DataType::Null)?)));
    let Some((first, of)) = typed.next() else { return Ok(()) };
    typed.try_for_each(|(e, other)| comparable(Some(of.clone()), Some(other), is_literal(first) || is_literal(e), whole))
}

/// Whether two types meet in an operator without a hidden conversion.
fn comparable(left: Option<DataType>, right: Option<DataType>, literal: bool, whole: &Expr) -> Result<()> {
    let (Some(left), Some(right)) = (left, right) else { return Ok(()) };
    if is_time(&left) && right.is_numeric() || left.is_numeric() && is_time(&right) {
        return Err(Unsupported::NUMBER_AS_TIME.at(place(whole)));
    }
    let text_and = |a: &DataType, b: &DataType| a.is_string() && (b.is_numeric() || *b == DataType::Boolean || is_time(b));
    let text_time = |a: &DataType, b: &DataType| a.is_string() && is_time(b);
    if literal && (text_time(&left, &right) || text_time(&right, &left)) {
        return Ok(());
    }
    if text_and(&left, &right) || text_and(&right, &left) {
        return Err(Problem::new(place(whole), format!("{} and {} are mixed", types::name(&left), types::name(&right)))
            .hint("CAST one side, or write the literal without quotes"));
    }
    Ok(())
}

fn convertible(from: Option<DataType>, to: &DataType, whole: &Expr) -> Result<()> {
    let Some(from) = from else { return Ok(()) };
    if is_time(&from) && to.is_numeric() || from.is_numeric() && is_time(to) {
        return Err(Unsupported::NUMBER_AS_TIME.at(place(whole)));
    }
    Ok(())
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

fn is_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => is_literal(&cast.expr),
        Expr::Negative(inner) => is_literal(inner),
        _ => false,
    }
}

/// Where the first column of an expression stands; line 0 if that is not known.
pub(super) fn place(expression: &Expr) -> Location {
    let mut found = Location { line: 0, column: 0 };
    let _ = expression.apply(|e| {
        Ok(match e.spans().and_then(Spans::first) {
            Some(span) => {
                found = Location { line: span.start.line, column: span.start.column };
                TreeNodeRecursion::Stop
            }
            None => TreeNodeRecursion::Continue,
        })
    });
    found
}
