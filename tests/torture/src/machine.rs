//! What a test takes from the machine: programs, rights, mounted disks. Invariant: what was begun is ended when its guard is
//! dropped; and mounts are made in a mount namespace of this process, so that they end with it even if it is killed.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PRIVATE: &str = "THALWEG_TORTURE_PRIVATE_MOUNTS";
const PATIENCE: Duration = Duration::from_secs(120);

/// Something that a test cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A program on the path.
    Program(&'static str),
    /// A file that must exist.
    File(&'static str),
    /// The rights of root, to mount.
    Root,
}

impl Need {
    /// Why it is not there, if it is not.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Program(name) => (!on_path(name)).then(|| format!("the program {name} is missing")),
            Self::File(path) => (!Path::new(path).exists()).then(|| format!("{path} is missing")),
            Self::Root => (!is_root()).then(|| "it takes the rights of root to mount disks".to_owned()),
        }
    }
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Begins this process anew in a mount namespace of its own, if it is root and not there yet. Returns only if it need not or
/// cannot.
pub fn enter_private_mounts() {
    if std::env::var_os(PRIVATE).is_some() || !is_root() || !on_path("unshare") {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let e = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(PRIVATE, "1")
        .exec();
    eprintln!("no mount namespace: {e}");
}

/// A folder in memory if there is one, else where temporary files go.
pub fn scratch() -> Result<tempfile::TempDir, String> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::Builder::new().prefix("torture").tempdir_in(memory) } else { tempfile::tempdir() };
    made.map_err(|e| format!("no folder for temporary files: {e}"))
}

/// Runs a program to its end. Errors: how it ended, and what it said.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let shown: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
    Err(format!("{program} {}: {}: {}", shown.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// A child process that does not outlive its guard.
#[derive(Debug)]
pub struct Owned {
    child: Child,
    name: String,
}

impl Owned {
    /// Starts a program.
    pub fn spawn(command: &mut Command) -> Result<Self, String> {
        let name = command.get_program().display().to_string();
        let child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
        Ok(Self { child, name })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) -> Result<ExitStatus, String> {
        let _ = self.child.kill();
        self.child.wait().map_err(|e| format!("{}: {e}", self.name))
    }

    /// How it ended, if it did within `patience`.
    pub fn wait_for(&mut self, patience: Duration) -> Result<Option<ExitStatus>, String> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(|e| format!("{}: {e}", self.name))? {
                return Ok(Some(status));
            }
            if start.elapsed() >= patience {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How it ended. Errors: it hangs.
    pub fn wait(&mut self) -> Result<ExitStatus, String> {
        self.wait_for(PATIENCE)?.ok_or_else(|| format!("{} does not end", self.name))
    }

    /// What it said on its standard error, if that was piped, after it ended.
    pub fn said(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            let _ = pipe.read_to_string(&mut text);
        }
        text.trim().to_owned()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
}

impl Mounted {
    /// Mounts with the arguments of `mount` before the mount point, which is made if it does not exist.
    pub fn new(arguments: &[&str], point: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(point).map_err(|e| format!("{}: {e}", point.display()))?;
        let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        all.push(point.as_os_str());
        run("mount", &all)?;
        Ok(Self { point: point.to_owned() })
    }

    /// Mounts an image file over a loop device.
    pub fn image(image: &Path, point: &Path) -> Result<Self, String> {
        Self::new(&["-o", "loop", &image.display().to_string()], point)
    }

    /// Mounts it again with other options.
    pub fn remount(&self, options: &str) -> Result<(), String> {
        run("mount", &[OsStr::new("-o"), OsStr::new(&format!("remount,{options}")), self.point.as_os_str()]).map(drop)
    }

    /// Unmounts it. Errors: it is busy.
    pub fn unmount(self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            match run("umount", &[self.point.as_os_str()]) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                ended => {
                    std::mem::forget(self);
                    return ended.map(drop);
                }
            }
        }
    }

    /// Takes the disk away as a power cut does: nothing that is in memory only reaches it, from now on. Returns when that
    /// began, in microseconds of the wall clock. Errors: this is no loop mount of its own.
    pub fn cut_power(&self) -> Result<u64, String> {
        const LOOP_MAJOR: u64 = 7;
        let device = |path: &Path| std::fs::metadata(path).map(|m| m.dev()).map_err(|e| format!("{}: {e}", path.display()));
        let own = device(&self.point)?;
        if own >> 8 & 0xfff != LOOP_MAJOR || self.point.parent().is_some_and(|parent| device(parent) == Ok(own)) {
            return Err(format!("{} is no loop mount: its power is not cut", self.point.display()));
        }
        let script = "import fcntl, os, struct, sys, time; disk = os.open(sys.argv[1], os.O_RDONLY); \
                      print(time.time_ns() // 1000); fcntl.ioctl(disk, 0x8004587D, struct.pack('I', 2))";
        let said = run("python3", &[OsStr::new("-c"), OsStr::new(script), self.point.as_os_str()])?;
        said.trim().parse().map_err(|e| format!("python3 said {said:?}: {e}"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if run("umount", &[self.point.as_os_str()]).is_err() {
            let _ = run("umount", &[OsStr::new("--lazy"), self.point.as_os_str()]);
        }
    }
}

/// Makes an image file with an empty ext4 file system of `mebibytes`, for a few files.
pub fn make_ext4(image: &Path, mebibytes: u64) -> Result<(), String> {
    make_ext4_with(image, mebibytes, 512)
}

/// Makes an image file with an empty ext4 file system of `mebibytes`, for as many files as there are `inodes`.
pub fn make_ext4_with(image: &Path, mebibytes: u64, inodes: u64) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", image.display());
    let file = std::fs::File::create(image).map_err(failed)?;
    file.set_len(mebibytes << 20).map_err(failed)?;
    let inodes = inodes.to_string();
    let options = ["-q", "-F", "-b", "4096", "-m", "0", "-N", &inodes, "-J", "size=4", "-O", "^resize_inode"];
    let now = ["-E", "lazy_itable_init=0,lazy_journal_init=0"];
    let mut arguments: Vec<&OsStr> = options.iter().chain(&now).map(OsStr::new).collect();
    arguments.push(image.as_os_str());
    run("mkfs.ext4", &arguments).map(drop)
}
