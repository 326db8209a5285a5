//! Tables, rows and queries of an SQL file. Invariant: a SELECT over streams sees everything that was fed before it, and is run in all
//! ways.
//!
//! Beside SQL a file may say `FEED <stream>` followed by lines `<device> <payload>`, `FILE <path>` followed by its content, and `WAYS 1`
//! where rows are late: which ones depends on how devices lie in partitions, so that only one partition is used.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::plan::{JobPlan, Stage};
use thalweg_engine::reference::{ReferenceDefinition, ReferenceStore, ReferenceTable};
use thalweg_engine::system::RealDisk;
use thalweg_engine::time::{DAY, Micros};
use thalweg_sql::{BatchQuery, LakeCatalog, LakeFiles, Session, SessionConfig, Settings, Statement, TableKind};

use crate::rows::{folded, shown, stored};
use crate::run::{WAYS, Way, run};

/// When the first record is received: 2026-01-02, later than the event times of the files.
const RECEIVED: Micros = 20_455 * DAY;

/// A record.
#[derive(Debug, Clone)]
pub struct Fed {
    /// Stream.
    pub stream: String,
    /// Device.
    pub device: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// When it was received.
    pub received: Micros,
}

/// Tables and what was fed to them.
pub struct Database {
    session: Session,
    settings: Settings,
    directory: tempfile::TempDir,
    references: Vec<Arc<ReferenceTable>>,
    fed: Vec<Fed>,
    ways: Vec<Way>,
    /// Queries that were run.
    pub queries: usize,
}

struct NoLake;

impl LakeCatalog for NoLake {
    fn table(&self, _: &str, _: &str) -> Result<Option<LakeFiles>> {
        Ok(None)
    }

    fn list(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl Database {
    /// Without tables.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = SessionConfig {
            connectors: thalweg_connectors::CONNECTORS,
            formats: thalweg_engine::decode::FORMAT_NAMES,
            default_owner: "tests@example.com".to_owned(),
            default_description: "a test".to_owned(),
            lake_root: directory.path().to_owned(),
            memory_limit_bytes: 256 << 20,
            spill: None,
        };
        let session = Session::new(config, Arc::new(NoLake))?;
        Ok(Self {
            session,
            settings: Settings::default(),
            directory,
            references: Vec::new(),
            fed: Vec::new(),
            ways: WAYS.to_vec(),
            queries: 0,
        })
    }

    /// Adds a record.
    pub fn feed(&mut self, stream: &str, device: &str, payload: &[u8]) {
        let received = RECEIVED + self.fed.len() as Micros;
        self.fed.push(Fed { stream: stream.to_owned(), device: device.to_owned(), payload: payload.to_vec(), received });
    }

    /// Carries out a statement that is no query over streams; gives the plan of one that is.
    pub fn prepare(&mut self, sql: &str) -> Result<Prepared> {
        match self.session.prepare(sql, &self.settings)? {
            Statement::CreateTable { definition, .. } => {
                if let TableKind::Reference { path, format, .. } = &definition.kind {
                    let source = ReferenceDefinition {
                        name: definition.name.clone(),
                        path: self.directory.path().join(path),
                        format: format.clone(),
                        schema: definition.schema(),
                        primary_key: definition.primary_key.clone(),
                    };
                    let store = ReferenceStore::open(&self.directory.path().join("kept"), Arc::new(RealDisk), source, RECEIVED)?;
                    self.references.push(store.table());
                }
                self.session.declare(*definition)?;
                Ok(Prepared::Done)
            }
            Statement::DropTable { name } => {
                self.session.undeclare(name.as_str())?;
                Ok(Prepared::Done)
            }
            Statement::Tail { plan, .. } | Statement::InsertJob { plan, .. } => Ok(Prepared::Stream(plan)),
            Statement::Batch(query) => Ok(Prepared::Batch(query)),
            Statement::Explain { text } => Ok(Prepared::Text(text)),
            Statement::Nothing { .. } => Ok(Prepared::Done),
            Statement::Setting(change) => self.settings.apply(&change).map(|_| Prepared::Done),
            Statement::List { rows } | Statement::Describe { rows } => Ok(Prepared::Rows(rows)),
            other => Err(Error::invalid(format!("a test cannot say {other:?}"))),
        }
    }

