//! DataFusion's planner over our tables. Invariant: it sees only the tables of one query and the functions of our lists; it has
//! no files, no table functions, no variables and no settings.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, TableReference, plan_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ExprPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::{ContextProvider, SqlToRel};
use sqlparser::ast::{DataType as SqlType, Query, Statement};

use super::{comparisons, markers, size, unnest};
use crate::bind::{Relation, RelationKind};
use crate::diagnostics::Result;
use crate::tables::Marker;
use crate::types;

/// Plans the queries of one statement.
pub(crate) struct Planner<'a> {
    state: &'a SessionState,
    sources: HashMap<String, Arc<dyn TableSource>>,
}

impl<'a> Planner<'a> {
    /// Over the tables of a query.
    ///
    /// Errors: `Invalid` if UNNEST takes what is no list, or has too few names or too many.
    pub(crate) fn new(state: &'a SessionState, relations: &[Relation]) -> Result<Self> {
        let mut planner = Self { state, sources: HashMap::new() };
        for relation in relations {
            let source: Arc<dyn TableSource> = match &relation.kind {
                RelationKind::Stream { definition } | RelationKind::Reference { definition, .. } => {
                    Arc::new(Marker::new(definition.schema()))
                }
                RelationKind::Lake(table) => provider_as_source(table.clone()),
                // The tables that its list is made of stand before it.
                RelationKind::Elements(elements) => {
                    let list = planner.plan(elements.list.clone())?;
                    Arc::new(Marker::new(unnest::schema(list.schema().field(0).data_type(), elements, relation.at)?))
                }
            };
            planner.sources.insert(relation.key.clone(), source);
        }
        Ok(planner)
    }

    /// The logical plan of a query, before types are coerced. Its size is checked.
    pub(crate) fn plan(&self, query: Box<Query>) -> Result<LogicalPlan> {
        let plan = SqlToRel::new(self).sql_statement_to_plan(Statement::Query(query))?;
        size::check(&plan)?;
        Ok(plan)
    }

    /// The same plan with types coerced.
    pub(crate) fn coerce(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = comparisons::align(plan)?;
        Ok(self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})?)
    }

    /// Options that it plans with.
    pub(super) fn options(&self) -> &Arc<ConfigOptions> {
        self.state.config_options()
    }

    /// What it plans with.
    pub(crate) fn state(&self) -> &SessionState {
        self.state
    }
}

/// STRING and TIMESTAMP as a stream carries them, instead of DataFusion's own.
#[derive(Debug)]
pub(crate) struct TimestampTypes;

impl TypePlanner for TimestampTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> datafusion::error::Result<Option<FieldRef>> {
        Ok(types::query_type(sql_type).map(|data_type| Arc::new(Field::new("", data_type, true))))
    }
}

impl ContextProvider for Planner<'_> {
    fn get_table_source(&self, name: TableReference) -> datafusion::error::Result<Arc<dyn TableSource>> {
        let TableReference::Bare { table } = &name else { return Err(unknown(&name)) };
        self.sources.get(table.as_ref()).cloned().ok_or_else(|| unknown(&name))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(TimestampTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned().or_else(|| markers::function(name))
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

fn unknown(name: &TableReference) -> DataFusionError {
    plan_datafusion_err!("table '{name}' does not exist")
}
