//! The list of kinds, and what it costs to be of one.

use super::*;
use crate::contract::{Emission, Operator, Output};
use crate::limits::PANES_OPEN_MAX;
use crate::state::snapshot;

#[test]
fn every_kind_is_found_by_name_and_takes_as_many_intervals_as_it_says() {
    for known in WINDOWS {
        let sizes: Vec<i64> = known.arguments.iter().map(|_| 2 * SECOND).collect();
        assert!(kind(&known.name.to_uppercase()).is_some_and(|k| k.name == known.name));
        assert!(parameters(known.name, &sizes, 0).shape().is_ok(), "{known:?}");
        let too_many = parameters(known.name, &[sizes.as_slice(), &[SECOND]].concat(), 0).shape().unwrap_err();
        assert!(too_many.message().contains(known.arguments[0]), "{too_many}");
        assert!(parameters(known.name, &vec![1_500; sizes.len()], 0).shape().is_err());
    }
    assert!(parameters("slide", &[SECOND], 0).shape().is_err());
}

/// Pushes rows of ten seconds, one each 0.1 s, and gives the number of panes that leave.
fn panes(parameters: WindowParameters) -> usize {
    let plan = plan(parameters, 0);
    let mut operator = WindowOperator::new(plan.clone(), MILLISECOND).unwrap();
    let mut inputs = WindowInputs::new(&plan, &input()).unwrap();
    let mut out = Output::default();
    let rows: Vec<Row> = (0..100).map(|i| Row { time: i * 100 * MILLISECOND, key: None, value: None }).collect();
    let rows = crate::batch::Batch { rows: batch(&rows), offsets: vec![0; 100].into(), watermarks: None };
    let rows = inputs.push(rows, &mut out).unwrap().unwrap();
    operator.push(rows, &mut out).unwrap();
    operator.advance(i64::MAX, &mut out).unwrap();
    assert!(out.emissions.iter().all(|e| matches!(e, Emission::Pane { .. })));
    out.emissions.len()
}

#[test]
fn a_row_is_aggregated_once_however_many_windows_it_is_in() {
    assert_eq!(panes(parameters("hop", &[SECOND, 10 * SECOND], 0)), 10);
    assert_eq!(panes(parameters("hop", &[2 * SECOND, 9 * SECOND], 0)), 10);
    assert_eq!(panes(parameters("hop", &[5 * SECOND, 10_001 * MILLISECOND], 0)), 4);
    assert_eq!(panes(parameters("cumulate", &[SECOND, 1_000 * SECOND], 0)), 10);
}

#[test]
fn a_batch_goes_through_more_windows_than_may_stay_open() {
    let plan = plan(parameters("tumble", &[SECOND], 0), 0);
    let rows: Vec<Row> = (0..=PANES_OPEN_MAX as i64).map(|i| Row { time: i * SECOND, key: None, value: None }).collect();
    let rows = crate::batch::Batch { rows: batch(&rows), offsets: vec![0; rows.len()].into(), watermarks: None };
    let rows = WindowInputs::new(&plan, &input()).unwrap().push(rows, &mut Output::default()).unwrap().unwrap();
    let reach = |watermark: i64| {
        let (mut operator, mut out) = (WindowOperator::new(plan.clone(), MILLISECOND).unwrap(), Output::default());
        operator.push(rows.clone(), &mut out).unwrap();
        operator.advance(watermark, &mut out).map(|()| out.emissions.len())
    };
    assert_eq!(reach(i64::MAX).unwrap(), PANES_OPEN_MAX + 1);
    assert_eq!(reach(SECOND).unwrap(), 1);
    let error = reach(0).unwrap_err();
    assert!(error.message().contains("pieces of windows are open"), "{error}");
}

#[test]
fn states_of_version_0_1_are_read() {
    let plan = plan(parameters("tumble", &[10 * SECOND], 0), 1);
    let mut pane = super::super::panes::Pane::new(&plan).unwrap();
    let mut inputs = WindowInputs::new(&plan, &input()).unwrap();
    let rows = batch(&[Row { time: 3 * SECOND, key: Some("north"), value: Some(2.0) }]);
    let rows = crate::batch::Batch { rows, offsets: vec![0].into(), watermarks: None };
    let rows = inputs.push(rows, &mut Output::default()).unwrap().unwrap();
    pane.update(&plan, &rows.rows.columns()[1..], 1).unwrap();
    let partial = pane.take_partial(&plan).unwrap();
    let state = |head: serde_json::Value| {
        let mut bytes = Vec::new();
        snapshot::encode(&mut bytes, &head, &plan.partial_schema(), std::slice::from_ref(&partial)).unwrap();
        bytes
    };
    let mut operator = WindowOperator::new(plan.clone(), MILLISECOND).unwrap();
    operator.restore(&state(serde_json::json!([{ "start": 0, "rows": 1 }]))).unwrap();
    let mut merge = WindowMerge::new(plan.clone(), MILLISECOND).unwrap();
    merge.restore(&state(serde_json::json!([{ "start": 0, "end": 10 * SECOND, "partition": 1, "rows": 1 }]))).unwrap();
    let mut out = Output::default();
    operator.advance(10 * SECOND, &mut out).unwrap();
    out.emissions.into_iter().for_each(|e| merge.add(0, e).unwrap());
    let closed = merge.close(10 * SECOND).unwrap();
    let group = &groups(&closed[0].result, 1)[0];
    assert_eq!((closed.len(), closed[0].rows, group.start, group.end, group.count), (1, 2, 0, 10 * SECOND, 2));
}

#[test]
fn windows_shorter_than_a_step_of_event_time_close_when_nothing_can_come() {
    // Times are whole seconds: those ahead of -0.3 s are 0 s and later, so that no window that holds 0 s may close.
    let plan = plan(parameters("tumble", &[500 * MILLISECOND], 0), 0);
    let mut operator = WindowOperator::new(plan.clone(), SECOND).unwrap();
    let mut inputs = WindowInputs::new(&plan, &input()).unwrap();
    let mut out = Output::default();
    let rows = batch(&[Row { time: 0, key: None, value: Some(1.0) }]);
    let rows = crate::batch::Batch { rows, offsets: vec![0].into(), watermarks: Some(vec![-300 * MILLISECOND].into()) };
    let rows = inputs.push(rows, &mut out).unwrap().unwrap();
    operator.push(rows, &mut out).unwrap();
    operator.advance(-300 * MILLISECOND, &mut out).unwrap();
    assert_eq!((out.counters.aggregated, out.emissions.len()), (1, 0));
    operator.advance(0, &mut out).unwrap();
    assert_eq!(out.emissions.len(), 1);
}
