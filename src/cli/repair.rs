//! `thalweg log repair`: gives up records that are damaged, so that the log can be served again. Invariant: nothing is changed
//! unless exactly what would be lost was accepted on the command line, and nobody else has the data directory open.

use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use thalweg_engine::contract::{Clock, Disk};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::{Name, Offset, Partition};
use thalweg_engine::log::{Floors, inspect, repair};
use thalweg_engine::runtime::floors;
use thalweg_engine::system::{RealDisk, SystemClock};

use super::log::known_stream;
use crate::data_dir::{DataDir, Layout};

/// What to repair.
#[derive(Debug, Args)]
pub struct Repair {
    /// Only this stream
    #[arg(long)]
    stream: Option<String>,
    /// Only this partition
    #[arg(long)]
    partition: Option<Partition>,
    /// Give up the records of these offsets, as they are shown without this option; readers are told that they are lost
    #[arg(long, value_name = "FROM..TO", value_parser = offsets)]
    accept_loss: Vec<Range<Offset>>,
    /// Repair what costs no record, such as a damaged footer
    #[arg(long)]
    keep_all: bool,
}

fn offsets(text: &str) -> std::result::Result<Range<Offset>, String> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.filter(|range: &Range<Offset>| range.start < range.end).ok_or_else(|| "expected FROM..TO, such as 120..140".to_owned())
}

impl Repair {
    /// Shows what is damaged, and repairs it if that was asked for.
    pub fn run(self, data: &Path) -> Result<ExitCode> {
        // Held until the end: a server that writes would not see what happens to its files.
        let owner = DataDir::open(data)?;
        let Layout { log: directory, checkpoints, .. } = Layout::of(owner.root());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let read = floors(&disk, &checkpoints)?;
        let mut damaged = 0;
        let streams = match &self.stream {
            Some(wanted) => vec![known_stream(&directory, wanted)?],
            None => inspect::streams(&RealDisk, &directory)?,
        };
        for stream in streams {
            let partitions = inspect::partitions(&RealDisk, &directory, &stream)?;
            if let Some(wanted) = self.partition.filter(|&wanted| wanted >= partitions && self.stream.is_some()) {
                return Err(Error::not_found(format!("stream {stream} has no partition {wanted}")).hint(format!("it has {partitions}")));
            }
            for partition in 0..partitions {
                if self.partition.is_none_or(|wanted| wanted == partition) {
                    damaged += usize::from(self.partition(&directory, (&stream, partition), &read)?);
                }
            }
        }
        let repairs = self.keep_all || !self.accept_loss.is_empty();
        match (damaged, repairs) {
            (0, _) => println!("nothing is damaged"),
            (_, true) => println!("repaired; the damaged files stay beside the new ones, with the ending .damaged"),
            (_, false) => return Ok(ExitCode::FAILURE),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Returns whether there is damage.
    fn partition(&self, directory: &Path, place: (&Name, Partition), read: &Floors) -> Result<bool> {
        let floor = read.of(place.0, place.1);
        let examined = repair::examine(&RealDisk, directory, place, floor)?;
        for problem in &examined.problems {
            println!("{problem}");
        }
        if examined.problems.is_empty() {
            return Ok(false);
        }
        let (stream, partition) = place;
        let accept: Vec<String> = examined.lost.iter().map(|lost| format!("--accept-loss {}..{}", lost.start, lost.end)).collect();
        if self.accept_loss.is_empty() && !self.keep_all {
            let options = if accept.is_empty() { "--keep-all".to_owned() } else { accept.join(" ") };
            let data = directory.parent().unwrap_or(directory).display();
            println!("to repair it: thalweg log repair --data {data} --stream {stream} --partition {partition} {options}");
            return Ok(true);
        }
        if !self.accept_loss.is_empty() && (self.stream.is_none() || self.partition.is_none()) {
            return Err(Error::invalid("offsets belong to one partition").hint("say which with --stream and --partition"));
        }
        repair::repair(&RealDisk, directory, place, floor, &self.accept_loss, SystemClock::new().now())?;
        println!("{stream}/{partition}: {} records were given up", examined.lost.iter().map(|l| l.end - l.start).sum::<u64>());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_engine::log::{LogConfig, Logs};

    use super::*;

    #[test]
    fn a_stream_or_partition_that_is_not_there_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig { partitions_default: 2, ..LogConfig::default() };
        let logs = Logs::open(&dir.path().join("log"), Arc::new(RealDisk), Arc::new(SystemClock::new()), config).unwrap();
        logs.stream(&Name::new("telemetry").unwrap()).unwrap();
        logs.close();
        drop(logs);
        let run = |stream: &str, partition| {
            let repair = Repair { stream: Some(stream.to_owned()), partition, accept_loss: Vec::new(), keep_all: false };
            repair.run(dir.path()).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!(run("telemetry", Some(1)), Ok(()));
        assert_eq!(run("telemetri", None).unwrap_err(), "there is no stream \"telemetri\" (hint: there are: telemetry)");
        assert_eq!(run("telemetry", Some(2)).unwrap_err(), "stream telemetry has no partition 2 (hint: it has 2)");
    }

    #[test]
    fn offsets_are_a_range_that_holds_something() {
        assert_eq!(offsets("3..9"), Ok(3..9));
        for wrong in ["3", "3-9", "9..3", "3..3", "..9", "a..b"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }
}
