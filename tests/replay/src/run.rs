//! Running a plan in one way. Invariant: the records of a device stay in order and in one partition, whatever the way.

use std::sync::Arc;

use arrow::array::RecordBatch;
use thalweg_engine::batch::{ContentType, Entry, Records};
use thalweg_engine::changes::Changes;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::plan::JobPlan;
use thalweg_engine::reference::ReferenceTable;
use thalweg_engine::runtime::Replay;
use thalweg_engine::topic::telemetry_topic;

use crate::database::Fed;

/// How a plan is run.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Partitions of each stream.
    pub partitions: usize,
    /// Records of a batch, at most: where there are few, the run begins again in their middle all the same.
    pub batch: usize,
    /// Begin again from the state after so many batches; 0 never does.
    pub restart_every: usize,
    /// See `run_pieces`.
    pub threads: [usize; 2],
}

/// Straight; with state taken and given back in the middle; begun by two threads and gone on with by three; row by row over more
/// partitions.
pub const WAYS: [Way; 4] = [
    Way { partitions: 1, batch: usize::MAX, restart_every: 0, threads: [1, 1] },
    Way { partitions: 1, batch: 3, restart_every: 2, threads: [1, 1] },
    Way { partitions: 2, batch: 2, restart_every: 2, threads: [2, 3] },
    Way { partitions: 3, batch: 1, restart_every: 4, threads: [1, 1] },
];

/// What happens before records are fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// The state is taken and given to a new run.
    Restart,
    /// A new run begins without the state: a fault that tests must see.
    Forget,
}

/// Records that are fed at once.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// What happens before.
    pub before: Before,
    /// The records, as they come.
    pub records: &'a [Fed],
}

/// What came out of a run.
#[derive(Debug)]
pub struct Ran {
    /// Of each output, what left.
    pub outputs: Vec<Vec<Changes>>,
    /// Late rows, as they would be written.
    pub late: Vec<RecordBatch>,
    /// Rejected rows, as they would be written; of records that could not be decoded there are none.
    pub rejects: Vec<RecordBatch>,
    /// Rejected records and rows.
    pub rejected: u64,
}

/// What a plan gives for some records.
pub fn run(plan: &JobPlan, references: &[Arc<ReferenceTable>], fed: &[Fed], way: Way) -> Result<Ran> {
    let piece = |(number, records): (usize, _)| {
        let restart = way.restart_every > 0 && number > 0 && number % way.restart_every == 0;
        Piece { before: if restart { Before::Restart } else { Before::Nothing }, records }
    };
    let most = if way.restart_every > 0 { fed.len().div_ceil(2 * way.restart_every) } else { fed.len() };
    let pieces = fed.chunks(way.batch.min(most.max(1))).enumerate().map(piece);
    run_pieces(plan, references, pieces, way.partitions, way.threads)
}

/// The same for records that are cut anyhow. `threads` is the parallelism of the plan until the first restart, and from then to the next
/// one, and so on in turn; both are 1, or none is.
pub fn run_pieces<'a>(
    plan: &JobPlan,
    references: &[Arc<ReferenceTable>],
    pieces: impl IntoIterator<Item = Piece<'a>>,
    partitions: usize,
    threads: [usize; 2],
) -> Result<Ran> {
    let mut plans = threads.map(|parallelism| JobPlan { parallelism, ..plan.clone() }).into_iter().cycle();
    let mut begin = || Replay::new(&plans.next().unwrap_or_else(|| plan.clone()), partitions, references);
    let mut replay = begin()?;
    let mut offsets = vec![vec![0_u64; partitions]; plan.scans.len()];
    let (mut outputs, mut late, mut rejects) = (vec![Vec::new(); plan.outputs.len()], Vec::new(), Vec::new());
    for piece in pieces {
        if piece.before != Before::Nothing {
            let state = replay.snapshot()?;
            late.append(&mut replay.late);
            rejects.append(&mut replay.rejected);
            outputs.iter_mut().zip(&mut replay.outputs).for_each(|(all, new)| all.append(new));
            replay = begin()?;
            if piece.before == Before::Restart {
                replay.restore(&state)?;
            }
        }
        for (index, (scan, offsets)) in plan.scans.iter().zip(&mut offsets).enumerate() {
            for (partition, offset) in offsets.iter_mut().enumerate() {
                let mine = |f: &&Fed| f.stream == scan.stream.as_str() && partition_of(&f.device, partitions) == partition;
                let records: Vec<&Fed> = piece.records.iter().filter(mine).collect();
                if !records.is_empty() {
                    replay.feed(index, &records_of(&records, partition, offset)?)?;
                }
            }
        }
    }
    replay.finish()?;
    let balance = replay.counters().row_balance();
    if balance != 0 {
        return Err(Error::internal(format!("the counts do not balance: {balance}: {:?}", replay.counters())));
    }
    outputs.iter_mut().zip(&mut replay.outputs).for_each(|(all, new)| all.append(new));
    late.append(&mut replay.late);
    rejects.append(&mut replay.rejected);
    Ok(Ran { outputs, late, rejects, rejected: replay.counters().rejected })
}

/// The partition of a device's records.
pub fn partition_of(device: &str, partitions: usize) -> usize {
    device.bytes().fold(7_usize, |h, b| h.wrapping_mul(31).wrapping_add(usize::from(b))) % partitions
}

fn records_of(fed: &[&Fed], partition: usize, offset: &mut u64) -> Result<Records> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut entries = Vec::new();
    let too_long = |_| Error::internal("a batch of a test is too long");
    for record in fed {
        let mut put = |part: &[u8]| {
            let start = u32::try_from(bytes.len()).map_err(too_long)?;
            bytes.extend_from_slice(part);
            Ok::<_, Error>(start..u32::try_from(bytes.len()).map_err(too_long)?)
        };
        entries.push(Entry {
            offset: *offset,
            received: record.received,
            device: put(record.device.as_bytes())?,
            topic: put(telemetry_topic(&record.device, &record.stream).as_bytes())?,
            payload: put(&record.payload)?,
            content_type: ContentType::Unknown,
            producer: None,
        });
        *offset += 1;
    }
    let partition = u32::try_from(partition).map_err(too_long)?;
    Ok(Records { partition, bytes: bytes.into(), entries, lost: None })
}
