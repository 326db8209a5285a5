//! Where jobs begin and what they take over. Invariant checked: no record is read twice or left out that was not asked for.

use std::path::{Path, PathBuf};

use super::*;

use crate::error::ErrorKind;
use crate::log::Floor;
use crate::runtime::admission::{Admission, Resumed};
use crate::runtime::adopt::Unclaimed;
use crate::runtime::savepoints::LogsByName;

/// Every row of stream a, into output 0.
fn rows(start: Option<StartAt>) -> JobPlan {
    JobPlan {
        scans: vec![Scan { start, ..scan("a", time::DAY) }],
        inputs: vec![input(0, Lateness::Keep, vec![])],
        steps: vec![],
        outputs: vec![output(From::Input(0)), output(From::Input(0))],
        parallelism: 1,
    }
}

impl Bench {
    fn admit(&self, name: &str, plan: JobPlan, admission: &Admission) -> Result<()> {
        let spec = self.spec(name, plan, &[0]);
        self.supervisor.admit(&spec, admission)?;
        self.supervisor.start(spec)
    }

    fn logs_by_name(&self) -> LogsByName {
        let log = |(name, log): (&str, &Arc<MemoryLog>)| (Name::new(name).unwrap(), log.clone() as Arc<dyn LogStore>);
        ["a", "b"].into_iter().zip(&self.logs).map(log).collect()
    }

    /// The files below the checkpoints whose paths end so.
    fn files(&self, ending: &str) -> Vec<(PathBuf, Vec<u8>)> {
        self.disk.files().into_iter().filter(|(path, _)| path.to_str().unwrap().ends_with(ending)).collect()
    }

    /// Damages the files whose paths end so.
    fn damage(&self, ending: &str) {
        self.files(ending).into_iter().for_each(|(path, bytes)| self.disk.overwrite(&path, bytes[1..].to_vec()));
    }

