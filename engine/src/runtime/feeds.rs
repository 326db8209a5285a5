//! The partitions of a job, and where the work on each is done. Invariant: what a partition hands on is taken in its order, and
//! nothing is taken from one that has placed its barrier until the others have.
//!
//! ```text
//! at home   step ─► item                              little to read: the driver's thread does it, when the bell rings
//! apart     thread: step ─► bounded queue ─► item     much to read: partitions do not wait for one another
//! ```
//!
//! A job whose partitions are all at home has one thread, and that sleeps until there is something to do.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvError, Select, bounded};

use super::apart;
use super::job::{Place, Shared};
use super::spawn::{caught, join, spawn};
use super::worker::{Idle, Item, Worker};
use crate::contract::Clock;
use crate::error::{Error, Result};
use crate::limits::CHAIN_QUEUE_MAX;
use crate::state::PartitionState;
use crate::time::Micros;

/// One partition of one scan as the driver sees it.
pub struct Feed {
    pub(super) place: Place,
    pub watermark: Micros,
    pub idle: Idle,
    pub barrier: Option<Box<PartitionState>>,
    seat: Seat,
}

enum Seat {
    Home(Box<Worker>),
    Apart(Receiver<Item>, JoinHandle<Result<()>>),
    /// Only while it changes, or after an error.
    Empty,
}

/// See the module.
pub struct Feeds {
    job: String,
    pub each: Vec<Feed>,
    /// The next one that gets a turn.
    turn: usize,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

impl Feeds {
    /// All at home.
    pub fn new(job: &str, workers: Vec<Worker>, shared: Arc<Shared>, clock: Arc<dyn Clock>) -> Self {
        let feed = |mut worker: Worker| {
            worker.look();
            let (place, watermark) = (worker.place, worker.chain.watermark());
            Feed { place, watermark, idle: Idle::No, barrier: None, seat: Seat::Home(Box::new(worker)) }
        };
        let each: Vec<Feed> = workers.into_iter().map(feed).collect();
        // Jobs that wake together do not all begin with the same partition: each may decode another one for all.
        let turn = job.bytes().map(usize::from).sum::<usize>() % each.len().max(1);
        Self { job: job.to_owned(), each, turn, shared, clock }
    }

    /// The next item of a partition that has not placed its barrier yet, and the partition's index; waits for it until `due` at most,
    /// by the monotonic clock. `None` if nothing came or something else may have to be done. Errors: those of the partitions.
    pub fn next(&mut self, due: Duration) -> Result<Option<(usize, Item)>> {
        if let Some(found) = self.at_home()? {
            return Ok(Some(found));
        }
        let own = self.each.iter().filter(|f| f.barrier.is_none()).filter_map(|f| f.worker()?.due()).min();
        let until = own.map_or(due, |own| own.min(due));
        self.receive(until.saturating_sub(self.clock.monotonic()))
    }

    fn at_home(&mut self) -> Result<Option<(usize, Item)>> {
        for _ in 0..self.each.len() {
            let index = self.turn;
            self.turn = (index + 1) % self.each.len();
            let feed = &mut self.each[index];
            if feed.barrier.is_some() {
                continue;
            }
            let Seat::Home(worker) = &mut feed.seat else { continue };
            if worker.is_behind() {
                feed.send_apart(&format!("{index}.{}", self.job))?;
            } else if let Some(item) = caught(|| worker.step())? {
                return Ok(Some((index, item)));
            }
        }
        Ok(None)
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<(usize, Item)>> {
        let Some((index, received)) = self.wait(timeout) else {
            self.each.iter_mut().filter_map(Feed::worker_mut).for_each(Worker::hear);
            return Ok(None);
        };
        match received {
            Ok(Item::Home(mut worker)) => {
                worker.look();
                let seat = std::mem::replace(&mut self.each[index].seat, Seat::Home(worker));
                seat.end()?;
                Ok(None)
            }
            Ok(item) => Ok(Some((index, item))),
            Err(RecvError) => {
                std::mem::replace(&mut self.each[index].seat, Seat::Empty).end()?;
                Err(Error::internal(format!("a partition of job {} ended without a reason", self.job)))
            }
        }
    }

    /// `None` if the bell rang or time is up.
    fn wait(&self, timeout: Duration) -> Option<(usize, std::result::Result<Item, RecvError>)> {
        let receiver = |(i, feed): (usize, &Feed)| match &feed.seat {
            Seat::Apart(receiver, _) if feed.barrier.is_none() => Some((i, receiver.clone())),
            _ => None,
        };
        let open: Vec<(usize, Receiver<Item>)> = self.each.iter().enumerate().filter_map(receiver).collect();
        let bell = self.shared.bell();
        let mut select = Select::new();
        for (_, receiver) in &open {
            select.recv(receiver);
        }
        select.recv(bell);
        let operation = select.select_timeout(timeout).ok()?;
        match open.get(operation.index()) {
            Some((feed, receiver)) => Some((*feed, operation.recv(receiver))),
            None => {
                // Both of its ends are the job's own.
                let _ = operation.recv(bell);
                None
            }
        }
    }

    /// After the end of the job. Errors: what a partition met, if it met something.
    pub fn end(self) -> Result<()> {
        // First all receivers go, so that nobody waits to send.
        let threads: Vec<_> = self.each.into_iter().filter_map(|f| f.seat.thread()).collect();
        let ended: Vec<Result<()>> = threads.into_iter().map(|t| join(t).and_then(|r| r)).collect();
        ended.into_iter().collect()
    }
}

impl Feed {
    fn worker(&self) -> Option<&Worker> {
        if let Seat::Home(worker) = &self.seat { Some(worker) } else { None }
    }

    fn worker_mut(&mut self) -> Option<&mut Worker> {
        if let Seat::Home(worker) = &mut self.seat { Some(worker) } else { None }
    }

    fn send_apart(&mut self, name: &str) -> Result<()> {
        let Seat::Home(worker) = std::mem::replace(&mut self.seat, Seat::Empty) else { return Ok(()) };
        let (sender, receiver) = bounded(CHAIN_QUEUE_MAX);
        let thread = spawn(name, move || apart::run(worker, &sender))?;
        self.seat = Seat::Apart(receiver, thread);
        Ok(())
    }
}

impl Seat {
    fn thread(self) -> Option<JoinHandle<Result<()>>> {
        if let Self::Apart(_, thread) = self { Some(thread) } else { None }
    }

    fn end(self) -> Result<()> {
        self.thread().map_or(Ok(()), |t| join(t)?)
    }
}
