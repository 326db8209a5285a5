//! What a declared table brings with it. Invariant: a table is declared last, when its stream, lake tables, archive or reference
//! data are there; a failure before leaves nothing that the next try trips over.
//!
//! ```text
//! log, source  stream of the log · cold.<stream> for the first table over it · dlq.<table> · job archive.<table>
//! reference    its file as a version in memory, and a data set of the catalog
//! lake         warm.<table>
//! view         nothing
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thalweg_engine::contract::{LogStore, Options, Role};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::lake::{self, About, Classification, ColumnEntry, Kind, LakeTable, Namespace, Reference, TableSpec, Tier};
use thalweg_engine::reference::{ReferenceDefinition, ReferenceStore, Refreshed};
use thalweg_engine::runtime::ingest::ingest;
use thalweg_engine::runtime::{JobKind, JobSpec, Sinks, StartAt};
use thalweg_engine::time::Micros;
use thalweg_sql::{StreamInput, TableDefinition, TableKind};

use super::problems::{Change, Occasion, change};
use super::{Engine, lock};

const SOURCE_PAUSE_MIN: Duration = Duration::from_secs(1);
const SOURCE_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A reference table in use.
#[derive(Clone)]
pub(super) struct LoadedReference {
    pub(super) store: Arc<ReferenceStore>,
    refresh: Duration,
    looked_at: Duration,
    definition: Arc<TableDefinition>,
}

impl LoadedReference {
    /// Why its file cannot be used now; the version before stays in use.
    pub(super) fn problem(&self) -> Option<String> {
        self.store.last_error()
    }
}

impl Engine {
    /// Makes what the table needs and declares it.
    pub(super) fn make_table(&self, definition: &TableDefinition, occasion: Occasion) -> Result<()> {
        match &definition.kind {
            TableKind::Log { input } => self.make_stream(definition, input, occasion)?,
            TableKind::Source { input, .. } => {
                self.make_stream(definition, input, occasion)?;
                self.run_source(definition, input)?;
            }
            TableKind::Reference { path, format, refresh, .. } => self.load_reference(definition, path, format, *refresh)?,
            TableKind::Lake { .. } => {
                // Jobs that write it are refused; reading it says why.
                let _damaged_or_there = occasion.settle(self.lake_table(definition))?;
            }
            TableKind::View { .. } => {}
        }
        self.parts.session.declare(definition.clone())
    }

    fn make_stream(&self, definition: &TableDefinition, input: &StreamInput, occasion: Occasion) -> Result<()> {
        let scan = definition.scan().ok_or_else(|| Error::internal(format!("table {} has no stream", definition.name)))?;
        let log: Arc<dyn LogStore> = self.parts.logs.stream(&input.stream)?;
        let name = archive_name(&definition.name);
        let tables = occasion.settle(self.archive_tables(definition, input, &name))?;
        let app = name.clone();
        let sinks = move || -> Result<Sinks> {
            let (cold, dlq) = tables.as_ref().map_err(Error::clone)?;
            Ok(Sinks {
                main: cold.iter().map(|t| t.sink(&format!("{app}/main"))).collect::<Result<_>>()?,
                late: None,
                rejects: vec![dlq.sink(&format!("{app}/rejects"))?],
            })
        };
        self.parts.supervisor.start(JobSpec {
            name,
            sql: definition.sql.clone(),
            kind: JobKind::Archive { scan },
            logs: vec![log],
            sinks: Box::new(sinks),
            start: StartAt::Earliest,
            state_memory: None,
        })
    }

    /// The tables that a stream's archive writes: rejects always, all records for the first table over the stream.
    fn archive_tables(
        &self,
        definition: &TableDefinition,
        input: &StreamInput,
        job: &str,
    ) -> Result<(Option<Arc<LakeTable>>, Arc<LakeTable>)> {
        let first = !self.parts.session.tables().iter().any(|t| t.input().is_some_and(|i| i.stream == input.stream));
        let cold = if first { Some(self.cold_table(definition, input)?) } else { None };
        if let Some(cold) = &cold {
            check_archiver(cold, job, input)?;
        }
        Ok((cold, self.dlq_table(&definition.name)?))
    }

    fn cold_table(&self, definition: &TableDefinition, input: &StreamInput) -> Result<Arc<LakeTable>> {
        // What is computed is not kept: then the day of a row is that of its receipt.
        let time = definition.event_time().map(|i| &definition.columns[i]).filter(|c| c.computed().is_none());
        let time = time.map(|c| c.field.name().clone());
        self.parts.lake.create(TableSpec {
            namespace: Namespace::Cold,
            name: input.stream.clone(),
            schema: lake::cold_schema(&definition.stored_schema()),
            primary_key: Vec::new(),
            time_column: Some(time.unwrap_or_else(|| "_received_at".to_owned())),
            sort_columns: Vec::new(),
            about: self.derived(
                Kind::Telemetry,
                Tier::Cold,
                format!("every record of stream {}", input.stream),
                format!("stream {}", input.stream),
            ),
        })
    }

