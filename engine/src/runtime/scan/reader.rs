//! One job's reading of one partition. Invariant: it hands out every record once, in order, with the columns that were asked for,
//! whoever decoded them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::registry::SharedScan;
use super::ring::{Company, Progress, Ring, Shared, Turn};
use crate::batch::Records;
use crate::contract::{Clock, Decoded, Decoder};
use crate::decode::{self, DecodeSchema};
use crate::error::{Error, Result};
use crate::ids::{Offset, Partition};
use crate::limits::{APART_ROWS_MIN, BATCH_ROWS_MAX};

/// What comes next in a partition.
pub enum Read {
    /// Records and what they are decoded to.
    Rows(Arc<Records>, Box<Decoded>),
    /// Records that the log has lost.
    Lost(Range<Offset>),
}

/// A decoder of these columns.
type Wider = (Arc<[usize]>, Box<dyn Decoder>);

/// See the module.
pub struct ScanReader {
    scan: Arc<SharedScan>,
    partition: Partition,
    id: u64,
    /// Ascending.
    columns: Vec<usize>,
    schema: SchemaRef,
    decoder: Box<dyn Decoder>,
    /// For the columns of all readers, once it had to decode them.
    wider: Option<Wider>,
    clock: Arc<dyn Clock>,
}

impl ScanReader {
    pub(super) fn new(
        scan: Arc<SharedScan>,
        (partition, at): (Partition, Offset),
        company: Company,
        schema: DecodeSchema,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (columns, output) = (schema.projection.clone(), schema.output());
        if !columns.is_sorted() {
            return Err(Error::internal("a scan asks for its columns in another order than they were declared in"));
        }
        let decoder = decode::open(&scan.format, schema)?;
        let id = scan.ring(partition)?.join(at, &columns, company);
        Ok(Self { scan, partition, id, columns, schema: output, decoder, wider: None, clock })
    }

    /// Offset after the last record that can be read.
    pub fn end(&self) -> Offset {
        self.scan.log.bounds(self.partition).end
    }

    /// Waits until the record at `from` can be read; false if `timeout` passed before.
    pub fn wait(&self, from: Offset, timeout: Duration) -> bool {
        self.scan.log.wait(self.partition, from, timeout)
    }

    /// The records from `from` on, `None` if there are none yet. Errors: those of the log and of the decoder.
    pub fn next(&mut self, from: Offset) -> Result<Option<Read>> {
        let before = self.end().saturating_sub(from);
        if before == 0 {
            return Ok(None);
        }
        let progress = if before < APART_ROWS_MIN + BATCH_ROWS_MAX as Offset { Progress::Live } else { Progress::CatchingUp };
        let scan = self.scan.clone();
        let ring = scan.ring(self.partition)?;
        match ring.turn(self.id, from, &self.columns, progress) {
            Turn::Take(shared) => self.part(&shared, from).map(Some),
            Turn::Lead(columns) => self.lead(ring, from, columns),
            Turn::Alone => {
                let Some(records) = scan.log.read(self.partition, from)? else { return Ok(None) };
                ring.passed(self.id, records.end());
                match &records.lost {
                    Some(lost) => Ok(Some(Read::Lost(lost.clone()))),
                    None => {
                        let decoded = self.decoder.decode(&records)?;
                        Ok(Some(Read::Rows(Arc::new(records), Box::new(decoded))))
                    }
                }
            }
        }
    }

    /// Reads for all.
    fn lead(&mut self, ring: &Ring, from: Offset, columns: Arc<[usize]>) -> Result<Option<Read>> {
        let mut lead = Lead { ring, id: self.id, from, result: None };
        let Some(records) = self.scan.log.read(self.partition, from)? else { return Ok(None) };
        if let Some(lost) = &records.lost {
            return Ok(Some(Read::Lost(lost.clone())));
        }
        let begun = self.clock.monotonic();
        let decoded = self.decoder(&columns)?.decode(&records)?;
        let took = self.clock.monotonic().saturating_sub(begun);
        let shared = Arc::new(Shared { records: Arc::new(records), decoded, columns });
        lead.result = Some((shared.clone(), took));
        drop(lead);
        self.part(&shared, from).map(Some)
    }

    fn decoder(&mut self, columns: &Arc<[usize]>) -> Result<&mut Box<dyn Decoder>> {
        if **columns == *self.columns {
            return Ok(&mut self.decoder);
        }
        if self.wider.as_ref().is_none_or(|(of, _)| of != columns) {
            self.wider = Some((columns.clone(), decode::open(&self.scan.format, self.scan.schema(columns))?));
        }
        self.wider.as_mut().map(|(_, decoder)| decoder).ok_or_else(|| Error::internal("a decoder that was just made is gone"))
    }

    /// The own columns of a batch, from `from` on.
    fn part(&self, shared: &Shared, from: Offset) -> Result<Read> {
        let Shared { records, decoded, columns } = shared;
        let place = |wanted: &usize| columns.binary_search(wanted).map_err(|_| Error::internal("a shared batch lacks a column"));
        let arrays = self.columns.iter().map(|c| Ok(decoded.rows.column(place(c)?).clone())).collect::<Result<Vec<_>>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(decoded.rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &count)?;
        let (entry, row) = (records.entries.partition_point(|e| e.offset < from), before(decoded, from));
        if entry == 0 {
            let Decoded { offsets, received, rejects, .. } = decoded;
            let decoded = Decoded { rows, offsets: offsets.clone(), received: received.clone(), rejects: rejects.clone() };
            return Ok(Read::Rows(records.clone(), Box::new(decoded)));
        }
        let left = rows.num_rows() - row;
        let decoded = Decoded {
            rows: rows.slice(row, left),
            offsets: decoded.offsets.slice(row, left),
            received: decoded.received.slice(row, left),
            rejects: decoded.rejects.iter().filter(|r| r.offset >= from).cloned().collect(),
        };
        let entries = records.entries[entry..].to_vec();
        let records = Records { partition: records.partition, bytes: records.bytes.clone(), entries, lost: None };
        Ok(Read::Rows(Arc::new(records), Box::new(decoded)))
    }
}

impl Drop for ScanReader {
    fn drop(&mut self) {
        if let Ok(ring) = self.scan.ring(self.partition) {
            ring.leave(self.id);
        }
    }
}

/// Rows of records before `from`.
fn before(decoded: &Decoded, from: Offset) -> usize {
    decoded.offsets.values().partition_point(|&offset| offset < from)
}

/// Those who wait hear of the end, also if there is an error or a panic.
struct Lead<'a> {
    ring: &'a Ring,
    id: u64,
    from: Offset,
    result: Option<(Arc<Shared>, Duration)>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.ring.give(self.id, self.from, self.result.take());
    }
}
