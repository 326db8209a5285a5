//! Partitions without records. Invariant checked: what lies in the log is read before its partition is called idle or carried along.

use super::*;

use crate::contract::Clock;
use crate::log::sim::SimClock;
use crate::runtime::attempt::fresh_chain;
use crate::runtime::job::{Place, Shared};
use crate::runtime::scan::{Company, SharedScans};
use crate::runtime::worker::{Idle, Item, Worker};

#[test]
fn what_came_while_nobody_looked_is_read_before_its_partition_is_idle() {
    let clock = Arc::new(SimClock::default());
    let any: Arc<dyn Clock> = clock.clone();
    let bench = Bench::new([1, 1]);
    let spec = bench.spec("job", plan([SECOND; 2]), &[0, 1]);
    let (shared, place) = (Arc::new(Shared::new(2, Arc::default())), Place { scan: 0, partition: 0 });
    let reader = SharedScans::default().reader(&spec.logs[0], &spec.scans()[0], (0, 0), Company::Awaited, &any).unwrap();
    let mut worker = Worker {
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
        heard: Duration::ZERO,
        idle: Idle::No,
    };
    // Nobody looks at the log in between: the driver is busy for longer than the idle timeout.
    let mut step = |busy: Duration, others_at: Micros| {
        clock.pass(busy);
        shared.input_watermark.fetch_max(others_at, Ordering::AcqRel);
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
