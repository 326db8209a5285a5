//! Comparisons before types are coerced. Invariant: a time meets a date as a time: DataFusion would count both in nanoseconds since 1970,
//! which end in 2262.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use thalweg_engine::time::timestamp_type;

use super::check::input_schema;

const COMPARISONS: [Operator; 8] = [
    Operator::Eq,
    Operator::NotEq,
    Operator::Lt,
    Operator::LtEq,
    Operator::Gt,
    Operator::GtEq,
    Operator::IsDistinctFrom,
    Operator::IsNotDistinctFrom,
];

/// The plan with the sides of every comparison in types that meet; no name changes.
pub(super) fn align(plan: LogicalPlan) -> Result<LogicalPlan> {
    let aligned = plan.transform_up_with_subqueries(|node| {
        let schema = input_schema(&node);
        let names = NamePreserver::new(&node);
        node.map_expressions(|expression| {
            let name = names.save(&expression);
            let aligned = expression.transform_up(|mut e| {
                let changed = meet(sides(&mut e), &schema);
                Ok(Transformed::new_transformed(e, changed))
            })?;
            Ok(aligned.update_data(|e| name.restore(e)))
        })
    })?;
    Ok(aligned.data)
}

/// What a comparison compares; nothing if it is none.
fn sides(expression: &mut Expr) -> Vec<&mut Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if COMPARISONS.contains(&*op) => vec![&mut **left, &mut **right],
        Expr::Between(Between { expr, low, high, .. }) => vec![&mut **expr, &mut **low, &mut **high],
        _ => Vec::new(),
    }
}

/// Whether one of the sides has become another expression.
fn meet(sides: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = sides.iter().map(|e| e.get_type(schema).ok()).collect();
    let is_of_times = types.contains(&Some(timestamp_type()));
    let mut changed = false;
    for (side, own) in sides.into_iter().zip(&types) {
        let met = match own {
            Some(DataType::Date32) if is_of_times => Some(cast(side.clone(), timestamp_type())),
            _ => None,
        };
        if let Some(met) = met {
            *side = met;
            changed = true;
        }
    }
    changed
}
