//! The rules of DataFusion's optimizer that the plan of a stream goes through. Invariant: each keeps the meaning of a query over rows
//! that never end; rules that look at statistics, order or limits are left out.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as PlanResult};
use datafusion::logical_expr::logical_plan::{Aggregate, Projection};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};

use super::markers;
use crate::diagnostics::Result;

/// Conditions as early and columns as few as possible, subqueries as joins, DISTINCT as grouping.
pub(super) fn optimize(plan: LogicalPlan, options: &Arc<ConfigOptions>) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let context = OptimizerContext::new_with_config_options(options.clone()).without_query_execution_start_time();
    let plan = plan.transform_up(windows_first)?.data;
    Ok(Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})?)
}

/// Windows that stand in GROUP BY become columns of what is grouped: a condition on a group would be moved before the grouping, and a
/// condition on a window further, to where its time is none.
fn windows_first(plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(node) = &plan else { return Ok(Transformed::no(plan)) };
    let is_window = |e: &&Expr| markers::window(e).is_some();
    if !node.group_expr.iter().any(|e| is_window(&e)) {
        return Ok(Transformed::no(plan));
    }
    let name = |e: &Expr| e.schema_name().to_string();
    let mut columns: Vec<Expr> = node.input.schema().columns().into_iter().map(Expr::Column).collect();
    columns.extend(node.group_expr.iter().filter(is_window).map(|e| e.clone().alias(name(e))));
    let column = |e: &Expr| if is_window(&e) { Expr::Column(Column::new_unqualified(name(e))) } else { e.clone() };
    let groups = node.group_expr.iter().map(column).collect();
    let input = Arc::new(LogicalPlan::Projection(Projection::try_new(columns, node.input.clone())?));
    Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(input, groups, node.aggr_expr.clone())?)))
}
