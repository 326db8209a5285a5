//! What DataFusion gets to see. Invariant: no catalog, no files but the lake's, no spilling to disk, no settings that a query
//! could change, and a pool of memory for each query.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use thalweg_engine::error::Result;

use super::store::LakeStore;
use crate::functions::Functions;
use crate::lower::TimestampTypes;

/// Makes the state for planning and for each query.
pub(crate) struct Sandbox {
    state: SessionState,
    store: Arc<LakeStore>,
    memory_limit_bytes: usize,
}

impl Sandbox {
    /// Over the lake below `lake_root`, with these functions.
    pub(crate) fn new(lake_root: PathBuf, memory_limit_bytes: usize, functions: &Functions) -> Result<Self> {
        let mut config = SessionConfig::new().with_information_schema(false).with_create_default_catalog_and_schema(false);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.collect_spans = true;
        options.sql_parser.default_null_ordering = "nulls_min".to_owned();
        options.execution.enable_recursive_ctes = false;
        options.execution.time_zone = None;
        let store = Arc::new(LakeStore::new(lake_root));
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::new(runtime(&store, memory_limit_bytes).build()?))
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_type_planner(Arc::new(TimestampTypes))
            .with_scalar_functions(functions.scalars.clone())
            .with_aggregate_functions(functions.aggregates.clone())
            .with_window_functions(functions.windows.clone())
            .build();
        Ok(Self { state, store, memory_limit_bytes })
    }

    /// For planning only.
    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    /// For one query: its own pool of memory, and its own "now".
    pub(crate) fn query_state(&self) -> Result<SessionState> {
        let runtime = Arc::new(runtime(&self.store, self.memory_limit_bytes).build()?);
        let mut state = SessionStateBuilder::new_from_existing(self.state.clone()).with_runtime_env(runtime).build();
        state.mark_start_execution();
        Ok(state)
    }
}

fn runtime(store: &Arc<LakeStore>, memory_limit_bytes: usize) -> RuntimeEnvBuilder {
    RuntimeEnvBuilder::new()
        .with_object_store_registry(store.clone())
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_limit_bytes)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
}
