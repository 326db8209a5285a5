//! The thread where a job's partitions meet: graph, sinks, checkpoints. Invariant: a checkpoint is a consistent cut (nothing
//! after a partition's barrier is in it, everything before is), and sinks commit only after it is durable:
//!
//! ```text
//! barrier from every partition ─► prepare sinks ─► save checkpoint K ─► commit sinks (txn = K) ─► release older
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempt::Durable;
use super::chain::{Chunk, Target};
use super::feeds::Feeds;
use super::graph::{Graph, Leaving};
use super::job::{JobSpec, Place, Shared, Sinks};
use super::pressure;
use super::room;
use super::spawn::caught;
use super::supervisor::Environment;
use super::worker::{Idle, Item, Worker};
use crate::contract::CheckpointStore;
use crate::error::{Error, Result};
use crate::ids::{Epoch, Offset};
use crate::lake;
use crate::limits::{CHECKPOINTS_KEPT, DISK_CHECK_INTERVAL_MS, STATE_LOOK_INTERVAL_MS};
use crate::metrics::JobCounters;
use crate::operators::compact::compact;
use crate::state::{Checkpoint, PartitionState};
use crate::time::Micros;

/// The part of one run of a job behind the exchange.
pub struct Driver<'a> {
    spec: &'a JobSpec,
    shared: &'a Arc<Shared>,
    environment: &'a Environment,
    store: Option<Box<dyn CheckpointStore>>,
    sinks: Sinks,
    feeds: Feeds,
    graph: Graph,
    /// See `Graph::company`.
    company: Vec<usize>,
    /// What left the graph and is not yet written; empty between two items.
    leaving: Leaving,
    merged: JobCounters,
    epoch: Epoch,
    /// A barrier is under way.
    aligning: bool,
    /// Something happened since the last checkpoint.
    dirty: bool,
    last: Duration,
    /// When the last barrier was asked for.
    began: Duration,
    /// When the disk was last looked at.
    looked: Duration,
    /// When the state was last looked at.
    measured: Duration,
    /// Offsets of the checkpoints that are kept, oldest first.
    kept: VecDeque<Vec<Offset>>,
}

/// What a driver continues from.
pub struct Begin {
    pub epoch: Epoch,
    /// Without the rows that the graph holds.
    pub merged: JobCounters,
    pub graph: Graph,
    pub workers: Vec<Worker>,
}

impl Begin {
    /// Counts of the graph and of what was written.
    pub fn counters(&self) -> JobCounters {
        counters(&self.merged, &self.graph)
    }
}

fn counters(merged: &JobCounters, graph: &Graph) -> JobCounters {
    JobCounters { open: graph.open_rows(), held: graph.held(), ..merged.clone() }
}

impl<'a> Driver<'a> {
    pub fn new(
        (spec, shared): (&'a JobSpec, &'a Arc<Shared>),
        environment: &'a Environment,
        store: Option<Box<dyn CheckpointStore>>,
        sinks: Sinks,
        begin: Begin,
    ) -> Self {
        let offsets = begin.workers.iter().map(|w| w.position).collect();
        let last = environment.clock.monotonic();
        Self {
            spec,
            shared,
            environment,
            store,
            sinks,
            feeds: Feeds::new(&spec.name, begin.workers, shared.clone(), environment.clock.clone()),
            company: begin.graph.company(spec.scans().len()),
            graph: begin.graph,
            leaving: Leaving::new(),
            merged: begin.merged,
            epoch: begin.epoch,
            aligning: false,
            dirty: false,
            last,
            began: last,
            looked: last,
            measured: last,
            kept: VecDeque::from([offsets]),
        }
    }

    /// Runs until asked to stop, or an error or a panic.
    pub fn run(mut self) -> Result<()> {
        self.pin();
        // What panics here ends the threads of the partitions as an error does.
        let ended = caught(|| self.turns());
        self.shared.exit.store(true, Ordering::Release);
        self.feeds.end()?;
        ended
    }

    fn turns(&mut self) -> Result<()> {
        loop {
            if self.shared.stop.load(Ordering::Acquire) && !self.aligning {
                // What is read but not yet handed on is read again by the next run.
                let wanted = self.dirty || self.shared.savepoint.load(Ordering::Acquire);
                return if self.store.is_none() || !wanted { Ok(()) } else { self.last_checkpoint() };
            }
            self.look_at_disk()?;
            self.look_at_state()?;
            self.ask_for_barrier();
            self.turn()?;
        }
    }

