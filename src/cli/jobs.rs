//! `thalweg jobs …`. Invariant: what is shown is what the server says; nothing is computed here but how times are written.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use thalweg_engine::error::Result;
use thalweg_engine::time;

use super::{Server, output};

/// List and stop jobs.
#[derive(Debug, Args)]
pub struct Jobs {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List jobs with their counts
    List,
    /// Show one job in full
    Show {
        /// Name of the job
        job: String,
    },
    /// Stop a job after a last checkpoint
    Stop {
        /// Name of the job
        job: String,
    },
}

impl Jobs {
    /// Runs the action.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.server.client()?;
        match self.action {
            Action::List => {
                let answer = client.json(Method::GET, "/v1/jobs", None).await?;
                let flat = |job: &Value| {
                    let mut row = job.clone();
                    for (name, value) in job["counters"].as_object().into_iter().flatten() {
                        row[name] = value.clone();
                    }
                    for name in ["watermark", "checkpoint_at"] {
                        if let Some(micros) = job[name].as_i64() {
                            row[name] = time::format(micros).into();
                        }
                    }
                    row
                };
                let rows: Vec<Value> = answer["jobs"].as_array().into_iter().flatten().map(flat).collect();
                let columns = ["name", "state", "consumed", "lag", "watermark", "late", "rejected", "checkpoint_at", "error"];
                output::table(&rows, &columns);
            }
            Action::Show { job } => {
                let answer = client.json(Method::GET, &format!("/v1/jobs/{job}"), None).await?;
                println!("{}", serde_json::to_string_pretty(&answer).unwrap_or_default());
            }
            Action::Stop { job } => {
                client.json(Method::POST, &format!("/v1/jobs/{job}/stop"), None).await?;
                println!("job {job} is stopped; its last checkpoint is kept, and the same statement resumes there");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
