//! SQL as data: every `.slt` file below `tests/sql/server` is run straight, with a checkpoint and a restart of everything after each
//! feed, and, unless it says itself how parallel its jobs are, with two threads for the keys of each job. Invariant checked: all give the
//! rows that the file says.
//!
//! Beside SQL a file may say `FEED <stream>` followed by lines `<device> <payload>` (`FEED <stream> HEX`: the bytes of the payload, see
//! `thalweg_replay::Feed`), and `FILE <path>` followed by its content. Files in a folder `reference` are chapters of docs/sql.md: there the
//! first row of each result is the names of its columns. With `UPDATE_FIXTURES` set, what comes out is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, default_column_validator, default_normalizer, default_validator};
use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::{SqlOutcome, SqlService};
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::LogStore;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::runtime::JobState;
use thalweg_engine::topic::telemetry_topic;
use thalweg_replay::Feed;

const PATIENCE: Duration = Duration::from_secs(60);
/// Chapters of the reference.
const REFERENCE: &str = "reference";
/// The setting of `Mode::Parallel`.
const PARALLELISM: &str = "parallelism.default";

/// How a file is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Straight,
    /// Everything is restarted after each feed.
    Resumed,
    /// Two threads share the keys of a job.
    Parallel,
}

struct Database {
    config: Config,
    mode: Mode,
    named: bool,
    core: Option<Core>,
}

impl Database {
    fn open(directory: &Path, mode: Mode, named: bool) -> Result<Self> {
        // One partition: then which rows are late is a matter of the file alone.
        let config =
            Config { data: directory.join("data"), partitions: 1, checkpoint_interval: Duration::from_secs(3600), ..Config::default() };
        let core = Some(Core::open(config.clone())?);
        Ok(Self { config, mode, named, core })
    }

    fn core(&self) -> &Core {
        self.core.as_ref().expect("the core is only away while it restarts")
    }

    async fn feed(&mut self, text: &str) -> Result<()> {
        let feed = Feed::parse(text)?;
        let log = self.core().logs.stream(&Name::new(feed.stream)?)?;
        let mut last = None;
        for (device, payload) in &feed.records {
            let topic = telemetry_topic(device, feed.stream);
            let record = Record { device, topic: &topic, content_type: ContentType::Unknown, producer: None, payload };
            last = Some(log.append(&record)?);
        }
        if let Some(ticket) = last {
            let mut progress = log.progress(ticket.partition);
            let reached = progress.wait_for(|p| p.durable > ticket.offset || p.failed.is_some()).await;
            if let Some(reason) = &reached.map_err(|e| Error::internal(e.to_string()))?.failed {
                return Err(Error::internal(format!("the log failed: {reason}")));
            }
        }
        if self.mode == Mode::Resumed {
            self.settle().await?;
            self.restart().await?;
        }
        Ok(())
    }

    /// Until every job has read everything and its results are in the lake.
    async fn settle(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let supervisor = self.core().engine.supervisor();
            let jobs: Vec<_> = supervisor.list().into_iter().filter(|j| j.life != JobState::Stopped).collect();
            if let Some(job) = jobs.iter().find(|j| matches!(j.life, JobState::Failed(_) | JobState::Restarting(_))) {
                return Err(Error::internal(format!("job {} is {:?}", job.name, job.life)));
            }
            if jobs.iter().all(|j| j.life == JobState::Running && j.lag == 0 && j.counters == j.committed) {
                return Ok(());
            }
            if jobs.iter().all(|j| j.lag == 0) {
                supervisor.checkpoint_all();
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::internal(format!("jobs do not settle: {jobs:?}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn restart(&mut self) -> Result<()> {
        if let Some(core) = self.core.take() {
            tokio::task::spawn_blocking(move || core.close()).await.map_err(|e| Error::internal(e.to_string()))?;
        }
        self.core = Some(Core::open(self.config.clone())?);
        Ok(())
    }

    async fn sql(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>> {
        self.settle().await?;
        let principal = Principal { name: Name::new("tests")?, role: Role::Admin };
        let settings: BTreeMap<_, _> =
            (self.mode == Mode::Parallel).then(|| (PARALLELISM.to_owned(), "2".to_owned())).into_iter().collect();
        match Service(self.core().engine.clone()).execute_with(&principal, sql, &settings).await? {
            SqlOutcome::Message(_) => Ok(DBOutput::StatementComplete(0)),
            SqlOutcome::Rows(rows) => {
                let types = vec![DefaultColumnType::Any; rows.schema.fields().len()];
                let batches: Vec<_> = rows.stream.try_collect().await?;
                let mut out: Vec<Vec<String>> = Vec::new();
                if self.named {
                    out.push(rows.schema.fields().iter().map(|f| f.name().clone()).collect());
                }
                for batch in &batches {
                    let options = arrow::util::display::FormatOptions::new().with_null("NULL");
                    let columns = batch
                        .columns()
                        .iter()
                        .map(|c| arrow::util::display::ArrayFormatter::try_new(c.as_ref(), &options))
                        .collect::<std::result::Result<Vec<_>, _>>()?;
                    out.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| text(&c.value(row).to_string())).collect()));
                }
                Ok(DBOutput::Rows { types, rows: out })
            }
        }
    }
}

/// As sqllogictest shows a value.
fn text(value: &str) -> String {
    if value.is_empty() { "(empty)".to_owned() } else { value.to_owned() }
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, text: &str) -> Result<DBOutput<DefaultColumnType>> {
        if let Some(rest) = text.strip_prefix("FEED ") {
            self.feed(rest).await?;
            return Ok(DBOutput::StatementComplete(0));
        }
        if let Some(rest) = text.strip_prefix("FILE ") {
            let (path, content) = rest.split_once('\n').unwrap_or((rest, ""));
            let path = self.config.data.join(path.trim());
            std::fs::create_dir_all(path.parent().expect("a file below the data directory"))?;
            std::fs::write(path, format!("{content}\n"))?;
            return Ok(DBOutput::StatementComplete(0));
        }
        self.sql(text).await
    }

    async fn shutdown(&mut self) {
        if let Some(core) = self.core.take() {
            core.close();
        }
    }

    fn engine_name(&self) -> &str {
        "thalweg"
    }
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("tests/sql can be read") {
        let path = entry.expect("tests/sql can be read").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "slt") {
            found.push(path);
        }
    }
    found.sort();
}

fn run(mode: Mode) {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql/server"), &mut found);
    assert!(found.len() >= 4, "the files are gone: {found:?}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let chooses = |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains(PARALLELISM));
    for path in found.into_iter().filter(|path| mode != Mode::Parallel || !chooses(path)) {
        let named = path.parent().is_some_and(|folder| folder.ends_with(REFERENCE));
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let mut runner = Runner::new(|| {
            let directory = directory.clone();
            async move { Database::open(directory.path(), mode, named) }
        });
        if std::env::var_os("UPDATE_FIXTURES").is_some() && mode == Mode::Straight {
            let updated = runner.update_test_file(&path, "  ", default_validator, default_normalizer, default_column_validator);
            runtime.block_on(updated).expect("a file that can be written");
        } else if let Err(error) = runtime.block_on(runner.run_file_async(&path)) {
            panic!("{mode:?} {}: {}", path.display(), error.display(false));
        }
        runtime.block_on(runner.shutdown_async());
    }
}

#[test]
fn files_run_straight() {
    run(Mode::Straight);
}

#[test]
fn files_run_with_a_restart_after_each_feed() {
    run(Mode::Resumed);
}

#[test]
fn files_run_with_two_threads_for_keys() {
    run(Mode::Parallel);
}
