//! The stage where a job's partitions meet: merge, sinks, checkpoints. Invariant: a checkpoint is a consistent cut (nothing
//! after a partition's barrier is in it, everything before is), and sinks commit only after it is durable:
//!
//! ```text
//! barrier from every partition ─► prepare sinks ─► save checkpoint K ─► commit sinks (txn = K) ─► release older
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use crossbeam::channel::{Receiver, Select};

use super::chain::{Chunk, Target};
use super::job::{JobSpec, Shared, Sinks};
use super::worker::{Idle, Item};
use crate::contract::{CheckpointStore, Clock, Emission};
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset};
use crate::limits::CHECKPOINTS_KEPT;
use crate::metrics::JobCounters;
use crate::operators::window::WindowMerge;
use crate::state::{Checkpoint, PartitionState};
use crate::time::Micros;

use super::finish::Finish;

/// One partition as the driver sees it.
struct Input {
    receiver: Receiver<Item>,
    watermark: Micros,
    idle: Idle,
    barrier: Option<Box<PartitionState>>,
}

/// How a driver's run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// On request, after a last checkpoint.
    Stopped,
    /// A worker went away; its own result says why.
    WorkerGone,
}

/// The merge stage of one run of a job.
pub struct Driver<'a> {
    spec: &'a JobSpec,
    shared: &'a Shared,
    clock: Arc<dyn Clock>,
    interval: Duration,
    store: Option<Box<dyn CheckpointStore>>,
    sinks: Sinks,
    inputs: Vec<Input>,
    merge: Option<WindowMerge>,
    finish: Finish,
    merged: JobCounters,
    epoch: Epoch,
    /// A barrier is under way.
    aligning: bool,
    /// Something happened since the last checkpoint.
    dirty: bool,
    last: Duration,
    /// Offsets of the checkpoints that are kept, oldest first.
    kept: VecDeque<Vec<Offset>>,
}

/// What a driver continues from.
pub struct Begin {
    pub epoch: Epoch,
    pub merged: JobCounters,
    pub merge: Option<WindowMerge>,
    pub finish: Finish,
    /// Watermark and offset of each partition.
    pub partitions: Vec<(Micros, Offset)>,
}

impl<'a> Driver<'a> {
    pub fn new(
        (spec, shared): (&'a JobSpec, &'a Shared),
        (clock, interval): (Arc<dyn Clock>, Duration),
        store: Option<Box<dyn CheckpointStore>>,
        sinks: Sinks,
        receivers: Vec<Receiver<Item>>,
        begin: Begin,
    ) -> Self {
        let offsets = begin.partitions.iter().map(|p| p.1).collect();
        let input =
            |(receiver, (watermark, _)): (Receiver<Item>, (Micros, Offset))| Input { receiver, watermark, idle: Idle::No, barrier: None };
        let last = clock.monotonic();
        Self {
            spec,
            shared,
            clock,
            interval,
            store,
            sinks,
            inputs: receivers.into_iter().zip(begin.partitions).map(input).collect(),
            merge: begin.merge,
            finish: begin.finish,
            merged: begin.merged,
            epoch: begin.epoch,
            aligning: false,
            dirty: false,
            last,
            kept: VecDeque::from([offsets]),
        }
    }

    /// Runs until asked to stop, a worker ends, or an error.
    pub fn run(mut self) -> Result<Ended> {
        self.pin();
        loop {
            if self.shared.stop.load(Ordering::Acquire) && !self.aligning {
                // What is read but not yet handed on is read again by the next run.
                return if self.store.is_none() || !self.dirty { Ok(Ended::Stopped) } else { self.last_checkpoint() };
            }
            self.ask_for_barrier();
            match self.receive() {
                Received::Item(partition, item) => self.take(partition, item)?,
                Received::Nothing => {}
                Received::Gone => return Ok(Ended::WorkerGone),
            }
        }
    }

    /// Places a barrier and handles items until it is complete.
    fn last_checkpoint(&mut self) -> Result<Ended> {
        self.begin_barrier();
        while self.aligning {
            match self.receive() {
                Received::Item(partition, item) => self.take(partition, item)?,
                Received::Nothing => {}
                Received::Gone => return Ok(Ended::WorkerGone),
            }
        }
        Ok(Ended::Stopped)
    }

    fn ask_for_barrier(&mut self) {
        let due = self.dirty && self.clock.monotonic().saturating_sub(self.last) >= self.interval;
        let asked = self.shared.checkpoint.swap(false, Ordering::AcqRel);
        if self.store.is_some() && !self.aligning && (due || asked) {
            self.begin_barrier();
        }
    }

    fn begin_barrier(&mut self) {
        self.aligning = true;
        self.shared.epoch_asked.store(self.epoch + 1, Ordering::Release);
    }

    /// The next item of a partition that has not placed its barrier yet.
    fn receive(&self) -> Received {
        let mut select = Select::new();
        let open: Vec<usize> = (0..self.inputs.len()).filter(|&i| self.inputs[i].barrier.is_none()).collect();
        for &i in &open {
            select.recv(&self.inputs[i].receiver);
        }
        let Ok(operation) = select.select_timeout(Duration::from_millis(20)) else { return Received::Nothing };
        let partition = open[operation.index()];
        match operation.recv(&self.inputs[partition].receiver) {
            Ok(item) => Received::Item(partition, item),
            Err(_) => Received::Gone,
        }
    }

