//! `thalweg devices …`. Invariant: a key is printed once, when it is issued, and on standard output only.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;

use super::{Server, output};

/// Register, list and revoke devices.
#[derive(Debug, Args)]
pub struct Devices {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Register a device; prints its activation key
    Register {
        /// Device id: letters, digits and . _ : -
        device: String,
        /// Activation key; a random one is made if it is left out
        #[arg(long)]
        activation_key: Option<String>,
        /// Business data as a JSON object, for the device catalog
        #[arg(long, value_name = "JSON")]
        metadata: Option<String>,
    },
    /// Activate a device with its activation key; prints its device key, once
    Activate {
        /// Device id
        device: String,
        /// The activation key that came with its registration
        #[arg(long, env = "THALWEG_ACTIVATION_KEY", hide_env_values = true)]
        activation_key: String,
    },
    /// Issue a new key for a device, such as one whose key is lost; prints it, once
    NewKey {
        /// Device id
        device: String,
        /// Length of time for which its older keys stay good, such as 1h; without it they end at once
        #[arg(long, value_name = "DURATION")]
        overlap: Option<String>,
    },
    /// List devices
    List {
        /// Only those in this state: registered, active, revoked
        #[arg(long)]
        state: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Only those after this id
        #[arg(long)]
        after: Option<String>,
    },
    /// Show one device with its business data
    Show {
        /// Device id
        device: String,
    },
    /// Take a device's rights away; its connections are cut at once
    Revoke {
        /// Device id
        device: String,
    },
}

impl Devices {
    /// Runs the action.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.server.client()?;
        match self.action {
            Action::Register { device, activation_key, metadata } => {
                let parse = |text: String| {
                    serde_json::from_str::<Value>(&text)
                        .map_err(|e| Error::invalid(format!("--metadata is not JSON: {e}")).hint("write an object: '{\"site\":\"north\"}'"))
                };
                let mut body = json!({ "device_id": DeviceId::new(&device)?.as_str() });
                if let Some(key) = activation_key {
                    body["activation_key"] = json!(key);
                }
                if let Some(document) = metadata.map(parse).transpose()? {
                    body["metadata"] = document;
                }
                let answer = client.json(Method::POST, "/v1/devices", Some(body)).await?;
                println!("device {device} is registered; it is not active yet");
                println!("activation key: {}", answer["activation_key"].as_str().unwrap_or("as given"));
            }
            Action::Activate { device, activation_key } => {
                let body = json!({ "activation_key": activation_key });
                let answer = client.json(Method::POST, &path(&device, "/activate")?, Some(body)).await?;
                println!("device {device} is active; this key is shown once:");
                println!("{}", answer["key"].as_str().unwrap_or_default());
            }
            Action::NewKey { device, overlap } => {
                let body = overlap.map_or_else(|| json!({}), |overlap| json!({ "overlap": overlap }));
                let answer = client.json(Method::POST, &path(&device, "/keys")?, Some(body)).await?;
                println!("device {device} has a new key; it is shown once:");
                println!("{}", answer["key"].as_str().unwrap_or_default());
            }
            Action::List { state, limit, after } => {
                let mut path = format!("/v1/devices?limit={limit}");
                for (name, value) in [("state", state), ("after", after)] {
                    if let Some(value) = value {
                        path.push_str(&format!("&{name}={value}"));
                    }
                }
                let answer = client.json(Method::GET, &path, None).await?;
                let rows = answer["devices"].as_array().cloned().unwrap_or_default();
                output::table(&rows, &["device_id", "state", "connected", "last_seen", "registered"]);
                output::lines(answer["next"].as_str().map(|next| format!("more: --after {next}")));
            }
            Action::Show { device } => {
                let answer = client.json(Method::GET, &path(&device, "")?, None).await?;
                println!("{}", serde_json::to_string_pretty(&answer).unwrap_or_default());
            }
            Action::Revoke { device } => {
                client.json(Method::POST, &path(&device, "/revoke")?, None).await?;
                println!("device {device} is revoked");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn path(device: &str, rest: &str) -> Result<String> {
    Ok(format!("/v1/devices/{}{rest}", DeviceId::new(device)?))
}
