//! The server under load: a process of its own, spoken to over HTTP as anybody would. Invariant: it is gone when its guard is.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use thalweg_engine::metrics::JobCounters;

use crate::conservation::difference;
use crate::machine::Owned;

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "admin token: ";
/// What one partition of the log keeps.
const RETENTION_BYTES: u64 = 256 << 20;
/// How long the lake keeps what was replaced. With the hour that it keeps by default, an hour's run would end while that still fills;
/// with this, it shows more than ten turns of everything that is kept and removed again.
const LAKE_HISTORY: &str = "4min";

/// A running server.
pub struct Server {
    /// The process.
    pub process: Owned,
    /// Its data directory.
    pub data: PathBuf,
    http: SocketAddr,
    token: String,
    client: Client,
}

fn free() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| format!("no free port: {e}"))
}

impl Server {
    /// Starts `program` over a new data directory in `home`, with a checkpoint each second.
    pub async fn start(program: &Path, home: &Path) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", home.display());
        let settings = format!(
            "checkpoint-interval = '1s'\nlake-history = '{LAKE_HISTORY}'\nretention-bytes = {RETENTION_BYTES}\nsegment-bytes = {}\n",
            64 << 20
        );
        std::fs::write(home.join("thalweg.toml"), settings).map_err(failed)?;
        let said = std::fs::File::create(home.join("said")).map_err(failed)?;
        let (http, data) = (free()?, home.join("data"));
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(&data).arg("--http").arg(http.to_string()).arg("--mqtt").arg(free()?.to_string());
        command.current_dir(home).stdin(Stdio::null()).stdout(said.try_clone().map_err(failed)?).stderr(said);
        let mut server = Self {
            process: Owned::spawn(&mut command)?,
            data,
            http,
            token: String::new(),
            client: Client::builder().pool_max_idle_per_host(256).build().map_err(|e| e.to_string())?,
        };
        let began = Instant::now();
        while server.token.is_empty() {
            let text = std::fs::read_to_string(home.join("said")).unwrap_or_default();
            if began.elapsed() > PATIENCE || server.process.wait_for(Duration::ZERO)?.is_some() {
                return Err(format!("the server does not start: {text}"));
            }
            let token = text.split_once(TOKEN).and_then(|(_, rest)| rest.split_once(char::is_whitespace));
            server.token = token.map(|(token, _)| token.to_owned()).unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.http
    }

    /// A request with somebody's token.
    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.http)).bearer_auth(token)
    }

    async fn answer(request: RequestBuilder) -> Result<Response, String> {
        let response = request.send().await.map_err(|e| e.to_string())?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(format!("{}: {}", response.status(), response.text().await.unwrap_or_default()))
    }

    async fn json(&self, path: &str, body: &Value) -> Result<Value, String> {
        let response = Self::answer(self.request(Method::POST, path, &self.token).json(body)).await?;
        response.json().await.map_err(|e| format!("{path}: {e}"))
    }

    /// Registers and activates a device; returns its key.
    pub async fn provision(&self, device: &str) -> Result<String, String> {
        let registered = self.json("/v1/devices", &json!({ "device_id": device })).await?;
        let activated =
            self.json(&format!("/v1/devices/{device}/activate"), &json!({ "activation_key": registered["activation_key"] })).await?;
        activated["key"].as_str().map(str::to_owned).ok_or(format!("no key for {device}: {activated}"))
    }

    /// Carries out statements; the answer may be rows that go on.
    pub async fn sql(&self, text: &str) -> Result<Response, String> {
        Self::answer(self.request(Method::POST, "/v1/sql", &self.token).header("content-type", "text/plain").body(text.to_owned())).await
    }

    /// Jobs that do not run or whose counts do not balance at their last checkpoint, with why; and how many checkpoints there were.
    pub async fn jobs(&self) -> Result<(Vec<String>, u64), String> {
        let response = Self::answer(self.request(Method::GET, "/v1/jobs", &self.token)).await?;
        let answer: Value = response.json().await.map_err(|e| e.to_string())?;
        let (mut problems, mut epochs) = (Vec::new(), 0);
        for job in answer["jobs"].as_array().or(answer.as_array()).into_iter().flatten() {
            let committed: JobCounters = serde_json::from_value(job["committed"].clone()).map_err(|e| format!("/v1/jobs: {e}"))?;
            epochs += job["epoch"].as_u64().unwrap_or(0);
            problems.extend(difference(job["name"].as_str().unwrap_or_default(), &committed));
            if job["state"] != "running" {
                problems.push(format!("job {}: {} {}", job["name"], job["state"], job["error"]));
            }
        }
        Ok((problems, epochs))
    }

    /// What the counts of the gateway and the log have against each other, once nothing more is sent. The log may hold records of requests
    /// that broke off.
    pub async fn gateway(&self) -> Result<Option<String>, String> {
        let began = Instant::now();
        loop {
            let response = Self::answer(self.request(Method::GET, "/v1/status", &self.token)).await?;
            let status: Value = response.json().await.map_err(|e| e.to_string())?;
            let count = |name: &str| status["gateway"][name].as_u64().unwrap_or(0);
            let settled = ["appended", "duplicate", "rejected", "failed"].map(count).iter().sum::<u64>();
            let streams = status["streams"].as_object().into_iter().flat_map(|streams| streams.values());
            let bounds = streams.flat_map(|stream| stream["partitions"].as_array().into_iter().flatten());
            let logged: u64 = bounds.filter_map(|bounds| bounds[1].as_u64()).sum();
            let (received, appended) = (count("received"), count("appended"));
            if received == settled && (appended..=appended + count("failed")).contains(&logged) {
                return Ok(None);
            }
            if began.elapsed() > PATIENCE {
                let counts = format!("{received} received, {settled} settled, {appended} appended");
                return Ok(Some(format!("the gateway counts {counts}; the log has taken {logged}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
