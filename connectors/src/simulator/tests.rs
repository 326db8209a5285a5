//! The simulator against the gateway, end to end. Invariant: what it reports is checked against what the log holds.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::gateway::{AmqpGateway, GatewayContext, MqttGateway, http};
use crate::testing::{self, Durability, FakeAuthority, MemoryLog};
use thalweg_engine::batch::ProducerSequence;
use thalweg_engine::time::Micros;

/// A clock that moves a millisecond at each look.
#[derive(Debug, Default)]
struct StepClock(AtomicI64);

impl Clock for StepClock {
    fn now(&self) -> Micros {
        1_800_000_000_000_000 + self.0.fetch_add(1_000, Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn logins(count: usize) -> Vec<DeviceLogin> {
    let login = |n| {
        let device = DeviceId::new(&format!("dev-{n:04}")).unwrap();
        DeviceLogin { key: format!("key-{device}"), device }
    };
    (1..=count).map(login).collect()
}

fn simulation(target: Target, devices: usize, records: u64) -> Simulation {
    let mut simulation = Simulation::new(target, logins(devices), Name::new("telemetry").unwrap());
    simulation.rate = Rate::Unlimited;
    simulation.records = Some(records);
    simulation
}

async fn run_now(simulation: Simulation) -> Report {
    let done = run(simulation, Arc::new(StepClock::default()), Arc::default(), CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(30), done).await.expect("a run in time").unwrap()
}

async fn gateway(log: &Arc<MemoryLog>) -> (MqttGateway, GatewayContext) {
    let context = testing::context(FakeAuthority::default(), log.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (MqttGateway::start(listener, context.clone()).unwrap(), context)
}

/// Sequences of one device in the log, in order.
fn sequences(log: &MemoryLog, device: &str) -> Vec<u64> {
    let of_device = log.records().into_iter().filter(|r| r.device == device);
    of_device.map(|r| serde_json::from_slice::<serde_json::Value>(&r.payload).unwrap()["seq"].as_u64().unwrap()).collect()
}

fn assert_complete(report: &Report, devices: usize, records: u64) {
    assert_eq!((report.sent, report.acknowledged, report.errors), (devices as u64 * records, devices as u64 * records, 0));
    assert_eq!(report.latency_micros.len(), report.acknowledged);
    assert_eq!(report.devices.len(), devices);
    for device in &report.devices {
        assert_eq!((device.contiguous, device.acknowledged, device.unanswered), (records, records, 0), "{device:?}");
    }
}

#[tokio::test]
async fn every_record_arrives_in_order_over_both_versions() {
    for target in [Target::Mqtt3, Target::Mqtt5] {
        let log = MemoryLog::new(Durability::AtOnce);
        let (gateway, context) = gateway(&log).await;
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("acknowledged");
        let mut simulation = simulation(target(gateway.address().to_string()), 5, 400);
        simulation.journal = Some(journal.clone());
        let is_v5 = matches!(simulation.target, Target::Mqtt5(_));
        assert_complete(&run_now(simulation).await, 5, 400);
        assert_eq!(sequences(&log, "dev-0003"), (1..=400).collect::<Vec<u64>>());
        let numbered = log.records().iter().filter(|r| r.producer.is_some()).count();
        assert_eq!(numbered, if is_v5 { 2_000 } else { 0 });
        let lines = std::fs::read_to_string(&journal).unwrap();
        assert_eq!(lines.lines().count(), 2_000);
        assert_eq!(lines.lines().rfind(|l| l.starts_with("dev-0002 ")), Some("dev-0002 400"));
        gateway.shutdown().await;
        assert_eq!((context.counters.received.get(), context.counters.appended.get()), (2_000, 2_000));
    }
}

#[tokio::test]
async fn every_record_arrives_in_order_over_amqp_and_is_known_when_it_comes_again() {
    let log = MemoryLog::new(Durability::AtOnce);
    let context = testing::context(FakeAuthority::default(), log.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = AmqpGateway::start(listener, context.clone()).unwrap();
    let mut simulation = simulation(Target::Amqp(gateway.address().to_string()), 5, 1_000);
    for round in 0..2 {
        assert_complete(&run_now(simulation.clone()).await, 5, 1_000);
        assert_eq!(context.counters.duplicate.get(), round * 5_000);
    }
    assert_eq!(sequences(&log, "dev-0003"), (1..=1_000).collect::<Vec<u64>>());
    assert_eq!(log.records()[0].content_type, thalweg_engine::batch::ContentType::Json);
    simulation.devices[0].key = "wrong".into();
    let report = run_now(simulation.clone()).await;
    assert_eq!(report.devices[0].refused.as_ref().unwrap().message, "wrong key, or no such device");
    assert_eq!(report.devices[1].contiguous, 1_000);
    simulation.devices.remove(0);
    simulation.stream = Name::new("nowhere").unwrap();
    let report = run_now(simulation).await;
    let refused = report.devices[0].refused.as_ref().unwrap();
    assert!(refused.message.contains("there is no such stream"), "{refused:?}");
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_rate_is_kept_and_the_duration_ends_the_run() {
    let log = MemoryLog::new(Durability::AtOnce);
    let (gateway, _) = gateway(&log).await;
    let mut simulation = simulation(Target::Mqtt5(gateway.address().to_string()), 4, u64::MAX);
    simulation.rate = Rate::Total(200.0);
    simulation.duration = Some(Duration::from_secs(1));
    let report = run_now(simulation).await;
    assert!((50..=400).contains(&report.sent), "{}", report.sent);
    assert_eq!(report.acknowledged, report.sent);
}

#[tokio::test]
async fn after_a_lost_connection_nothing_is_missing() {
    let log = MemoryLog::new(Durability::WhenTold);
    // Nobody else gets its port in between.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = || TcpListener::from_std(socket.try_clone().unwrap()).unwrap();
    let first = MqttGateway::start(listener(), testing::context(FakeAuthority::default(), log.clone())).unwrap();
    let mut simulation = simulation(Target::Mqtt5(first.address().to_string()), 2, 200);
    simulation.window = 50;
    simulation.drain = Duration::from_secs(20);
    let devices = tokio::spawn(run_now(simulation));
    // Both windows are full and nothing was acknowledged when the server goes away.
    log.wait_appended(100).await;
    first.shutdown().await;
    let log_after = MemoryLog::new(Durability::AtOnce);
    let context = testing::context(FakeAuthority::default(), log_after.clone());
    let second = MqttGateway::start(listener(), context).unwrap();
    let report = devices.await.unwrap();
    assert_complete(&report, 2, 200);
    assert!(report.disconnects >= 2, "{}", report.disconnects);
    assert_eq!(sequences(&log_after, "dev-0001"), (1..=200).collect::<Vec<u64>>());
    second.shutdown().await;
}

#[tokio::test]
async fn a_wrong_key_is_reported_and_others_go_on() {
    let log = MemoryLog::new(Durability::AtOnce);
    let (gateway, _) = gateway(&log).await;
    let mut simulation = simulation(Target::Mqtt3(gateway.address().to_string()), 2, 10);
    simulation.devices[0].key = "wrong".into();
    let report = run_now(simulation).await;
    assert_eq!(report.devices[0].refused.as_ref().unwrap().message, "BadUserNameOrPassword");
    assert_eq!((report.devices[1].contiguous, report.acknowledged), (10, 10));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let good = simulation(Target::Mqtt3("127.0.0.1:1".into()), 1, 1);
    let with = |change: fn(&mut Simulation)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    for bad in [
        with(|s| s.devices.clear()),
        with(|s| s.rate = Rate::Total(0.0)),
        with(|s| s.rate = Rate::PerDevice(f64::NAN)),
        with(|s| s.window = 0),
        with(|s| s.mix.late = 1.5),
    ] {
        let done = run(bad, Arc::new(StepClock::default()), Arc::default(), CancellationToken::new()).await;
        assert_eq!(done.unwrap_err().kind(), thalweg_engine::error::ErrorKind::Invalid);
    }
}

/// Answers ingest requests like the HTTP route would; fails every third one after storing it.
async fn serve_http(socket: TcpStream, context: GatewayContext, count: Arc<AtomicI64>) -> std::io::Result<()> {
    let mut stream = BufReader::new(socket);
    loop {
        let (mut path, mut key, mut length, mut epoch, mut sequence) = (String::new(), String::new(), 0, 0, 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("POST ") {
                path = rest.split(' ').next().unwrap().to_owned();
            } else if let Some((name, value)) = line.split_once(": ") {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap(),
                    "authorization" => key = value.strip_prefix("Bearer ").unwrap().to_owned(),
                    http::EPOCH_HEADER => epoch = value.parse().unwrap(),
                    http::SEQUENCE_HEADER => sequence = value.parse().unwrap(),
                    _ => {}
                }
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let device = path.split('/').nth(3).unwrap();
        let status = match context.authority.authenticate(device, &key, None) {
            Err(_) => "401 Unauthorized",
            Ok(identity) => {
                let producer = Some(ProducerSequence { epoch, sequence });
                let stream = Name::new("telemetry").unwrap();
                http::ingest(&context, &identity.device, &stream, Some("application/x-ndjson"), producer, &body).await.unwrap();
                if count.fetch_add(1, Ordering::Relaxed) % 3 == 2 { "503 Service Unavailable" } else { "200 OK" }
            }
        };
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
    }
}

#[tokio::test]
async fn http_devices_repeat_a_failed_request_with_the_same_numbers() {
    let log = MemoryLog::forgetful();
    let context = testing::context(FakeAuthority::default(), log.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let count = Arc::new(AtomicI64::default());
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve_http(socket, context.clone(), count.clone()));
        }
    });
    let mut simulation = simulation(Target::Http(format!("http://{address}")), 2, 300);
    simulation.batch = 50;
    let report = run_now(simulation.clone()).await;
    assert_complete(&report, 2, 300);
    assert!(report.disconnects > 0);
    // Stored more than once, each time under the number of its payload: a log that knows numbers keeps one.
    assert!(log.records().len() > 600);
    for record in log.records() {
        let payload: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
        assert_eq!(record.producer.unwrap().sequence, payload["seq"].as_u64().unwrap());
    }
    simulation.devices[0].key = "wrong".into();
    let report = run_now(simulation).await;
    assert!(report.devices[0].refused.as_ref().is_some_and(|r| r.message.starts_with("401")), "{:?}", report.devices[0]);
    server.abort();
}
