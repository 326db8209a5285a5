//! The ways in which a disk refuses to take more. Invariant: each case ends with the log opened anew and judged.

use std::path::Path;
use std::time::Duration;

use crate::disk::FreeSpace;
use crate::machine::{self, Mounted};

use super::sender::{Fate, Sender};

/// One case: given a seeded bug, what is wrong.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Does it.
    pub run: fn(Option<&str>) -> Result<Vec<String>, String>,
}

/// Every case; the first is the one that the canaries are for.
pub static CASES: &[Case] = &[
    Case { name: "no space", run: no_space },
    Case { name: "no inodes", run: no_inodes },
    Case { name: "little space left", run: little_space },
    Case { name: "no space until it is closed", run: no_space_until_closed },
    Case { name: "read-only after an error", run: read_only_after_error },
    Case { name: "read-only at the start", run: read_only_at_start },
];

/// A file system in memory with these options.
fn memory_disk(point: &Path, options: &str) -> Result<Mounted, String> {
    Mounted::new(&["-t", "tmpfs", "-o", options, "tmpfs"], point)
}

/// Fills a disk, makes it larger, and expects the log to go on.
fn fill_and_grow(bug: Option<&str>, free: FreeSpace, small: &str, large: &str, payload_bytes: usize) -> Result<Vec<String>, String> {
    let scratch = machine::scratch()?;
    let disk = memory_disk(&scratch.path().join("disk"), small)?;
    let mut sender = Sender::open(&scratch.path().join("disk/log"), Sender::disk(bug, free)?, 64 * 1024)?;
    let mut wrong: Vec<String> = sender.fill(payload_bytes, 2_000)?.into_iter().collect();
    if wrong.is_empty() {
        wrong.extend(sender.problems());
        disk.remount(large)?;
        wrong.extend(sender.resumes()?);
    }
    wrong.extend(sender.close().violations());
    disk.unmount()?;
    Ok(wrong)
}

fn no_space(bug: Option<&str>) -> Result<Vec<String>, String> {
    fill_and_grow(bug, FreeSpace::Unknown, "size=2m", "size=16m", 4_000)
}

fn no_inodes(bug: Option<&str>) -> Result<Vec<String>, String> {
    fill_and_grow(bug, FreeSpace::Unknown, "size=16m,nr_inodes=14", "size=16m,nr_inodes=500", 4_000)
}

/// The log stops by itself while 32 MiB are free.
fn little_space(bug: Option<&str>) -> Result<Vec<String>, String> {
    fill_and_grow(bug, FreeSpace::Told, "size=40m", "size=120m", 60_000)
}

/// The log is closed while records wait for space: they were not acknowledged, so they may go.
fn no_space_until_closed(bug: Option<&str>) -> Result<Vec<String>, String> {
    let scratch = machine::scratch()?;
    let disk = memory_disk(&scratch.path().join("disk"), "size=2m")?;
    let mut sender = Sender::open(&scratch.path().join("disk/log"), Sender::disk(bug, FreeSpace::Unknown)?, 64 * 1024)?;
    let mut wrong: Vec<String> = sender.fill(4_000, 2_000)?.into_iter().collect();
    let journal = sender.close();
    // Still full: what is there can be read, and opening does not make it worse.
    wrong.extend(journal.violations().into_iter().map(|v| format!("while full: {v}")));
    disk.remount("size=16m")?;
    wrong.extend(journal.violations());
    disk.unmount()?;
    Ok(wrong)
}

/// ext4 gives up after an error and becomes read-only under the log.
fn read_only_after_error(bug: Option<&str>) -> Result<Vec<String>, String> {
    let scratch = machine::scratch()?;
    let (image, point) = (scratch.path().join("image"), scratch.path().join("disk"));
    machine::make_ext4(&image, 16)?;
    let disk = Mounted::image(&image, &point)?;
    let mut sender = Sender::open(&point.join("log"), Sender::disk(bug, FreeSpace::Unknown)?, 64 * 1024)?;
    let mut wrong = Vec::new();
    for _ in 0..50 {
        sender.send(1_000)?;
    }
    if sender.settle(Duration::from_secs(60)) > 0 {
        wrong.push("records on a good disk do not become durable".to_owned());
    }
    disk.remount("abort")?;
    for _ in 0..50 {
        sender.send(1_000)?;
        sender.settle(Duration::from_millis(20));
    }
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while sender.problems().is_empty() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    if sender.send(100)? != Fate::Failed || sender.problems().is_empty() {
        wrong.push("the disk is read-only, yet the log does not say that it failed".to_owned());
    }
    let journal = sender.close();
    disk.unmount()?;
    let disk = Mounted::image(&image, &point)?;
    wrong.extend(journal.violations());
    disk.unmount()?;
    Ok(wrong)
}

/// The log lies on a read-only disk when it is opened.
fn read_only_at_start(bug: Option<&str>) -> Result<Vec<String>, String> {
    let scratch = machine::scratch()?;
    let disk = memory_disk(&scratch.path().join("disk"), "size=16m")?;
    let dir = scratch.path().join("disk/log");
    let mut sender = Sender::open(&dir, Sender::disk(bug, FreeSpace::Unknown)?, 64 * 1024)?;
    for _ in 0..100 {
        sender.send(1_000)?;
    }
    let mut wrong = Vec::new();
    if sender.settle(Duration::from_secs(60)) > 0 {
        wrong.push("records on a good disk do not become durable".to_owned());
    }
    let journal = sender.close();
    disk.remount("ro")?;
    let problems = journal.violations();
    if problems.is_empty() {
        wrong.push("the disk is read-only, yet the log says nothing".to_owned());
    }
    disk.remount("rw")?;
    wrong.extend(journal.violations());
    disk.unmount()?;
    Ok(wrong)
}