    /// Handles the next item, or waits until there may be one.
    fn turn(&mut self) -> Result<()> {
        match self.feeds.next(self.due())? {
            Some((feed, item)) => self.take(feed, item),
            None => Ok(()),
        }
    }

    /// When something has to be done even if nothing comes.
    fn due(&self) -> Duration {
        let disk = self.looked + Duration::from_millis(DISK_CHECK_INTERVAL_MS);
        let barrier = self.last.saturating_add(self.environment.checkpoint_interval);
        if self.store.is_some() && self.dirty && !self.aligning { disk.min(barrier) } else { disk }
    }

    /// Now and then. Errors: only the log may take more of it. What was not committed is read again when there is room.
    fn look_at_disk(&mut self) -> Result<()> {
        let now = self.environment.clock.monotonic();
        if now.saturating_sub(self.looked) < Duration::from_millis(DISK_CHECK_INTERVAL_MS) {
            return Ok(());
        }
        self.looked = now;
        self.check_room()
    }

    /// Now and then. Errors: the state takes more memory than it may.
    fn look_at_state(&mut self) -> Result<()> {
        let now = self.environment.clock.monotonic();
        if now.saturating_sub(self.measured) < Duration::from_millis(STATE_LOOK_INTERVAL_MS) {
            return Ok(());
        }
        self.measured = now;
        let durable = if self.store.is_some() { Durable::Yes } else { Durable::No };
        pressure::look(self.spec, self.shared, &self.graph, durable, now)
    }

    fn check_room(&self) -> Result<()> {
        match self.kept.front() {
            Some(held) if self.store.is_some() => room::check(self.spec, self.environment, held),
            _ => Ok(()),
        }
    }

    /// Places a barrier and handles items until it is complete.
    fn last_checkpoint(&mut self) -> Result<()> {
        self.begin_barrier();
        while self.aligning {
            // A look that is due would not let it sleep.
            self.look_at_disk()?;
            self.turn()?;
        }
        Ok(())
    }

    fn ask_for_barrier(&mut self) {
        let since = self.environment.clock.monotonic().saturating_sub(self.last);
        let due = self.dirty && since >= self.environment.checkpoint_interval;
        // One that is asked for while a barrier is under way comes after it: it has to hold what came since.
        let asked = !self.aligning && self.shared.checkpoint.swap(false, Ordering::AcqRel);
        if self.store.is_some() && !self.aligning && (due || asked) {
            self.begin_barrier();
        }
    }

    fn begin_barrier(&mut self) {
        self.began = self.environment.clock.monotonic();
        self.aligning = true;
        self.shared.epoch_asked.store(self.epoch + 1, Ordering::Release);
    }

    fn take(&mut self, feed: usize, item: Item) -> Result<()> {
        match item {
            Item::Data { chunks, watermark, idle } => {
                self.dirty = true;
                for chunk in chunks {
                    self.chunk(self.feeds.each[feed].place, chunk)?;
                }
                self.feeds.each[feed].watermark = self.feeds.each[feed].watermark.max(watermark);
                self.feeds.each[feed].idle = idle;
                self.advance()?;
                self.shared.merged(&self.counters());
                Ok(())
            }
            Item::Barrier(epoch, state) => {
                assert_eq!(epoch, self.epoch + 1, "a barrier of another epoch");
                self.feeds.each[feed].barrier = Some(state);
                if self.feeds.each.iter().all(|f| f.barrier.is_some()) { self.checkpoint() } else { Ok(()) }
            }
            Item::Home(_) => Err(Error::internal("a worker came home unnoticed")),
        }
    }

    fn chunk(&mut self, place: Place, chunk: Chunk) -> Result<()> {
        match chunk {
            Chunk::Rows(Target::Main, rows) => {
                self.merged.written += rows.num_rows() as u64;
                self.sinks.main.first_mut().map_or(Ok(()), |s| s.write(&rows))
            }
            Chunk::Rows(Target::Late, rows) => self.sinks.late.as_mut().map_or(Ok(()), |s| s.write(&rows)),
            Chunk::Rows(Target::Rejects, rows) => self.sinks.rejects.get_mut(place.scan).map_or(Ok(()), |s| s.write(&rows)),
            Chunk::Emission(input, emission) => {
                self.graph.take(input, place.partition, emission, &mut self.leaving)?;
                self.write()
            }
        }
    }

