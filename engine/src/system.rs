//! The machine's disk and clock. Invariant: this is the only file that touches real files for data that must last, and the
//! only one that reads the real time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::contract::{Clock, Disk, DiskFile, OpenMode};
use crate::time::Micros;

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// An open file of the machine.
#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, mut buf: &mut [u8], mut position: u64) -> io::Result<usize> {
        let wanted = buf.len();
        while !buf.is_empty() {
            match self.0.read_at(buf, position) {
                Ok(0) => break,
                Ok(n) => {
                    buf = &mut buf[n..];
                    position += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(wanted - buf.len())
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(buf, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        let parent = parent_of(path);
        self.create_dir_all(parent)?;
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            created => created?,
        }
        self.sync_dir(parent)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn network(&self, path: &Path) -> io::Result<Option<&'static str>> {
        Ok(network_name(rustix::fs::statfs(path)?.f_type as u32))
    }
}

/// Asks the system to begin to write a part of a file to the disk, so that a sync later has less to wait for. Nothing is durable by it, and
/// no error of the disk is kept from that sync.
pub fn start_writing(file: &File, from: u64, bytes: u64) {
    // Advice that a part is not needed any more has it written first; what is not on the disk yet stays in memory.
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, from, std::num::NonZeroU64::new(bytes), rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from, bytes);
}

/// The name of a network file system by the number that Linux gives it; its 32 bits may come with a sign.
fn network_name(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        _ => None,
    }
}

/// The directory that holds the name of `path`.
fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the real time")]
    fn now(&self) -> Micros {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX),
            Err(before) => Micros::try_from(before.duration().as_micros()).map_or(Micros::MIN, |us| -us),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Lets this process have as many files open as its user may, connections among them: systems allow 1,024 unless they are asked. Returns
/// how many that are; `None` if there is no end of them.
pub fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Memory that this process may use, in bytes: of the machine, or of its control group if that has less.
pub fn memory_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_total(&text));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

fn memory_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_names_do_what_the_law_says() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b/c");
        RealDisk.create_dir_all(&dir).unwrap();
        RealDisk.create_dir_all(&dir).unwrap();
        let path = dir.join("file");
        let file = RealDisk.open(&path, OpenMode::CreateNew).unwrap();
        file.write_at(b"world", 3).unwrap();
        file.sync_data().unwrap();
        let mut bytes = [9; 10];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 8);
        assert_eq!(&bytes[..8], b"\0\0\0world");
        file.set_len(4).unwrap();
        assert_eq!(file.len().unwrap(), 4);
        assert_eq!(RealDisk.open(&path, OpenMode::CreateNew).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(RealDisk.open(&path, OpenMode::Read).unwrap().write_at(b"x", 0).is_err());

        let other = dir.join("other");
        RealDisk.rename(&path, &other).unwrap();
        RealDisk.link(&other, &path).unwrap();
        assert_eq!(RealDisk.link(&other, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        RealDisk.remove(&path).unwrap();
        RealDisk.sync_dir(&dir).unwrap();
        assert_eq!(RealDisk.list(&dir).unwrap(), std::slice::from_ref(&other));
        RealDisk.remove(&other).unwrap();
        assert!(!RealDisk.exists(&other));
        assert_eq!(RealDisk.open(&other, OpenMode::ReadWrite).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(RealDisk.free_bytes(&dir).unwrap() > 0);
        assert_eq!(RealDisk.network(&dir).unwrap(), None);
    }

    #[test]
    fn a_file_that_begins_to_be_written_holds_what_it_held() {
        let temp = tempfile::tempdir().unwrap();
        let (path, bytes) = (temp.path().join("file"), vec![7_u8; 100_000]);
        std::fs::write(&path, &bytes).unwrap();
        for (from, count) in [(0, 50_000), (50_000, 1_000_000), (100_000, 0)] {
            start_writing(&File::open(&path).unwrap(), from, count);
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!([0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42].map(network_name), [Some("NFS"), Some("SMB"), Some("SMB"), Some("SMB")]);
        assert_eq!([0xef53, 0x0102_1994, 0x5846_5342].map(network_name), [None; 3], "ext4, tmpfs, XFS");
    }

    #[test]
    fn as_many_files_may_be_open_as_the_user_may_have() {
        use rustix::process::{Resource, getrlimit};
        let most = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise_open_files(), most);
        assert_eq!(getrlimit(Resource::Nofile).current, most);
    }

    #[test]
    fn the_memory_of_the_machine_is_read_in_kibibytes() {
        assert_eq!(memory_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
        assert!(memory_bytes().is_some_and(|b| b > 1 << 20));
    }

    #[test]
    fn the_clock_knows_the_century_and_does_not_go_back() {
        let clock = SystemClock::new();
        assert!(clock.now() > 1_700_000_000 * crate::time::SECOND);
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }
}
