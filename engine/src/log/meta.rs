//! `stream.json`: what is fixed when a stream is made. Invariant: it is there whole or not at all, and only after the first
//! segment of every partition; so a stream with it and without segments has lost them.
//!
//! ```text
//! {"format":1,"stream":"telemetry","partitions":4,"created":1780000000000000}\n
//! crc32c 0a1b2c3d\n                                                            of the line before
//! ```

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::contract::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::limits::PARTITIONS_MAX;
use crate::time::Micros;

use super::segment::with_suffix;

/// Name of the file in the directory of its stream.
pub(super) const FILE_NAME: &str = "stream.json";
const FORMAT: u32 = 1;
const FILE_BYTES_MAX: u64 = 4096;

/// Its format alone.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// What is fixed when a stream is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamMeta {
    format: u32,
    stream: Name,
    /// How many partitions there are.
    pub(super) partitions: u32,
    created: Micros,
}

impl StreamMeta {
    /// Of a new stream.
    pub(super) fn new(stream: Name, partitions: u32, created: Micros) -> Self {
        Self { format: FORMAT, stream, partitions, created }
    }

    /// Writes it into the directory of the stream, durably.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let path = dir.join(FILE_NAME);
        let temporary = with_suffix(&path, "tmp");
        let line = serde_json::to_string(self)?;
        let text = format!("{line}\ncrc32c {:08x}\n", crc32c::crc32c(line.as_bytes()));
        let write = || {
            if disk.exists(&temporary) {
                disk.remove(&temporary)?;
            }
            let file = disk.open(&temporary, OpenMode::CreateNew)?;
            file.write_at(text.as_bytes(), 0)?;
            file.sync_data()?;
            disk.rename(&temporary, &path)?;
            disk.sync_dir(dir)
        };
        write().map_err(|e| Error::from(e).context(path.display()))
    }

    /// Reads it from the directory of `stream`. Errors: `Corrupt` if it is damaged or of another stream.
    pub(super) fn read(disk: &dyn Disk, dir: &Path, stream: &Name) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let read = || {
            let file = disk.open(&path, OpenMode::Read)?;
            let mut bytes = vec![0; file.len()?.min(FILE_BYTES_MAX) as usize];
            let read = file.read_at(&mut bytes, 0)?;
            bytes.truncate(read);
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = read().map_err(|e| Error::from(e).context(path.display()))?;
        let damaged = |what: &str| {
            Error::corrupt(format!("{}: {what}", path.display())).hint("bring the file back from a copy; the log is not served without it")
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("is not text"))?;
        let (line, rest) = text.split_once('\n').ok_or_else(|| damaged("is cut off"))?;
        if rest != format!("crc32c {:08x}\n", crc32c::crc32c(line.as_bytes())) {
            return Err(damaged("its checksum is wrong"));
        }
        // First of all: the rest of another format may look otherwise.
        let Head { format } = serde_json::from_str(line).map_err(|e| damaged(&e.to_string()))?;
        if format != FORMAT {
            return Err(Error::other_version(path.display(), format, FORMAT));
        }
        let meta: Self = serde_json::from_str(line).map_err(|e| damaged(&e.to_string()))?;
        if meta.stream != *stream {
            return Err(damaged(&format!("it belongs to stream {}", meta.stream)));
        }
        if !(1..=PARTITIONS_MAX).contains(&meta.partitions) {
            return Err(damaged(&format!("{} partitions are not possible", meta.partitions)));
        }
        Ok(meta)
    }
}
