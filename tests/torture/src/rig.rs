//! A writer with its oracle, as the process tests use them. Invariant: the journal is complete when `end` returns: the oracle
//! has read everything that the writer said before it died.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::machine::{Owned, run};
use crate::oracle::{self, Contents, Event, Key, Verdict};
use crate::writer::Options;

const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

/// Where the oracle keeps what it is told.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

/// A writer and its oracle at work.
#[derive(Debug)]
pub struct Rig {
    /// The writer, or the program that runs it.
    pub writer: Owned,
    oracle: Owned,
}

/// How a writer ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it said on its standard error.
    pub said: String,
}

impl Journal {
    /// A journal in a folder that is not on the disk under test.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.folder.join("journal")
    }

    /// Bytes that the oracle has kept so far.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(self.file()).map_or(0, |file| file.len())
    }

    /// The socket of its oracle.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("oracle.socket")
    }

    /// Starts an oracle, and a writer under `wrapper`, whose arguments come before the writer's.
    pub fn start(&self, options: &Options, wrapper: &[String]) -> Result<Rig, String> {
        self.start_program(&options.arguments(), wrapper)
    }

    /// Starts an oracle, and this program with other arguments under `wrapper`.
    pub fn start_program(&self, arguments: &[String], wrapper: &[String]) -> Result<Rig, String> {
        let mut oracle = Command::new(sibling("thalweg-oracle")?);
        oracle.arg("journal").arg("--file").arg(self.file()).arg("--socket").arg(self.socket()).stdin(Stdio::piped());
        let oracle = Owned::spawn(&mut oracle)?;
        self.await_socket()?;
        let mut words = wrapper.to_vec();
        words.push(sibling("thalweg-torture")?.display().to_string());
        words.extend_from_slice(arguments);
        let mut writer = Command::new(&words[0]);
        writer.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Rig { writer: Owned::spawn(&mut writer)?, oracle })
    }

    fn await_socket(&self) -> Result<(), String> {
        let end = std::time::Instant::now() + CONNECT_PATIENCE;
        while !self.socket().exists() {
            if std::time::Instant::now() > end {
                return Err("the oracle does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Strikes out acknowledgements at a position beyond `until`; returns whose they were.
    pub fn strike(&self, until: u64) -> Result<HashSet<Key>, String> {
        let events = oracle::load(&self.file())?;
        let (mut kept, mut struck) = (String::new(), HashSet::new());
        for event in events {
            match event {
                Event::Ack(key, _, Some(position)) if position > until => drop(struck.insert(key)),
                event => kept += &format!("{event}\n"),
            }
        }
        std::fs::write(self.file(), kept).map_err(|e| format!("{}: {e}", self.file().display()))?;
        Ok(struck)
    }

    /// Judges the log under `dir`, in this process.
    pub fn judge(&self, dir: &Path, until: Option<u64>) -> Result<(Verdict, Contents), String> {
        let events = oracle::load(&self.file())?;
        let contents = oracle::read_machine(dir);
        Ok((oracle::judge(&events, &contents.records, until), contents))
    }

    /// Everything that the judgement of the log under `dir` finds wrong.
    pub fn violations(&self, dir: &Path, until: Option<u64>) -> Result<Vec<String>, String> {
        let (verdict, contents) = self.judge(dir, until)?;
        Ok(contents.problems.into_iter().chain(verdict.violations).collect())
    }

    /// Lets the oracle's own program judge, as a customer would. Returns what it said; errors if it found something.
    pub fn check_by_program(&self, dir: &Path) -> Result<String, String> {
        let (journal, dir) = (self.file().display().to_string(), dir.display().to_string());
        let program = sibling("thalweg-oracle")?.display().to_string();
        run(&program, &["check", "--journal", &journal, "--dir", &dir]).map(|said| said.trim().to_owned())
    }
}

impl Rig {
    /// Waits until the oracle has kept more than `before` bytes, or the writer has ended.
    pub fn await_sent(&mut self, journal: &Journal, before: u64) -> Result<(), String> {
        let end = std::time::Instant::now() + CONNECT_PATIENCE;
        while journal.bytes() <= before && std::time::Instant::now() < end && self.writer.wait_for(Duration::from_millis(1))?.is_none() {}
        Ok(())
    }

    /// Kills the writer and ends the oracle.
    pub fn kill(mut self) -> Result<Ended, String> {
        let status = self.writer.kill()?;
        self.end(status)
    }

    /// Waits until the writer ended, and ends the oracle.
    pub fn wait(mut self) -> Result<Ended, String> {
        let status = self.writer.wait()?;
        self.end(status)
    }

    fn end(mut self, status: ExitStatus) -> Result<Ended, String> {
        let said = self.writer.said();
        drop(self.oracle.child().stdin.take());
        let judged = self.oracle.wait()?;
        if !judged.success() {
            return Err(format!("the oracle ended with {judged}; the writer said: {said}"));
        }
        Ok(Ended { status, said })
    }
}

/// A program that was built beside this one.
pub fn sibling(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
    let path = own.with_file_name(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is missing: run cargo build --workspace --bins", path.display())) }
}
