//! `thalweg tokens …`. Invariant: a token is printed once, when it is made, and on standard output only.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};
use thalweg_engine::error::Result;
use thalweg_engine::ids::Name;
use thalweg_engine::time;

use super::{Server, output};

/// Make, list and revoke tokens of operators and analysts.
#[derive(Debug, Args)]
pub struct Tokens {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token; prints it, once
    Create {
        /// What its holder may do
        #[arg(long, value_enum)]
        role: Role,
        /// Name of the token: small letters, digits and _
        #[arg(long)]
        name: String,
        /// Length of time after which it ends by itself, such as 90d; without it the token is good until it is revoked
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
    },
    /// List tokens with their roles and ends
    List,
    /// Make a token void at once
    Revoke {
        /// Name of the token
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Sees the state of the system
    Viewer,
    /// Also runs queries
    Analyst,
    /// Also declares tables, starts and stops jobs, manages devices and tokens
    Admin,
}

impl Tokens {
    /// Runs the action.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.server.client()?;
        match self.action {
            Action::Create { role, name, expires } => {
                let role = role.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
                let body = json!({ "name": Name::new(&name)?, "role": role, "expires": expires });
                let answer = client.json(Method::POST, "/v1/tokens", Some(body)).await?;
                println!("token {name} ({role}) is made; it is shown once:");
                println!("{}", answer["token"].as_str().unwrap_or_default());
            }
            Action::List => {
                let answer = client.json(Method::GET, "/v1/tokens", None).await?;
                let rows: Vec<Value> = answer["tokens"].as_array().into_iter().flatten().map(readable).collect();
                output::table(&rows, &["name", "role", "created", "expires"]);
            }
            Action::Revoke { name } => {
                client.request_empty(Method::DELETE, &format!("/v1/tokens/{}", Name::new(&name)?)).await?;
                println!("token {name} is revoked");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The same with times as people read them.
fn readable(token: &Value) -> Value {
    let mut row = token.clone();
    for field in ["created", "expires"] {
        if let Some(micros) = token[field].as_i64() {
            row[field] = time::format(micros).into();
        }
    }
    row
}
