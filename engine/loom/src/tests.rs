//! Models of the hand-off. Invariant: a model ends in every order of events (a lost wake-up would leave it waiting for ever), and
//! a variant with a seeded bug does not.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use crate::handoff::{Handoff, Next};

/// Every order of events with at most so many preemptions: few more are ever needed to show a fault, and all of them take hours.
const PREEMPTIONS: usize = 3;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
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

/// Takes groups until `count` numbers came, and publishes them.
fn write(handoff: &Handoff<Intake>, count: u64) {
    let mut written = 0;
    while written < count {
        let group = handoff.take(|intake| match std::mem::take(&mut intake.waiting) {
            empty if empty.is_empty() => Next::Wait,
            group => Next::Do(group),
        });
        for number in group.unwrap() {
            assert_eq!(number, written, "in the order they were given");
            written += 1;
        }
        handoff.publish(written, || ());
    }
}

#[test]
fn every_record_is_written_and_everybody_who_waits_is_woken() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Intake::default(), 0));
        let producer = |handoff: Arc<Handoff<Intake>>| {
            thread::spawn(move || {
                let offset = handoff.give(Intake::push).unwrap().unwrap();
                assert!(handoff.wait(offset, Duration::MAX));
                assert!(handoff.published() > offset);
            })
        };
        let producers = [producer(handoff.clone()), producer(handoff.clone())];
        write(&handoff, 2);
        producers.into_iter().for_each(|p| p.join().unwrap());
        assert_eq!(handoff.published(), 2);
    });
}

#[test]
fn nothing_is_taken_after_the_gate_closed_and_the_writer_hears_of_it() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Intake::default(), 0));
        let producer = {
            let handoff = handoff.clone();
            thread::spawn(move || handoff.give(Intake::push).unwrap())
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
            let Some(group) = group.unwrap() else { break };
            written += group.len() as u64;
            handoff.publish(written, || ());
        }
        closer.join().unwrap();
        let given = producer.join().unwrap().map_or(0, |offset| offset + 1);
        assert_eq!(written, given, "what was taken is written, what was not is not");
    });
}

/// Set in the process that is to fail.
const SEEDED: &str = "THALWEG_LOOM_SEEDED_BUG";

/// The seeded bug: a writer that looks for work, and goes to sleep without another look.
fn sleepy_writer() {
    check(|| {
        let handoff = Arc::new(Handoff::new(Intake::default(), 0));
        let producer = {
            let handoff = handoff.clone();
            thread::spawn(move || handoff.give(Intake::push).unwrap())
        };
        if handoff.give(|intake| intake.waiting.is_empty()).unwrap() {
            let mut slept = false;
            let woken = handoff.take(|_| if std::mem::replace(&mut slept, true) { Next::Do(()) } else { Next::Wait });
            woken.unwrap();
        }
        producer.join().unwrap();
    });
}

/// In a process of its own: the checker cannot clean up after a deadlock.
#[test]
fn a_lost_wake_up_is_found() {
    if std::env::var_os(SEEDED).is_some() {
        sleepy_writer();
        return;
    }
    let own = std::env::current_exe().unwrap();
    let arguments = ["--exact", "tests::a_lost_wake_up_is_found", "--nocapture"];
    let output = std::process::Command::new(own).args(arguments).env(SEEDED, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("deadlock"), "{said}");
}
