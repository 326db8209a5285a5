//! Opening and closing everything, top to bottom: log, lake, devices, session, jobs, gateway, server. Invariant: what is below is
//! open before what uses it, and closes after it; telemetry is taken only when all of it is there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thalweg_connectors::gateway::{AmqpGateway, GatewayContext, MqttGateway};
use thalweg_devices::{Devices, Secret};
use thalweg_engine::contract::{Clock, Disk, LogStore};
use thalweg_engine::error::{Error, ErrorKind, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::lake::Lake;
use thalweg_engine::limits::{CONNECTIONS_MAX, HTTP_CONNECTIONS_MAX};
use thalweg_engine::log::{Log, LogConfig, Logs};
use thalweg_engine::metrics::GatewayCounters;
use thalweg_engine::room;
use thalweg_engine::runtime::{Environment, Supervisor, floors};
use thalweg_engine::system::{RealDisk, SystemClock, raise_open_files};
use thalweg_engine::topic::STREAM_DEFAULT;
use thalweg_sql::{Session, SessionConfig};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::data_dir::{DataDir, Layout};
use crate::lake_catalog::SharedLake;
use crate::server::{self, Deadlines, ServerState};
use crate::services::Services;
use crate::sql_service::{Engine, Service};
use crate::stream_samples::StreamSamples;
use crate::threads::Threads;

const UPKEEP: Duration = Duration::from_secs(5);
const MAINTENANCE: Duration = Duration::from_secs(60);
/// Threads that read and write the logs of lake tables.
const LAKE_THREADS: usize = 2;
const POISON_CHECK: Duration = Duration::from_millis(500);
/// Files that connections may take. Where there is none left for it a directory cannot be synced, and nobody knows what the disk holds.
const OPEN_FILES_MIN: u64 = (2 * CONNECTIONS_MAX + HTTP_CONNECTIONS_MAX) as u64;
/// Rounds of maintenance between two looks for files that were never committed: these read all checkpoints, and such a file is left alone
/// for a day.
const ORPHANS_EVERY: u32 = 60;

/// Everything but the network: log, lake, devices, tables and jobs.
pub struct Core {
    /// Settings.
    pub config: Config,
    /// Where things are.
    pub layout: Layout,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Streams.
    pub logs: Arc<Logs>,
    /// Tables on disk.
    pub lake: Arc<Lake>,
    /// Devices and operators.
    pub devices: Arc<Devices>,
    /// Tables and jobs.
    pub engine: Arc<Engine>,
    /// What the gateway did.
    pub counters: Arc<GatewayCounters>,
    /// Records that the log had taken before the start.
    found: u64,
    _lake_threads: Threads,
    _owner: DataDir,
}

impl Core {
    /// Opens the data directory of `config` and resumes its jobs. Must be called inside a Tokio runtime. Errors: `Conflict` if
    /// another process has it, `Corrupt` if something in it is damaged that the rest cannot do without.
    pub fn open(config: Config) -> Result<Self> {
        Self::open_on(Arc::new(RealDisk), Arc::new(SystemClock::new()), config)
    }

    /// Like `open`, with log, checkpoints and lake on a disk that makes bytes and names durable in its own way, and with a clock of its own.
    pub fn open_on(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: Config) -> Result<Self> {
        let owner = DataDir::open(&config.data)?;
        let layout = Layout::of(owner.root());
        let log_config = LogConfig {
            segment_bytes: config.segment_bytes,
            partitions_default: config.partitions(),
            retention: config.retention,
            retention_bytes: config.retention_bytes,
            retention_bytes_hard: config.retention_bytes_hard,
        };
        // Where jobs and savepoints stand tells what the log has to hold.
        let read = floors(&disk, &layout.checkpoints)?;
        let logs = Logs::open_read(&layout.log, disk.clone(), clock.clone(), log_config, read)?;
        logs.stream(&Name::new(STREAM_DEFAULT)?)?;
        let found = taken(&logs);
        // What waits for the disk is not where records are taken in.
        let threads = Threads::new("lake", LAKE_THREADS, || {})?;
        let lake = Lake::open_on(disk.clone(), &layout.lake, clock.clone(), threads.handle()?.clone(), config.lake_history)?;
        let devices = Devices::open(&layout.devices, disk.clone(), clock.clone())?;
        layout.empty_spill()?;
        let session = session(&config, lake.clone(), Some(layout.spill.clone()))?;
        let session = session.with_sampler(Arc::new(StreamSamples(logs.clone())));
        let environment = Environment {
            disk: disk.clone(),
            clock: clock.clone(),
            directory: layout.checkpoints.clone(),
            checkpoint_interval: config.checkpoint_interval,
        };
        let counters = Arc::new(GatewayCounters::default());
        let supervisor = Supervisor::new(environment);
        let supervisor = Arc::new(match config.state_memory_bytes {
            Some(bytes) => supervisor.with_state_memory(bytes),
            None => supervisor,
        });
        let engine = Engine::open(crate::sql_service::Parts {
            session,
            supervisor,
            logs: logs.clone(),
            lake: lake.clone(),
            disk: disk.clone(),
            clock: clock.clone(),
            layout: layout.clone(),
            root: owner.root().to_owned(),
            counters: counters.clone(),
            handle: Handle::current(),
            queries: crate::sql_service::QueryPool::new()?,
            query_timeout: config.query_timeout,
        })?;
        Ok(Self { config, layout, clock, disk, logs, lake, devices, engine, counters, found, _lake_threads: threads, _owner: owner })
    }

    /// Records that the log has taken since the start, those included that retention has removed.
    pub fn logged(&self) -> u64 {
        taken(&self.logs).saturating_sub(self.found)
    }

    /// Why this process should end: the disk has failed under a log, so that nothing more can be acknowledged and only a new start can
    /// tell what the disk holds; or the lake belongs to another process now.
    pub fn must_end(&self) -> Option<Error> {
        if let Some(reason) = self.logs.poisoned() {
            let hint = "look at the disk and the system's log; a new start reads what is there, and nothing acknowledged is lost";
            return Some(Error::internal(format!("the disk failed under the log: {reason}")).hint(hint));
        }
        if self.lake.has_failed() {
            return Some(
                Error::internal("the disk failed under the lake: nothing more can be committed")
                    .hint("look at the disk and the system's log; a new start commits what the checkpoints hold"),
            );
        }
        // That nobody can tell just now is no reason.
        self.lake.check_owned().err().filter(|e| e.kind() == ErrorKind::Conflict)
    }

    /// Ends jobs after a last checkpoint, then closes what is below them.
    pub fn close(&self) {
        self.engine.close();
        if let Err(error) = self.lake.refresh_catalog() {
            tracing::error!(%error, "the catalog could not be written");
        }
        if let Err(error) = self.devices.flush_seen() {
            tracing::error!(%error, "the devices' last-seen times could not be written");
        }
        self.logs.close();
    }
}

/// Records that streams have taken in all their time. One that cannot be opened takes none.
fn taken(logs: &Logs) -> u64 {
    let of = |log: Arc<Log>| (0..log.partitions()).map(|p| log.bounds(p).end).sum::<u64>();
    logs.streams().iter().filter_map(|name| logs.stream(name).ok()).map(of).sum()
}

/// The SQL session over a lake; queries put aside what does not fit into memory below `spill`, if there is one.
fn session(config: &Config, lake: Arc<Lake>, spill: Option<PathBuf>) -> Result<Session> {
    let settings = SessionConfig {
        connectors: thalweg_connectors::CONNECTORS,
        default_owner: config.owner.clone(),
        default_description: config.description.clone(),
        // Files of tables are named below the lake's own root, which is without symbolic links.
        lake_root: lake.root().to_owned(),
        memory_limit_bytes: config.query_memory_bytes,
        spill,
    };
    Session::new(settings, Arc::new(SharedLake(lake)))
}

/// A running server.
pub struct App {
    /// Everything but the network.
    pub core: Arc<Core>,
    /// Where the HTTP API listens.
    pub http: SocketAddr,
    /// Where the MQTT gateway listens.
    pub mqtt: SocketAddr,
    /// Where the AMQP gateway listens.
    pub amqp: SocketAddr,
    /// The admin's token, if this was the first start.
    pub admin_token: Option<Secret>,
    gateways: (MqttGateway, AmqpGateway),
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl App {
    /// Opens everything and listens. Errors: those of `Core::open`; `Unavailable` if an address is taken.
    pub async fn start(config: Config) -> Result<Self> {
        if let Some(files) = raise_open_files().filter(|files| *files < OPEN_FILES_MIN) {
            tracing::warn!(
                files,
                "fewer files may be open than connections; when they run out the server ends: see ulimit -n, LimitNOFILE"
            );
        }
        let http = bind(config.http, "HTTP", "--http").await?;
        let mqtt = bind(config.mqtt, "MQTT", "--mqtt").await?;
        let amqp = bind(config.amqp, "AMQP", "--amqp").await?;
        let core = Arc::new(Core::open(config)?);
        let admin_token = core.devices.ensure_admin()?;
        let shutdown = CancellationToken::new();
        let context = GatewayContext::new(core.devices.clone(), core.logs.clone(), core.counters.clone());
        let services = Arc::new(Services::new(core.clone(), context.clone()));
        let state = ServerState {
            devices: core.devices.clone(),
            ingest: services.clone(),
            sql: Arc::new(Service(core.engine.clone())),
            jobs: Arc::new(Service(core.engine.clone())),
            system: services,
            gateway: core.counters.clone(),
            shutdown: shutdown.clone(),
        };
        let address = |l: &TcpListener| l.local_addr().map_err(|e| Error::from(e).context("HTTP listener"));
        let http_address = address(&http)?;
        let gateways = (MqttGateway::start(mqtt, context.clone())?, AmqpGateway::start(amqp, context)?);
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(http, server::router(state)?, Deadlines::default(), shutdown.clone()));
        tasks.spawn(rounds(UPKEEP, upkeep, core.clone(), shutdown.clone()));
        tasks.spawn(rounds(MAINTENANCE, maintain, core.clone(), shutdown.clone()));
        let (mqtt, amqp) = (gateways.0.address(), gateways.1.address());
        Ok(Self { core, http: http_address, mqtt, amqp, admin_token, gateways, tasks, shutdown })
    }

    /// Returns, with the reason, when the process should end: see `Core::must_end`.
    pub async fn poisoned(&self) -> Error {
        loop {
            let core = self.core.clone();
            if let Ok(Some(reason)) = tokio::task::spawn_blocking(move || core.must_end()).await {
                return reason;
            }
            tokio::time::sleep(POISON_CHECK).await;
        }
    }

    /// Stops taking telemetry, ends jobs after a last checkpoint, and closes everything.
    pub async fn stop(self) -> Result<()> {
        let (mqtt, amqp) = self.gateways;
        tokio::join!(mqtt.shutdown(), amqp.shutdown());
        self.shutdown.cancel();
        // A day may be under way, and all that are due would take too long.
        self.core.lake.end_upkeep();
        let mut tasks = self.tasks;
        while tasks.join_next().await.is_some() {}
        let core = self.core;
        tokio::task::spawn_blocking(move || core.close()).await.map_err(|e| Error::internal(format!("closing: {e}")))
    }
}

async fn bind(address: SocketAddr, what: &str, option: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        Error::unavailable(format!("cannot listen for {what} on {address}: {e}"))
            .hint(format!("another program has the port; stop it, or give another address with {option}"))
    })
}

