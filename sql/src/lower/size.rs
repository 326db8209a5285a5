//! How large a plan is. Invariant: nothing recurses over a plan before its size has been checked here, without recursion.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::tokenizer::Location;
use thalweg_engine::limits::{SQL_PLAN_DEPTH_MAX, SQL_PLAN_NODES_MAX, SQL_SUBQUERY_DEPTH_MAX};

use crate::diagnostics::{Problem, Result};

/// Errors: too many nodes, too many one after the other, or too many subqueries one inside the other. A WITH counts each
/// time that it is used.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    let refused =
        |what: &str| Err(Problem::new(Location { line: 0, column: 0 }, what).hint("split the query, or store a part of it as a table"));
    let mut left = vec![(Arc::new(plan.clone()), 1_usize, 0_usize)];
    let mut nodes = 0;
    while let Some((node, depth, subqueries)) = left.pop() {
        nodes += 1;
        if nodes > SQL_PLAN_NODES_MAX || depth > SQL_PLAN_DEPTH_MAX {
            return refused("the query has too many steps");
        }
        if subqueries > SQL_SUBQUERY_DEPTH_MAX {
            return refused("subqueries are nested too deeply");
        }
        left.extend(node.inputs().into_iter().map(|input| (Arc::new(input.clone()), depth + 1, subqueries)));
        for subquery in subqueries_of(&node)? {
            left.push((subquery, depth + 1, subqueries + 1));
        }
    }
    Ok(())
}

/// The plans inside the expressions of a node.
fn subqueries_of(node: &LogicalPlan) -> Result<Vec<Arc<LogicalPlan>>> {
    let mut found = Vec::new();
    node.apply_expressions(|expression| {
        expression.apply(|e| {
            match e {
                Expr::ScalarSubquery(subquery) => found.push(subquery.subquery.clone()),
                Expr::Exists(exists) => found.push(exists.subquery.subquery.clone()),
                Expr::InSubquery(list) => found.push(list.subquery.subquery.clone()),
                Expr::SetComparison(comparison) => found.push(comparison.subquery.subquery.clone()),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}
