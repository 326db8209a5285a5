//! Jobs that panic behind the exchange. Invariant checked: none seems to run while nobody does its work, and what it does once it can go on
//! is what it would have done.

use std::sync::atomic::AtomicBool;

use super::*;

/// Panics when it gets rows.
struct Panics;

impl Sink for Panics {
    fn write(&mut self, _rows: &RecordBatch) -> Result<()> {
        panic!("seeded");
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<PreCommit> {
        Ok(PreCommit { app_id: "1".to_owned(), epoch, previous: 0, files: vec![], removes: vec![], event_time_max: None })
    }

    fn commit(&mut self, _prepared: &PreCommit) -> Result<()> {
        Ok(())
    }

    fn recover(&mut self, _prepared: &PreCommit) -> Result<()> {
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A job whose second sink panics while it is `broken`.
fn breaking(bench: &Bench, name: &str, broken: &Arc<AtomicBool>) -> JobSpec {
    let spec = bench.spec(name, plan([time::DAY; 2]), &[0, 1]);
    let (open, broken) = (spec.sinks, broken.clone());
    let sinks = move || -> Result<Sinks> {
        let mut sinks = open()?;
        if broken.load(Ordering::Relaxed) {
            sinks.main[1] = Box::new(Panics);
        }
        Ok(sinks)
    };
    JobSpec { sinks: Box::new(sinks), ..spec }
}

#[test]
fn a_job_that_panics_tells_why_and_goes_on_when_it_can() {
    let (bench, broken) = (Bench::new([1, 1]), Arc::new(AtomicBool::new(true)));
    bench.feed(0, "x", &[(10, 1), (11, 20)]);
    bench.supervisor.start(breaking(&bench, "job", &broken)).unwrap();
    let failed = bench.until("it has panicked", |s| matches!(s.life, JobState::Restarting(_)));
    assert!(matches!(&failed.life, JobState::Restarting(why) if why == "a thread panicked: seeded"), "{failed:?}");
    broken.store(false, Ordering::Relaxed);
    let status = bench.until("it goes on", |s| s.committed.consumed == 2);
    assert_eq!((status.life, bench.values(0), bench.values(1)), (JobState::Running, vec![1, 20], vec![20]));
    assert_eq!(bench.supervisor.stop("job").unwrap().life, JobState::Stopped);
}

#[test]
fn a_live_query_that_panics_has_failed() {
    let (bench, broken) = (Bench::new([1, 1]), Arc::new(AtomicBool::new(true)));
    bench.feed(0, "x", &[(10, 20)]);
    let tail = bench.supervisor.tail(breaking(&bench, "tail", &broken)).unwrap();
    let began = Instant::now();
    while tail.status().life != JobState::Failed("a thread panicked: seeded".to_owned()) {
        assert!(began.elapsed() < PATIENCE, "{:?}", tail.status());
        std::thread::sleep(Duration::from_millis(1));
    }
}
