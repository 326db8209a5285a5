//! Many jobs on one stream: four heavy ones at once beside each alone, and what a hundred small ones cost. Invariant: the jobs are those
//! of a server, with checkpoints, lake and archive, in this process; times are ratios of one run, CPU is that of the process without
//! the thread that feeds it.
//!
//! `THALWEG_BENCH_JOBS` is the number of small jobs (default 100), `THALWEG_BENCH_RATE` the records a second that they get (default
//! 20,000), `THALWEG_BENCH_RECORDS` what the heavy ones read (default 2,000,000).

use std::path::Path;
use std::time::{Duration, Instant};

use thalweg::app::Core;
use thalweg::config::Config;
use thalweg::server::SqlService;
use thalweg::sql_service::Service;
use thalweg_devices::{Principal, Role};
use thalweg_engine::batch::{ContentType, Record};
use thalweg_engine::contract::{Clock, LogStore};
use thalweg_engine::ids::Name;
use thalweg_engine::runtime::{JobState, JobStatus};
use thalweg_engine::system::SystemClock;
use thalweg_engine::time::{self, MILLISECOND, Micros, SECOND};
use tokio::runtime::Runtime;

const STREAM: &str = "CREATE TABLE telemetry (device_id STRING, ts TIMESTAMP(3), temperature DOUBLE, humidity DOUBLE, battery BIGINT, \
    status STRING, seq BIGINT, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) \
    WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json')";
/// Columns of a result, and its query.
const HEAVY: [(&str, &str); 4] = [
    (
        "at TIMESTAMP(3), status STRING, n BIGINT, mean DOUBLE, most DOUBLE",
        "SELECT window_start, status, COUNT(*), AVG(temperature), MAX(temperature) \
         FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, status",
    ),
    (
        "at TIMESTAMP(3), device_id STRING, n BIGINT, mean DOUBLE, most DOUBLE",
        "SELECT window_start, device_id, COUNT(*), AVG(humidity), MAX(humidity) \
         FROM TABLE(HOP(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '60' SECOND)) \
         GROUP BY window_start, window_end, device_id",
    ),
    (
        "device_id STRING, ts TIMESTAMP(3), temperature DOUBLE, humidity DOUBLE, seq BIGINT",
        "SELECT device_id, ts, temperature, humidity, seq FROM telemetry WHERE temperature > 34",
    ),
    (
        "at TIMESTAMP(3), device_id STRING, n BIGINT",
        "SELECT window_start, device_id, COUNT(*) \
         FROM TABLE(SESSION(TABLE telemetry PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '5' SECOND)) \
         GROUP BY window_start, window_end, device_id",
    ),
];

/// A server without its ports.
struct Bench {
    core: Core,
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let config = Config { data: directory.path().join("data"), ..Config::default() };
        let core = runtime.block_on(async { Core::open(config) }).expect("a data directory");
        let bench = Self { core, runtime, _directory: directory };
        bench.sql(STREAM);
        bench
    }

    fn close(self) {
        let Self { core, runtime, _directory } = self;
        runtime.block_on(async { core.close() });
    }

    fn sql(&self, text: &str) {
        let principal = Principal { name: Name::new("bench").expect("a name"), role: Role::Admin };
        let done = self.runtime.block_on(Service(self.core.engine.clone()).execute(&principal, text));
        assert!(done.is_ok(), "{text}: {:?}", done.err());
    }

    fn job(&self, name: &str, columns: &str, query: &str) {
        self.sql(&format!("CREATE TABLE {name} ({columns}) WITH ('connector' = 'lake', 'tier' = 'warm')"));
        self.sql(&format!("INSERT INTO {name} {query}"));
    }

    fn statuses(&self) -> Vec<JobStatus> {
        let jobs = self.core.engine.supervisor().list();
        let bad = jobs.iter().find(|j| matches!(j.life, JobState::Failed(_) | JobState::Restarting(_)));
        assert!(bad.is_none(), "{bad:?}");
        jobs
    }

    /// Waits until all has been read, and returns how long.
    fn drain(&self, records: u64) -> Duration {
        let began = Instant::now();
        while !self.statuses().iter().all(|j| j.counters.consumed == records || j.life == JobState::Stopped) {
            std::thread::sleep(Duration::from_millis(2));
        }
        began.elapsed()
    }
}

/// Records as devices send them, at a constant pace of event time.
struct Fleet {
    random: u64,
    sent: u64,
}

impl Fleet {
    fn send(&mut self, log: &dyn LogStore, ts: Micros) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let device = format!("dev-{:05}", self.random % 10_000);
        let (t, h) = (15.0 + (self.random >> 20) as f64 % 2_000.0 / 100.0, 30.0 + (self.random >> 32) as f64 % 4_000.0 / 100.0);
        let status = if self.random.is_multiple_of(97) { "fault" } else { "ok" };
        let payload = format!(
            r#"{{"device_id":"{device}","ts":"{}","temperature":{t:.2},"humidity":{h:.2},"battery":87,"status":"{status}","seq":{}}}"#,
            time::format(ts),
            self.sent
        );
        let topic = format!("devices/{device}/telemetry");
        let record =
            Record { device: &device, topic: &topic, content_type: ContentType::Json, producer: None, payload: payload.as_bytes() };
        while log.append(&record).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.sent += 1;
    }
}

