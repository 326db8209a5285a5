//! Comparisons before types are coerced. Invariant: a time meets a date as a time, and a distance of times an interval as a distance:
//! DataFusion would count the one in nanoseconds since 1970, which end in 2262, and say of the other that 25 hours are less than a day.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use thalweg_engine::time::{DAY, timestamp_type};

use super::check::input_schema;

/// Days of a month, where its length must be known.
const MONTH_DAYS: i128 = 30;

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
        Expr::InList(InList { expr, list, .. }) => std::iter::once(&mut **expr).chain(list).collect(),
        _ => Vec::new(),
    }
}

/// Whether one of the sides has become another expression.
fn meet(sides: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = sides.iter().map(|e| e.get_type(schema).ok()).collect();
    let is_of_times = types.contains(&Some(timestamp_type()));
    let distance = types.iter().flatten().find_map(|t| match t {
        DataType::Duration(unit) => Some(*unit),
        _ => None,
    });
    let mut changed = false;
    for (side, own) in sides.into_iter().zip(&types) {
        let met = match (own, distance) {
            (Some(DataType::Date32), _) if is_of_times => Some(cast(side.clone(), timestamp_type())),
            (Some(DataType::Interval(_)), Some(unit)) => nanoseconds(side).and_then(|n| duration(n, unit)),
            _ => None,
        };
        if let Some(met) = met {
            *side = met;
            changed = true;
        }
    }
    changed
}

/// The length of an interval that is a literal.
fn nanoseconds(interval: &Expr) -> Option<i128> {
    match interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(i)), _) => {
            let days = i128::from(i.months) * MONTH_DAYS + i128::from(i.days);
            Some(days * i128::from(DAY) * 1_000 + i128::from(i.nanoseconds))
        }
        Expr::Negative(inner) => Some(-nanoseconds(inner)?),
        _ => None,
    }
}

/// A distance of so many nanoseconds; `None` if that is no whole number of `unit`, or too many of them.
fn duration(nanoseconds: i128, unit: TimeUnit) -> Option<Expr> {
    let (length, make): (i128, fn(Option<i64>) -> ScalarValue) = match unit {
        TimeUnit::Second => (1_000_000_000, ScalarValue::DurationSecond),
        TimeUnit::Millisecond => (1_000_000, ScalarValue::DurationMillisecond),
        TimeUnit::Microsecond => (1_000, ScalarValue::DurationMicrosecond),
        TimeUnit::Nanosecond => (1, ScalarValue::DurationNanosecond),
    };
    let count = i64::try_from(nanoseconds / length).ok()?;
    (nanoseconds % length == 0).then(|| Expr::Literal(make(Some(count)), None))
}
