//! The child process that is tortured: a whole engine without network, its jobs, and threads that send. Invariant: it acknowledges
//! nothing that the log has not promised, and a job that does not run is said at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::SqlService;
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::contract::{Clock, LogStore};
use thalweg_engine::ids::Name;
use thalweg_engine::lake::SealScope;
use thalweg_engine::log::Log;
use thalweg_engine::runtime::JobState;
use thalweg_engine::system::SystemClock;
use thalweg_engine::time::{Micros, SECOND};

use super::lies;
use super::load::{self, Sender};
use super::steps::{Point, Say, StepDisk};

const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(100);
const SEGMENT_BYTES: u64 = 256 * 1024;
const LOOK: Duration = Duration::from_millis(20);
const MAINTENANCE_EVERY: u32 = 20;
/// Small files are merged as soon as enough are alike; in one of so many seconds they are sealed. Maintenance by itself seals a day when its first
/// rows come, because it is over, and what comes later only after an hour.
const SEAL_EVERY_S: Micros = 60;
/// Jobs that read nothing for so long are at their end.
const STANDSTILL: Duration = Duration::from_secs(15);

/// What the process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Task {
    /// Makes tables and jobs, and ends.
    Setup,
    /// Sends and computes until it is ended.
    Run,
    /// Closes all windows, waits until all is committed, and ends.
    Finish,
}

/// Where, and what.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Data directory.
    #[arg(long)]
    pub data: PathBuf,
    /// Socket of the oracle.
    #[arg(long)]
    pub oracle: PathBuf,
    /// File that it says what happens into.
    #[arg(long)]
    pub say: PathBuf,
    /// Epoch of all devices.
    #[arg(long)]
    pub epoch: u32,
    /// Seed of what is sent.
    #[arg(long)]
    pub seed: u64,
    /// When the first process began, in microseconds.
    #[arg(long)]
    pub origin: Micros,
    /// What to do.
    #[arg(long, value_enum)]
    pub task: Task,
    /// Where to end.
    #[arg(long)]
    pub point: Option<Point>,
    /// Seeded bug.
    #[arg(long)]
    pub bug: Option<String>,
}

impl Options {
    /// As arguments of the child process.
    pub fn arguments(&self) -> Vec<String> {
        let task = match self.task {
            Task::Setup => "setup",
            Task::Run => "run",
            Task::Finish => "finish",
        };
        let path = |path: &PathBuf| path.display().to_string();
        let mut arguments: Vec<String> = vec!["engine".into()];
        let mut add = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        add("data", path(&self.data));
        add("oracle", path(&self.oracle));
        add("say", path(&self.say));
        add("epoch", self.epoch.to_string());
        add("seed", self.seed.to_string());
        add("origin", self.origin.to_string());
        add("task", task.to_owned());
        self.point.iter().for_each(|point| add("point", point.to_string()));
        self.bug.iter().for_each(|bug| add("bug", bug.clone()));
        arguments
    }
}

/// Runs as the child process; returns its exit code.
pub fn main(options: &Options) -> u8 {
    let say = match Say::to(&options.say) {
        Ok(say) => say,
        Err(e) => {
            eprintln!("{}: {e}", options.say.display());
            return 2;
        }
    };
    match run(options, &say) {
        Ok(()) => 0,
        Err(reason) => {
            say.line(&format!("FAILED {} {reason}", SystemClock::new().now()));
            eprintln!("engine: {reason}");
            1
        }
    }
}

