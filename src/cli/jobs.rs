//! `thalweg jobs …`. Invariant: what is shown is what the server says; nothing is computed here but how times are written.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use thalweg_engine::error::Result;
use thalweg_engine::time;

use super::{Server, output};
use crate::units;

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

/// What fits beside one another on a terminal; `thalweg jobs show` tells the rest.
const COLUMNS: [&str; 9] = ["name", "state", "rate", "lag", "lag_s", "watermark", "late", "rejected", "memory"];

fn line(job: &Value) -> Value {
    let mut row = job.clone();
    for name in ["late", "rejected"] {
        row[name] = job["counters"][name].clone();
    }
    if let Some(micros) = job["watermark"].as_i64() {
        // To the second: the rest is of no use in a list.
        row["watermark"] = time::format(micros.div_euclid(time::SECOND) * time::SECOND).into();
    }
    row["rate"] = job["rate"].as_f64().map(units::rate).into();
    row["memory"] = job["state_bytes"].as_u64().map(units::bytes).into();
    row
}

fn problem(job: &Value) -> String {
    let text = |name: &str| job[name].as_str().unwrap_or_default();
    let next = job["next_attempt"].as_i64().filter(|_| job["state"] == "restarting");
    let next = next.map_or_else(String::new, |at| format!("; next attempt at {}", time::format(at)));
    format!("{} is {}: {}{next}", text("name"), text("state"), text("error"))
}

impl Jobs {
    /// Runs the action.
    pub async fn run(self) -> Result<ExitCode> {
        let client = self.server.client()?;
        match self.action {
            Action::List => {
                let answer = client.json(Method::GET, "/v1/jobs", None).await?;
                let jobs = || answer["jobs"].as_array().into_iter().flatten();
                output::table(&jobs().map(line).collect::<Vec<_>>(), &COLUMNS);
                // A reason needs a line of its own.
                output::lines(jobs().filter(|job| job["error"].is_string()).map(problem));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_what_is_looked_at_first_and_a_problem_its_reason() {
        let job = json!({
            "name": "hot", "state": "restarting", "rate": 12.4, "lag": 3, "lag_s": 1, "watermark": 1_767_225_600_500_000i64,
            "counters": {"late": 2, "rejected": 1}, "state_bytes": 1_500_000, "error": "the disk is full", "next_attempt": 1_767_225_601_000_000i64,
        });
        let row = line(&job);
        assert_eq!((&row["rate"], &row["memory"], &row["late"]), (&json!("12/s"), &json!("1.5 MB"), &json!(2)));
        assert_eq!(row["watermark"], "2026-01-01T00:00:00Z");
        assert_eq!(problem(&job), "hot is restarting: the disk is full; next attempt at 2026-01-01T00:00:01Z");
    }
}
