//! A wall clock that goes back under a whole log. Invariant: receive times go on as time does, also over a restart, so that rows of devices
//! whose clocks are right never look as if they came from the future.

use super::*;
use crate::time::{Micros, SECOND};

#[test]
fn receive_times_go_on_while_the_clock_is_behind() {
    const START: Micros = 1_800_000_000 * SECOND;
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::default()));
    let open = || Logs::open(Path::new("log"), Arc::new(disk.clone()), clock.clone(), config(1 << 20)).unwrap();
    let mut logs = open();
    clock.set(START);
    append_frames(&stream(&logs), 0..1);
    // Half a day behind for twenty minutes, with a restart in the middle.
    for minute in 1..=20u64 {
        if minute == 11 {
            logs.close();
            logs = open();
        }
        clock.pass(Duration::from_secs(60));
        clock.set(START - 43_200 * SECOND + minute.cast_signed() * 60 * SECOND);
        append_frames(&stream(&logs), minute..minute + 1);
    }
    clock.set(START + 7_200 * SECOND);
    append_frames(&stream(&logs), 21..22);
    let log = stream(&logs);
    let (mut received, mut from) = (Vec::new(), 0);
    while let Some(records) = log.read(0, from).unwrap() {
        received.extend(records.entries.iter().map(|e| e.received));
        from = records.end();
    }
    let want: Vec<Micros> = (0..=20i64).map(|minute| START + minute * 60 * SECOND).chain([START + 7_200 * SECOND]).collect();
    assert_eq!(received, want);
}

#[test]
fn receive_times_that_are_ahead_of_the_clock_are_told_until_it_has_caught_up() {
    const START: Micros = 1_800_000_000 * SECOND;
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::default()));
    let logs = Logs::open(Path::new("log"), Arc::new(disk), clock.clone(), config(1 << 20)).unwrap();
    let log = stream(&logs);
    assert_eq!((logs.received_ahead(), logs.clock_problem()), (None, None), "there is no record");
    clock.set(START);
    append_frames(&log, 0..1);
    assert_eq!(logs.received_ahead(), None);
    clock.set(START - 30 * SECOND);
    assert_eq!((logs.received_ahead(), logs.clock_problem()), (Some((Name::new("telemetry").unwrap(), 30 * SECOND)), None));
    clock.set(START - 7_200 * SECOND);
    append_frames(&log, 1..2);
    assert!(logs.clock_problem().unwrap().starts_with("receive times of log telemetry are 7200 s ahead of the clock"));
    assert_eq!(logs.problems(), [] as [String; 0], "the log itself is well");
    clock.set(START + SECOND);
    append_frames(&log, 2..3);
    assert_eq!((logs.received_ahead(), logs.clock_problem()), (None, None));
}
