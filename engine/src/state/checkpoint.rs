//! One consistent cut of a job. Invariant: offsets, operator state, counters and prepared sink files in it belong to the same
//! barrier; a file that is damaged or of another version is refused.
//!
//! ```text
//! "TWCK" | version u16 LE | reserved u16 | CRC-32C u32 LE of the rest | head length u32 LE | head (JSON)
//!        | for each state blob: length u32 LE, bytes        (partitions in order, then the merge stage)
//! ```

use serde::{Deserialize, Serialize};

use super::snapshot::length_of;
use crate::contract::PreCommit;
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset, Partition};
use crate::metrics::JobCounters;
use crate::time::Micros;

const MAGIC: [u8; 4] = *b"TWCK";
const VERSION: u16 = 1;
/// Magic, version, two bytes that are not used, checksum.
const HEAD_BYTES: usize = 12;
const CHECKSUM_AT: usize = 8;

/// Where one partition stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// Which of the job's scans it belongs to; jobs of one scan have not always said so.
    #[serde(default)]
    pub scan: usize,
    /// Which.
    pub partition: Partition,
    /// The next offset to read.
    pub offset: Offset,
    /// Its watermark in microseconds.
    pub watermark: Micros,
    /// Its counts since the job was created.
    pub counters: JobCounters,
    /// State of its operators, kept outside the JSON.
    #[serde(skip)]
    pub state: Vec<u8>,
}

/// The newest version of a reference table that rows may have met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferencePin {
    /// Name of the table.
    pub table: String,
    /// SHA-256 of the version's bytes, in hexadecimal.
    pub sha256: String,
    /// From when on it is valid.
    pub valid_from: Micros,
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Job it belongs to.
    pub job: String,
    /// Its number.
    pub epoch: Epoch,
    /// The statement that made the job.
    pub sql: String,
    /// `JobPlan::fingerprint` of the job: state fits only the same one.
    pub fingerprint: String,
    /// `StateLayout` of the job: which parts keep state, and in which order. Older checkpoints, and those of archives, have none: their state
    /// fits a plan with the same fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<serde_json::Value>,
    /// Version of the engine that wrote it, for people.
    pub engine: String,
    /// When, in microseconds; informative.
    pub at: Micros,
    /// Every partition, by scan and then by number.
    pub partitions: Vec<PartitionState>,
    /// What each sink prepared.
    pub sinks: Vec<PreCommit>,
    /// Reference data that its rows were joined with. Checkpoints of 0.1.0 do not say so at first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<ReferencePin>,
    /// Counts of the merge stage.
    pub merged: JobCounters,
    /// State of the stage where partitions meet, several parts as `snapshot::put_state` puts them together; kept outside the JSON.
    #[serde(skip)]
    pub state: Vec<u8>,
}

impl Checkpoint {
    /// All counts together.
    pub fn counters(&self) -> JobCounters {
        let mut sum = self.merged.clone();
        self.partitions.iter().for_each(|p| sum.add(&p.counters));
        sum
    }

    /// Without the states of its operators, which may be large.
    #[must_use]
    pub fn without_state(mut self) -> Self {
        self.state = Vec::new();
        self.partitions.iter_mut().for_each(|p| p.state = Vec::new());
        self
    }

    /// As bytes. Errors: `Invalid` if a part of it is 4 GiB or more.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let head = serde_json::to_vec(self).map_err(|e| Error::internal(e.to_string()))?;
        let blobs = || [&head].into_iter().chain(self.partitions.iter().map(|p| &p.state)).chain([&self.state]);
        // One buffer of the right size: state may be large.
        let mut bytes = Vec::with_capacity(HEAD_BYTES + blobs().map(|b| b.len() + size_of::<u32>()).sum::<usize>());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; HEAD_BYTES - CHECKSUM_AT + 2]);
        for (index, blob) in blobs().enumerate() {
            bytes.extend_from_slice(&length_of(blob.len(), || self.name_of(index))?);
            bytes.extend_from_slice(blob);
        }
        let checksum = crc32c::crc32c(&bytes[HEAD_BYTES..]);
        bytes[CHECKSUM_AT..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// What stands at this index among the head and the blobs.
    fn name_of(&self, index: usize) -> String {
        let Some(index) = index.checked_sub(1) else { return format!("the head of a checkpoint of job {}", self.job) };
        match self.partitions.get(index) {
            Some(p) => format!("the state of partition {} of scan {} of job {}", p.partition, p.scan, self.job),
            None => format!("the state of job {} where its partitions meet", self.job),
        }
    }

    /// From bytes, without the states of its operators, which are looked at and not copied. Errors: `Corrupt`.
    pub fn decode_head(bytes: &[u8]) -> Result<Self> {
        let mut body = checked_body(bytes).map_err(|flaw| flaw.error().clone())?;
        Ok(serde_json::from_slice(next_blob(&mut body)?)?)
    }

    /// From bytes. Errors: `Corrupt`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut body = checked_body(bytes).map_err(|flaw| flaw.error().clone())?;
        let head = next_blob(&mut body)?;
        let mut checkpoint: Self = serde_json::from_slice(head)?;
        for partition in &mut checkpoint.partitions {
            partition.state = next_blob(&mut body)?.to_vec();
        }
        checkpoint.state = next_blob(&mut body)?.to_vec();
        if !body.is_empty() {
            return Err(Error::corrupt(format!("a checkpoint has {} bytes too many", body.len())));
        }
        Ok(checkpoint)
    }
}

