//! Partitions without records. Invariant checked: what lies in the log is read before its partition is called idle or carried along.

use super::*;

use crate::contract::Clock;
use crate::log::sim::SimClock;
use crate::runtime::attempt::fresh_chain;
use crate::runtime::bells::{Bells, Listening};
use crate::runtime::job::{Place, Shared};
use crate::runtime::scan::{Company, SharedScans};
use crate::runtime::worker::{Idle, Item, Worker};

/// Listens to a stream.
fn listening(log: &Arc<dyn LogStore>, shared: &Shared) -> Arc<Listening> {
    Arc::new(Bells::default().listen(log, shared.bell_rope()).unwrap())
}

/// The first of two partitions, each of its own stream; after it read it rests for so long.
fn worker(bench: &Bench, rest: Duration) -> (Arc<SimClock>, Arc<Shared>, Worker) {
    let clock = Arc::new(SimClock::default());
    let any: Arc<dyn Clock> = clock.clone();
    let spec = bench.spec("job", plan([SECOND; 2]), &[0, 1]);
    let (shared, place) = (Arc::new(Shared::new(2, Arc::default())), Place { scan: 0, partition: 0 });
    let reader = SharedScans::default().reader(&spec.logs[0], &spec.scans()[0], (0, 0), Company::Awaited, &any).unwrap();
    let worker = Worker {
        place,
        index: 0,
        reader,
        chain: fresh_chain(&spec, place).unwrap(),
        position: 0,
        shared: shared.clone(),
        clock: any,
        idle_timeout: Duration::from_secs(1),
        epoch: 0,
        seen: 0,
        listening: listening(&spec.logs[0], &shared),
        heard: Duration::ZERO,
        timed: Duration::ZERO,
        rest,
        idle: Idle::No,
    };
    (clock, shared, worker)
}

#[test]
fn what_comes_while_an_archive_rests_is_read_at_once_afterwards() {
    let (rest, moment) = (Duration::from_millis(40), Duration::from_millis(1));
    let bench = Bench::new([1, 1]);
    let (clock, shared, mut worker) = worker(&bench, rest);
    let mut read = |busy: Duration| {
        clock.pass(busy);
        worker.look();
        let handed = worker.step().unwrap();
        (handed.is_some(), worker.position, worker.due())
    };
    assert_eq!(read(rest), (false, 0, Some(Duration::from_secs(1))), "there is nothing");
    bench.feed(0, "x", &[(10, 1)]);
    assert_eq!(read(moment).1, 1, "it has rested");
    bench.feed(0, "x", &[(11, 1)]);
    assert_eq!(read(moment), (false, 1, Some(rest + moment + rest)));
    bench.feed(0, "x", &[(12, 1)]);
    assert_eq!(read(rest - moment - moment).1, 1);
    assert_eq!(read(moment).1, 3);
    bench.feed(0, "x", &[(13, 1)]);
    shared.epoch_asked.store(1, Ordering::Release);
    assert_eq!((read(moment).0, worker.position), (true, 3), "a barrier comes at once");
    bench.feed(0, "x", &vec![(13, 1); usize::try_from(APART_ROWS_MIN).unwrap()]);
    worker.look();
    assert!(worker.step().unwrap().is_some(), "what is behind does not rest");
}

#[test]
fn what_came_while_nobody_looked_is_read_before_its_partition_is_idle() {
    let bench = Bench::new([1, 1]);
    let (clock, shared, mut worker) = worker(&bench, Duration::ZERO);
    // Nobody looks at the log in between: the driver is busy for longer than the idle timeout.
    let mut step = |busy: Duration, others_at: Micros| {
        clock.pass(busy);
        shared.input_watermarks[0].fetch_max(others_at, Ordering::AcqRel);
        match worker.step().unwrap() {
            Some(Item::Data { watermark, idle, .. }) => Some((watermark, idle, worker.chain.counters().late)),
            Some(_) => panic!("nobody asked for a barrier"),
            None => None,
        }
    };
    assert_eq!(step(Duration::ZERO, 20 * SECOND), None);
    bench.feed(0, "x", &[(10, 1)]);
    assert_eq!(step(Duration::from_secs(2), 50 * SECOND), Some((10 * SECOND, Idle::No, 0)));
    assert_eq!(step(Duration::from_millis(500), 50 * SECOND), None);
    assert_eq!(step(Duration::from_secs(2), 50 * SECOND), Some((50 * SECOND, Idle::Yes, 0)));
    // It is idle, and others go on while its next record is in the log.
    bench.feed(0, "x", &[(55, 2)]);
    assert_eq!(step(Duration::ZERO, 60 * SECOND), Some((55 * SECOND, Idle::No, 0)));
}

