//! Devices that send everything again. Invariant: over a real server, a record that is sent three times, over MQTT 5 and AMQP in
//! turns, is in the log once, and the counters say how often it came.

use std::sync::Arc;
use std::time::Duration;

use thalweg::app::App;
use thalweg::config::Config;
use thalweg_connectors::simulator::{self, DeviceLogin, Progress, Rate, Simulation, Target};
use thalweg_devices::{ActivationKey, Actor, Devices, Registration};
use thalweg_engine::contract::LogStore;
use thalweg_engine::ids::{DeviceId, Name};
use thalweg_engine::system::SystemClock;
use tokio_util::sync::CancellationToken;

const DEVICES: usize = 10_000;
const RECORDS: u64 = 5;
/// Devices that are connected at once; each holds a socket on both sides, and a process may open only so many.
const AT_ONCE: usize = 250;
const REPETITIONS: u64 = 2;

fn active_devices(devices: &Devices) -> Vec<DeviceLogin> {
    let actor = Actor { name: "test".to_owned(), peer: None };
    let ids: Vec<DeviceId> = (0..DEVICES).map(|n| DeviceId::new(&format!("repeat-{n:05}")).unwrap()).collect();
    let registration = |device: &DeviceId| Registration {
        device: device.clone(),
        activation_key: ActivationKey::None,
        activation_not_after: None,
        metadata: None,
    };
    for part in ids.chunks(AT_ONCE) {
        devices.register_all(&actor, part.iter().map(registration).collect()).unwrap();
    }
    let login = |device: DeviceId| {
        let key = devices.issue_key(&actor, &device, Duration::ZERO).unwrap();
        DeviceLogin { device, key: key.expose().to_owned() }
    };
    ids.into_iter().map(login).collect()
}

/// How many records were acknowledged, and how many the devices sent again by themselves, since a connection was lost.
async fn send(devices: &[DeviceLogin], target: Target) -> (u64, u64) {
    let simulation = Simulation {
        rate: Rate::Unlimited,
        records: Some(RECORDS),
        drain: Duration::from_secs(30),
        ..Simulation::new(target, devices.to_vec(), Name::new("telemetry").unwrap())
    };
    let progress = Arc::new(Progress::default());
    let report = simulator::run(simulation, Arc::new(SystemClock::new()), progress.clone(), CancellationToken::new()).await.unwrap();
    (report.acknowledged, progress.resent.get())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ten_thousand_devices_send_three_times_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let app = App::start(Config { data: dir.path().join("data"), http: any, mqtt: any, amqp: any, ..Config::default() }).await.unwrap();
    let devices = active_devices(&app.core.devices);
    let expected = DEVICES as u64 * RECORDS;
    let mut resent = 0;
    for part in devices.chunks(AT_ONCE) {
        for round in 0..=REPETITIONS {
            let target = if round % 2 == 0 { Target::Mqtt5(app.mqtt.to_string()) } else { Target::Amqp(app.amqp.to_string()) };
            // Each run connects anew, and counts from the same number in the same epoch.
            let (acknowledged, again) = send(part, target).await;
            assert_eq!(acknowledged, part.len() as u64 * RECORDS);
            resent += again;
        }
    }
    let counters = &app.core.counters;
    assert_eq!(counters.appended.get(), expected);
    let duplicate = counters.duplicate.get() - REPETITIONS * expected;
    assert!(duplicate <= resent, "{duplicate} more than what was sent three times, and {resent} were sent again");
    let log = app.core.logs.stream(&Name::new("telemetry").unwrap()).unwrap();
    let mut seen = std::collections::HashSet::new();
    for partition in 0..log.partitions() {
        let mut from = 0;
        while let Some(records) = log.read(partition, from).unwrap() {
            for entry in &records.entries {
                let producer = entry.producer.unwrap();
                assert!(seen.insert((records.text(&entry.device).to_owned(), producer.epoch, producer.sequence)));
            }
            from = records.end();
        }
    }
    assert_eq!(seen.len() as u64, expected);
    app.stop().await.unwrap();
}
