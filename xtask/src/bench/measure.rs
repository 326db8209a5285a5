//! Running what is measured. Invariant: engine and peers take turns, so that a slow minute of the machine falls on all of them; a program
//! that fails ends the measurement with its name, and what was measured before is kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::peers;
use super::rows::{Kind, Row, Who};
use super::samples::Samples;
use crate::cargo::cargo;

/// Flink takes a minute for what the others do in seconds, and its ratio has the most room.
const FLINK_RUNS_MAX: usize = 2;
/// The target in `Cargo.toml` that is the engine's side.
const BENCH: &str = "speed";

/// Where and how it is measured.
#[derive(Debug)]
pub struct Setting {
    /// The engine's side.
    pub program: PathBuf,
    /// Data and samples.
    pub folder: PathBuf,
    /// The interpreter of the peers, if they are measured.
    pub python: Option<PathBuf>,
    /// Sizes between which the slope is taken.
    pub events: [u64; 2],
    /// Runs of each.
    pub runs: usize,
}

/// Builds program and engine's side with a profile of cargo; returns the latter.
pub fn build(profile: &str) -> Result<PathBuf, String> {
    println!("building with profile {profile}; the first time this takes a while");
    let mut command = cargo(&["bench", "--workspace", "--bench", BENCH, "--no-run", "--message-format=json", "--profile", profile]);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).output().map_err(|e| format!("cargo bench: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo bench: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    executable(&text).ok_or_else(|| format!("cargo built no bench {BENCH}"))
}

/// The path in cargo's message about the bench.
fn executable(messages: &str) -> Option<PathBuf> {
    let ours = |line: &&str| line.contains(&format!(r#""name":"{BENCH}""#)) && line.contains(r#""kind":["bench"]"#);
    let line = messages.lines().rfind(ours)?;
    let (_, rest) = line.split_once(r#""executable":""#)?;
    rest.split('"').next().map(PathBuf::from)
}

impl Setting {
    /// Makes logs and files that are not there.
    pub fn fill(&self, rows: &[&Row]) -> Result<(), String> {
        let avro = rows.iter().any(|r| matches!(r.kind, Kind::Faster { .. }));
        for events in self.events {
            let (json_dir, avro_dir) = (self.json(events), self.avro(events));
            self.ours(&["fill", &events.to_string(), &json_dir.to_string_lossy()])?;
            if avro {
                self.ours(&["fill", &events.to_string(), &avro_dir.to_string_lossy(), "avro"])?;
            }
        }
        Ok(())
    }

    /// Takes the samples that are missing.
    pub fn measure(&self, rows: &[&Row], samples: &mut Samples) -> Result<(), String> {
        for run in 1..=self.runs {
            for row in rows {
                for events in self.events {
                    self.row(row, events, run, samples)?;
                }
            }
        }
        Ok(())
    }

    fn row(&self, row: &Row, events: u64, run: usize, samples: &mut Samples) -> Result<(), String> {
        let replay = |folder: PathBuf, words: &[&str]| {
            let mut all = vec!["run".to_owned(), folder.to_string_lossy().into_owned(), events.to_string()];
            all.extend(words.iter().map(|w| (*w).to_owned()));
            all
        };
        let (ours, peers) = match row.kind {
            Kind::Rate { words, peers, .. } => (replay(self.json(events), words), peers),
            Kind::Together { words, .. } => (replay(self.json(events), words), &[] as &[_]),
            Kind::Faster { words, .. } => (replay(self.avro(events), words), &[] as &[_]),
            // Without sizes: once a run.
            Kind::Once { .. } if events != self.events[0] => return Ok(()),
            Kind::Once { words, .. } => (self.once(words), &[] as &[_]),
            Kind::Memory { .. } => return Ok(()),
        };
        if !samples.has(row.name, Who::Thalweg, events, run) {
            let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
            let printed = self.ours(&ours)?;
            samples.add(row.name, Who::Thalweg, events, run, &printed)?;
        }
        let Some(python) = &self.python else { return Ok(()) };
        for &(who, query) in peers {
            if (who == Who::Flink && run > FLINK_RUNS_MAX) || samples.has(row.name, who, events, run) {
                continue;
            }
            let folder = self.json(events);
            let printed = last_line(peers::command(python, who, query, &folder))?;
            samples.add(row.name, who, events, run, &printed)?;
        }
        Ok(())
    }

    /// The words of a command, with its directory behind the first.
    fn once(&self, words: &[&str]) -> Vec<String> {
        let folder = if words[0] == "decode" { self.json(self.events[0]) } else { self.folder.join("server") };
        let mut all: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        all.insert(1, folder.to_string_lossy().into_owned());
        all
    }

    fn ours(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(words);
        last_line(command)
    }

    fn json(&self, events: u64) -> PathBuf {
        self.folder.join(format!("json-{events}"))
    }

    fn avro(&self, events: u64) -> PathBuf {
        self.folder.join(format!("avro-{events}"))
    }
}

/// Runs a program and returns the last line that it printed.
fn last_line(mut command: Command) -> Result<String, String> {
    let short = |path: &std::ffi::OsStr| Path::new(path).file_name().unwrap_or(path).to_string_lossy().into_owned();
    let shown: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(short).collect();
    let shown = shown.join(" ");
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().map_err(|e| format!("{shown}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default().to_owned();
    println!("{:6.1} s  {shown}  {line}", began.elapsed().as_secs_f64());
    if output.status.success() {
        return Ok(line);
    }
    Err(format!("{shown}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"speed"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"speed"},"executable":"/t/release/deps/speed-1f"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/release/deps/speed-1f")));
        assert_eq!(executable(""), None);
    }
}
