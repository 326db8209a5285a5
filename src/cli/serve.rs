//! `thalweg serve`. Invariant: the admin's token is printed once, at the first start; addresses are printed when the server
//! answers on them.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::error::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;

/// Run the server: gateway, log, jobs, lake, API.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    settings: Settings,
}

/// Settings that the command line may give.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Configuration file; thalweg.toml is read if it is there
    #[arg(long)]
    config: Option<PathBuf>,
    /// Data directory [default: thalweg-data]
    #[arg(long, env = "THALWEG_DATA")]
    data: Option<PathBuf>,
    /// Address of the HTTP API [default: 127.0.0.1:8080]
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Address of the MQTT gateway [default: 127.0.0.1:1883]
    #[arg(long)]
    mqtt: Option<SocketAddr>,
    /// Address of the AMQP gateway [default: 127.0.0.1:5672]
    #[arg(long)]
    amqp: Option<SocketAddr>,
    /// Partitions of a new stream [default: the number of cores]
    #[arg(long)]
    partitions: Option<u32>,
    /// Time between checkpoints, such as 10s: how old the lake is at most
    #[arg(long)]
    checkpoint_interval: Option<String>,
}

impl Settings {
    /// Configuration file and command line together.
    pub fn config(&self) -> Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        config.http = self.http.unwrap_or(config.http);
        config.mqtt = self.mqtt.unwrap_or(config.mqtt);
        config.amqp = self.amqp.unwrap_or(config.amqp);
        config.partitions = self.partitions.unwrap_or(config.partitions);
        if let Some(text) = &self.checkpoint_interval {
            config.checkpoint_interval = parse_duration(text).map_err(|e| e.context("--checkpoint-interval"))?;
        }
        Ok(config)
    }
}

impl Serve {
    /// Serves until Ctrl-C or SIGTERM.
    pub async fn run(self) -> Result<ExitCode> {
        let config = self.settings.config()?;
        for (what, address) in [("HTTP", config.http), ("MQTT", config.mqtt), ("AMQP", config.amqp)] {
            if !address.ip().is_loopback() {
                let danger = "is open to the network without TLS; keys and tokens can be read on the way";
                say(std::io::stderr(), &format!("warning: {what} on {address} {danger}"));
            }
        }
        let app = App::start(config).await?;
        say(std::io::stdout(), &format!("thalweg {} serves {}", env!("CARGO_PKG_VERSION"), app.core.config.data.display()));
        say(std::io::stdout(), &format!("HTTP API: http://{}", app.http));
        say(std::io::stdout(), &format!("MQTT:     {}", app.mqtt));
        say(std::io::stdout(), &format!("AMQP:     {}", app.amqp));
        if let Some(token) = &app.admin_token {
            say(std::io::stdout(), &format!("admin token: {}", token.expose()));
            say(std::io::stdout(), "             (shown once; give it with --token or THALWEG_TOKEN)");
        }
        let failure = tokio::select! {
            ended = wait_for_end() => ended.map(|()| None)?,
            reason = app.poisoned() => Some(reason),
        };
        match &failure {
            None => say(std::io::stdout(), "stopping: jobs take a last checkpoint"),
            Some(reason) => say(std::io::stderr(), &format!("stopping: {}", reason.message())),
        }
        app.stop().await?;
        failure.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

/// Prints a line. That nothing takes it, a full disk or a pipe that was closed, is no reason to end.
fn say(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

/// Returns at Ctrl-C or SIGTERM.
pub async fn wait_for_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| Error::internal(format!("signals: {e}")))?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map_err(|e| Error::internal(format!("signals: {e}"))),
        _ = terminate.recv() => Ok(()),
    }
}
