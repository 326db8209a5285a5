//! One Delta table of the lake. Invariant: the state that readers get is the state after the newest commit of this process;
//! commits go through `commit::CommitGuard`, one at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, Weak};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::{Metadata, MetadataExt};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableError};
use url::Url;

use crate::contract::Sink;
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::lake::about::{About, Namespace};
use crate::lake::commit::Progress;
use crate::lake::environment::Environment;
use crate::lake::keyed::KeyedSink;
use crate::lake::layout::{Layout, Level};
use crate::lake::schema;
use crate::lake::sink::AppendSink;
use crate::lake::snapshot::TableSnapshot;
use crate::lake::store::DurableStore;
use crate::lake::sweep::modified_at;
use crate::limits::{LAKE_BUCKETS, LAKE_CHECKPOINT_COMMITS, LAKE_SWEEP_S_MAX};
use crate::locks::{lock, read, write};
use crate::time::{MILLISECOND, Micros};

const TIME_COLUMN: &str = "lake.time_column";
const SORT_COLUMNS: &str = "lake.sort_columns";
const PRIMARY_KEY: &str = "lake.primary_key";
const BUCKETS: &str = "lake.buckets";

/// A table to create.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Which kind of table.
    pub namespace: Namespace,
    /// Its name within the namespace.
    pub name: Name,
    /// Columns in the engine's types; `date` is reserved.
    pub schema: SchemaRef,
    /// Columns by which rows replace each other, none of them nullable: the table then holds of each key the newest row. If empty,
    /// rows are only added. Tables of results may have one.
    pub primary_key: Vec<String>,
    /// Column whose UTC day is the partition. Where it is NULL, `_received_at` stands in if there is one, else the day of
    /// writing. A table with a primary key is not partitioned, and this is what its freshness is told by.
    pub time_column: Option<String>,
    /// Columns that sealed files are sorted by first; the device id (if there is one) and the time follow. Files of a table with a primary
    /// key are sorted by the key alone.
    pub sort_columns: Vec<String>,
    /// What people should know of it.
    pub about: About,
}

/// A table at one version of its log.
pub(super) struct TableState {
    pub(super) delta: DeltaTableState,
    committed_at: Micros,
    snapshot: OnceLock<Arc<TableSnapshot>>,
}

impl TableState {
    pub(super) fn new(delta: DeltaTableState, committed_at: Micros) -> Arc<Self> {
        Arc::new(Self { delta, committed_at, snapshot: OnceLock::new() })
    }
}

/// A table of the lake, shared by sinks, maintenance and readers.
pub struct LakeTable {
    pub(super) environment: Arc<Environment>,
    pub(super) log_store: LogStoreRef,
    pub(super) layout: Arc<Layout>,
    pub(super) progress: Mutex<Progress>,
    /// Held by who seals or merges. True once the table was opened anew with other columns: then nobody does in this one any more.
    pub(super) maintenance: Mutex<bool>,
    /// Sink that writes the rows of a primary key, while it lives.
    pub(super) claimed: Mutex<Weak<String>>,
    namespace: Namespace,
    name: Name,
    path: PathBuf,
    schema: SchemaRef,
    state: RwLock<Arc<TableState>>,
}

impl std::fmt::Debug for LakeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeTable").field("name", &self.full_name()).field("path", &self.path).finish_non_exhaustive()
    }
}

impl LakeTable {
    /// Makes a new table. Errors: `Invalid` for columns the lake cannot hold or missing descriptions.
    pub(super) fn create(environment: &Arc<Environment>, spec: &TableSpec) -> Result<Arc<Self>> {
        let mut columns = schema::to_delta(&spec.schema)?;
        let layout = check_spec(spec)?;
        let partitions = if layout.key.is_none() { vec![schema::DATE] } else { Vec::new() };
        columns.extend(layout.key.is_none().then(schema::partition));
        let path = table_path(environment, spec.namespace, &spec.name);
        environment.durable.create_dir_all(&path.join("_delta_log"))?;
        let log_store = log_store(environment, &path)?;
        let create = CreateBuilder::new()
            .with_log_store(log_store.clone())
            .with_table_name(spec.name.as_str())
            .with_comment(&spec.about.description)
            .with_columns(columns)
            .with_partition_columns(partitions)
            .with_configuration(properties(spec, &layout, environment.history)?.into_iter().map(|(k, v)| (k, Some(v))))
            .with_raise_if_key_not_exists(false);
        environment.wait(async move { create.await })?;
        Self::open(environment, spec.namespace, spec.name.clone())
    }