    /// Why the job failed, when it has.
    fn failed(&self) -> String {
        let began = Instant::now();
        loop {
            match self.supervisor.status("job").unwrap().life {
                JobState::Failed(why) => return why,
                other => assert!(began.elapsed() < PATIENCE, "{other:?}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A job that has read two records, and is stopped.
    fn stopped() -> Self {
        let bench = Self::new([1, 1]);
        bench.feed(0, "x", &[(1, 1), (2, 2)]);
        bench.start(rows(None), &[0]);
        bench.until("the first records", |s| s.committed.consumed == 2);
        bench.supervisor.stop("job").unwrap();
        bench
    }

    fn restart(&self, plan: JobPlan) {
        self.supervisor.stop("job").unwrap();
        self.start(plan, &[0]);
    }
}

#[test]
fn a_job_begins_where_it_is_told_and_a_restart_before_its_first_checkpoint_begins_there_again() {
    for (start, want) in [
        (StartAt::Earliest, vec![1, 2, 3, 4, 5]),
        (StartAt::Latest, vec![4, 5]),
        (StartAt::Offsets([(0, 1)].into()), vec![2, 3, 4, 5]),
        (StartAt::Offsets([(0, 3)].into()), vec![4, 5]),
        (StartAt::Time(i64::MAX), vec![4, 5]),
        (StartAt::Time(0), vec![1, 2, 3, 4, 5]),
    ] {
        let bench = Bench::new([1, 1]);
        bench.feed(0, "x", &[(1, 1), (2, 2), (3, 3)]);
        let plan = rows(Some(start.clone()));
        bench.supervisor.admit(&bench.spec("job", plan.clone(), &[0]), &Admission::default()).unwrap();
        // It has not run when the next records come.
        bench.feed(0, "x", &[(4, 4)]);
        bench.start(plan.clone(), &[0]);
        bench.restart(plan);
        bench.feed(0, "x", &[(5, 5)]);
        bench.until("all records", |s| s.committed.written == 2 * want.len() as u64 && s.lag == 0);
        assert_eq!(bench.values(0), want, "{start:?}");
    }
}

#[test]
fn what_is_not_there_is_refused_and_never_passed_over() {
    let bench = Bench::new([1, 1]);
    bench.feed(0, "x", &[(1, 1), (2, 2), (3, 3)]);
    bench.logs[0].retain_from(0, 2);
    let refused = |start: StartAt| {
        let error = bench.admit("job", rows(Some(start)), &Admission::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.hint_text().is_some());
        error.message().to_owned()
    };
    assert_eq!(refused(StartAt::Offsets([(0, 1)].into())), "offset 1 of partition 0 of stream a is not there: the log holds 2 to 3");
    assert!(refused(StartAt::Offsets([(0, 4)].into())).contains("the log holds 2 to 3"));
    assert_eq!(refused(StartAt::Offsets([(1, 0)].into())), "stream a has no partition 1");
    let message = refused(StartAt::Time(1));
    assert!(message.contains("records received from 1970-01-01") && message.contains("only kept from"), "{message}");
    bench.admit("job", rows(Some(StartAt::Offsets([(0, 2)].into()))), &Admission::default()).unwrap();
    bench.until("the record that is left", |s| s.committed.written == 2);
}

#[test]
fn another_job_goes_on_from_a_savepoint_which_the_log_keeps() {
    let bench = Bench::new([1, 1]);
    bench.feed(0, "x", &[(1, 1), (2, 2), (11, 3)]);
    bench.start(windows(), &[0]);
    bench.until("the first records", |s| s.committed.consumed == 3);
    let (_, savepoint) = bench.supervisor.stop_with_savepoint("job", None, &bench.logs_by_name()).unwrap();
    assert_eq!((savepoint.name.clone(), savepoint.consumed), (format!("job-{}", savepoint.epoch), 3));
    let again = bench.supervisor.stop_with_savepoint("job", None, &bench.logs_by_name()).unwrap().1;
    assert_eq!(again.name, format!("job-{}", again.epoch), "stopping twice is no error");
    let taken = bench.supervisor.stop_with_savepoint("job", Some(&savepoint.name), &bench.logs_by_name()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    bench.feed(0, "x", &[(12, 4), (40, 5)]);
    bench.supervisor.forget("job");
    bench.logs[0].retain_from(0, 5);
    assert_eq!(bench.logs[0].bounds(0).start, 3, "the savepoint keeps what comes after it");

    let admission = Admission { savepoint: Some(savepoint.name.clone()), ..Admission::default() };
    let told = bench.supervisor.check("other", "", &windows(), &admission).unwrap();
    assert_eq!(told, Resumed::Savepoint { name: savepoint.name.clone(), left: vec![] });
    bench.tables.iter().for_each(|t| t.lock().unwrap().clear());
    bench.admit("other", windows(), &admission).unwrap();
    let began = Instant::now();
    let done = || bench.supervisor.status("other").unwrap();
    while done().committed.consumed < 5 {
        assert!(began.elapsed() < PATIENCE, "{:?}", done());
        std::thread::sleep(Duration::from_millis(1));
    }
    let c = done().committed;
    assert_eq!((c.row_balance(), c.window_balance(), c.consumed), (0, 0, 5));
    assert_eq!((bench.values(0), bench.values(1)), (vec![3, 4], vec![1, 2, 3, 4]), "open windows went along");
    bench.supervisor.stop("other").unwrap();
    for name in [&savepoint.name, &again.name] {
        let _gone_with_the_first = bench.supervisor.drop_savepoint(name, &bench.logs_by_name());
    }
    bench.supervisor.forget("other");
    bench.logs[0].retain_from(0, 5);
    assert_eq!((bench.logs[0].bounds(0).start, bench.supervisor.savepoints().unwrap().len()), (5, 0));
}

#[test]
fn a_changed_query_keeps_its_state_part_by_part_or_is_refused_with_what_differs() {
    let bench = Bench::new([1, 1]);
    bench.feed(0, "x", &[(1, 1), (2, 2), (11, 3)]);
    bench.start(windows(), &[0]);
    bench.until("the first records", |s| s.committed.consumed == 3);
    bench.supervisor.stop("job").unwrap();

    let mut larger = windows();
    if let Some(window) = &mut larger.inputs[1].window {
        window.parameters.sizes = vec![30 * SECOND];
    }
    let refused = bench.supervisor.check("job", "", &larger, &Admission::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.message().ends_with("does not fit the query: the window's size was 20 s, is now 30 s"), "{refused}");
    assert!(refused.hint_text().unwrap().contains("ignore-unclaimed-state"), "{refused}");

    // The same windows in another order, one of them twice as an output: all state finds its place.
    let mut swapped = windows();
    swapped.inputs.swap(0, 1);
    let told = bench.supervisor.check("job", "", &swapped, &Admission::default()).unwrap();
    assert!(matches!(told, Resumed::Checkpoint { ref left, .. } if left.is_empty()), "{told:?}");
    bench.supervisor.admit(&bench.spec("job", swapped.clone(), &[0]), &Admission::default()).unwrap();
    let newest = |ending| bench.files(ending).pop().unwrap().1;
    assert_eq!(newest(".checkpoint"), newest(".copy"), "also the copy is in the new order");
    bench.admit("job", swapped, &Admission::default()).unwrap();
    bench.feed(0, "x", &[(12, 4), (40, 6)]);
    let after = bench.until("all records", |s| s.committed.consumed == 5).committed;
    assert_eq!((after.row_balance(), after.window_balance(), after.windows), (0, 0, 3), "{after:?}");
    assert_eq!((bench.values(0), bench.values(1)), (vec![1, 1, 2, 2, 3, 4], vec![3, 4]));
    bench.supervisor.stop("job").unwrap();

    // State that is left behind is counted as gone, and what is new begins empty.
    let ignore = Admission { unclaimed: Unclaimed::Ignore, ..Admission::default() };
    let told = bench.supervisor.check("job", "", &larger, &ignore).unwrap();
    assert!(matches!(told, Resumed::Checkpoint { ref left, .. } if left.len() == 1), "{told:?}");
    bench.admit("job", larger, &ignore).unwrap();
    bench.feed(0, "x", &[(41, 7), (90, 8)]);
    let after = bench.until("all records", |s| s.committed.consumed == 7).committed;
    assert_eq!((after.row_balance(), after.window_balance()), (0, 0), "{after:?}");
}

#[test]
fn a_stopped_job_is_listed_and_kept_until_it_is_forgotten() {
    let bench = Bench::stopped();
    bench.feed(0, "x", &[(3, 3)]);
    // As the next process does.
    bench.supervisor.forget("job");
    bench.supervisor.enlist(bench.spec("job", rows(None), &[0]));
    let listed = bench.supervisor.status("job").unwrap();
    assert_eq!((listed.life, listed.lag, listed.counters.consumed), (JobState::Stopped, 1, 2));
    bench.logs[0].retain_from(0, 3);
    assert!(bench.logs[0].bounds(0).start <= 2, "it keeps what it has not read");
    bench.start(rows(None), &[0]);
    bench.until("the last record", |s| s.committed.consumed == 3);
    bench.supervisor.stop("job").unwrap();
    bench.supervisor.forget("job");
    bench.logs[0].retain_from(0, 3);
    assert_eq!(bench.logs[0].bounds(0).start, 3, "nobody needs them any more");
}

#[test]
fn a_job_whose_checkpoint_cannot_be_read_has_failed_and_the_log_keeps_everything_for_it() {
    let bench = Bench::stopped();
    bench.damage("checkpoint");
    bench.damage("copy");
    // As the next process does, with a job that was stopped, and with one that was not.
    bench.supervisor.forget("job");
    bench.supervisor.enlist(bench.spec("job", rows(None), &[0]));
    assert!(bench.failed().contains("no checkpoint in"), "{}", bench.failed());
    bench.logs[0].retain_from(0, 2);
    assert_eq!(bench.logs[0].bounds(0).start, 0);
    bench.supervisor.forget("job");
    bench.start(rows(None), &[0]);
    assert!(bench.failed().contains("no checkpoint in"), "{}", bench.failed());
    bench.logs[0].retain_from(0, 2);
    assert_eq!(bench.logs[0].bounds(0).start, 0);

    // What it would commit nobody knows; that is told until somebody decides.
    assert_eq!(bench.supervisor.prepared().unwrap_err().kind(), ErrorKind::Corrupt);
    let problems = bench.supervisor.problems();
    assert!(problems.len() == 1 && problems[0].contains("a checkpoint of job job") && problems[0].contains("move "), "{problems:?}");
    bench.files("checkpoint").iter().for_each(|(path, _)| crate::contract::Disk::remove(&bench.disk, path).unwrap());
    bench.disk.overwrite(&PathBuf::from("checkpoints/stray"), vec![]);
    assert_eq!((bench.supervisor.prepared().unwrap().len(), bench.supervisor.problems().len()), (0, 0));
}

#[test]
fn a_savepoint_that_cannot_be_read_is_a_problem_and_keeps_everything() {
    let bench = Bench::stopped();
    let savepoint = bench.supervisor.stop_with_savepoint("job", None, &bench.logs_by_name()).unwrap().1;
    bench.damage("savepoint");
    // As the next process does.
    bench.supervisor.forget("job");
    bench.logs[0].unpin(&format!("savepoint {}", savepoint.name));
    bench.supervisor.pin_savepoints(&bench.logs_by_name()).unwrap();
    assert_eq!(bench.supervisor.savepoints().unwrap(), []);
    let problems = bench.supervisor.problems();
    assert!(problems.len() == 1 && problems[0].contains(&format!("DROP SAVEPOINT '{}'", savepoint.name)), "{problems:?}");
    bench.logs[0].retain_from(0, 2);
    assert_eq!(bench.logs[0].bounds(0).start, 0);
    bench.supervisor.drop_savepoint(&savepoint.name, &bench.logs_by_name()).unwrap();
    bench.logs[0].retain_from(0, 2);
    assert_eq!((bench.logs[0].bounds(0).start, bench.supervisor.problems().len()), (2, 0));
}

#[test]
fn what_retention_has_removed_is_told_before_the_job_runs_with_what_to_do() {
    let bench = Bench::stopped();
    bench.feed(0, "x", &[(3, 3), (4, 4)]);
    bench.supervisor.forget("job");
    bench.logs[0].retain_from(0, 4);
    let refused = bench.admit("job", rows(None), &Admission::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(refused.message(), "retention has removed offsets 2 to 3 of partition 0 of stream a before job job read them");
    assert!(refused.hint_text().unwrap().contains("SET 'pipeline.name'"), "{refused}");
    // So does one that is started by a restart.
    bench.start(rows(None), &[0]);
    assert_eq!(bench.failed(), refused.to_string());
}

#[test]
fn a_log_that_ends_before_a_job_is_told_before_other_records_get_its_offsets() {
    let bench = Bench::stopped();
    let read = |reader: &str| Some(Floor { offset: 2, reader: reader.to_owned() });
    let floors = || {
        let disk: Arc<dyn crate::contract::Disk> = Arc::new(bench.disk.clone());
        crate::runtime::floors(&disk, Path::new("checkpoints")).unwrap()
    };
    assert_eq!(floors().of(&Name::new("a").unwrap(), 0).cloned(), read("job job"));
    assert_eq!(floors().of(&Name::new("b").unwrap(), 0), None);

    // Another log is there in place of the one that it has read.
    let refused = bench.supervisor.admit(&bench.spec("job", rows(None), &[1]), &Admission::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert_eq!(refused.message(), "job job stood at offset 2 of partition 0 of stream a, but the log holds 0 to 0");
    assert!(refused.hint_text().unwrap().contains("restore both from the same backup"), "{refused}");

    let savepoint = bench.supervisor.stop_with_savepoint("job", Some("kept"), &bench.logs_by_name()).unwrap().1;
    let admission = Admission { savepoint: Some(savepoint.name), ..Admission::default() };
    let refused = bench.supervisor.admit(&bench.spec("other", rows(None), &[1]), &admission).unwrap_err();
    assert_eq!(refused.message(), "job other stood at offset 2 of partition 0 of stream a, but the log holds 0 to 0");
    bench.files("checkpoint").iter().for_each(|(path, _)| crate::contract::Disk::remove(&bench.disk, path).unwrap());
    assert_eq!(floors().of(&Name::new("a").unwrap(), 0).cloned(), read("savepoint 'kept'"));
}

#[test]
fn a_table_with_another_watermark_goes_on_where_it_stood_if_its_windows_may_be_left_behind() {
    let bench = Bench::new([1, 1]);
    bench.feed(0, "x", &[(1, 1), (2, 2), (11, 3)]);
    bench.start(windows(), &[0]);
    bench.until("the first records", |s| s.committed.consumed == 3);
    bench.supervisor.stop("job").unwrap();
    let mut later = windows();
    later.scans[0].row_time = Some(RowTime { column: 0, delay: 5 * SECOND });
    let refused = bench.supervisor.check("job", "", &later, &Admission::default()).unwrap_err();
    assert!(refused.message().contains("the scan's watermark was 0 ms behind, is now 5 s behind"), "{refused}");
    let ignore = Admission { unclaimed: Unclaimed::Ignore, ..Admission::default() };
    bench.supervisor.check("job", "", &later, &ignore).unwrap();
    bench.admit("job", later, &ignore).unwrap();
    bench.feed(0, "x", &[(12, 4), (90, 5)]);
    let after = bench.until("all records, each once", |s| s.committed.consumed == 5 && s.lag == 0).committed;
    assert_eq!((after.row_balance(), after.window_balance()), (0, 0), "{after:?}");
    assert_eq!((bench.values(0), bench.values(1)), (vec![1, 2, 4], vec![4]));
}

/// Windows of 10 s over the rows on one side of 10, and over the others.
fn halves(sides: [Operator; 2]) -> JobPlan {
    let half = |side: Operator| {
        let filter = binary(col("v", &schema()).unwrap(), side, lit(ScalarValue::Int64(Some(10))), &schema()).unwrap();
        Input { stages: vec![Stage::Filter(filter)], ..windows().inputs[0].clone() }
    };
    JobPlan { inputs: sides.map(half).into(), ..windows() }
}

#[test]
fn windows_that_are_equal_but_for_their_rows_do_not_swap_their_state() {
    let bench = Bench::new([1, 1]);
    bench.feed(0, "x", &[(1, 1), (2, 20), (3, 30)]);
    bench.start(halves([Operator::Gt, Operator::LtEq]), &[0]);
    bench.until("the first records", |s| s.committed.consumed == 3);
    bench.supervisor.stop("job").unwrap();
    let (same, swapped) = (halves([Operator::Gt, Operator::LtEq]), halves([Operator::LtEq, Operator::Gt]));
    bench.supervisor.check("job", "the same in other words", &same, &Admission::default()).unwrap();
    let refused = bench.supervisor.check("job", "changed", &swapped, &Admission::default()).unwrap_err();
    assert!(refused.message().ends_with("two windows of the query cannot be told apart") && refused.hint_text().is_some(), "{refused}");

    // Both are left behind if that is wanted; the restart after that finds all in order.
    let ignore = Admission { unclaimed: Unclaimed::Ignore, ..Admission::default() };
    let spec = || JobSpec { sql: "changed".to_owned(), ..bench.spec("job", swapped.clone(), &[0]) };
    bench.supervisor.admit(&spec(), &ignore).unwrap();
    bench.supervisor.start(spec()).unwrap();
    bench.supervisor.stop("job").unwrap();
    bench.supervisor.start(spec()).unwrap();
    bench.feed(0, "x", &[(12, 7), (40, 50)]);
    let after = bench.until("all records", |s| s.committed.consumed == 5).committed;
    assert_eq!((after.row_balance(), after.window_balance()), (0, 0), "{after:?}");
    assert_eq!((bench.values(0), bench.values(1)), (vec![7], vec![]));
}
