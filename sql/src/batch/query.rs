//! A query over the lake. Invariant: its plan reads only tables that were bound, and rows leave it one batch at a time.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use futures::executor::block_on;
use futures::stream::BoxStream;
use thalweg_engine::error::{Case, Error, Result};

use super::Sandbox;
use crate::bind::BoundQuery;
use crate::diagnostics::{self, Problem};
use crate::lower::Planner;
use crate::tables::LakeTable;

/// Rows of a query, as they are computed. Dropping it ends the query.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// A planned query over tables of the lake, at the versions they had when it was prepared.
pub struct BatchQuery {
    optimized: LogicalPlan,
    physical: Arc<dyn ExecutionPlan>,
    state: SessionState,
}

impl fmt::Debug for BatchQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchQuery({})", self.optimized.display())
    }
}

impl BatchQuery {
    /// Columns of its result.
    pub fn schema(&self) -> SchemaRef {
        self.physical.schema()
    }

    /// EXPLAIN: its plan.
    pub(crate) fn explain(&self) -> String {
        format!("{}\n", self.optimized.display_indent())
    }

    /// Starts it. Errors: `Unavailable` if it needs more memory, or room on disk for what does not fit into it, than there is, `Invalid` if a value cannot be computed,
    /// `Corrupt` if a file cannot be read; the same for each batch.
    pub async fn execute(self) -> Result<(SchemaRef, BatchStream)> {
        let schema = self.physical.schema();
        let stream = execute_stream(self.physical, self.state.task_ctx()).map_err(|e| execution_error(&e))?;
        Ok((schema, stream.map(|batch| batch.map_err(|e| execution_error(&e))).boxed()))
    }
}

/// Plans a bound query, up to the operators that run.
pub(crate) fn batch(sandbox: &Sandbox, bound: BoundQuery) -> diagnostics::Result<BatchQuery> {
    let state = sandbox.query_state();
    let planner = Planner::new(sandbox.state(), &bound.relations)?;
    let plan = || {
        let plan = planner.coerce(planner.plan(bound.query)?)?;
        verify(&plan)?;
        let optimized = state.optimize(&plan)?;
        // Tables of the lake are planned without waiting: their files are known.
        let physical = block_on(state.query_planner().create_physical_plan(&optimized, &state))?;
        Ok((optimized, physical))
    };
    let (optimized, physical) = plan().map_err(|p: Problem| bound.tokens.place(p))?;
    Ok(BatchQuery { optimized, physical, state })
}

/// The second wall behind binding: nothing but reading, and only our tables.
fn verify(plan: &LogicalPlan) -> diagnostics::Result<()> {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(plan)?;
    let mut foreign = None;
    plan.apply_with_subqueries(|node| {
        let ours = match node {
            LogicalPlan::TableScan(scan) => {
                source_as_provider(&scan.source).is_ok_and(|p| (p.as_ref() as &dyn std::any::Any).is::<LakeTable>())
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Unnest(_) => true,
            _ => false,
        };
        if !ours {
            foreign = Some(node.display().to_string());
        }
        Ok(if ours { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    match foreign {
        None => Ok(()),
        Some(node) => {
            Err(Problem::from(Error::invalid(format!("this form of query is not supported: {node}"))).hint("write SELECT … FROM table"))
        }
    }
}

/// What the caller should do about an error of a running query.
fn execution_error(error: &DataFusionError) -> Error {
    let root = error.find_root();
    let text = root.message().lines().next().unwrap_or("the query failed").to_owned();
    let no_room = || {
        Error::unavailable("there is no room on the disk for what the query puts aside")
            .of_case(Case::DiskFull)
            .hint("read fewer rows or columns, or free space on the disk")
    };
    match root {
        DataFusionError::IoError(e) if matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => no_room(),
        // Through Arrow's own files goes only what is put aside; beyond its bound that is an error without a kind.
        DataFusionError::ArrowError(e, _) if matches!(**e, ArrowError::IoError(..)) => no_room(),
        DataFusionError::ResourcesExhausted(_) => Error::unavailable(format!("the query needs more memory than it may have: {text}"))
            .hint("read fewer rows or columns, or group them; memory is shared with the queries of others"),
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            Error::corrupt(format!("a file of the lake cannot be read: {text}"))
        }
        DataFusionError::Internal(_) | DataFusionError::External(_) | DataFusionError::ExecutionJoin(_) => Error::internal(text),
        _ => Error::invalid(text),
    }
}
