//! The machine's disk, which can end its process between any two steps of a commit. Invariant: without a point and a bug it is the
//! machine's disk; with one, nothing of a checkpoint or of the lake reaches the disk after the point.
//!
//! ```text
//! prepare      lake-synced (rows) ─► rows-named ─► rows-durable
//! checkpoint   checkpoint-begun ─► -written ─► -synced ─► -named ─► -durable
//! commit       lake-synced (log) ─► commit-named ─► commit-durable
//! release      checkpoint-released
//! ```
//!
//! A process that is undone loses, with its life, every name and every byte of checkpoints and lake that it did not ask to be
//! synced. ext4 keeps most of them, because one sync there makes all names durable; other file systems need not.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thalweg_engine::contract::{Disk, DiskFile, OpenMode};
use thalweg_engine::locks::lock;
use thalweg_engine::system::RealDisk;

use super::lies::Lie;

/// Steps after which a process may end.
pub const STEPS: &[&str] = &[
    "lake-synced",
    "rows-named",
    "rows-durable",
    "checkpoint-begun",
    "checkpoint-written",
    "checkpoint-synced",
    "checkpoint-named",
    "checkpoint-durable",
    "commit-named",
    "commit-durable",
    "checkpoint-released",
];

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process dies.
    Kill,
    /// It dies, and what it did not sync is gone.
    Undo,
    /// It does nothing more, until its power is cut.
    Freeze,
}

/// When a process ends: after the step was done that many times. As text `<step>:<count>:<end>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// One of `STEPS`.
    pub step: &'static str,
    /// How many times.
    pub count: u64,
    /// How.
    pub end: End,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = match self.end {
            End::Kill => "kill",
            End::Undo => "undo",
            End::Freeze => "freeze",
        };
        write!(f, "{}:{}:{end}", self.step, self.count)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not <step>:<count>:<kill|undo|freeze>");
        let parts: Vec<&str> = text.split(':').collect();
        let [step, count, end] = parts[..] else { return Err(wrong()) };
        let step = STEPS.iter().find(|known| **known == step).copied().ok_or_else(wrong)?;
        let end = match end {
            "kill" => End::Kill,
            "undo" => End::Undo,
            "freeze" => End::Freeze,
            _ => return Err(wrong()),
        };
        Ok(Self { step, count: count.parse().map_err(|_| wrong())?, end })
    }
}

/// Where a process says what it does: lines in a file, each written at once.
#[derive(Debug, Clone)]
pub struct Say(Arc<Mutex<File>>);

impl Say {
    /// Appends to `path`.
    pub fn to(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(File::options().create(true).append(true).open(path)?))))
    }

    /// One line.
    pub fn line(&self, line: &str) {
        // Nobody is left to be told of an error.
        let _ = lock(&self.0).write_all(format!("{}\n", line.replace('\n', " ")).as_bytes());
    }
}

/// The disk.
#[derive(Debug, Clone)]
pub struct StepDisk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    point: Option<Point>,
    lie: Option<Lie>,
    say: Say,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: u64,
    frozen: bool,
    /// Files whose bytes are durable.
    synced: HashSet<PathBuf>,
    /// What a process that is undone takes back, in the order of doing.
    undo: Vec<Undo>,
    /// A checkpoint that came too early, by directory: it is named when the next one begins.
    held: Vec<(PathBuf, PathBuf)>,
}

/// What was at a path before it changed; `None` if nothing was.
#[derive(Debug)]
struct Undo {
    path: PathBuf,
    before: Option<Vec<u8>>,
}

/// Which part of the data directory is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Checkpoints,
    Lake,
}

fn part(path: &Path) -> Option<Part> {
    path.components().find_map(|c| match c {
        Component::Normal(name) if name == "checkpoints" => Some(Part::Checkpoints),
        Component::Normal(name) if name == "lake" => Some(Part::Lake),
        _ => None,
    })
}

fn is_below(path: &Path, directory: &str) -> bool {
    path.components().any(|c| c.as_os_str() == directory)
}