#[test]
fn records_that_are_rejected_keep_no_partition_from_being_idle() {
    let bench = Bench::new([1, 1]);
    let (clock, shared, mut worker) = worker(&bench, Duration::ZERO);
    shared.input_watermarks[0].fetch_max(20 * SECOND, Ordering::AcqRel);
    let mut step = |busy: u64| {
        clock.pass(Duration::from_millis(busy));
        worker.look();
        match worker.step().unwrap() {
            Some(Item::Data { watermark, idle, .. }) => Some((watermark, idle)),
            Some(_) => panic!("nobody asked for a barrier"),
            None => None,
        }
    };
    bench.feed_text(0, "x", r#"{"v":7}"#);
    assert_eq!(step(600), Some((Micros::MIN, Idle::No)));
    bench.feed_text(0, "x", "no json");
    assert_eq!(step(600), Some((Micros::MIN, Idle::No)));
    assert_eq!(step(0), Some((20 * SECOND, Idle::Yes)), "it has told no time for longer than the timeout");
    bench.feed_text(0, "x", r#"{"v":8}"#);
    assert_eq!(step(0), Some((20 * SECOND, Idle::Yes)));
    bench.feed(0, "x", &[(25, 1)]);
    assert_eq!(step(0), Some((25 * SECOND, Idle::No)));
}

#[test]
fn streams_that_do_not_meet_do_not_carry_each_other_along() {
    let bench = Bench::new([1, 1]);
    let alone = |number: usize| Step { inputs: vec![From::Input(number)], kind: StepKind::Union, schema: schema() };
    let timely = Lateness::Row { time: 0 };
    let apart = JobPlan {
        inputs: vec![input(0, timely, vec![]), input(1, timely, vec![])],
        steps: vec![alone(0), alone(1)],
        outputs: vec![output(From::Step(0)), output(From::Step(1))],
        ..plan([20 * MILLISECOND; 2])
    };
    bench.feed(0, "x", &[(10, 1)]);
    bench.feed(1, "y", &[(100, 2)]);
    bench.start(apart, &[0, 1]);
    bench.until("the first records", |s| s.committed.consumed == 2);
    // Both are idle meanwhile.
    std::thread::sleep(Duration::from_millis(200));
    bench.feed(0, "x", &[(20, 3)]);
    let c = bench.until("the last record", |s| s.committed.consumed == 3).committed;
    assert_eq!((c.late, bench.values(0), bench.values(1)), (0, vec![1, 3], vec![2]));
}

#[test]
fn what_the_bell_has_not_told_of_is_read_with_what_it_has_or_waits_for_it() {
    let bench = Bench::new([1, 1]);
    let (_, shared, mut worker) = worker(&bench, Duration::ZERO);
    let read = |worker: &mut Worker| (std::iter::from_fn(|| worker.step().unwrap()).count(), worker.position);
    let bell = || shared.bell().recv_timeout(PATIENCE).unwrap();
    bench.feed(0, "x", &[(10, 1)]);
    bell();
    assert_eq!(read(&mut worker), (0, 0), "it has not been listened to");
    worker.hear();
    bench.feed(0, "x", &[(11, 1)]);
    assert_eq!(read(&mut worker), (1, 2), "one batch takes both");
    bench.feed(0, "x", &[(12, 1)]);
    assert_eq!(read(&mut worker), (0, 2));
    while worker.position < 3 {
        bell();
        worker.hear();
        read(&mut worker);
    }
}