    /// Opens the newest version of a table. Errors: `Corrupt` if its log cannot be read, or its last commits are not whole.
    pub(super) fn open(environment: &Arc<Environment>, namespace: Namespace, name: Name) -> Result<Arc<Self>> {
        let path = table_path(environment, namespace, &name);
        let log_store = log_store(environment, &path)?;
        if environment.check_owner().is_ok() {
            environment.durable.sync_dir(&path.join("_delta_log"))?;
        }
        crate::lake::verify::check_last_commits(&path)?;
        let state = load(environment, &log_store, &path).map_err(|e| {
            Error::corrupt(format!("the log of lake table {namespace:?} {name} cannot be read: {}", e.message()))
                .hint("restore the table's directory from a backup")
        })?;
        let configuration = state.delta.metadata().configuration();
        let columns = schema::from_delta(&state.delta.schema()).map_err(|e| e.context(format!("lake table {}", path.display())))?;
        let layout = Arc::new(layout_of(columns, configuration).map_err(|e| e.context(format!("lake table {}", path.display())))?);
        let schema = if layout.key.is_some() { layout.columns.clone() } else { schema::with_date(&layout.columns) };
        let table = Arc::new(Self {
            environment: environment.clone(),
            log_store,
            layout,
            progress: Mutex::default(),
            maintenance: Mutex::default(),
            claimed: Mutex::default(),
            namespace,
            name,
            path,
            schema,
            state: RwLock::new(state),
        });
        if table.environment.check_owner().is_ok() {
            table.remove_unfinished_seals()?;
            // Those who read it need not know that there is nothing in it yet.
            if let Err(e) = table.make_sealed_directory() {
                tracing::warn!(table = table.full_name(), error = %e, "the directory of sealed files could not be made");
            }
            // The log forgets old files that nobody was there to remove.
            if let Err(e) = table.sweep(table.environment.now()) {
                tracing::warn!(table = table.full_name(), error = %e, "replaced files could not be removed");
            }
        }
        Ok(table)
    }

    fn make_sealed_directory(&self) -> Result<()> {
        let path = self.path.join(Level::Sealed.directory());
        if self.layout.key.is_none() && !path.exists() {
            self.environment.durable.create_dir_all(&path)?;
        }
        Ok(())
    }

