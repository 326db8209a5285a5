//! What DataFusion gets to see. Invariant: no catalog, no files but the lake's and those of its own scratch directory, no settings
//! that a query could change, and one bounded pool of memory and of disk for all queries together.
//!
//! With a scratch directory, queries get equal shares of the memory and put aside on disk what does not fit; without one, whoever
//! comes first gets it, and what does not fit is an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::prelude::SessionConfig;
use thalweg_engine::error::Result;
use thalweg_engine::limits::QUERY_SPILL_BYTES_MAX;

use super::store::LakeStore;
use crate::functions::Functions;
use crate::lower::{MapKeys, TimestampTypes};

/// Makes the state for planning and for each query.
pub(crate) struct Sandbox {
    state: SessionState,
}

impl Sandbox {
    /// Over the lake below `lake_root`, with these functions. Queries may put aside what does not fit into memory below `spill`,
    /// if there is one, which must exist.
    pub(crate) fn new(lake_root: PathBuf, memory_limit_bytes: usize, spill: Option<&Path>, functions: &Functions) -> Result<Self> {
        let mut config = SessionConfig::new().with_information_schema(false).with_create_default_catalog_and_schema(false);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.collect_spans = true;
        options.sql_parser.default_null_ordering = "nulls_min".to_owned();
        options.execution.enable_recursive_ctes = false;
        options.execution.time_zone = None;
        let planners = SessionStateDefaults::default_expr_planners();
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::new(runtime(LakeStore::new(lake_root), memory_limit_bytes, spill).build()?))
            .with_expr_planners(std::iter::once(Arc::new(MapKeys) as Arc<dyn ExprPlanner>).chain(planners).collect())
            .with_type_planner(Arc::new(TimestampTypes))
            .with_scalar_functions(functions.scalars.clone())
            .with_aggregate_functions(functions.aggregates.clone())
            .with_window_functions(functions.windows.clone())
            .build();
        Ok(Self { state })
    }

    /// Lets queries put aside so many bytes more than they have, and all together no more than their bound.
    pub(crate) fn bound_spill(&self, room: u64) -> Result<()> {
        let disk = &self.state.runtime_env().disk_manager;
        if disk.tmp_files_enabled() {
            disk.set_max_temp_directory_size(disk.used_disk_space().saturating_add(room).min(QUERY_SPILL_BYTES_MAX))?;
        }
        Ok(())
    }

    /// For planning only.
    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    /// For one query: its own "now".
    pub(crate) fn query_state(&self) -> SessionState {
        let mut state = self.state.clone();
        state.mark_start_execution();
        state
    }
}

fn runtime(store: LakeStore, memory_limit_bytes: usize, spill: Option<&Path>) -> RuntimeEnvBuilder {
    let pool: Arc<dyn MemoryPool> = match spill {
        Some(_) => Arc::new(FairSpillPool::new(memory_limit_bytes)),
        None => Arc::new(GreedyMemoryPool::new(memory_limit_bytes)),
    };
    let mode = spill.map_or(DiskManagerMode::Disabled, |directory| DiskManagerMode::Directories(vec![directory.to_owned()]));
    RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(store))
        .with_memory_pool(pool)
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(QUERY_SPILL_BYTES_MAX))
}
