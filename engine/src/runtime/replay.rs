//! A plan over records in memory, without log, lake or threads: dry runs and tests. Invariant: what comes out is what a job would write,
//! because chains and graph are the job's own.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::chain::{Chain, Chunk, Target};
use super::graph::{Graph, Leaving};
use super::query::{QueryChain, decode_schema};
use crate::batch::Records;
use crate::changes::Changes;
use crate::contract::Decoder;
use crate::decode;
use crate::error::{Error, Result};
use crate::lake;
use crate::metrics::JobCounters;
use crate::plan::{JobPlan, Scan};
use crate::reference::ReferenceTable;
use crate::time::Micros;

/// Event time after everything: it closes whatever is open.
const END: Micros = Micros::MAX / 4;
/// Name of the job in rejected rows.
const JOB: &str = "replay";

/// One run of a plan.
pub struct Replay {
    /// Of each scan; decoding keeps no state.
    decoders: Vec<Box<dyn Decoder>>,
    /// Of each scan, a chain a partition.
    chains: Vec<Vec<QueryChain>>,
    graph: Graph,
    /// What left, a list an output.
    pub outputs: Vec<Vec<Changes>>,
    /// Late rows so far, as they would be written.
    pub late: Vec<RecordBatch>,
    /// Rejected rows so far, as they would be written; records that could not be decoded are counted alone.
    pub rejected: Vec<RecordBatch>,
    /// Of them, rows that failed behind the exchange.
    failed: u64,
}

/// State of a run: of each chain its watermark, counts and operators, then of the graph.
pub struct ReplayState {
    chains: Vec<Vec<(Micros, JobCounters, Vec<u8>)>>,
    graph: Vec<u8>,
    failed: u64,
}

impl Replay {
    /// A run over so many partitions a stream; `references` must hold a table for each lookup.
    pub fn new(plan: &JobPlan, partitions: usize, references: &[Arc<ReferenceTable>]) -> Result<Self> {
        let chain = |scan: usize| QueryChain::new(JOB, plan, scan, references);
        let chains = (0..plan.scans.len()).map(|s| (0..partitions).map(|_| chain(s)).collect::<Result<Vec<_>>>());
        let chains = chains.collect::<Result<Vec<_>>>()?;
        let decoder = |scan: &Scan| decode::open(&scan.format, decode_schema(scan));
        let decoders = plan.scans.iter().map(decoder).collect::<Result<Vec<_>>>()?;
        let (graph, outputs) = (Graph::new(plan, references)?, vec![Vec::new(); plan.outputs.len()]);
        Ok(Self { decoders, chains, graph, outputs, late: Vec::new(), rejected: Vec::new(), failed: 0 })
    }

    /// Takes records of one partition of a scan's stream.
    pub fn feed(&mut self, scan: usize, records: &Records) -> Result<()> {
        let mut chunks = Vec::new();
        let chain = self.chains.get_mut(scan).and_then(|c| c.get_mut(records.partition as usize));
        let chain = chain.ok_or_else(|| Error::internal("records of a partition that is not there"))?;
        chain.push(records, self.decoders[scan].decode(records)?, &mut chunks)?;
        self.take(records.partition, chunks)?;
        self.advance()
    }

    /// Lets event time run to its end.
    pub fn finish(&mut self) -> Result<()> {
        for scan in 0..self.chains.len() {
            for partition in 0..self.chains[scan].len() {
                let mut chunks = Vec::new();
                self.chains[scan][partition].carry(END, &mut chunks)?;
                self.take(u32::try_from(partition).map_err(|_| Error::internal("too many partitions"))?, chunks)?;
            }
        }
        self.advance()
    }

    fn take(&mut self, partition: u32, chunks: Vec<Chunk>) -> Result<()> {
        let mut leaving = Leaving::new();
        for chunk in chunks {
            match chunk {
                Chunk::Emission(input, emission) => self.graph.take(input, partition, emission, &mut leaving)?,
                Chunk::Rows(Target::Late, rows) => self.late.push(rows),
                Chunk::Rows(Target::Rejects, rows) => self.rejected.push(rows),
                Chunk::Rows(Target::Main, _) => {}
            }
        }
        self.leave(leaving)
    }

    fn advance(&mut self) -> Result<()> {
        let least = |c: &Vec<QueryChain>| c.iter().map(Chain::watermark).min().unwrap_or(Micros::MIN);
        let scans: Vec<Micros> = self.chains.iter().map(least).collect();
        let mut leaving = Leaving::new();
        self.graph.advance(&scans, &mut leaving)?;
        self.leave(leaving)
    }

    fn leave(&mut self, leaving: Leaving) -> Result<()> {
        for (output, changes) in leaving {
            self.outputs[output].push(changes);
        }
        for (_, failed) in self.graph.failed() {
            self.failed += failed.len() as u64;
            self.rejected.push(lake::failed_rows(JOB, &failed)?);
        }
        Ok(())
    }

    /// All counts.
    pub fn counters(&self) -> JobCounters {
        let mut sum = JobCounters { expanded: self.failed, rejected: self.failed, ..JobCounters::default() };
        self.chains.iter().flatten().for_each(|c| sum.add(&c.counters()));
        sum
    }

    /// Its state now.
    pub fn snapshot(&mut self) -> Result<ReplayState> {
        let one = |c: &mut QueryChain| Ok((c.watermark(), c.counters(), c.snapshot()?));
        let chains = self.chains.iter_mut().map(|c| c.iter_mut().map(one).collect::<Result<Vec<_>>>()).collect::<Result<Vec<_>>>()?;
        Ok(ReplayState { chains, graph: self.graph.snapshot()?, failed: self.failed })
    }

    /// Takes over the state of another run of the same plan.
    pub fn restore(&mut self, state: &ReplayState) -> Result<()> {
        for (chain, (watermark, counters, bytes)) in self.chains.iter_mut().flatten().zip(state.chains.iter().flatten()) {
            chain.restore(*watermark, counters.clone(), bytes)?;
        }
        self.failed = state.failed;
        self.graph.restore(&state.graph)
    }
}
