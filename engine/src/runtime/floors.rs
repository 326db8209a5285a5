//! How far jobs and savepoints have come, for a log that is about to be opened. Invariant: whatever a job can go on from is counted,
//! whether it runs, is stopped or forgotten: an offset before it that is used again would be passed over in silence.

use std::path::Path;
use std::sync::Arc;

use super::savepoints::{DIRECTORY, streams};
use crate::contract::{CheckpointStore, Disk};
use crate::error::Result;
use crate::log::{Floor, Floors};
use crate::state::{Checkpoint, CheckpointFiles, SavepointFiles};

/// How far the newest checkpoints of all jobs below `directory`, and the savepoints there, have come. One that cannot be read tells
/// nothing, and nobody goes on from it. Errors: the directory cannot be read.
pub fn floors(disk: &Arc<dyn Disk>, directory: &Path) -> Result<Floors> {
    let mut floors = Floors::default();
    if !disk.exists(directory) {
        return Ok(floors);
    }
    for path in disk.list(directory)? {
        let Some(job) = path.file_name().and_then(|name| name.to_str()).filter(|name| *name != DIRECTORY) else { continue };
        let newest = CheckpointFiles::at(disk.clone(), &path).load();
        match newest.and_then(|kept| kept.map(|(_, bytes)| Checkpoint::decode_head(&bytes)).transpose()) {
            Ok(checkpoint) => checkpoint.iter().for_each(|c| add(&mut floors, &format!("job {job}"), c)),
            Err(error) => tracing::warn!(path = %path.display(), %error, "a checkpoint does not tell how far its job has come"),
        }
    }
    for (name, kept) in SavepointFiles::new(disk.clone(), &directory.join(DIRECTORY)).all()? {
        // Who pins savepoints tells which cannot be read.
        if let Ok((_, checkpoint)) = kept {
            add(&mut floors, &format!("savepoint '{name}'"), &checkpoint);
        }
    }
    Ok(floors)
}

fn add(floors: &mut Floors, reader: &str, checkpoint: &Checkpoint) {
    let streams = streams(checkpoint);
    for state in &checkpoint.partitions {
        if let Some(stream) = streams.get(state.scan) {
            floors.add(stream, state.partition, Floor { offset: state.offset, reader: reader.to_owned() });
        }
    }
}
