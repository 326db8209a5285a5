//! Durable publishes a second over MQTT, QoS 1, beside mosquitto, which stores nothing. Invariant: both servers run as processes
//! of their own on the same cores as the one client, which is the same for both, in turns; one of them acknowledges only what
//! is on disk. Without mosquitto on the machine (Debian package `mosquitto`) only our figure is printed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg::app::Core;
use thalweg::config::Config;
use thalweg_connectors::simulator::{self, DeviceLogin, Progress, Rate, Simulation, Target};
use thalweg_devices::{ActivationKey, Actor, Registration};
use thalweg_engine::ids::{DeviceId, Name};
use thalweg_engine::system::SystemClock;
use tokio_util::sync::CancellationToken;

const CONNECTIONS: usize = 50;
const IN_FLIGHT: usize = 100;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(5);

/// A server that ends with the bench.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let root = std::env::var_os("THALWEG_BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let dir = root.join(format!("gateway-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory to measure in");
    let devices = runtime.block_on(async { provision(&dir.join("data")) });
    let (ours, theirs) = (free_port(), free_port());
    let _thalweg = serve(&dir.join("data"), ours);
    let mosquitto = mosquitto(&dir, theirs);
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS as u32 {
        us.push(runtime.block_on(publish(&devices, ours, round)));
        if mosquitto.is_some() {
            them.push(runtime.block_on(publish(&devices, theirs, round)));
        }
        println!("  round {round}: thalweg {:.0} acknowledged/s, mosquitto {:.0}", us[round as usize], them.last().unwrap_or(&f64::NAN));
    }
    let us = median(us);
    println!("MQTT 3.1.1, QoS 1, {CONNECTIONS} connections, {IN_FLIGHT} in flight, PUBACK after durability: {us:.0}/s");
    match mosquitto {
        Some(_) => {
            println!("mosquitto, which stores nothing, in the same run: {:.0}/s; ratio {:.2}", median(them.clone()), us / median(them))
        }
        None => println!("mosquitto is not on this machine: nothing to compare with"),
    }
    drop((_thalweg, mosquitto));
    std::fs::remove_dir_all(&dir).expect("the directory can be removed");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
}

/// A data directory with active devices.
fn provision(data: &Path) -> Vec<DeviceLogin> {
    let core = Core::open(Config { data: data.to_owned(), ..Config::default() }).expect("a data directory");
    let actor = Actor { name: "bench".to_owned(), peer: None };
    let device = |n: usize| {
        let device = DeviceId::new(&format!("bench-{n:03}")).expect("an id");
        let registration =
            Registration { device: device.clone(), activation_key: ActivationKey::None, activation_not_after: None, metadata: None };
        core.devices.register(&actor, registration).expect("a registration");
        let key = core.devices.issue_key(&actor, &device, Duration::ZERO).expect("a key");
        DeviceLogin { device, key: key.expose().to_owned() }
    };
    let devices = (0..CONNECTIONS).map(device).collect();
    core.close();
    devices
}

fn serve(data: &Path, mqtt: SocketAddr) -> Server {
    let http = free_port().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(["serve", "--http", &http, "--mqtt", &mqtt.to_string(), "--amqp", "127.0.0.1:0", "--data"]).arg(data);
    started(command, mqtt)
}

/// A mosquitto that keeps nothing and lets everybody in, if there is one.
fn mosquitto(dir: &Path, address: SocketAddr) -> Option<Server> {
    let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"].into_iter().find(|p| Path::new(p).exists())?;
    let settings = dir.join("mosquitto.conf");
    let text =
        format!("listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nlog_type error\n", address.port());
    std::fs::write(&settings, text).expect("a configuration");
    let mut command = Command::new(program);
    command.arg("-c").arg(settings);
    Some(started(command, address))
}

fn started(mut command: Command, address: SocketAddr) -> Server {
    let server = Server(command.stdout(Stdio::null()).spawn().expect("a server"));
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "{address} does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

/// Acknowledged publishes a second.
async fn publish(devices: &[DeviceLogin], address: SocketAddr, epoch: u32) -> f64 {
    let target = Target::Mqtt3(address.to_string());
    let simulation = Simulation {
        rate: Rate::Unlimited,
        duration: Some(ROUND),
        window: IN_FLIGHT,
        epoch: epoch + 1,
        ..Simulation::new(target, devices.to_vec(), Name::new("telemetry").expect("a name"))
    };
    let start = Instant::now();
    let report = simulator::run(simulation, Arc::new(SystemClock::new()), Arc::new(Progress::default()), CancellationToken::new());
    let report = report.await.expect("a run");
    assert!(report.acknowledged > 0, "nothing was acknowledged: {:?}", report.devices.iter().find_map(|d| d.refused.clone()));
    report.acknowledged as f64 / start.elapsed().as_secs_f64()
}