fn main() {
    heavy(setting("THALWEG_BENCH_RECORDS", 2_000_000));
    small(setting("THALWEG_BENCH_JOBS", 100), setting("THALWEG_BENCH_RATE", 20_000));
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Each query alone, then all at once, over the same records.
fn heavy(records: u64) {
    let bench = Bench::new();
    let stream = Name::new("telemetry").expect("a name");
    let log = bench.core.logs.stream(&stream).expect("the stream");
    let mut fleet = Fleet { random: 88_172_645_463_325_252, sent: 0 };
    let start = SystemClock::new().now() - (records / 10) as i64 * MILLISECOND - 10 * SECOND;
    (0..records).for_each(|i| fleet.send(&*log, start + (i / 10) as i64 * MILLISECOND));
    // The archive reads too; it is not measured.
    bench.drain(records);
    let mut alone = Vec::new();
    for (i, (columns, query)) in HEAVY.iter().enumerate() {
        bench.job(&format!("alone_{i}"), columns, query);
        let took = bench.drain(records);
        println!("query {i} alone: {:.2} s, {:.0} records/s", took.as_secs_f64(), records as f64 / took.as_secs_f64());
        alone.push(took);
    }
    for (i, (columns, _)) in HEAVY.iter().enumerate() {
        bench.sql(&format!("CREATE TABLE together_{i} ({columns}) WITH ('connector' = 'lake', 'tier' = 'warm')"));
    }
    let began = Instant::now();
    HEAVY.iter().enumerate().for_each(|(i, (_, query))| bench.sql(&format!("INSERT INTO together_{i} {query}")));
    bench.drain(records);
    let (together, slowest) = (began.elapsed(), alone.into_iter().max().unwrap_or_default());
    let ratio = together.as_secs_f64() / slowest.as_secs_f64();
    println!("all four at once: {:.2} s, {ratio:.2} times the slowest alone", together.as_secs_f64());
    bench.close();
}

/// Many small jobs, first without records, then with them.
fn small(jobs: u64, rate: u64) {
    let bench = Bench::new();
    for i in 0..jobs {
        let query = format!(
            "SELECT window_start, COUNT(*), AVG(temperature) FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '1' SECOND)) \
             WHERE device_id = 'dev-{i:05}' GROUP BY window_start, window_end"
        );
        bench.job(&format!("small_{i}"), "at TIMESTAMP(3), n BIGINT, mean DOUBLE", &query);
    }
    std::thread::sleep(Duration::from_secs(2));
    let spent = Spent::in_process();
    std::thread::sleep(Duration::from_secs(10));
    Spent::in_process().since(&spent).print(&format!("{jobs} idle jobs"), Duration::from_secs(10));

    let log = bench.core.logs.stream(&Name::new("telemetry").expect("a name")).expect("the stream");
    let clock = SystemClock::new();
    let mut fleet = Fleet { random: 88_172_645_463_325_252, sent: 0 };
    let (warm, measured) = (Duration::from_secs(5), Duration::from_secs(20));
    let (began, mut spent, mut lags) = (Instant::now(), None, Vec::new());
    while began.elapsed() < warm + measured {
        if spent.is_none() && began.elapsed() >= warm {
            spent = Some((Spent::in_process(), Spent::in_thread()));
        }
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        while fleet.sent < due {
            fleet.send(&*log, clock.now());
        }
        if spent.is_some() && fleet.sent / (rate / 2).max(1) > lags.len() as u64 {
            lags.push(bench.statuses().iter().map(|j| j.lag).max().unwrap_or(0));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (process, thread) = spent.expect("the measured time began");
    let (all, feeder) = (Spent::in_process().since(&process), Spent::in_thread().since(&thread));
    feeder.print("the feeder", measured);
    all.since(&feeder).print(&format!("{jobs} jobs at {rate} records/s"), measured);
    println!("records behind, worst job, seen twice a second: {lags:?}");
    let behind = bench.drain(fleet.sent);
    println!("all jobs had read everything {:.0} ms after the last record", behind.as_secs_f64() * 1_000.0);
    bench.close();
}

/// CPU time of the process, and context switches of the threads that are there now: those of threads that ended are not known.
#[derive(Debug, Clone, Copy)]
struct Spent {
    cpu: f64,
    switches: u64,
    threads: u64,
}

impl Spent {
    fn in_process() -> Self {
        let mut spent = Self { cpu: 0.0, switches: 0, threads: 0 };
        for task in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
            // A thread may end meanwhile.
            spent.switches += switches(&task.path());
            spent.threads += 1;
        }
        Self { cpu: cpu(Path::new("/proc/self")), ..spent }
    }

    fn in_thread() -> Self {
        let path = Path::new("/proc/thread-self");
        Self { cpu: cpu(path), switches: switches(path), threads: 0 }
    }

    fn since(&self, before: &Self) -> Self {
        Self { cpu: self.cpu - before.cpu, switches: self.switches.saturating_sub(before.switches), ..*self }
    }

    fn print(&self, what: &str, time: Duration) {
        let s = time.as_secs_f64();
        println!("{what}: {:.3} cores, {:.0} context switches/s, {} threads", self.cpu / s, self.switches as f64 / s, self.threads);
    }
}

/// Seconds of user and system time.
fn cpu(of: &Path) -> f64 {
    let stat = std::fs::read_to_string(of.join("stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // The kernel tells in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

fn switches(of: &Path) -> u64 {
    let status = std::fs::read_to_string(of.join("status")).unwrap_or_default();
    let count = |line: &str| line.split_whitespace().last().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    status.lines().filter(|l| l.contains("ctxt_switches")).map(count).sum()
}
