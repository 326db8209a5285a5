//! Running a plan in one way. Invariant: the records of a device stay in order and in one partition, whatever the way.

use std::sync::Arc;

use thalweg_engine::batch::{ContentType, Entry, Records};
use thalweg_engine::changes::Changes;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::plan::JobPlan;
use thalweg_engine::reference::ReferenceTable;
use thalweg_engine::runtime::Replay;

use crate::database::Fed;

/// How a plan is run.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Partitions of each stream.
    pub partitions: usize,
    /// Records of a batch.
    pub batch: usize,
    /// Begin again from the state after so many batches; 0 never does.
    pub restart_every: usize,
}

/// Straight; with state taken and given back in the middle; row by row over more partitions.
pub const WAYS: [Way; 4] = [
    Way { partitions: 1, batch: usize::MAX, restart_every: 0 },
    Way { partitions: 1, batch: 3, restart_every: 2 },
    Way { partitions: 2, batch: 5, restart_every: 3 },
    Way { partitions: 3, batch: 1, restart_every: 4 },
];

/// What each output of a plan gives for some records, and how many rows were late.
pub fn run(plan: &JobPlan, references: &[Arc<ReferenceTable>], fed: &[Fed], way: Way) -> Result<(Vec<Vec<Changes>>, u64)> {
    let mut replay = Replay::new(plan, way.partitions, references)?;
    let mut offsets = vec![vec![0_u64; way.partitions]; plan.scans.len()];
    let (mut outputs, mut late) = (vec![Vec::new(); plan.outputs.len()], 0);
    for (number, batch) in fed.chunks(way.batch.min(fed.len().max(1))).enumerate() {
        if way.restart_every > 0 && number > 0 && number % way.restart_every == 0 {
            let state = replay.snapshot()?;
            late += replay.late;
            outputs.iter_mut().zip(&mut replay.outputs).for_each(|(all, new)| all.append(new));
            replay = Replay::new(plan, way.partitions, references)?;
            replay.restore(&state)?;
        }
        for (scan, offsets) in plan.scans.iter().zip(&mut offsets).enumerate().map(|(i, (s, o))| ((i, s), o)) {
            let (index, scan) = scan;
            for (partition, offset) in offsets.iter_mut().enumerate() {
                let mine = |f: &&Fed| f.stream == scan.stream.as_str() && partition_of(&f.device, way.partitions) == partition;
                let records: Vec<&Fed> = batch.iter().filter(mine).collect();
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
    Ok((outputs, late + replay.late))
}

fn partition_of(device: &str, partitions: usize) -> usize {
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
            topic: put(format!("devices/{}/telemetry/{}", record.device, record.stream).as_bytes())?,
            payload: put(&record.payload)?,
            content_type: ContentType::Unknown,
            producer: None,
        });
        *offset += 1;
    }
    let partition = u32::try_from(partition).map_err(too_long)?;
    Ok(Records { partition, bytes: bytes.into(), entries, lost: None })
}
