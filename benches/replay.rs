//! How fast the log is replayed through the example query: two million JSON records of about 130 bytes, filter, reference join,
//! windowed aggregation. Invariant: every figure is over the same records of the same log, so that parts can be compared with the
//! whole; figures are records a second.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use support::{Subject, push};
use thalweg_engine::batch::{ContentType, Record, Records};
use thalweg_engine::contract::{Clock, Disk, LogStore, Operator, Output};
use thalweg_engine::error::Result;
use thalweg_engine::ids::Name;
use thalweg_engine::log::{Log, LogConfig, Logs};
use thalweg_engine::operators::window::WindowInputs;
use thalweg_engine::plan::JobPlan;
use thalweg_engine::reference::ReferenceTable;
use thalweg_engine::runtime::{Environment, JobKind, JobSpec, JobState, Sinks, StartAt, Supervisor};
use thalweg_engine::system::{RealDisk, SystemClock};
use thalweg_engine::time::{self, MILLISECOND, SECOND};
use thalweg_replay::Database;

const RECORDS: u64 = 2_000_000;
const DEVICES: u64 = 1_000;
const FLEET: &str = include_str!("../examples/fleet.sql");

/// A filled log, and the example's plan over it.
struct Setup {
    log: Arc<Log>,
    subject: Subject,
    environment: Environment,
    _directory: tempfile::TempDir,
}

fn setup() -> Result<Setup> {
    let directory = tempfile::tempdir()?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = LogConfig { partitions_default: 2, ..LogConfig::default() };
    let logs = Logs::open(&directory.path().join("log"), disk.clone(), clock.clone(), config)?;
    let log = logs.stream(&Name::new("telemetry")?)?;
    fill(&log, clock.now())?;
    let (plan, references) = plan()?;
    let subject = Subject { plan, references, records: records(&log) };
    let environment =
        Environment { disk, clock, directory: directory.path().join("checkpoints"), checkpoint_interval: Duration::from_secs(3600) };
    Ok(Setup { log, subject, environment, _directory: directory })
}

/// Records as the simulator writes them: event time goes on by a millisecond for every ten.
fn fill(log: &Arc<Log>, now: i64) -> Result<()> {
    let start = now - (RECORDS / 10) as i64 * MILLISECOND - 10 * SECOND;
    let mut random = 88_172_645_463_325_252_u64;
    for i in 0..RECORDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let device = format!("dev-{:04}", random % DEVICES);
        let ts = time::format(start + (i / 10) as i64 * MILLISECOND);
        let (t, h) = (15.0 + (random >> 20) as f64 % 2_000.0 / 100.0, 30.0 + (random >> 32) as f64 % 4_000.0 / 100.0);
        let status = if random.is_multiple_of(97) { "fault" } else { "ok" };
        let payload = format!(
            r#"{{"device_id":"{device}","ts":"{ts}","temperature":{t:.2},"humidity":{h:.2},"battery":87,"status":"{status}","seq":{i}}}"#
        );
        let topic = format!("devices/{device}/telemetry");
        let record =
            Record { device: &device, topic: &topic, content_type: ContentType::Json, producer: None, payload: payload.as_bytes() };
        while log.append(&record).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    while (0..log.partitions()).map(|p| log.bounds(p).end).sum::<u64>() < RECORDS {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The plan of `examples/fleet.sql`, over a reference table of a thousand devices.
fn plan() -> Result<(JobPlan, Vec<Arc<ReferenceTable>>)> {
    let rows: String = (0..DEVICES).map(|i| format!("dev-{i:04},site-{},TX-100,30.5\n", i % 20)).collect();
    let mut database = Database::new()?;
    database.file("reference/devices.csv", &format!("device_id,site,model,threshold\n{rows}"))?;
    let plan = database.plan(FLEET)?.expect("the example inserts");
    let references = database.needed(&plan);
    Ok((*plan, references))
}

/// The whole: log, two partitions in parallel, decode, filter, join, windows, merge. Returns the time it took.
fn replay(setup: &Setup) -> Duration {
    let supervisor = Supervisor::new(setup.environment.clone());
    let spec = JobSpec {
        name: "replay".to_owned(),
        sql: String::new(),
        kind: JobKind::Query { plan: setup.subject.plan.clone(), references: setup.subject.references.clone() },
        logs: vec![setup.log.clone()],
        sinks: Box::new(|| Ok(Sinks::default())),
        start: StartAt::Earliest,
        state_memory: None,
    };
    let began = Instant::now();
    let tail = supervisor.tail(spec).expect("a thread");
    loop {
        let status = tail.status();
        assert!(!matches!(status.life, JobState::Failed(_)), "{status:?}");
        if status.counters.consumed == RECORDS {
            assert_eq!(status.counters.rejected, 0, "{status:?}");
            return began.elapsed();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn records(log: &Log) -> Vec<Records> {
    let mut all = Vec::new();
    for partition in 0..log.partitions() {
        let mut from = 0;
        while let Some(records) = log.read(partition, from).expect("the log can be read") {
            from = records.end();
            all.push(records);
        }
    }
    all
}

fn benchmark(c: &mut Criterion) {
    let setup = setup().expect("a filled log");
    let subject = &setup.subject;
    let (batches, left) = (subject.batches().expect("event time"), subject.left().expect("steps"));
    let bytes: usize = subject.records.iter().flat_map(|r| &r.entries).map(|e| e.payload.len()).sum();
    println!("{} records, {} bytes a payload, {} batches", RECORDS, bytes as u64 / RECORDS, subject.records.len());

    let mut group = c.benchmark_group("replay");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(Throughput::Elements(RECORDS));
    group.bench_function(BenchmarkId::new("whole", "2 partitions"), |b| {
        b.iter_custom(|n| (0..n).map(|_| replay(&setup)).sum());
    });
    group.bench_function("read, 1 core", |b| b.iter(|| black_box(records(&setup.log).len())));
    group.bench_function("decode, 1 core", |b| {
        b.iter(|| {
            let mut decoder = subject.decoder().expect("a decoder");
            subject.records.iter().map(|r| decoder.decode(r).expect("total").rows.num_rows()).sum::<usize>()
        });
    });
    group.bench_function("filter and join, 1 core", |b| {
        b.iter(|| {
            let (mut steps, mut out) = (subject.steps().expect("steps"), Output::default());
            let left = batches.iter().filter_map(|batch| push(&mut steps, batch, &mut out).expect("a step"));
            left.map(|b| b.rows.num_rows()).sum::<usize>()
        });
    });
    let window = subject.plan.inputs[0].window.as_ref().expect("the example has a window");
    group.bench_function("window and aggregate, 1 core", |b| {
        b.iter(|| {
            let mut inputs = WindowInputs::new(window, &left[0].rows.schema()).expect("inputs");
            let (mut operator, mut out) = (subject.window().expect("a window"), Output::default());
            for batch in &left {
                let batch = inputs.push(batch.clone(), &mut out).expect("inputs").expect("as many rows");
                operator.push(batch, &mut out).expect("aggregates");
            }
            operator.advance(i64::MAX, &mut out).expect("closes");
            black_box(out.emissions.len())
        });
    });
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