    /// Takes over a new description. Errors: `Conflict` if columns or partitioning differ from the table's.
    pub(super) fn adopt(self: &Arc<Self>, spec: &TableSpec) -> Result<()> {
        let layout = check_spec(spec)?;
        let difference = schema::difference(&self.layout.columns, &spec.schema);
        let difference = difference.or_else(|| (layout.time != self.layout.time).then(|| "another time column".to_owned()));
        let (key, wanted_key) = (self.layout.key_names(), layout.key_names());
        let difference = difference.or_else(|| (key != wanted_key).then(|| format!("its primary key is ({})", key.join(", "))));
        let sorted = || format!("its rows lie by ({})", self.layout.sort_names().join(", "));
        let difference = difference.or_else(|| (layout.sort != self.layout.sort).then(sorted));
        if let Some(difference) = difference {
            return Err(Error::conflict(format!("lake table {} exists with other columns: {difference}", self.full_name()))
                .hint("use another name, or move the old table away"));
        }
        let state = self.state();
        let old = state.delta.metadata().configuration();
        let wanted = properties(spec, &layout, self.environment.history)?;
        // Rows stay in the buckets that they are in.
        let is_changed = |(key, value): &(String, String)| key != BUCKETS && old.get(key) != Some(value);
        let changed: HashMap<String, String> = wanted.into_iter().filter(is_changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        self.begin().set_properties(changed)
    }

    /// A sink that commits as `app_id`, which must be unique within the lake and stable across restarts. Errors: `Conflict` if the
    /// table has a primary key and another sink writes it.
    pub fn sink(self: &Arc<Self>, app_id: &str) -> Result<Box<dyn Sink>> {
        if app_id.is_empty() || app_id.starts_with(crate::lake::compact::APP_ID_PREFIX) {
            return Err(Error::invalid(format!("sink id {app_id:?} is reserved")));
        }
        Ok(match self.layout.key {
            Some(_) => Box::new(KeyedSink::new(self.clone(), app_id)?),
            None => Box::new(AppendSink::new(self.clone(), app_id)?),
        })
    }

    /// Whether rows were ever committed as `app_id`.
    pub fn has_commits_of(&self, app_id: &str) -> Result<bool> {
        Ok(self.begin().version(app_id)? != 0)
    }

    /// The table after its newest commit. Costs nothing until there is another one.
    pub fn snapshot(&self) -> Result<Arc<TableSnapshot>> {
        let state = self.state();
        if let Some(snapshot) = state.snapshot.get() {
            return Ok(snapshot.clone());
        }
        let snapshot = TableSnapshot::read(&state.delta, &self.path, self.schema.clone(), &self.layout, state.committed_at)?;
        Ok(state.snapshot.get_or_init(|| Arc::new(snapshot)).clone())
    }

    /// What people should know of it.
    pub fn about(&self) -> About {
        About::from_properties(self.state().delta.metadata().configuration())
    }

    /// Columns in the engine's types, the partition `date` last if there is one. Rows are written without it.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Columns of the rows that a sink takes.
    pub fn columns(&self) -> &SchemaRef {
        &self.layout.columns
    }

    /// Columns by which rows replace each other; none if rows are only added.
    pub fn primary_key(&self) -> Vec<String> {
        self.layout.key_names()
    }

    /// Column with the time of a row; its day is the partition.
    pub fn time_column(&self) -> Option<&str> {
        self.layout.time.map(|i| self.layout.columns.field(i).name().as_str())
    }

    /// Which kind of table.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Name within the namespace.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// `cold.telemetry`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.namespace.as_str(), self.name)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn state(&self) -> Arc<TableState> {
        read(&self.state).clone()
    }

    pub(super) fn set_state(&self, state: Arc<TableState>) {
        *write(&self.state) = state;
    }

    pub(super) fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    /// The Delta library's own view of the table.
    pub(super) fn delta_table(&self) -> DeltaTable {
        let mut table = DeltaTable::new(self.log_store.clone());
        table.state = Some(self.state().delta.clone());
        table
    }
}

fn table_path(environment: &Environment, namespace: Namespace, name: &Name) -> PathBuf {
    environment.root.join(namespace.as_str()).join(name.as_str())
}

fn log_store(environment: &Environment, path: &Path) -> Result<LogStoreRef> {
    let url = Url::from_directory_path(path).map_err(|()| Error::invalid(format!("{} is not an absolute path", path.display())))?;
    let below = DurableStore::below(path, environment.durable.clone())
        .map_err(|e| Error::internal(format!("lake table {}: {e}", path.display())))?;
    let whole = DurableStore::whole_disk(environment.durable.clone());
    Ok(default_logstore(Arc::new(below), Arc::new(whole), &url, &StorageConfig::default()))
}

/// Reads the newest version from the log of the table at `path`.
pub(super) fn load(environment: &Environment, log_store: &LogStoreRef, path: &Path) -> Result<Arc<TableState>> {
    let mut table = DeltaTable::new(log_store.clone());
    environment.wait(table.load())?;
    let state = table.state.ok_or_else(|| Error::internal("delta: a loaded table has no state"))?;
    // The library does not know it of a version that is a checkpoint as well.
    let commit = path.join("_delta_log").join(format!("{:020}.json", state.version()));
    let written = || modified_at(&commit).ok();
    let committed_at = state.version_timestamp(state.version()).map(|t| t * MILLISECOND).or_else(written).unwrap_or(0);
    Ok(TableState::new(state, committed_at))
}