/// Work that comes round, a pause after it was done.
async fn rounds(pause: Duration, work: fn(&Core, u32), core: Arc<Core>, shutdown: CancellationToken) {
    let mut round = 0u32;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        round = round.wrapping_add(1);
        let core = core.clone();
        let done = tokio::task::spawn_blocking(move || work(&core, round)).await;
        if let Err(error) = done {
            tracing::error!(%error, "upkeep failed");
        }
    }
}

fn warn(what: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "{what}");
    }
}

/// What is soon done, and cannot wait: manifests, last-seen times, reference data, retention.
fn upkeep(core: &Core, _round: u32) {
    warn("the catalog could not be written", core.lake.refresh_catalog());
    warn("last-seen times could not be written", core.devices.flush_seen());
    core.engine.refresh_references();
    warn("what queries may put aside could not be bounded", core.engine.bound_spill());
    warn("the log's upkeep failed", core.logs.upkeep().map(|_| ()));
}

/// What may take long, because it gives way to all else: merges, seals, files that nobody needs.
fn maintain(core: &Core, round: u32) {
    let now = core.clock.now();
    let has_room = room::check(&*core.disk, &core.layout.lake).is_ok();
    match if has_room { core.lake.maintain(now) } else { core.lake.clean(now) } {
        Ok(report) => report.failures.iter().for_each(|error| tracing::error!(%error, "a table could not be maintained")),
        Err(error) => tracing::error!(%error, "the lake could not be maintained"),
    }
    if round % ORPHANS_EVERY == 1 {
        warn("files that were never committed stay", remove_orphans(core));
    }
}

/// Removes files that were staged more than a day ago, and that no commit and no checkpoint knows.
fn remove_orphans(core: &Core) -> Result<()> {
    let removed = core.lake.remove_orphans(core.clock.now(), &core.engine.supervisor().prepared()?)?;
    if !removed.is_empty() {
        tracing::info!(files = removed.len(), "files that were never committed are removed");
    }
    Ok(())
}

/// The lake of a data directory, to be read; a server may own it meanwhile. Errors: `NotFound` if there is none.
pub fn lake_to_read(config: &Config) -> Result<(Arc<Lake>, Arc<dyn Clock>)> {
    let layout = Layout::of(&config.data);
    layout.check_lake(&config.data)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Ok((Lake::open_to_read(&layout.lake, clock.clone(), Handle::current())?, clock))
}

/// A session that reads the lake of a data directory and nothing else.
pub fn read_lake(config: &Config) -> Result<Session> {
    let (lake, _) = lake_to_read(config)?;
    session(config, lake, None)
}