/// Whether sinks put rows there, and merges do; sealed rows come later.
fn holds_rows(path: &Path) -> bool {
    is_below(path, "recent") || is_below(path, "keyed")
}

/// Whether this is a checkpoint in the making, and not its copy.
fn begins(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    part(path) == Some(Part::Checkpoints) && name.starts_with("next-") && name.ends_with(".tmp")
}

/// The step of giving a file this name.
fn naming(to: &Path) -> Option<&'static str> {
    let ending = to.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match part(to)? {
        Part::Checkpoints => (ending == "checkpoint").then_some("checkpoint-named"),
        Part::Lake if is_below(to, "_delta_log") => (ending == "json").then_some("commit-named"),
        Part::Lake => (ending == "parquet" && holds_rows(to)).then_some("rows-named"),
    }
}

/// The step of making the names in this directory durable.
fn settling(directory: &Path) -> Option<&'static str> {
    match part(directory)? {
        Part::Checkpoints => Some("checkpoint-durable"),
        Part::Lake if is_below(directory, "_delta_log") => Some("commit-durable"),
        Part::Lake => holds_rows(directory).then_some("rows-durable"),
    }
}

impl StepDisk {
    /// The machine's disk with a point and a bug.
    pub fn new(point: Option<Point>, lie: Option<Lie>, say: Say) -> Self {
        Self(Arc::new(Shared { point, lie, say, state: Mutex::default() }))
    }

    /// Does something to a part of the disk that is watched, unless the process stands still.
    fn change<T>(&self, step: Option<&str>, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = lock(&self.0.state);
        while state.frozen {
            drop(state);
            std::thread::sleep(Duration::from_secs(1));
            state = lock(&self.0.state);
        }
        let done = work(&mut state)?;
        if let Some(point) = self.0.point.as_ref().filter(|point| step == Some(point.step)) {
            state.seen += 1;
            if state.seen == point.count {
                self.end(point, state);
            }
        }
        Ok(done)
    }

    fn end(&self, point: &Point, mut state: MutexGuard<'_, State>) {
        match point.end {
            End::Kill => {}
            End::Undo => {
                while let Some(Undo { path, before }) = state.undo.pop() {
                    let undone = match before {
                        Some(bytes) => std::fs::write(&path, bytes),
                        None => std::fs::remove_file(&path),
                    };
                    if let Err(e) = undone {
                        self.0.say.line(&format!("NOTE {} could not be undone: {e}", path.display()));
                    }
                }
            }
            End::Freeze => {
                state.frozen = true;
                self.0.say.line(&format!("AT {}", point.step));
                return;
            }
        }
        self.0.say.line(&format!("AT {}", point.step));
        std::process::abort();
    }

    fn has(&self, lie: Lie) -> bool {
        self.0.lie == Some(lie)
    }

    /// A file gets a name, by `give`.
    fn name(&self, from: &Path, to: &Path, give: fn(&RealDisk, &Path, &Path) -> io::Result<()>) -> io::Result<()> {
        if part(to).is_none() {
            return give(&RealDisk, from, to);
        }
        self.change(naming(to), |state| {
            let before = std::fs::read(to).ok();
            if self.has(Lie::CommitBeforeCheckpoint) && naming(to) == Some("checkpoint-named") {
                let aside = to.with_extension("held");
                if RealDisk.exists(&aside) {
                    RealDisk.remove(&aside)?;
                }
                give(&RealDisk, from, &aside)?;
                state.held.push((aside, to.to_owned()));
                return Ok(());
            }
            give(&RealDisk, from, to)?;
            state.undo.push(Undo { path: to.to_owned(), before });
            if state.synced.contains(from) {
                state.synced.insert(to.to_owned());
            } else {
                // A name whose bytes are not there.
                state.undo.push(Undo { path: to.to_owned(), before: Some(Vec::new()) });
            }
            Ok(())
        })
    }

    /// Checkpoints that were held back get their names.
    fn release_held(&self, state: &mut State) -> io::Result<()> {
        state.held.drain(..).try_for_each(|(aside, to)| RealDisk.rename(&aside, &to))
    }
}

