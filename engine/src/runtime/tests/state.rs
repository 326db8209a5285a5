//! What the state of a job takes, and what happens when that is too much. Invariant checked: the job says why it stopped and keeps its
//! place, and nobody else is disturbed.

use super::*;

/// Values of `from` on, one a second of a day.
fn many(from: i64, count: i64) -> Vec<(i64, i64)> {
    (from..from + count).map(|v| (v % 86_000, v)).collect()
}

fn day(of: JobPlan) -> JobPlan {
    let mut plan = of;
    for input in &mut plan.inputs {
        if let Some(window) = &mut input.window {
            window.parameters.sizes = vec![time::DAY];
        }
    }
    plan
}

#[test]
fn state_past_its_bound_stops_the_job_with_the_reason_at_its_last_checkpoint() {
    let bench = Bench::new([1, 1]);
    let spec = |bound: u64| JobSpec { state_memory: Some(bound), ..bench.spec("job", day(windows()), &[0]) };
    let rate_of = bench.spec("other", windows(), &[0]);
    bench.supervisor.start(rate_of).unwrap();
    bench.supervisor.start(spec(4 << 20)).unwrap();
    bench.feed(0, "x", &many(0, 2_000));
    let small = bench.until("a few groups", |s| s.committed.consumed == 2_000 && s.usage.groups >= 4_000);
    assert!((100_000..4 << 20).contains(&small.usage.bytes), "{:?}", small.usage);
    for step in 1..=40 {
        bench.feed(0, "x", &many(step * 2_000, 2_000));
    }
    let began = Instant::now();
    let why = loop {
        match bench.supervisor.status("job").unwrap().life {
            JobState::Failed(why) => break why,
            other => assert!(began.elapsed() < PATIENCE, "{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(why.starts_with("the state of job job takes ") && why.contains("it may take 4.0 MiB"), "{why}");
    assert!(why.contains("open windows of the partitions") && why.contains("job.state.memory"), "{why}");
    let kept = bench.supervisor.status("job").unwrap();
    assert!(kept.epoch > 0 && kept.committed.consumed >= 2_000 && kept.usage.bytes == 0, "{kept:?}");
    assert_eq!(bench.supervisor.status("other").unwrap().life, JobState::Running);

    // With more room it goes on from there.
    bench.supervisor.start(spec(1 << 30)).unwrap();
    let all = bench.until("all records", |s| s.committed.consumed == 82_000);
    assert_eq!((all.committed.window_balance(), all.committed.row_balance()), (0, 0));
    assert!(all.usage.bytes > 4 << 20, "{:?}", all.usage);
}

#[test]
fn a_live_query_ends_before_any_job_stops_and_says_why() {
    let mut bench = Bench::new([1, 1]);
    bench.supervisor = bench.supervisor.with_state_memory(2 << 20);
    bench.feed(1, "y", &many(0, 100));
    bench.start(day(windows()), &[1]);
    bench.until("a few groups", |s| s.committed.consumed == 100 && s.usage.groups >= 200);
    let tail = bench.supervisor.tail(bench.spec("tail", day(windows()), &[0])).unwrap();
    for step in 0..=40 {
        bench.feed(0, "x", &many(step * 2_000, 2_000));
    }
    let began = Instant::now();
    let why = loop {
        match tail.status().life {
            JobState::Failed(why) => break why,
            other => assert!(began.elapsed() < PATIENCE, "{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(why.starts_with("the state of this query takes ") && why.contains("live queries end before jobs stop"), "{why}");
    assert!(why.contains("open windows of the partitions") && !why.contains("checkpoint"), "{why}");
    assert_eq!(bench.supervisor.status("job").unwrap().life, JobState::Running);
}

#[test]
fn partitions_that_are_ahead_wait_while_state_is_large_and_all_records_are_read_in_the_end() {
    let bench = Bench::new([2, 1]);
    // Two devices of different partitions: one has a long past to read, the other little.
    let devices: Vec<String> = (0..8).map(|i| format!("d{i}")).collect();
    let of = |p: u32| devices.iter().find(|d| crate::ids::partition_of(d, 2) == p).unwrap().as_str();
    bench.feed(0, of(0), &(0..40_000).map(|i| (i / 100, i)).collect::<Vec<_>>());
    bench.feed(0, of(1), &(0..40_000).map(|i| (i * 2, i)).collect::<Vec<_>>());
    let mut plan = windows();
    plan.scans[0].idle_timeout = 50 * MILLISECOND;
    let spec = JobSpec { state_memory: Some(6 << 20), ..bench.spec("job", plan, &[0]) };
    bench.supervisor.start(spec).unwrap();
    let all = bench.until("all records", |s| s.committed.consumed == 80_000);
    assert_eq!((all.committed.window_balance(), all.committed.row_balance(), all.committed.late), (0, 0, 0));
}

#[test]
fn what_is_measured_is_told() {
    let bench = Bench::new([1, 1]);
    bench.feed(0, "x", &many(0, 500));
    bench.start(windows(), &[0]);
    let status = bench.until("a checkpoint", |s| s.committed.consumed == 500 && s.checkpoint_took.is_some());
    assert_eq!((status.lag, status.lag_time, status.restarts, status.next_attempt), (0, Some(0), 0, None));
    bench.leave(DISK_SCARCE_BYTES);
    let waiting = bench.until("it waits", |s| matches!(s.life, JobState::Restarting(_)));
    assert!(waiting.restarts >= 1 && waiting.next_attempt.is_some(), "{waiting:?}");
    std::thread::sleep(Duration::from_millis(5));
    bench.feed(0, "x", &many(500, 1));
    let behind = bench.until("it is behind", |s| s.lag == 1);
    assert!(behind.lag_time.is_some_and(|t| t >= 5_000), "{behind:?}");
    bench.leave(u64::MAX);
    bench.until("it has caught up", |s| s.committed.consumed == 501 && s.lag_time == Some(0));
}
