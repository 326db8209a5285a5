//! The chain of a stream's archive. Invariant: every record becomes exactly one row of the cold table, good or bad; a bad one
//! becomes a row of the dead-letter table as well.

use arrow::datatypes::SchemaRef;

use super::chain::{Chain, Chunk, Target};
use super::query::{decode_schema, watermarker};
use crate::batch::Records;
use crate::contract::{Decoder, Output};
use crate::decode;
use crate::error::Result;
use crate::lake;
use crate::metrics::JobCounters;
use crate::operators::watermark::Watermarker;
use crate::plan::Scan;
use crate::time::Micros;

/// Copies records to the lake.
pub struct ArchiveChain {
    decoder: Box<dyn Decoder>,
    /// Only to find rows whose event time is missing or too far ahead.
    watermarker: Watermarker,
    schema: SchemaRef,
    counters: JobCounters,
}

impl ArchiveChain {
    /// For a scan of all declared columns.
    pub fn new(scan: &Scan) -> Result<Self> {
        Ok(Self {
            decoder: decode::open(&scan.format, decode_schema(scan))?,
            watermarker: watermarker(scan)?,
            schema: lake::cold_schema(&scan.schema()),
            counters: JobCounters::default(),
        })
    }
}

impl Chain for ArchiveChain {
    fn push(&mut self, records: &Records, chunks: &mut Vec<Chunk>) -> Result<()> {
        let mut decoded = self.decoder.decode(records)?;
        chunks.push(Chunk::Rows(Target::Main, lake::cold_rows(&self.schema, records, &decoded)?));
        let count = records.entries.len() as u64;
        let mut out = Output::default();
        out.rejects.append(&mut decoded.rejects);
        self.watermarker.assign(decoded, &mut out)?;
        if !out.rejects.is_empty() {
            out.rejects.sort_by_key(|r| r.offset);
            chunks.push(Chunk::Rows(Target::Rejects, lake::dlq_rows(records, None, &out.rejects)?));
        }
        self.counters.consumed += count;
        self.counters.rejected += out.rejects.len() as u64;
        self.counters.passed += count - out.rejects.len() as u64;
        Ok(())
    }

    fn lose(&mut self, records: u64) {
        self.counters.lost += records;
    }

    fn carry(&mut self, watermark: Micros, _chunks: &mut Vec<Chunk>) -> Result<()> {
        self.watermarker.carry(watermark);
        Ok(())
    }

    fn watermark(&self) -> Micros {
        self.watermarker.current()
    }

    fn counters(&self) -> JobCounters {
        self.counters.clone()
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn restore(&mut self, watermark: Micros, counters: JobCounters, _state: &[u8]) -> Result<()> {
        self.watermarker.carry(watermark);
        self.counters = counters;
        Ok(())
    }
}
