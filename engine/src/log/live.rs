//! A segment as writer, readers and retention share it. Invariant: `Summary` covers durable frames only; it grows after
//! their sync, so whatever it covers may be served.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::contract::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::ids::Offset;

use super::frame::{FrameHeader, Key};
use super::index::{Index, Mark};
use super::scan::{self, Summary};
use super::segment::{SegmentHeader, Trailer};
use crate::locks::{read, write};
use crate::time::Micros;

/// One segment of an open partition.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its file.
    pub(super) path: PathBuf,
    /// Its identity.
    pub(super) header: SegmentHeader,
    /// What ties frames to it.
    pub(super) key: Key,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    summary: Summary,
    role: Role,
    /// Monotonic time of the last record that came since the start; the wall clock may have been wrong then, this was not.
    touched: Option<Duration>,
}

#[derive(Debug)]
enum Role {
    /// Written to; readers use the writer's file.
    Active(Arc<dyn DiskFile>),
    /// Complete; opened for each read. The index may have to be loaded from the footer first.
    Sealed { trailer: Trailer, index_loaded: bool },
}

impl Segment {
    /// The segment that is written to.
    pub(super) fn active(path: PathBuf, header: SegmentHeader, summary: Summary, file: Arc<dyn DiskFile>) -> Self {
        Self { path, key: header.key(), header, state: RwLock::new(State { summary, role: Role::Active(file), touched: None }) }
    }

    /// A complete segment.
    pub(super) fn sealed(path: PathBuf, header: SegmentHeader, trailer: Trailer) -> Self {
        let role = Role::Sealed { trailer, index_loaded: false };
        let state = State { summary: Summary::of_trailer(&trailer), role, touched: None };
        Self { path, key: header.key(), header, state: RwLock::new(state) }
    }

    /// Offset after the last durable record.
    pub(super) fn end(&self) -> Offset {
        self.read().summary.end
    }

    /// Byte after the last durable frame.
    pub(super) fn data_end(&self) -> u64 {
        self.read().summary.data_end
    }

    /// Bytes of a frame, on the average.
    pub(super) fn frame_bytes_mean(&self) -> u64 {
        let state = self.read();
        state.summary.data_end / state.summary.frames.max(1)
    }

    /// Receive time of the last durable record, if there is one.
    pub(super) fn received_last(&self) -> Option<Micros> {
        self.read().summary.received.map(|(_, last)| last)
    }

    /// Bytes that it takes on disk, zeros ahead not counted.
    pub(super) fn bytes(&self) -> u64 {
        let state = self.read();
        match &state.role {
            Role::Active(_) => state.summary.data_end,
            Role::Sealed { trailer, .. } => trailer.file_bytes(),
        }
    }

    /// Whether it is complete.
    pub(super) fn is_sealed(&self) -> bool {
        matches!(self.read().role, Role::Sealed { .. })
    }

    /// Whether the last frame is a closing mark, or there is no frame to be marked.
    pub(super) fn is_closed(&self) -> bool {
        let state = self.read();
        state.summary.closed || state.summary.frames == 0
    }

    /// Monotonic time of the last record, if it came since the start.
    pub(super) fn touched(&self) -> Option<Duration> {
        self.read().touched
    }

    /// A frame has become durable at `data_end`, at this monotonic time.
    pub(super) fn add(&self, header: &FrameHeader, received_first: Micros, now: Duration) {
        let mut state = self.write();
        state.summary.add(header, received_first);
        if header.count > 0 {
            state.touched = Some(now);
        }
    }

    /// The trailer and the index that a footer would have now; `None` while there is no record.
    pub(super) fn footer(&self) -> Option<(Trailer, Vec<u8>)> {
        let state = self.read();
        Some((state.summary.trailer(self.key)?, state.summary.index.encode()))
    }

    /// The footer is durable. The index is in it: few look something up in a segment that is sealed.
    pub(super) fn seal(&self, trailer: Trailer) {
        let mut state = self.write();
        state.summary.index = Index::default();
        state.role = Role::Sealed { trailer, index_loaded: false };
    }

    /// The file, to read from.
    pub(super) fn file(&self, disk: &dyn Disk) -> Result<Arc<dyn DiskFile>> {
        if let Role::Active(file) = &self.read().role {
            return Ok(file.clone());
        }
        let file = disk.open(&self.path, OpenMode::Read).map_err(|e| self.error(e))?;
        Ok(Arc::from(file))
    }

    /// Looks something up in the index. If it has to be loaded for that, `loaded` is called: it stays until `drop_index`.
    pub(super) fn look_up(
        &self,
        file: &dyn DiskFile,
        find: impl Fn(&Index) -> Option<Mark>,
        loaded: impl FnOnce(),
    ) -> Result<Option<Mark>> {
        let trailer = {
            let state = self.read();
            match &state.role {
                Role::Sealed { trailer, index_loaded: false } => *trailer,
                _ => return Ok(find(&state.summary.index)),
            }
        };
        let index = load_index(file, &self.header, &trailer).map_err(|e| self.error(e))?;
        let mut state = self.write();
        // Another reader may have loaded it meanwhile.
        let is_new = matches!(state.role, Role::Sealed { index_loaded: false, .. });
        if is_new {
            state.summary.index = index;
            state.role = Role::Sealed { trailer, index_loaded: true };
        }
        let found = find(&state.summary.index);
        drop(state);
        if is_new {
            loaded();
        }
        Ok(found)
    }

    /// Gives the memory of a loaded index back.
    pub(super) fn drop_index(&self) {
        let mut state = self.write();
        if let Role::Sealed { index_loaded, .. } = &mut state.role {
            *index_loaded = false;
            state.summary.index = Index::default();
        }
    }

    /// Whether it is complete and its index is in memory.
    #[cfg(test)]
    pub(super) fn has_index(&self) -> bool {
        matches!(self.read().role, Role::Sealed { index_loaded: true, .. })
    }

    /// An I/O error with the name of the file.
    pub(super) fn error(&self, e: io::Error) -> Error {
        Error::from(e).context(self.path.display())
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        read(&self.state)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        write(&self.state)
    }
}

/// The index from the footer; made anew from the frames if it is damaged there.
fn load_index(file: &dyn DiskFile, header: &SegmentHeader, trailer: &Trailer) -> io::Result<Index> {
    let mut bytes = vec![0; trailer.marks_bytes() as usize];
    let read = file.read_at(&mut bytes, trailer.data_end)?;
    if read == bytes.len() && header.key().checksum(&bytes) == trailer.marks_checksum {
        return Ok(Index::decode(&bytes));
    }
    tracing::warn!(base = header.base, "index of a log segment is damaged; made anew from its frames");
    Ok(scan::walk(file, trailer.data_end, header, &mut |_, _, _| ())?.summary.index)
}