    /// Tells the graph how far event time has come, and idle partitions how far they are carried along.
    fn advance(&mut self) -> Result<()> {
        if !self.graph.follows_time() {
            return Ok(());
        }
        let (feeds, company) = (&self.feeds.each, &self.company);
        let target = |first: usize| {
            let own = || feeds.iter().filter(move |f| company[f.place.scan] == first);
            let active = own().filter(|f| f.idle == Idle::No).map(|f| f.watermark).min();
            // If all are idle, the one that is behind need not be waited for either.
            active.or_else(|| own().map(|f| f.watermark).max())
        };
        let targets: Vec<Option<Micros>> = (0..company.len()).map(target).collect();
        for (feed, reached) in feeds.iter().zip(&self.shared.input_watermarks) {
            if let Some(target) = targets[company[feed.place.scan]] {
                reached.fetch_max(target, Ordering::AcqRel);
            }
        }
        let mut reached = vec![Micros::MAX; company.len()];
        for feed in &self.feeds.each {
            reached[feed.place.scan] = reached[feed.place.scan].min(feed.watermark);
        }
        let closed = self.graph.advance(&reached, &mut self.leaving)?;
        self.merged.emitted += closed.rows;
        self.merged.windows += closed.windows;
        self.write()
    }

    /// Hands what left the graph to the sinks, and of the first output to those who watch.
    fn write(&mut self) -> Result<()> {
        for (output, changes) in self.leaving.drain(..) {
            self.merged.written += changes.len() as u64;
            let updating = self.spec.outputs().get(output).is_some_and(|o| o.updating);
            if let Some(sink) = self.sinks.main.get_mut(output) {
                match (updating, &changes.kinds) {
                    (true, _) => sink.change(&changes)?,
                    (false, None) => sink.write(&changes.rows)?,
                    (false, Some(_)) => return Err(Error::internal("changes of rows came to an output of new rows")),
                }
            }
            if output == 0 && self.shared.is_watched() {
                let shown = if updating { changes.signed()? } else { changes.rows };
                // They may wait for their reader, and would hold on to all that they were read from.
                self.shared.show(compact(&shown)?);
            }
        }
        for (scan, failed) in self.graph.failed() {
            // A result that cannot be computed is a row more that records made; those are counted where they left their partition.
            self.merged.expanded += failed.len() as u64;
            self.merged.rejected += failed.len() as u64;
            if let Some(sink) = self.sinks.rejects.get_mut(scan) {
                sink.write(&lake::failed_rows(&self.spec.name, &failed)?)?;
            }
        }
        Ok(())
    }

    fn counters(&self) -> JobCounters {
        counters(&self.merged, &self.graph)
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.check_room()?;
        let epoch = self.epoch + 1;
        let partitions: Vec<PartitionState> = self.feeds.each.iter_mut().filter_map(|f| f.barrier.take()).map(|b| *b).collect();
        let offsets: Vec<Offset> = partitions.iter().map(|p| p.offset).collect();
        let sinks = self.sinks.each().map(|s| s.prepare(epoch)).collect::<Result<Vec<_>>>()?;
        let checkpoint = Checkpoint {
            job: self.spec.name.clone(),
            sql: self.spec.sql.clone(),
            epoch,
            fingerprint: self.spec.fingerprint(),
            layout: self.spec.layout().map(serde_json::to_value).transpose()?,
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            at: self.environment.clock.now(),
            partitions,
            sinks,
            references: self.spec.reference_pins(),
            merged: self.counters(),
            state: self.graph.snapshot()?,
        };
        let counters = checkpoint.counters();
        let (rows, windows) = (counters.row_balance(), counters.window_balance());
        if rows != 0 || windows != 0 {
            tracing::error!(job = %self.spec.name, epoch, rows, windows, ?counters, "the counts of a job do not balance");
            debug_assert!(false, "the counts of job {} do not balance: {counters:?}", self.spec.name);
        }
        let bytes = checkpoint.encode()?;
        // What lies in the bytes is not kept twice while they are written.
        let checkpoint = checkpoint.without_state();
        if let Some(store) = self.store.as_mut() {
            store.save(epoch, &bytes)?;
        }
        for (sink, prepared) in self.sinks.each().zip(&checkpoint.sinks) {
            sink.commit(prepared)?;
        }
        if let Some(store) = self.store.as_mut() {
            store.copy(epoch, &bytes)?;
        }
        self.epoch = epoch;
        self.aligning = false;
        self.dirty = false;
        self.last = self.environment.clock.monotonic();
        self.shared.gauges.checkpoint(self.last.saturating_sub(self.began));
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
        for (feed, &offset) in self.feeds.each.iter().zip(self.kept.front().into_iter().flatten()) {
            self.spec.pin(feed.place, offset);
        }
    }
}
