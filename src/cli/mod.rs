//! The command line: one command a file. Invariant: commands hold no logic of their own beyond asking, showing and waiting.

mod balance;
mod client;
mod demo;
mod devices;
mod fleet;
mod jobs;
mod lake;
mod lint;
mod log;
mod output;
mod publish;
mod repair;
mod serve;
mod sql;
mod tokens;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use thalweg_engine::error::{Error, Result};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use client::Client;

/// IoT stream processing with SQL: devices, a durable log, windows, and a lake, in one binary.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// More messages: -v for information, -vv for detail. RUST_LOG overrides it.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

/// Every command, in the order of a first day.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything with 200 simulated devices and show live results
    Demo(demo::Demo),
    /// Run the server: gateway, log, jobs, lake, API
    Serve(serve::Serve),
    /// Register, list and revoke devices
    Devices(devices::Devices),
    /// Make, list and revoke tokens of operators and analysts
    Tokens(tokens::Tokens),
    /// Publish simulated telemetry, and measure
    Publish(publish::Publish),
    /// Run SQL: a statement, a file, or interactively
    Sql(sql::Sql),
    /// List and stop jobs
    Jobs(jobs::Jobs),
    /// List, describe and verify the data sets of a lake
    Lake(lake::Lake),
    /// List, print, verify and repair the log
    Log(log::Log),
}

/// Which server, and with which rights.
#[derive(Debug, Clone, Args)]
struct Server {
    /// Address of the server's HTTP API
    #[arg(long, global = true, env = "THALWEG_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,

    /// Operator's or analyst's token
    #[arg(long, global = true, env = "THALWEG_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Server {
    fn client(&self) -> Result<Client> {
        Client::new(&self.server, self.token.clone())
    }
}

/// Where the data of a server lies, for commands that read it without one.
#[derive(Debug, Clone, Args)]
struct Data {
    /// Data directory [default: that of thalweg.toml if it is there, else thalweg-data]
    #[arg(long, global = true, env = "THALWEG_DATA")]
    data: Option<PathBuf>,
}

impl Data {
    /// The settings of a server that would be started here, over this directory if one is named.
    fn config(&self) -> Result<Config> {
        let mut config = Config::load(None)?;
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        Ok(config)
    }
}

/// Runs the command.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let default = match (&cli.command, cli.verbose) {
        (Command::Serve(_), 0) => "thalweg=info,warn",
        (_, 0) => "error",
        (_, 1) => "thalweg=info,warn",
        _ => "thalweg=debug,info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // They would go where the event could not, and panic: on a full disk or a closed pipe whoever has something to say would die.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| Error::internal(e.to_string()))?;
    let result = match cli.command {
        Command::Demo(c) => runtime.block_on(c.run()),
        Command::Serve(c) => runtime.block_on(c.run()),
        Command::Devices(c) => runtime.block_on(c.run()),
        Command::Tokens(c) => runtime.block_on(c.run()),
        Command::Publish(c) => runtime.block_on(c.run()),
        Command::Sql(c) => runtime.block_on(c.run()),
        Command::Jobs(c) => runtime.block_on(c.run()),
        Command::Lake(c) => c.run(runtime.handle()),
        Command::Log(c) => c.run(),
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}
