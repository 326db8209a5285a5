//! `thalweg log …`: reads a log's files, also while a server runs. Invariant: it changes nothing, but for `repair`, see there.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use thalweg_engine::batch::{Entry, Records};
use thalweg_engine::contract::Disk;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::{Name, Offset, Partition};
use thalweg_engine::log::inspect;
use thalweg_engine::runtime::floors;
use thalweg_engine::system::RealDisk;
use thalweg_engine::time;

use super::{Data, output};
use crate::data_dir::Layout;

/// List, print, verify and repair the log.
#[derive(Debug, Args)]
pub struct Log {
    #[command(flatten)]
    data: Data,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List segments with their offsets, times and sizes
    Ls,
    /// Print records of a stream
    Dump(Dump),
    /// Check every frame of every segment
    Verify,
    /// Show what is damaged, and give it up if that is said
    Repair(super::repair::Repair),
}

/// Which records to print.
#[derive(Debug, Args)]
struct Dump {
    /// Stream
    #[arg(default_value = "telemetry")]
    stream: String,
    /// Only this partition
    #[arg(long)]
    partition: Option<Partition>,
    /// Begin at this offset
    #[arg(long, default_value_t = 0)]
    from: Offset,
    /// At most this many records of each partition
    #[arg(long)]
    limit: Option<u64>,
    /// One JSON object a line, with the whole payload
    #[arg(long)]
    json: bool,
}

impl Log {
    /// Runs the action.
    pub fn run(self) -> Result<ExitCode> {
        let data = self.data.config()?.data;
        let layout = Layout::of(&data);
        layout.check_log(&data)?;
        let Layout { log: directory, checkpoints, .. } = layout;
        match self.action {
            Action::Ls => list(&directory)?,
            Action::Dump(dump) => dump.run(&directory)?,
            Action::Repair(repair) => return repair.run(&data),
            Action::Verify => return verify(&directory, &checkpoints),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Dump {
    /// Prints the records, one partition after the other.
    fn run(self, directory: &Path) -> Result<()> {
        let stream = known_stream(directory, &self.stream)?;
        let all = 0..inspect::partitions(&RealDisk, directory, &stream)?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        for p in all.filter(|&p| self.partition.is_none_or(|wanted| wanted == p)) {
            let (mut left, mut failed) = (self.limit.unwrap_or(u64::MAX), None);
            inspect::records(&RealDisk, directory, (&stream, p), self.from, &mut |records| {
                if let Some(lost) = &records.lost {
                    eprintln!("{p}/{} to {p}/{} are lost; a repair gave them up", lost.start, lost.end - 1);
                }
                for entry in &records.entries {
                    if left == 0 {
                        return ControlFlow::Break(());
                    }
                    left -= 1;
                    let line = if self.json { as_json(records, entry) } else { as_text(records, entry) };
                    if let Err(e) = writeln!(out, "{line}") {
                        failed = Some(e);
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            })?;
            // A closed pipe is the reader's way to say that it has seen enough.
            if failed.is_some() {
                return Ok(());
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// Prints every segment.
fn list(directory: &Path) -> Result<()> {
    let row = |s: inspect::SegmentInfo| {
        let (first, last) = s.received.unzip();
        json!({
            "stream": s.stream.as_str(), "partition": s.partition, "first": s.offsets.start, "end": s.offsets.end,
            "records": s.offsets.end - s.offsets.start, "bytes": s.bytes, "from": first.map(time::format),
            "to": last.map(time::format), "sealed": s.sealed,
        })
    };
    let rows: Vec<Value> = inspect::segments(&RealDisk, directory)?.into_iter().map(row).collect();
    output::table(&rows, &["stream", "partition", "first", "end", "records", "bytes", "from", "to", "sealed"]);
    Ok(())
}

/// Reads all of the log, and says what is wrong with it.
fn verify(directory: &Path, checkpoints: &Path) -> Result<ExitCode> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    // Before the log, which a server may add to meanwhile.
    let read = floors(&disk, checkpoints)?;
    let progress = output::spinner("verifying the log");
    let v = inspect::verify(&*disk, directory, &read)?;
    progress.finish_and_clear();
    let problem = |p: &inspect::Problem| {
        format!("{} at byte {}: {} (offsets {} to {})", p.file.display(), p.byte, p.what, p.offsets.start, p.offsets.end)
    };
    output::lines(v.problems.iter().map(problem));
    output::lines([format!("{} segments, {} frames, {} records, {} bytes", v.segments, v.frames, v.records, v.bytes)]);
    output::lines((v.lost > 0).then(|| format!("{} records were given up by a repair", v.lost)));
    output::lines([format!("{} bytes of torn tails (never acknowledged), {} problems", v.torn_bytes, v.problems.len())]);
    Ok(if v.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stream of this name. Errors: `NotFound`, with the streams that there are.
pub(super) fn known_stream(directory: &Path, name: &str) -> Result<Name> {
    let streams = inspect::streams(&RealDisk, directory)?;
    if let Some(found) = streams.iter().find(|s| s.as_str() == name) {
        return Ok(found.clone());
    }
    let names: Vec<&str> = streams.iter().map(Name::as_str).collect();
    let hint = if names.is_empty() { "the log holds no stream yet".to_owned() } else { format!("there are: {}", names.join(", ")) };
    Err(Error::not_found(format!("there is no stream {name:?}")).hint(hint))
}

fn as_json(records: &Records, entry: &Entry) -> String {
    let payload = String::from_utf8_lossy(records.slice(&entry.payload));
    json!({
        "partition": records.partition, "offset": entry.offset, "received_at": time::format(entry.received),
        "device_id": records.text(&entry.device), "topic": records.text(&entry.topic), "payload": payload,
    })
    .to_string()
}

fn as_text(records: &Records, entry: &Entry) -> String {
    let payload = String::from_utf8_lossy(records.slice(&entry.payload));
    let (p, o, t) = (records.partition, entry.offset, time::format(entry.received));
    format!("{p}/{o} {t} {} {}", records.text(&entry.device), payload.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_stream_is_answered_with_those_that_there_are() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(known_stream(dir.path(), "nope").unwrap_err().hint_text(), Some("the log holds no stream yet"));
        for stream in ["telemetry", "vibration"] {
            std::fs::create_dir(dir.path().join(stream)).unwrap();
            std::fs::write(dir.path().join(stream).join("stream.json"), "{}").unwrap();
        }
        assert_eq!(known_stream(dir.path(), "vibration").unwrap().as_str(), "vibration");
        let error = known_stream(dir.path(), "nope").unwrap_err();
        assert_eq!(error.to_string(), "there is no stream \"nope\" (hint: there are: telemetry, vibration)");
    }
}