    fn take(&mut self, partition: usize, item: Item) -> Result<()> {
        match item {
            Item::Data { chunks, watermark, idle } => {
                self.dirty = true;
                for chunk in chunks {
                    self.chunk(partition, chunk)?;
                }
                self.inputs[partition].watermark = self.inputs[partition].watermark.max(watermark);
                self.inputs[partition].idle = idle;
                self.close_windows()?;
                self.shared.merged(&self.counters());
                Ok(())
            }
            Item::Barrier(epoch, state) => {
                assert_eq!(epoch, self.epoch + 1, "a barrier of another epoch");
                self.inputs[partition].barrier = Some(state);
                if self.inputs.iter().all(|i| i.barrier.is_some()) { self.checkpoint() } else { Ok(()) }
            }
        }
    }

    fn chunk(&mut self, partition: usize, chunk: Chunk) -> Result<()> {
        match chunk {
            Chunk::Rows(Target::Main, rows) => self.write_main(&rows),
            Chunk::Rows(Target::Late, rows) => self.sinks.late.as_mut().map_or(Ok(()), |s| s.write(&rows)),
            Chunk::Rows(Target::Rejects, rows) => self.sinks.rejects.as_mut().map_or(Ok(()), |s| s.write(&rows)),
            Chunk::Emission(Emission::Rows(rows)) => self.result(rows),
            Chunk::Emission(Emission::Pane { start, end, partial, rows }) => {
                let merge = self.merge.as_mut().ok_or_else(|| Error::internal("a pane in a job without windows"))?;
                merge.add(partition as u32, (start, end), partial, rows);
                Ok(())
            }
        }
    }

    fn close_windows(&mut self) -> Result<()> {
        let Some(merge) = self.merge.as_mut() else { return Ok(()) };
        let active = self.inputs.iter().filter(|i| i.idle == Idle::No).map(|i| i.watermark).min();
        if let Some(target) = active {
            self.shared.input_watermark.fetch_max(target, Ordering::AcqRel);
        }
        let reached = self.inputs.iter().map(|i| i.watermark).min().unwrap_or(Micros::MIN);
        let mut before = None;
        for closed in merge.close(reached)? {
            self.merged.emitted += closed.rows;
            self.merged.windows += u64::from(before.replace(closed.end) != Some(closed.end));
            if let Some(rows) = self.finish.apply(closed.result)? {
                self.merged.written += rows.num_rows() as u64;
                if let Some(sink) = self.sinks.main.as_mut() {
                    sink.write(&rows)?;
                }
                self.shared.show(&rows);
            }
        }
        Ok(())
    }

    fn result(&mut self, rows: RecordBatch) -> Result<()> {
        match self.finish.apply(rows)? {
            Some(rows) => {
                self.shared.show(&rows);
                self.write_main(&rows)
            }
            None => Ok(()),
        }
    }

    fn write_main(&mut self, rows: &RecordBatch) -> Result<()> {
        self.merged.written += rows.num_rows() as u64;
        self.sinks.main.as_mut().map_or(Ok(()), |s| s.write(rows))
    }

    fn counters(&self) -> JobCounters {
        JobCounters { open: self.merge.as_ref().map_or(0, WindowMerge::open_rows), ..self.merged.clone() }
    }

    fn checkpoint(&mut self) -> Result<()> {
        let epoch = self.epoch + 1;
        let partitions: Vec<PartitionState> = self.inputs.iter_mut().filter_map(|i| i.barrier.take()).map(|b| *b).collect();
        let offsets: Vec<Offset> = partitions.iter().map(|p| p.offset).collect();
        let sinks = self.sinks.each().map(|s| s.prepare(epoch)).collect::<Result<Vec<_>>>()?;
        let checkpoint = Checkpoint {
            job: self.spec.name.clone(),
            sql: self.spec.sql.clone(),
            epoch,
            fingerprint: self.spec.fingerprint(),
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            at: self.clock.now(),
            partitions,
            sinks,
            merged: self.counters(),
            state: self.merge.as_ref().map_or_else(|| Ok(Vec::new()), WindowMerge::snapshot)?,
        };
        let counters = checkpoint.counters();
        let (rows, windows) = (counters.row_balance(), counters.window_balance());
        if rows != 0 || (self.merge.is_some() && windows != 0) {
            tracing::error!(job = %self.spec.name, epoch, rows, windows, ?counters, "the counts of a job do not balance");
            debug_assert!(false, "the counts of job {} do not balance: {counters:?}", self.spec.name);
        }
        if let Some(store) = self.store.as_mut() {
            store.save(epoch, &checkpoint.encode()?)?;
        }
        for (sink, prepared) in self.sinks.each().zip(&checkpoint.sinks) {
            sink.commit(prepared)?;
        }
        self.epoch = epoch;
        self.aligning = false;
        self.dirty = false;
        self.last = self.clock.monotonic();
        self.kept.push_back(offsets);
        while self.kept.len() > CHECKPOINTS_KEPT {
            self.kept.pop_front();
        }
        self.pin();
        self.shared.committed(epoch, Some(checkpoint.at), counters);
        Ok(())
    }

    /// Holds the log at the oldest checkpoint that is kept.
    fn pin(&self) {
        if self.store.is_none() {
            return;
        }
        for (partition, &offset) in self.kept.front().into_iter().flatten().enumerate() {
            self.spec.log.pin(&self.spec.name, partition as u32, offset);
        }
    }
}

enum Received {
    Item(usize, Item),
    Nothing,
    Gone,
}