fn check_spec(spec: &TableSpec) -> Result<Layout> {
    spec.about.check()?;
    for name in spec.sort_columns.iter().chain(&spec.time_column) {
        if spec.schema.index_of(name).is_err() {
            return Err(Error::invalid(format!("lake table {}: there is no column '{name}'", spec.name)));
        }
    }
    let (columns, time) = (spec.schema.clone(), spec.time_column.as_deref());
    let layout = match spec.primary_key.as_slice() {
        [] => Layout::new(columns, time, &spec.sort_columns),
        key if spec.namespace == Namespace::Warm => {
            Layout::keyed(columns, time, key, LAKE_BUCKETS).map_err(|e| e.context(format!("lake table {}", spec.name)))?
        }
        _ => return Err(Error::invalid(format!("lake table {}: only tables of results have a primary key", spec.name))),
    };
    let wrong = layout.time.filter(|&i| *spec.schema.field(i).data_type() != crate::time::timestamp_type());
    if let Some(i) = wrong {
        return Err(Error::invalid(format!("lake table {}: column '{}' is not a TIMESTAMP", spec.name, spec.schema.field(i).name())));
    }
    Ok(layout)
}

/// The layout that a table was made with.
fn layout_of(columns: SchemaRef, configuration: &HashMap<String, String>) -> Result<Layout> {
    let names = |key: &str| configuration.get(key).map_or(Ok(Vec::new()), |text| serde_json::from_str::<Vec<String>>(text));
    let (key, sort, time) = (names(PRIMARY_KEY)?, names(SORT_COLUMNS)?, configuration.get(TIME_COLUMN).map(String::as_str));
    if key.is_empty() {
        return Ok(Layout::new(columns, time, &sort));
    }
    let buckets = configuration.get(BUCKETS).and_then(|text| text.parse::<u16>().ok());
    let buckets = buckets.ok_or_else(|| Error::corrupt(format!("property {BUCKETS} of a table with a primary key is no number")))?;
    Layout::keyed(columns, time, &key, buckets.into()).map_err(|e| Error::corrupt(e.message()))
}

fn properties(spec: &TableSpec, layout: &Layout, history: Duration) -> Result<HashMap<String, String>> {
    let mut properties = spec.about.to_properties()?;
    properties.insert("delta.checkpointInterval".into(), LAKE_CHECKPOINT_COMMITS.to_string());
    // What was replaced is gone after its history, so older versions could not be read; at a commit a second a week of them would be a
    // million files, which every commit lists. The log is kept twice as long, so that it knows what is to be removed until it is.
    // Of what was removed it forgets sooner: each commit and checkpoint carries all of it.
    let history = history.as_secs();
    for (property, seconds) in
        [("delta.deletedFileRetentionDuration", history + history.min(LAKE_SWEEP_S_MAX)), ("delta.logRetentionDuration", 2 * history)]
    {
        properties.insert(property.into(), format!("interval {seconds} seconds"));
    }
    if !layout.statistics.is_empty() {
        properties.insert("delta.dataSkippingStatsColumns".into(), layout.statistics_property());
    }
    if let Some(time) = &spec.time_column {
        properties.insert(TIME_COLUMN.into(), time.clone());
    }
    properties.insert(SORT_COLUMNS.into(), serde_json::to_string(&spec.sort_columns)?);
    if let Some(key) = &layout.key {
        properties.insert(PRIMARY_KEY.into(), serde_json::to_string(&spec.primary_key)?);
        properties.insert(BUCKETS.into(), key.buckets.to_string());
    }
    Ok(properties)
}

/// A table's metadata with other properties; identity, columns and partitioning stay.
pub(super) fn metadata_with(metadata: &Metadata, changed: &HashMap<String, String>) -> Result<Metadata, DeltaTableError> {
    let mut metadata = metadata.clone();
    for (key, value) in changed {
        metadata = metadata.add_config_key(key.clone(), value.clone())?;
        if key == "lake.description" {
            metadata = metadata.with_description(value.clone())?;
        }
    }
    Ok(metadata)
}