    /// The rows of a plan's first output over everything fed, the same in all ways, sorted; and the late rows. Those of an output with a
    /// key are what its table holds: if they change, that is what is left of all changes.
    pub fn rows(&mut self, plan: &JobPlan) -> Result<(Vec<Vec<String>>, u64)> {
        self.queries += 1;
        let mut first: Option<(Vec<Vec<String>>, u64)> = None;
        for way in &self.ways {
            let (outputs, late) = run(plan, &self.needed(plan), &self.fed, *way)?;
            let changes = outputs.first().map_or(&[][..], Vec::as_slice);
            let mut rows = folded(changes)?;
            if let Some(output) = plan.outputs.first().filter(|o| !o.key.is_empty()) {
                let stored = stored(changes, &output.key)?;
                if output.updating && stored != rows {
                    return Err(Error::internal(format!("{way:?}: the table holds {stored:?}, the result is {rows:?}")));
                }
                rows = stored;
            }
            match &first {
                None => first = Some((rows, late)),
                Some((want, _)) if *want == rows => {}
                Some((want, _)) => {
                    return Err(Error::internal(format!("{way:?} gives other rows than {:?}:\n{rows:?}\n{want:?}", self.ways[0])));
                }
            }
        }
        first.ok_or_else(|| Error::internal("there is no way to run a query"))
    }

    fn needed(&self, plan: &JobPlan) -> Vec<Arc<ReferenceTable>> {
        let looked_up = |t: &&Arc<ReferenceTable>| plan.stages().any(|s| matches!(s, Stage::Lookup(l) if l.table == *t.name()));
        self.references.iter().filter(looked_up).cloned().collect()
    }

    /// Only these ways are used from now on.
    pub fn set_ways(&mut self, ways: Vec<Way>) {
        self.ways = ways;
    }

    fn file(&self, text: &str) -> Result<()> {
        let (path, content) = text.split_once('\n').unwrap_or((text, ""));
        let path: PathBuf = self.directory.path().join(path.trim());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(std::fs::write(path, format!("{content}\n"))?)
    }
}

/// What a statement is.
pub enum Prepared {
    /// It was carried out.
    Done,
    /// A query over streams.
    Stream(Box<JobPlan>),
    /// A query without streams.
    Batch(Box<BatchQuery>),
    /// What the session knows.
    Rows(RecordBatch),
    /// A text.
    Text(String),
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, text: &str) -> Result<DBOutput<DefaultColumnType>> {
        if let Some(rest) = text.strip_prefix("FEED ") {
            let (stream, lines) = rest.split_once('\n').unwrap_or((rest, ""));
            for line in lines.lines() {
                let (device, payload) = line.split_once(' ').ok_or_else(|| Error::invalid(format!("no payload in {line:?}")))?;
                self.feed(stream.trim(), device, payload.as_bytes());
            }
            return Ok(DBOutput::StatementComplete(0));
        }
        if let Some(rest) = text.strip_prefix("FILE ") {
            self.file(rest)?;
            return Ok(DBOutput::StatementComplete(0));
        }
        if text.trim() == "WAYS 1" {
            self.ways.retain(|w| w.partitions == 1);
            return Ok(DBOutput::StatementComplete(0));
        }
        let output = |rows: Vec<Vec<String>>, columns: usize| DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows };
        match self.prepare(text)? {
            Prepared::Done => Ok(DBOutput::StatementComplete(0)),
            Prepared::Stream(plan) => {
                let columns = plan.outputs.first().map_or(0, |o| o.schema.fields().len());
                Ok(output(self.rows(&plan)?.0, columns))
            }
            Prepared::Rows(rows) => Ok(output(shown(&rows)?, rows.num_columns())),
            Prepared::Batch(query) => {
                self.queries += 1;
                let batches: Vec<RecordBatch> = query.execute().await?.1.try_collect().await?;
                let columns = batches.first().map_or(0, RecordBatch::num_columns);
                Ok(output(batches.iter().map(shown).collect::<Result<Vec<_>>>()?.concat(), columns))
            }
            Prepared::Text(text) => Ok(output(text.lines().map(|l| vec![l.to_owned()]).collect(), 1)),
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "thalweg"
    }
}
