//! The chain of a stream's archive. Invariant: every record becomes exactly one row of the cold table, good or bad; a bad one
//! becomes a row of the dead-letter table as well.

use arrow::datatypes::SchemaRef;

use super::chain::{Chain, Chunk, Target};
use super::read::Reader;
use crate::batch::Records;
use crate::contract::{Decoded, Output};
use crate::error::Result;
use crate::lake;
use crate::metrics::JobCounters;
use crate::plan::Scan;
use crate::time::Micros;

/// Copies records to the lake.
pub struct ArchiveChain {
    /// Event time is read only to find rows that have none, or one too far ahead.
    reader: Reader,
    schema: SchemaRef,
    counters: JobCounters,
}

impl ArchiveChain {
    /// For a scan of all declared columns that are not computed.
    pub fn new(scan: &Scan) -> Result<Self> {
        Ok(Self { reader: Reader::new(scan)?, schema: lake::cold_schema(&scan.schema()), counters: JobCounters::default() })
    }
}

impl Chain for ArchiveChain {
    fn push(&mut self, records: &Records, mut decoded: Decoded, chunks: &mut Vec<Chunk>) -> Result<bool> {
        chunks.push(Chunk::Rows(Target::Main, lake::cold_rows(&self.schema, records, &decoded)?));
        let count = records.entries.len() as u64;
        let mut out = Output::default();
        out.rejects.append(&mut decoded.rejects);
        let is_timed = self.reader.time(decoded, &mut out)?.is_some();
        if !out.rejects.is_empty() {
            out.rejects.sort_by_key(|r| r.offset);
            chunks.push(Chunk::Rows(Target::Rejects, lake::dlq_rows(records, None, &out.rejects)?));
        }
        self.counters.consumed += count;
        self.counters.rejected += out.rejects.len() as u64;
        self.counters.passed += count - out.rejects.len() as u64;
        Ok(is_timed)
    }

    fn lose(&mut self, records: u64) {
        self.counters.lost += records;
    }

    fn carry(&mut self, watermark: Micros, _chunks: &mut Vec<Chunk>) -> Result<()> {
        self.reader.carry(watermark);
        Ok(())
    }

    fn watermark(&self) -> Micros {
        self.reader.watermark()
    }

    fn counters(&self) -> JobCounters {
        self.counters.clone()
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn restore(&mut self, watermark: Micros, counters: JobCounters, _state: &[u8]) -> Result<()> {
        self.reader.carry(watermark);
        self.counters = counters;
        Ok(())
    }
}