    /// The table of rejects of a table over a stream.
    pub(super) fn dlq_table(&self, table: &Name) -> Result<Arc<LakeTable>> {
        self.parts.lake.create(TableSpec {
            namespace: Namespace::Dlq,
            name: table.clone(),
            schema: lake::dlq_schema(),
            primary_key: Vec::new(),
            time_column: Some("_received_at".to_owned()),
            sort_columns: Vec::new(),
            about: self.derived(
                Kind::Reject,
                Tier::Warm,
                format!("records that table {table} could not use, and why"),
                format!("table {table}"),
            ),
        })
    }

    /// The table of late rows of a job.
    pub(super) fn late_table(&self, job: &Name) -> Result<Arc<LakeTable>> {
        self.parts.lake.create(TableSpec {
            namespace: Namespace::Late,
            name: job.clone(),
            schema: lake::late_schema(),
            primary_key: Vec::new(),
            time_column: Some("event_time".to_owned()),
            sort_columns: Vec::new(),
            about: self.derived(Kind::Late, Tier::Warm, format!("rows that came too late for job {job}"), format!("job {job}")),
        })
    }

    /// The table of the lake behind a declared one.
    pub(super) fn lake_table(&self, definition: &TableDefinition) -> Result<Arc<LakeTable>> {
        let TableKind::Lake { owner, description, classification, retention, tier } = &definition.kind else {
            return Err(Error::internal(format!("{} is no table of the lake", definition.name)));
        };
        if *tier == thalweg_sql::Tier::Cold {
            return Err(Error::invalid(format!("table {}: 'tier' = 'cold' is what a stream's archive writes", definition.name))
                .hint("declare results WITH ('tier' = 'warm')"));
        }
        let schema = definition.schema();
        let is_time = |f: &&arrow::datatypes::FieldRef| *f.data_type() == thalweg_engine::time::timestamp_type();
        let time = schema.fields().iter().find(is_time).map(|f| f.name().clone());
        let Config { default_owner, default_description } = self.defaults();
        let mut defaulted = Vec::new();
        for (what, value, default) in [("owner", owner, default_owner), ("description", description, default_description)] {
            if *value == default {
                defaulted.push(what.to_owned());
            }
        }
        self.parts.lake.create(TableSpec {
            namespace: Namespace::Warm,
            name: definition.name.clone(),
            schema,
            primary_key: definition.primary_key.clone(),
            time_column: time,
            sort_columns: definition.partitioned_by.clone(),
            about: About {
                owner: owner.clone(),
                description: description.clone(),
                source: format!("job {}", definition.name),
                kind: Kind::Aggregate,
                tier: Tier::Warm,
                classification: classification_of(*classification),
                retention: retention.map_or_else(|| "forever".to_owned(), |d| format!("PT{}S", d.as_secs())),
                defaulted,
            },
        })
    }

    fn derived(&self, kind: Kind, tier: Tier, description: String, source: String) -> About {
        About {
            owner: self.defaults().default_owner,
            description,
            source,
            kind,
            tier,
            classification: Classification::Internal,
            retention: "forever".to_owned(),
            defaulted: vec!["owner".to_owned()],
        }
    }

    fn defaults(&self) -> Config {
        let config = self.parts.session.config();
        Config { default_owner: config.default_owner.clone(), default_description: config.default_description.clone() }
    }

    fn load_reference(&self, definition: &TableDefinition, path: &str, format: &str, refresh: Duration) -> Result<()> {
        let source = ReferenceDefinition {
            name: definition.name.clone(),
            path: self.parts.root.join(Path::new(path)),
            format: format.to_owned(),
            schema: definition.schema(),
            primary_key: definition.primary_key.clone(),
        };
        let now = self.parts.clock.now();
        let store = ReferenceStore::open(&self.parts.layout.references, self.parts.disk.clone(), source, now)
            .map_err(|e| if e.hint_text().is_none() { e.hint("a relative path starts at the data directory") } else { e })?;
        let loaded = LoadedReference {
            store: Arc::new(store),
            refresh,
            looked_at: self.parts.clock.monotonic(),
            definition: Arc::new(definition.clone()),
        };
        // The data are there; a catalog that cannot be written now is written by the next refresh.
        if let Err(error) = self.register_reference(&loaded, now) {
            tracing::warn!(table = %definition.name, %error, "the catalog could not take a reference table");
        }
        lock(&self.references).insert(definition.name.clone(), loaded);
        Ok(())
    }

    /// Has the catalog list reference tables that are declared, and no others; what cannot be written now is by the next start.
    pub(super) fn catalog_declared_references(&self) {
        let declared: BTreeSet<Name> = lock(&self.references).keys().cloned().collect();
        if let Err(error) = self.parts.lake.retain_references(|name| declared.contains(name)) {
            tracing::warn!(%error, "a reference table that was dropped stays in the catalog");
        }
    }

