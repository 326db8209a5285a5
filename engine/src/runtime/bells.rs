//! Waking jobs when their streams have something new. Invariant: whoever listens is woken after every change, but not before what
//! came since the last time had a moment to gather; while nothing comes, nothing runs.
//!
//! ```text
//! commits of a stream  │││ │   │││││││              │
//! rings                ▲  ▲  ▲  ▲  ▲  ▲             ▲        the first at once, the next after a pause
//! ```
//!
//! A hundred jobs that each wake for each commit would spend their time on waking. And who is woken reads what the bell has told of, not what
//! has come since: the first of a hundred would decode forty milliseconds of records, each of the others the few that came while it waited
//! for its turn, and all would have to take all of these small batches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crossbeam::channel::Sender;
use futures::executor::block_on;
use futures::future::{select, select_all};
use tokio::sync::watch;

use super::spawn::spawn;
use crate::contract::{LogStore, Progress};
use crate::error::Result;
use crate::ids::{Offset, Partition};
use crate::limits::{GATHER_MS_MAX, GATHER_MS_MIN, GATHER_US_PER_JOB};
use crate::locks::lock;

/// The streams that somebody listens to.
#[derive(Default)]
pub struct Bells {
    streams: Mutex<Vec<Weak<Stream>>>,
}

struct Stream {
    log: Arc<dyn LogStore>,
    /// Where each partition ended when it last rang.
    ends: Vec<AtomicU64>,
    listeners: Mutex<Listeners>,
    /// Its end wakes the thread.
    _open: watch::Sender<()>,
}

#[derive(Default)]
struct Listeners {
    next_id: u64,
    each: Vec<(u64, Sender<()>)>,
}

/// Ends the listening when it is dropped.
pub struct Listening {
    stream: Arc<Stream>,
    id: u64,
}

impl Bells {
    /// From now on `bell` gets something, if it is empty, after each change of `log`. Errors: `Unavailable` if no thread can be started.
    pub fn listen(&self, log: &Arc<dyn LogStore>, bell: &Sender<()>) -> Result<Listening> {
        let mut streams = lock(&self.streams);
        streams.retain(|s| s.strong_count() > 0);
        let known = streams.iter().filter_map(Weak::upgrade).find(|s| Arc::ptr_eq(&s.log, log));
        let stream = match known {
            Some(stream) => stream,
            None => {
                let (open, closed) = watch::channel(());
                let progress: Vec<_> = (0..log.partitions()).map(|p| log.progress(p)).collect();
                let ends = progress.iter().map(|_| AtomicU64::new(0)).collect();
                let stream = Arc::new(Stream { log: log.clone(), ends, listeners: Mutex::default(), _open: open });
                let weak = Arc::downgrade(&stream);
                streams.push(weak.clone());
                spawn("bells", move || follow(&weak, progress, closed))?;
                stream
            }
        };
        let mut listeners = lock(&stream.listeners);
        let id = listeners.next_id;
        listeners.next_id += 1;
        listeners.each.push((id, bell.clone()));
        drop(listeners);
        Ok(Listening { stream, id })
    }
}

impl Listening {
    /// Offset after the last record of a partition that the bell has told of; 0 before it has rung.
    pub fn end(&self, partition: Partition) -> Offset {
        self.stream.ends.get(partition as usize).map_or(0, |end| end.load(Ordering::Acquire))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.stream.listeners).each.retain(|(id, _)| *id != self.id);
    }
}

impl Stream {
    /// Tells all how far the partitions have come. Returns for how long the next records may gather.
    fn ring(&self, progress: &mut [watch::Receiver<Progress>]) -> Duration {
        for (end, progress) in self.ends.iter().zip(progress) {
            end.store(progress.borrow_and_update().durable, Ordering::Release);
        }
        let listeners = lock(&self.listeners);
        for (_, bell) in &listeners.each {
            // One that is full rings already.
            let _ = bell.try_send(());
        }
        let jobs = u64::try_from(listeners.each.len()).unwrap_or(u64::MAX);
        let all = Duration::from_micros(GATHER_US_PER_JOB.saturating_mul(jobs));
        all.clamp(Duration::from_millis(GATHER_MS_MIN), Duration::from_millis(GATHER_MS_MAX))
    }
}

fn follow(stream: &Weak<Stream>, mut progress: Vec<watch::Receiver<Progress>>, mut closed: watch::Receiver<()>) {
    loop {
        let changes = select_all(progress.iter_mut().map(|p| Box::pin(p.changed())));
        block_on(select(changes, Box::pin(closed.changed())));
        // While somebody listens the log is there, and so are its senders.
        let Some(pause) = stream.upgrade().map(|s| s.ring(&mut progress)) else { return };
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam::channel::bounded;

    use super::*;
    use crate::batch::{ContentType, Record};
    use crate::log::{Durability, MemoryLog};
    use crate::system::SystemClock;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn every_change_is_heard_and_many_at_once_are_heard_once() {
        let log = Arc::new(MemoryLog::new(2, Arc::new(SystemClock::new()), Durability::OnFlush));
        let any: Arc<dyn LogStore> = log.clone();
        let bells = Bells::default();
        let (bell, heard) = bounded(1);
        let (other_bell, other) = bounded(1);
        let listening = bells.listen(&any, &bell).unwrap();
        let _other = bells.listen(&any, &other_bell).unwrap();
        let feed = |n: usize| {
            for i in 0..n {
                let device = format!("device-{i}");
                let record = Record { device: &device, topic: "t", content_type: ContentType::Json, producer: None, payload: b"{}" };
                log.append(&record).unwrap();
            }
            log.flush();
        };
        let end = |listening: &Listening| (listening.end(0) + listening.end(1), listening.end(2));
        assert_eq!(end(&listening), (0, 0));
        for round in 1..=20 {
            feed(3);
            heard.recv_timeout(LONG).unwrap();
            other.recv_timeout(LONG).unwrap();
            assert_eq!(end(&listening), (3 * round, 0), "it tells of all that has come, in both partitions");
        }
        std::thread::sleep(Duration::from_millis(3 * GATHER_MS_MAX));
        while heard.try_recv().is_ok() {}
        (0..100).for_each(|_| feed(1));
        heard.recv_timeout(LONG).unwrap();
        let more = std::iter::from_fn(|| heard.recv_timeout(Duration::from_millis(3 * GATHER_MS_MAX)).ok()).count();
        assert!(more <= 2, "{more} more rings for what came at once");
        drop(listening);
        while heard.try_recv().is_ok() {}
        while other.try_recv().is_ok() {}
        feed(1);
        other.recv_timeout(LONG).unwrap();
        assert!(heard.is_empty(), "who does not listen hears nothing");
    }

    #[test]
    fn the_thread_ends_with_the_last_listener() {
        let log: Arc<dyn LogStore> = Arc::new(MemoryLog::new(1, Arc::new(SystemClock::new()), Durability::AtOnce));
        let bells = Bells::default();
        let (bell, _heard) = bounded(1);
        let listening = bells.listen(&log, &bell).unwrap();
        let stream = Arc::downgrade(&listening.stream);
        drop(listening);
        assert!(stream.upgrade().is_none());
        // Its receiver was the only other one.
        let _again = bells.listen(&log, &bell).unwrap();
        assert_eq!(lock(&bells.streams).len(), 1);
    }
}
