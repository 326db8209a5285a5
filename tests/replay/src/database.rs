//! Tables, rows and queries of an SQL file. Invariant: a SELECT over streams sees everything that was fed before it, and is run in all
//! ways.
//!
//! Beside SQL a file may say `FEED <stream>` followed by lines `<device> <payload>` (`FEED <stream> HEX`: the bytes of the payload, see
//! `Feed`), `FILE <path>` followed by its content, `CHANGES` before a query whose changes are to be seen one by one, and `WAYS 1` where rows
//! are late: which ones depends on how devices lie in partitions, so that only one partition is used.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use thalweg_engine::changes::Changes;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::plan::{JobPlan, Stage};
use thalweg_engine::reference::{ReferenceDefinition, ReferenceStore, ReferenceTable};
use thalweg_engine::system::RealDisk;
use thalweg_engine::time::{DAY, Micros};
use thalweg_sql::{BatchQuery, LakeCatalog, LakeFiles, Session, SessionConfig, Settings, Statement, TableKind};

use crate::feed::Feed;
use crate::rows::{difference, folded, shown, stored};
use crate::run::{Ran, WAYS, Way, run};

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
    named: bool,
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
            named: false,
            queries: 0,
        })
    }

    /// The first row of each answer to an SQL file is the names of its columns.
    #[must_use]
    pub fn with_names(self) -> Self {
        Self { named: true, ..self }
    }

    /// Adds a record.
    pub fn feed(&mut self, stream: &str, device: &str, payload: &[u8]) {
        self.feed_at(stream, device, payload, RECEIVED + self.fed.len() as Micros);
    }

    /// Adds a record that was received at some time.
    pub fn feed_at(&mut self, stream: &str, device: &str, payload: &[u8], received: Micros) {
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

    /// Carries out the statements of a script; gives the plan of its last query over streams. Errors: a statement that is refused.
    pub fn plan(&mut self, script: &str) -> Result<Option<Box<JobPlan>>> {
        let mut plan = None;
        for statement in Session::split(script)? {
            if let Prepared::Stream(of) = self.prepare(statement.text())? {
                plan = Some(of);
            }
        }
        Ok(plan)
    }

    /// The rows of a plan's first output over everything fed, the same in all ways, sorted; and the late rows. Those of an output with a
    /// key are what its table holds: if they change, that is what is left of all changes.
    pub fn rows(&mut self, plan: &JobPlan) -> Result<(Vec<Vec<String>>, u64)> {
        self.queries += 1;
        let mut first: Option<(Vec<Vec<String>>, u64)> = None;
        for way in &self.ways {
            let (outputs, late) = self.replay(plan, *way)?;
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
                    let difference = difference(want, &rows).unwrap_or_default();
                    return Err(Error::internal(format!("{way:?} gives other rows than {:?}: {difference}", self.ways[0])));
                }
            }
        }
        first.ok_or_else(|| Error::internal("there is no way to run a query"))
    }

    /// The changes that a plan's first output gives record by record, each with what it does.
    fn changes(&self, plan: &JobPlan) -> Result<Vec<Vec<String>>> {
        let ran = self.ran(plan, Way { partitions: 1, batch: 1, restart_every: 0, threads: [1, 1] })?;
        let signed = ran.outputs.first().into_iter().flatten().map(|changes| shown(&changes.signed()?));
        Ok(signed.collect::<Result<Vec<_>>>()?.concat())
    }

    fn answer(&self, schema: &Schema, mut rows: Vec<Vec<String>>) -> DBOutput<DefaultColumnType> {
        if self.named {
            rows.insert(0, schema.fields().iter().map(|f| f.name().clone()).collect());
        }
        // As sqllogictest shows an empty text.
        rows.iter_mut().flatten().filter(|cell| cell.is_empty()).for_each(|cell| "(empty)".clone_into(cell));
        DBOutput::Rows { types: vec![DefaultColumnType::Any; schema.fields().len()], rows }
    }

    /// What each output of a plan gives over everything fed, and how many rows were late.
    pub fn replay(&self, plan: &JobPlan, way: Way) -> Result<(Vec<Vec<Changes>>, u64)> {
        let ran = self.ran(plan, way)?;
        Ok((ran.outputs, ran.late.iter().map(|rows| rows.num_rows() as u64).sum()))
    }

    /// All that a plan gives over everything fed.
    pub fn ran(&self, plan: &JobPlan, way: Way) -> Result<Ran> {
        run(plan, &self.needed(plan), &self.fed, way)
    }

    /// The reference tables that a plan looks things up in.
    pub fn needed(&self, plan: &JobPlan) -> Vec<Arc<ReferenceTable>> {
        let looked_up = |t: &&Arc<ReferenceTable>| plan.stages().any(|s| matches!(s, Stage::Lookup(l) if l.table == *t.name()));
        self.references.iter().filter(looked_up).cloned().collect()
    }

    /// Only these ways are used from now on.
    pub fn set_ways(&mut self, ways: Vec<Way>) {
        self.ways = ways;
    }

    /// Writes a file where reference tables look for theirs.
    pub fn file(&self, path: &str, content: &str) -> Result<()> {
        let path: PathBuf = self.directory.path().join(path.trim());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(std::fs::write(path, content)?)
    }
}

fn first_schema(plan: &JobPlan) -> SchemaRef {
    plan.outputs.first().map_or_else(|| Arc::new(Schema::empty()), |o| o.schema.clone())
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
            let fed = Feed::parse(rest)?;
            fed.records.iter().for_each(|(device, payload)| self.feed(fed.stream, device, payload));
            return Ok(DBOutput::StatementComplete(0));
        }
        if let Some(rest) = text.strip_prefix("FILE ") {
            let (path, content) = rest.split_once('\n').unwrap_or((rest, ""));
            self.file(path, &format!("{content}\n"))?;
            return Ok(DBOutput::StatementComplete(0));
        }
        if text.trim() == "WAYS 1" {
            self.ways.iter_mut().for_each(|way| way.partitions = 1);
            return Ok(DBOutput::StatementComplete(0));
        }
        let (sql, one_by_one) = text.strip_prefix("CHANGES ").map_or((text, false), |sql| (sql, true));
        match self.prepare(sql)? {
            Prepared::Done => Ok(DBOutput::StatementComplete(0)),
            Prepared::Stream(plan) if one_by_one => {
                let schema = Changes::signed_schema(&first_schema(&plan));
                Ok(self.answer(&schema, self.changes(&plan)?))
            }
            Prepared::Stream(plan) => {
                let rows = self.rows(&plan)?.0;
                Ok(self.answer(&first_schema(&plan), rows))
            }
            Prepared::Rows(rows) => Ok(self.answer(rows.schema_ref(), shown(&rows)?)),
            Prepared::Batch(query) => {
                self.queries += 1;
                let (schema, batches) = query.execute().await?;
                let batches: Vec<RecordBatch> = batches.try_collect().await?;
                Ok(self.answer(&schema, batches.iter().map(shown).collect::<Result<Vec<_>>>()?.concat()))
            }
            Prepared::Text(text) => {
                let rows = text.lines().map(|l| vec![l.to_owned()]).collect();
                Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any], rows })
            }
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "thalweg"
    }
}