    fn register_reference(&self, loaded: &LoadedReference, now: Micros) -> Result<()> {
        let definition = &loaded.definition;
        let TableKind::Reference { path, about, owner, .. } = &definition.kind else {
            return Err(Error::internal(format!("{} is no reference table", definition.name)));
        };
        let versions = loaded.store.table().versions();
        let newest = versions.last().ok_or_else(|| Error::internal(format!("reference table {} has no version", definition.name)))?;
        let column = |c: &thalweg_engine::plan::Column| ColumnEntry {
            name: c.field.name().clone(),
            sql_type: thalweg_engine::batch::type_name(c.field.data_type()).to_owned(),
            nullable: c.field.is_nullable(),
        };
        let description = if about.is_empty() { self.defaults().default_description } else { about.clone() };
        self.parts.lake.register_reference(Reference {
            name: definition.name.clone(),
            path: path.clone(),
            columns: definition.columns.iter().map(column).collect(),
            rows: newest.content.rows.num_rows() as u64,
            sha256: newest.content.sha256.clone(),
            loaded_at: now,
            about: About { owner: owner.clone(), ..self.derived(Kind::Reference, Tier::Warm, description, format!("file {path}")) },
        })
    }

    /// Looks at reference files whose interval has passed. A broken file is reported once and the old version stays.
    pub fn refresh_references(&self) {
        let monotonic = self.parts.clock.monotonic();
        let mut due = Vec::new();
        // Reading a large file takes long; who asks for problems meanwhile does not wait for it.
        for (name, loaded) in lock(&self.references).iter_mut() {
            if monotonic.saturating_sub(loaded.looked_at) >= loaded.refresh {
                loaded.looked_at = monotonic;
                due.push((name.clone(), loaded.clone()));
            }
        }
        for (name, loaded) in due {
            let now = self.parts.clock.now();
            let before = loaded.problem();
            let refreshed = loaded.store.refresh(now);
            match change(before.as_deref(), loaded.problem().as_deref()) {
                Change::Came => {
                    let problem = loaded.problem().unwrap_or_default();
                    tracing::error!("{problem}; the version before stays in use, the file is looked at again");
                }
                Change::Went => tracing::info!(table = %name, "the file of a reference table can be used again"),
                Change::None => {}
            }
            match refreshed {
                Ok(Refreshed::Unchanged) | Err(_) => {}
                Ok(Refreshed::Loaded { rows, .. }) => {
                    tracing::info!(table = %name, rows, "a new version of a reference table is in use");
                    let is_there = lock(&self.references).contains_key(&name);
                    if is_there && let Err(error) = self.register_reference(&loaded, now) {
                        tracing::error!(table = %name, %error, "the catalog could not take the new version");
                    }
                }
            }
        }
    }

    fn run_source(&self, definition: &TableDefinition, input: &StreamInput) -> Result<()> {
        let TableKind::Source { connector, options, .. } = &definition.kind else { return Ok(()) };
        let Role::Source(open) = connector.role else {
            return Err(Error::internal(format!("connector {} is no source", connector.name)));
        };
        let log: Arc<dyn LogStore> = self.parts.logs.stream(&input.stream)?;
        let (options, name, counters) = (options.clone(), definition.name.clone(), self.parts.counters.clone());
        let task = self.parts.handle.spawn(async move {
            let mut pause = SOURCE_PAUSE_MIN;
            loop {
                let began = tokio::time::Instant::now();
                let result = match open(&mut Options::new(options.clone())) {
                    Ok(mut source) => ingest(source.as_mut(), &log, &counters).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = result {
                    tracing::warn!(table = %name, %error, pause_s = pause.as_secs(), "a source ended; it is opened again");
                }
                pause = if began.elapsed() > SOURCE_PAUSE_MAX { SOURCE_PAUSE_MIN } else { pause };
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SOURCE_PAUSE_MAX);
            }
        });
        lock(&self.sources).insert(definition.name.clone(), task.abort_handle());
        Ok(())
    }
}

struct Config {
    default_owner: String,
    default_description: String,
}

/// Name of the job that archives a table's stream.
pub(super) fn archive_name(table: &Name) -> String {
    format!("archive.{table}")
}

/// A stream is archived once: by the table that archived it first. Errors: `Conflict` if that was another one.
fn check_archiver(cold: &LakeTable, job: &str, input: &StreamInput) -> Result<()> {
    if cold.snapshot()?.rows == 0 || cold.has_commits_of(&format!("{job}/main"))? {
        return Ok(());
    }
    Err(Error::conflict(format!("stream {} was archived through a table of another name", input.stream))
        .hint("declare it under the name that it had; further tables over the stream may follow"))
}

fn classification_of(classification: thalweg_sql::Classification) -> Classification {
    match classification {
        thalweg_sql::Classification::Public => Classification::Public,
        thalweg_sql::Classification::Internal => Classification::Internal,
        thalweg_sql::Classification::Confidential => Classification::Confidential,
        thalweg_sql::Classification::Personal => Classification::Personal,
    }
}
