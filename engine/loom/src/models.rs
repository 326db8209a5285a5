//! Models of the hand-off. Invariant: a model ends in every order of events (a lost wake-up would leave it waiting for ever), and
//! a variant with a seeded bug does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64 as Disk;
use loom::thread;

use crate::handoff::{Handoff, Next};

/// Every order of events with at most so many preemptions: few more are ever needed to show a fault, and all of them take hours.
const PREEMPTIONS: usize = 3;
/// Why no lock is poisoned.
const CALM: &str = "no thread panics";

/// Orders that were begun.
static ORDERS: AtomicU64 = AtomicU64::new(0);

/// One model.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// Whether it has a seeded bug.
    pub(crate) is_bug: bool,
    run: fn(),
}

/// Every model, then every seeded bug.
pub(crate) static MODELS: &[Model] = &[
    Model { name: "records", is_bug: false, run: records },
    Model { name: "gate", is_bug: false, run: gate },
    Model { name: "durable", is_bug: false, run: || durable(false) },
    Model { name: "failed", is_bug: false, run: || failed(Bug::None) },
    Model { name: "gate-late", is_bug: true, run: || failed(Bug::GateLate) },
    Model { name: "published-after-failure", is_bug: true, run: || failed(Bug::Published) },
    Model { name: "published-early", is_bug: true, run: || durable(true) },
    Model { name: "sleepy-writer", is_bug: true, run: sleepy_writer },
];

impl Model {
    /// Tries every order of events. Panics in the first that goes wrong.
    pub(crate) fn check(&self) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS);
        let run = self.run;
        builder.check(move || {
            ORDERS.fetch_add(1, Ordering::Relaxed);
            run();
        });
    }
}

/// How many orders of events were begun.
pub(crate) fn orders() -> u64 {
    ORDERS.load(Ordering::Relaxed)
}

/// What producers and the writer share: numbers that wait, how many were given, and whether more are taken.
#[derive(Debug, Default)]
struct Intake {
    waiting: Vec<u64>,
    next: u64,
    is_closed: bool,
}

impl Intake {
    fn push(&mut self) -> Option<u64> {
        if self.is_closed {
            return None;
        }
        self.waiting.push(self.next);
        self.next += 1;
        Some(self.next - 1)
    }
}

/// Takes groups until `count` numbers came; `publish` is told how many there are.
fn write(handoff: &Handoff<Intake>, count: u64, publish: impl Fn(u64)) {
    let mut written = 0;
    while written < count {
        let group = handoff.take(|intake| match std::mem::take(&mut intake.waiting) {
            empty if empty.is_empty() => Next::Wait,
            group => Next::Do(group),
        });
        for number in group.expect(CALM) {
            assert_eq!(number, written, "in the order they were given");
            written += 1;
        }
        publish(written);
    }
}

/// Every record is written, and everybody who waits is woken.
fn records() {
    let handoff = Arc::new(Handoff::new(Intake::default(), 0));
    let producer = |handoff: Arc<Handoff<Intake>>| {
        thread::spawn(move || {
            let offset = handoff.give(Intake::push).expect(CALM).expect("the gate is open");
            assert!(handoff.wait(offset, Duration::MAX));
            assert!(handoff.published() > offset);
        })
    };
    let producers = [producer(handoff.clone()), producer(handoff.clone())];
    write(&handoff, 2, |written| handoff.publish(written, || ()));
    producers.into_iter().for_each(|producer| producer.join().expect(CALM));
    assert_eq!(handoff.published(), 2);
}

/// Who is woken finds the record on the disk, also without a lock around that; the seeded bug publishes it `early`.
fn durable(early: bool) {
    let shared = Arc::new((Handoff::new(Intake::default(), 0), Disk::new(0)));
    let producer = {
        let shared = shared.clone();
        thread::spawn(move || {
            let (handoff, disk) = &*shared;
            let offset = handoff.give(Intake::push).expect(CALM).expect("the gate is open");
            assert!(handoff.wait(offset, Duration::MAX));
            assert!(disk.load(Ordering::Relaxed) > offset, "acknowledged before it is durable");
        })
    };
    let (handoff, disk) = &*shared;
    write(handoff, 1, |written| {
        if early {
            handoff.publish(written, || ());
        }
        disk.store(written, Ordering::Relaxed);
        if !early {
            handoff.publish(written, || ());
        }
    });
    producer.join().expect(CALM);
}

/// Nothing is taken after the gate closed, and the writer hears of it.
fn gate() {
    let handoff = Arc::new(Handoff::new(Intake::default(), 0));
    let producer = {
        let handoff = handoff.clone();
        thread::spawn(move || handoff.give(Intake::push).expect(CALM))
    };
    let closer = {
        let handoff = handoff.clone();
        thread::spawn(move || handoff.set(|intake| intake.is_closed = true))
    };
    let mut written = 0;
    loop {
        let group = handoff.take(|intake| match std::mem::take(&mut intake.waiting) {
            empty if empty.is_empty() && intake.is_closed => Next::Do(None),
            empty if empty.is_empty() => Next::Wait,
            group => Next::Do(Some(group)),
        });
        let Some(group) = group.expect(CALM) else { break };
        written += group.len() as u64;
        handoff.publish(written, || ());
    }
    closer.join().expect(CALM);
    let given = producer.join().expect(CALM).map_or(0, |offset| offset + 1);
    assert_eq!(written, given, "what was taken is written, what was not is not");
}

/// What a writer does wrong when its sync fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// It tells of the failure before it closes the gate.
    GateLate,
    /// It publishes what it could not sync.
    Published,
}

/// The sync of what was taken fails: whoever has heard of that gives nothing any more, and nothing is ever published.
fn failed(bug: Bug) {
    let shared = Arc::new((Handoff::new(Intake::default(), 0), Disk::new(0)));
    let producer = |shared: Arc<(Handoff<Intake>, Disk)>| {
        thread::spawn(move || {
            let (handoff, failed) = &*shared;
            let has_failed = failed.load(Ordering::Acquire) == 1;
            let given = handoff.give(Intake::push).expect(CALM);
            assert!(!(has_failed && given.is_some()), "taken after the failure");
            assert_eq!(handoff.published(), 0, "acknowledged after the failure");
        })
    };
    let producers = [producer(shared.clone()), producer(shared.clone())];
    let (handoff, failed) = &*shared;
    let group = handoff.take(|intake| match std::mem::take(&mut intake.waiting) {
        empty if empty.is_empty() => Next::Wait,
        group => Next::Do(group),
    });
    let group = group.expect(CALM);
    if bug == Bug::GateLate {
        failed.store(1, Ordering::Release);
    }
    handoff.set(|intake| intake.is_closed = true);
    failed.store(1, Ordering::Release);
    if bug == Bug::Published {
        handoff.publish(group.len() as u64, || ());
    }
    producers.into_iter().for_each(|producer| producer.join().expect(CALM));
    assert_eq!(handoff.give(Intake::push).expect(CALM), None);
}

/// The seeded bug: a writer that looks for work, and goes to sleep without another look.
fn sleepy_writer() {
    let handoff = Arc::new(Handoff::new(Intake::default(), 0));
    let producer = {
        let handoff = handoff.clone();
        thread::spawn(move || handoff.give(Intake::push).expect(CALM))
    };
    if handoff.give(|intake| intake.waiting.is_empty()).expect(CALM) {
        let mut slept = false;
        let woken = handoff.take(|_| if std::mem::replace(&mut slept, true) { Next::Do(()) } else { Next::Wait });
        woken.expect(CALM);
    }
    producer.join().expect(CALM);
}