/// Why bytes are not a checkpoint.
#[derive(Debug)]
pub(super) enum Flaw {
    /// They are damaged.
    Damaged(Error),
    /// They may be whole, and are of another version.
    Version(Error),
}

impl Flaw {
    pub(super) fn error(&self) -> &Error {
        match self {
            Self::Damaged(e) | Self::Version(e) => e,
        }
    }
}

/// Whether bytes are a whole checkpoint file of a known version.
pub(super) fn checked_body(bytes: &[u8]) -> Result<&[u8], Flaw> {
    let damaged = |what: &str| Flaw::Damaged(Error::corrupt(what));
    let Some((head, body)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Err(damaged("a checkpoint is cut short")) };
    if head[..4] != MAGIC {
        return Err(damaged("this is not a checkpoint"));
    }
    let version = u16::from_le_bytes([head[4], head[5]]);
    if version != VERSION {
        return Err(Flaw::Version(Error::other_version("the checkpoint", version, VERSION)));
    }
    if crc32c::crc32c(body) != u32::from_le_bytes([head[8], head[9], head[10], head[11]]) {
        return Err(damaged("a checkpoint's checksum does not fit its bytes"));
    }
    Ok(body)
}

fn next_blob<'a>(body: &mut &'a [u8]) -> Result<&'a [u8]> {
    let short = || Error::corrupt("a checkpoint is cut short");
    let (length, rest) = body.split_first_chunk::<4>().ok_or_else(short)?;
    let (blob, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
    *body = rest;
    Ok(blob)
}

/// A checkpoint with all that one may hold.
#[cfg(test)]
pub(super) fn sample(epoch: Epoch) -> Checkpoint {
    use crate::contract::StagedFile;
    let partition = |p: u32| PartitionState {
        scan: 0,
        partition: p,
        offset: 7 + u64::from(p),
        watermark: -3,
        counters: JobCounters { consumed: 7, aggregated: 7, open: 7, ..Default::default() },
        state: vec![p as u8; 5],
    };
    let file = StagedFile {
        path: "recent/date=2026-01-02/e00000004-site_10s-12345678-s0.parquet".into(),
        date: Some("2026-01-02".into()),
        bytes: 812,
        rows: 3,
        crc32c: 0x0102_0304,
        stats: r#"{"numRecords":3}"#.into(),
    };
    let sink =
        |app_id: &str, files, removes| PreCommit { app_id: app_id.into(), epoch, previous: 2, files, removes, event_time_max: Some(5) };
    Checkpoint {
        job: "site_10s".into(),
        sql: "INSERT INTO site_10s SELECT 1".into(),
        epoch,
        fingerprint: "abc".into(),
        layout: None,
        engine: "0.1.0".into(),
        at: 1,
        partitions: vec![partition(0), partition(1)],
        sinks: vec![sink("site_10s", vec![file], vec!["keyed/e00000002-b01.parquet".into()]), sink("site_10s/late", vec![], vec![])],
        references: vec![],
        merged: JobCounters::default(),
        state: b"merge".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by 0.1.0. Files of each version that was released stay here.
    const GOLDEN: &[u8] = include_bytes!("fixtures/version-1.checkpoint");

    #[test]
    fn a_checkpoint_of_the_first_version_is_read() {
        assert_eq!(Checkpoint::decode(GOLDEN).unwrap(), sample(4));
        assert_eq!(Checkpoint::decode_head(GOLDEN).unwrap(), sample(4).without_state());
    }

    #[test]
    fn each_part_has_a_name() {
        let checkpoint = sample(4);
        let names = (0..4).map(|index| checkpoint.name_of(index)).collect::<Vec<_>>();
        let parts = [
            "the head of a checkpoint of job site_10s",
            "the state of partition 0 of scan 0 of job site_10s",
            "the state of partition 1 of scan 0 of job site_10s",
            "the state of job site_10s where its partitions meet",
        ];
        assert_eq!(names, parts);
    }

    #[test]
    fn a_layout_is_kept_and_its_absence_is_written_as_before_there_were_any() {
        assert!(!String::from_utf8_lossy(&sample(4).encode().unwrap()).contains("layout"));
        let newer = Checkpoint { layout: Some(serde_json::json!({"scans": []})), ..sample(4) };
        assert_eq!(Checkpoint::decode(&newer.encode().unwrap()).unwrap(), newer);
    }

    #[test]
    fn bytes_round_trip_and_any_flipped_bit_is_noticed() {
        let bytes = sample(4).encode().unwrap();
        assert_eq!(Checkpoint::decode(&bytes).unwrap(), sample(4));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let reserved = (6..8).contains(&(bit / 8));
            assert_eq!(Checkpoint::decode(&damaged).is_err(), !reserved, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
