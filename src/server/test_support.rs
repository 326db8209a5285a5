//! What the server's tests stand on: a clock, and services that answer from memory. Invariant: fakes keep what they were
//! given, so that a test can look at it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use thalweg_devices::{Actor, Devices, Principal, Role, Secret};
use thalweg_engine::contract::Clock;
use thalweg_engine::error::{Case, Error, Result};
use thalweg_engine::metrics::{GatewayCounters, GatewayDifference, JobCounters};
use thalweg_engine::system::RealDisk;
use thalweg_engine::time::Micros;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::extract::Peer;
use super::*;

#[derive(Debug)]
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Micros {
        1_700_000_000_000_000 + i64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Keeps telemetry, or refuses it as a test says.
#[derive(Default)]
pub struct FakeIngest {
    pub taken: Mutex<Vec<Telemetry>>,
    pub refusal: Mutex<Option<Error>>,
}

#[async_trait]
impl Ingest for FakeIngest {
    async fn ingest(&self, telemetry: Telemetry) -> Result<Accepted> {
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        self.taken.lock().unwrap().push(telemetry);
        Ok(Accepted { accepted: 1, duplicates: 0 })
    }
}

/// Answers a few words instead of SQL.
#[derive(Default)]
pub struct FakeSql {
    /// Set when the rows of `live` were dropped.
    pub dropped: Arc<AtomicBool>,
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub fn batch(from: i64) -> RecordBatch {
    let fields =
        vec![Field::new("n", DataType::Int64, false), Field::new("name", DataType::Utf8, true), Field::new("x", DataType::Float64, true)];
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![from, from + 1])),
        Arc::new(StringArray::from(vec![Some("a,\"b"), None])),
        Arc::new(Float64Array::from(vec![Some(0.5), None])),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[async_trait]
impl SqlService for FakeSql {
    async fn execute_with(&self, _: &Principal, sql: &str, _: &BTreeMap<String, String>) -> Result<SqlOutcome> {
        let broken = || Err(Error::invalid("column n is not what it was"));
        let (items, end) = match sql.trim() {
            "message" => return Ok(SqlOutcome::Message("table made".to_owned())),
            "rows" => (vec![Ok(batch(1)), Ok(batch(3))], RowsEnd::Finite),
            "none" => (vec![], RowsEnd::Finite),
            "fails" => (vec![broken()], RowsEnd::Finite),
            "breaks" => (vec![Ok(batch(1)), broken()], RowsEnd::Finite),
            "live" => (vec![Ok(batch(1))], RowsEnd::Live),
            "forbidden" => return Err(Error::invalid("ana may read only").of_case(Case::Forbidden)),
            _ => return Err(Error::invalid("expected a statement").hint("say rows")),
        };
        let guard = SetOnDrop(self.dropped.clone());
        // Like most streams, it may not be asked again after its end.
        let items = stream::unfold(items.into_iter(), |mut items| async { items.next().map(|item| (item, items)) });
        let stream = if end == RowsEnd::Live { items.chain(stream::pending()).boxed() } else { items.boxed() };
        let stream = stream
            .map(move |item| {
                let _alive = &guard;
                item
            })
            .boxed();
        Ok(SqlOutcome::Rows(Rows { schema: batch(0).schema(), stream, end }))
    }
}

struct FakeJobs;

fn job() -> JobView {
    JobView {
        name: "by_minute".to_owned(),
        state: JobState::Running,
        sql: "CREATE JOB …".to_owned(),
        counters: JobCounters { consumed: 7, ..JobCounters::default() },
        committed: JobCounters { consumed: 2, ..JobCounters::default() },
        lag: 2,
        lag_s: Some(1),
        rate: 12.5,
        state_bytes: 4096,
        state_groups: 3,
        watermark: Some(1_700_000_000_500_000),
        epoch: 3,
        checkpoint_at: Some(1_700_000_000_000_000),
        checkpoint_ms: Some(40),
        restarts: 1,
        next_attempt: None,
        error: None,
    }
}

#[async_trait]
impl JobService for FakeJobs {
    async fn list(&self) -> Result<Vec<JobView>> {
        Ok(vec![job()])
    }
    async fn get(&self, name: &str) -> Result<JobView> {
        if name == job().name { Ok(job()) } else { Err(Error::not_found(format!("job {name} does not exist"))) }
    }
    async fn stop(&self, name: &str) -> Result<JobView> {
        Ok(JobView { state: JobState::Stopped, ..self.get(name).await? })
    }
}

/// As well as a test says.
#[derive(Default)]
pub struct FakeSystem(pub Mutex<Vec<String>>);

#[async_trait]
impl SystemView for FakeSystem {
    fn problems(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
    fn gateway_difference(&self) -> GatewayDifference {
        GatewayDifference { received: 0, log: 3 }
    }
    fn log_figures(&self) -> LogFigures {
        LogFigures { dropped_unread: 5, ..LogFigures::default() }
    }
    async fn status(&self) -> Result<Value> {
        Ok(json!({"records": 7}))
    }
    async fn catalog(&self) -> Result<Value> {
        Ok(json!({"tables": []}))
    }
}

/// A server over fakes, with one token of each role.
pub struct Server {
    pub router: Router,
    pub devices: Arc<Devices>,
    pub ingest: Arc<FakeIngest>,
    pub sql: Arc<FakeSql>,
    pub gateway: Arc<GatewayCounters>,
    pub system: Arc<FakeSystem>,
    pub shutdown: CancellationToken,
    pub admin: Secret,
    pub analyst: Secret,
    pub viewer: Secret,
    requests: AtomicU32,
    _dir: tempfile::TempDir,
}

impl Server {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let devices = Devices::open(dir.path(), Arc::new(RealDisk), Arc::new(TestClock(Instant::now()))).unwrap();
        let (ingest, sql, gateway) = (Arc::<FakeIngest>::default(), Arc::<FakeSql>::default(), Arc::<GatewayCounters>::default());
        let (system, shutdown) = (Arc::<FakeSystem>::default(), CancellationToken::new());
        let state = ServerState {
            devices: devices.clone(),
            ingest: ingest.clone(),
            sql: sql.clone(),
            jobs: Arc::new(FakeJobs),
            system: system.clone(),
            gateway: gateway.clone(),
            shutdown: shutdown.clone(),
        };
        let [admin, analyst, viewer] = [Role::Admin, Role::Analyst, Role::Viewer].map(|role| devices.mint_ephemeral(role).unwrap());
        Self {
            router: router(state).unwrap(),
            devices,
            ingest,
            sql,
            gateway,
            system,
            shutdown,
            admin,
            analyst,
            viewer,
            requests: AtomicU32::default(),
            _dir: dir,
        }
    }

    /// Registers and activates a device; returns its key.
    pub fn device(&self, id: &str) -> Secret {
        let registration = thalweg_devices::Registration {
            device: thalweg_engine::ids::DeviceId::new(id).unwrap(),
            activation_key: thalweg_devices::ActivationKey::Generate,
            activation_not_after: None,
            metadata: None,
        };
        let registered = self.devices.register(&operator(), registration).unwrap();
        self.devices.activate(id, &registered.activation_key.unwrap(), None).unwrap()
    }

    /// Sends a request with `Authorization: Bearer` if there is a secret.
    pub async fn send(&self, method: Method, path: &str, secret: Option<&str>, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(secret) = secret {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        self.request(request.body(body.into()).unwrap()).await
    }

    /// Sends a request, each from an address of its own, so that refused ones do not add up.
    pub async fn request(&self, mut request: Request<Body>) -> Answer {
        let peer = Ipv4Addr::from_bits(0x0a00_0000 | self.requests.fetch_add(1, Ordering::SeqCst));
        request.extensions_mut().insert(Peer(peer.into()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await;
        Answer { status: parts.status, headers: parts.headers, whole: bytes.is_ok(), bytes: bytes.unwrap_or_default().to_vec() }
    }

    /// Listens on a free port of this machine; returns the address.
    pub async fn listen(&self, deadlines: Deadlines) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, self.router.clone(), deadlines, self.shutdown.clone()));
        address
    }
}

pub fn operator() -> Actor {
    Actor { name: "tester".to_owned(), peer: None }
}

/// A response that was read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub whole: bool,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
    pub fn error_kind(&self) -> String {
        self.json()["error"]["kind"].as_str().unwrap_or_default().to_owned()
    }
}