fn run(options: &Options, say: &Say) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    let lie = options.bug.as_deref().map(lies::named).transpose()?;
    let disk = StepDisk::new(options.point.clone(), lie, say.clone());
    let config = Config {
        data: options.data.clone(),
        partitions: 2,
        checkpoint_interval: CHECKPOINT_INTERVAL,
        segment_bytes: SEGMENT_BYTES,
        ..Config::default()
    };
    let _inside = runtime.enter();
    let core = Core::open_on(Arc::new(disk), Arc::new(SystemClock::new()), config).map_err(|e| format!("the engine does not open: {e}"))?;
    if options.task == Task::Setup {
        let path = options.data.join("devices.csv");
        std::fs::write(&path, load::reference()).map_err(|e| format!("{}: {e}", path.display()))?;
        let who = Principal { name: Name::new("torture").map_err(|e| e.to_string())?, role: Role::Admin };
        let service = Service(core.engine.clone());
        runtime.block_on(service.execute(&who, &load::statements(&path))).map_err(|e| format!("the statements: {e}"))?;
    }
    say.line("OPEN");
    let log = core.logs.stream(&Name::new(load::STREAM).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    work(options, &core, &log, say)?;
    core.close();
    say.line("CLOSED");
    Ok(())
}

/// Sends and looks after the jobs as the task wants.
fn work(options: &Options, core: &Core, log: &Arc<Log>, say: &Say) -> Result<(), String> {
    let (sequence, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let sender = |thread| Sender::new(log.clone(), &options.oracle, (options.epoch, options.seed, options.origin), thread);
    match options.task {
        Task::Setup => Ok(()),
        Task::Run => std::thread::scope(|scope| {
            let (sequence, stop) = (&sequence, &stop);
            let senders: Vec<_> =
                (0..2).map(|thread| scope.spawn(move || sender(thread).and_then(|mut s| s.run(sequence, stop)))).collect();
            let mut watched = Ok(());
            while watched.is_ok() && senders.iter().all(|s| !s.is_finished()) {
                watched = watch(core);
            }
            stop.store(true, Ordering::Relaxed);
            let ended = senders.into_iter().map(|s| s.join().unwrap_or_else(|_| Err("a sender panicked".to_owned())));
            watched.and(ended.collect::<Result<Vec<()>, String>>().map(|_| ()))
        }),
        Task::Finish => {
            (0..2).try_for_each(|thread| sender(thread).and_then(|mut s| s.close(&sequence)))?;
            let records: u64 = (0..log.partitions()).map(|p| log.bounds(p).end).sum();
            let consumed = |job: &&str| core.engine.supervisor().status(job).map_or(0, |s| s.committed.consumed);
            let (mut before, mut since) = (Vec::new(), Instant::now());
            loop {
                let now: Vec<u64> = load::JOBS.iter().map(consumed).collect();
                if now.iter().all(|&n| n == records) {
                    break;
                }
                if now != before {
                    (before, since) = (now, Instant::now());
                } else if since.elapsed() > STANDSTILL {
                    // What the jobs think is all is judged like anything else.
                    say.line(&format!("STANDSTILL {before:?} of {records} records"));
                    break;
                }
                watch(core)?;
                core.engine.supervisor().checkpoint_all();
            }
            compact(core, SealScope::All)
        }
    }
}

/// Looks at the jobs for a while, with maintenance of the lake. Errors: one does not run.
fn watch(core: &Core) -> Result<(), String> {
    for _ in 0..MAINTENANCE_EVERY {
        for job in core.engine.supervisor().list() {
            if let JobState::Failed(reason) | JobState::Restarting(reason) = job.life {
                return Err(format!("job {} does not run: {reason}", job.name));
            }
        }
        std::thread::sleep(LOOK);
    }
    let now = core.clock.now();
    compact(core, if (now / SECOND) % SEAL_EVERY_S == 0 { SealScope::All } else { SealScope::Alike })?;
    let report = core.lake.maintain(now).map_err(|e| format!("maintenance: {e}"))?;
    report.failures.first().map_or(Ok(()), |e| Err(format!("maintenance: {e}")))
}

/// Merges or seals small files of all tables.
fn compact(core: &Core, scope: SealScope<'_>) -> Result<(), String> {
    let (tables, now) = (core.lake.tables(), core.clock.now());
    tables.iter().try_for_each(|table| table.seal(scope, now).map(|_| ())).map_err(|e| format!("a merge or seal: {e}"))
}
