//! `thalweg lake …`: reads a lake's files, also while a server runs. Invariant: it changes nothing.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use thalweg_engine::error::Result;
use thalweg_engine::time;
use tokio::runtime::Handle;

use super::{Data, output};
use crate::app::lake_to_read;

/// List, describe and verify the data sets of a lake.
#[derive(Debug, Args)]
pub struct Lake {
    #[command(flatten)]
    data: Data,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List tables with their rows, sizes and freshness
    Ls,
    /// Describe one table: columns, owner, source, how to read it
    Describe {
        /// Name with namespace, such as cold.telemetry or warm.site_10s
        table: String,
    },
    /// Check every table: commits, files, row counts, manifests
    Verify,
}

impl Lake {
    /// Runs the action.
    pub fn run(self, handle: &Handle) -> Result<ExitCode> {
        let _inside = handle.enter();
        let (lake, clock) = lake_to_read(&self.data.config()?)?;
        match self.action {
            Action::Ls => {
                let mut rows = Vec::new();
                for table in lake.tables() {
                    let snapshot = table.snapshot()?;
                    rows.push(json!({
                        "table": table.full_name(), "rows": snapshot.rows, "files": snapshot.files.len(), "bytes": snapshot.bytes,
                        "version": snapshot.version, "newest event": snapshot.event_time_max.map(time::format),
                        "committed": time::format(snapshot.committed_at), "owner": table.about().owner,
                    }));
                }
                rows.extend(lake.damaged().iter().map(|t| json!({ "table": t.full_name(), "rows": "damaged: see verify" })));
                output::table(&rows, &["table", "rows", "files", "bytes", "version", "newest event", "committed", "owner"]);
            }
            Action::Describe { table } => {
                let (namespace, name) = table.split_once('.').unwrap_or(("warm", &table));
                let table = lake.table(namespace, name)?;
                let (snapshot, key) = (table.snapshot()?, table.primary_key());
                let columns: Vec<Value> = snapshot
                    .schema
                    .fields()
                    .iter()
                    .map(|f| {
                        let sql_type = thalweg_engine::batch::type_name(f.data_type());
                        let is_key = if key.contains(f.name()) { "PRIMARY KEY" } else { "" };
                        json!({ "column": f.name(), "type": sql_type, "nullable": f.is_nullable(), "key": is_key })
                    })
                    .collect();
                let about = json!({ "table": table.full_name(), "about": table.about() });
                output::lines([serde_json::to_string_pretty(&about).unwrap_or_default()]);
                output::table(&columns, &["column", "type", "nullable", "key"]);
                let path = table.path().display();
                output::lines([
                    format!("\n{} rows in {} files; path {path}", snapshot.rows, snapshot.files.len()),
                    format!("python: from deltalake import DeltaTable; DeltaTable({:?}).to_pandas()", path.to_string()),
                ]);
            }
            Action::Verify => {
                let progress = output::spinner("verifying the lake");
                let report = lake.verify(clock.now())?;
                progress.finish_and_clear();
                output::lines(&report.findings);
                let (tables, files, rows, findings) = (report.tables, report.files, report.rows, report.findings.len());
                output::lines([format!("{tables} tables, {files} files, {rows} rows: {findings} findings")]);
                if !report.findings.is_empty() {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
