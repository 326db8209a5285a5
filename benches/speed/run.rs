//! Queries over a filled log, as a server would run them. Invariant: the time runs from the start of the process to the commit that
//! holds what the last record gave; nothing is measured unless every record was read and none was rejected or late.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::SqlService;
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::runtime::{JobState, JobStatus};

use crate::fleet::AVRO_SCHEMA;
use crate::peak_bytes;
use crate::queries::{self, Query, find, telemetry};

const ARCHIVE: &str = "archive.telemetry";
/// A request that comes while a checkpoint is under way is lost.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Runs what `words` name over `dir`: queries, `archive` for the cold path, `set` to run them as one job, `avro` for the format.
pub fn run(dir: &Path, events: u64, words: &[&str]) -> Result<()> {
    let began = Instant::now();
    let (options, names): (Vec<&str>, Vec<&str>) = words.iter().copied().partition(|w| ["set", "avro", "archive"].contains(w));
    let queries = names.into_iter().map(find).collect::<Result<Vec<_>>>()?;
    let root = directory(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(measure(&root, events, &queries, &options));
    drop(runtime);
    std::fs::remove_dir_all(&root)?;
    let jobs = measured?;
    let written: u64 = jobs.iter().map(|j| j.committed.written).sum();
    println!("seconds={:.4} rows={written} peak_bytes={}", began.elapsed().as_secs_f64(), peak_bytes());
    Ok(())
}

/// A data directory of this process over the log of `dir`.
fn directory(dir: &Path) -> Result<PathBuf> {
    let dir = dir.canonicalize()?;
    let root = dir.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(root.join("reference"))?;
    std::fs::copy(dir.join("devices.csv"), root.join("reference/devices.csv"))?;
    std::os::unix::fs::symlink(dir.join("log"), root.join("log"))?;
    Ok(root)
}

async fn measure(root: &Path, events: u64, queries: &[&Query], options: &[&str]) -> Result<Vec<JobStatus>> {
    let core = Core::open(Config { data: root.to_owned(), ..Config::default() })?;
    let service = Service(core.engine.clone());
    let me = Principal { name: Name::new("bench")?, role: Role::Admin };
    let format = match options.contains(&"avro") {
        true => format!("'format' = 'avro', 'avro.schema' = '{AVRO_SCHEMA}'"),
        false => "'format' = 'json'".to_owned(),
    };
    service.execute(&me, &telemetry(&format)).await?;
    if !options.contains(&"archive") {
        // A stream that is declared is archived; that is measured by itself.
        core.engine.supervisor().stop(ARCHIVE)?;
        core.engine.supervisor().forget(ARCHIVE);
    }
    service.execute(&me, queries::DEVICES).await?;
    for query in queries {
        service.execute(&me, &query.create()).await?;
    }
    let statements: Vec<String> = queries.iter().map(|q| q.statement()).collect();
    if options.contains(&"set") {
        service.execute(&me, &format!("EXECUTE STATEMENT SET BEGIN {}; END", statements.join(";\n"))).await?;
    } else {
        for statement in &statements {
            service.execute(&me, statement).await?;
        }
    }
    let core = std::sync::Arc::new(core);
    let waiting = core.clone();
    let jobs = tokio::task::spawn_blocking(move || committed(&waiting, events)).await.map_err(|e| Error::internal(e.to_string()))?;
    tokio::task::spawn_blocking(move || core.close()).await.map_err(|e| Error::internal(e.to_string()))?;
    jobs
}

/// Waits until every job has read everything, asks for a checkpoint, and waits for its commit.
fn committed(core: &Core, events: u64) -> Result<Vec<JobStatus>> {
    let supervisor = core.engine.supervisor();
    let mut asked: Option<Instant> = None;
    loop {
        let jobs = supervisor.list();
        if let Some(failed) = jobs.iter().find(|j| matches!(j.life, JobState::Failed(_) | JobState::Restarting(_))) {
            return Err(Error::internal(format!("{failed:?}")));
        }
        if jobs.iter().all(|j| j.committed.consumed == events) {
            let bad = jobs.iter().find(|j| j.committed.rejected + j.committed.late > 0);
            return bad.map_or(Ok(jobs.clone()), |j| Err(Error::internal(format!("rows were rejected or late: {j:?}"))));
        }
        if jobs.iter().all(|j| j.counters.consumed == events) && asked.is_none_or(|at| at.elapsed() > ASK_AGAIN) {
            supervisor.checkpoint_all();
            asked = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