#[derive(Debug)]
struct StepFile {
    inner: Box<dyn DiskFile>,
    path: PathBuf,
    disk: StepDisk,
}

impl DiskFile for StepFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buf, position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        let begins = begins(&self.path);
        self.disk.change(begins.then_some("checkpoint-written"), |state| {
            state.synced.remove(&self.path);
            if part(&self.path) != Some(Part::Checkpoints) {
                return self.inner.write_at(buf, position);
            }
            let (bytes, line) = super::lies::checkpoint(self.disk.0.lie, buf)?;
            if begins {
                self.disk.0.say.line(&line);
            }
            self.inner.write_at(&bytes, position)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let step = if part(&self.path) == Some(Part::Lake) { "lake-synced" } else { "checkpoint-synced" };
        self.disk.change(Some(step), |state| {
            if self.disk.has(Lie::NoLakeSync) && step == "lake-synced" {
                return Ok(());
            }
            self.inner.sync_data()?;
            state.synced.insert(self.path.clone());
            state.undo.retain(|undo| undo.path != self.path || undo.before.as_ref().is_none_or(|b| !b.is_empty()));
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

impl Disk for StepDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        if part(path).is_none() || mode == OpenMode::Read {
            return RealDisk.open(path, mode);
        }
        let begins = mode == OpenMode::CreateNew && begins(path);
        let inner = self.change(begins.then_some("checkpoint-begun"), |state| {
            if begins {
                self.release_held(state)?;
            }
            RealDisk.open(path, mode)
        })?;
        Ok(Box::new(StepFile { inner, path: path.to_owned(), disk: self.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.name(from, to, RealDisk::rename)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.name(from, to, RealDisk::link)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if part(path) != Some(Part::Checkpoints) {
            return RealDisk.remove(path);
        }
        let releases = path.extension().is_some_and(|e| e == "checkpoint");
        self.change(releases.then_some("checkpoint-released"), |state| {
            let before = std::fs::read(path).ok();
            RealDisk.remove(path)?;
            state.undo.push(Undo { path: path.to_owned(), before });
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if part(path).is_none() {
            return RealDisk.sync_dir(path);
        }
        self.change(settling(path), |state| {
            if self.has(Lie::NoDirectorySync) && part(path) == Some(Part::Lake) {
                return Ok(());
            }
            RealDisk.sync_dir(path)?;
            state.undo.retain(|undo| undo.path.parent() != Some(path) || undo.before.as_ref().is_some_and(Vec::is_empty));
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(path)
    }

    fn exists(&self, path: &Path) -> bool {
        RealDisk.exists(path)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        // A small test disk never has as much as a server wants.
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_comes_back_as_it_was_written() {
        for text in ["rows-named:3:kill", "commit-durable:1:undo", "checkpoint-written:2:freeze"] {
            assert_eq!(text.parse::<Point>().unwrap().to_string(), text);
        }
        assert!(["", "rows:1:kill", "rows-named:x:kill", "rows-named:1:die"].iter().all(|text| text.parse::<Point>().is_err()));
    }

    #[test]
    fn names_tell_the_steps() {
        let root = Path::new("/d/data/lake/warm/t");
        assert_eq!(naming(&root.join("_delta_log/00000000000000000001.json")), Some("commit-named"));
        assert_eq!(naming(&root.join("recent/date=2026-01-01/e1-x.parquet")), Some("rows-named"));
        assert_eq!(naming(&root.join("data/date=2026-01-01/e1-x.parquet")), None);
        assert_eq!(naming(Path::new("/d/data/checkpoints/j/00001.checkpoint")), Some("checkpoint-named"));
        let begun = ["next-1.tmp", "copy-1.tmp", "00001.checkpoint"].map(|name| begins(&Path::new("/d/data/checkpoints/j").join(name)));
        assert_eq!(begun, [true, false, false]);
        assert_eq!(settling(Path::new("/d/data/checkpoints/j")), Some("checkpoint-durable"));
        assert_eq!(settling(&root.join("keyed")), Some("rows-durable"));
        assert_eq!(settling(Path::new("/d/data/log/s/000")), None);
    }
}
