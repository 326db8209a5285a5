//! Tests of the window join.

use super::*;
use crate::contract::Usage;
use crate::limits::BATCH_ROWS_MAX;
use crate::operators::join::WindowJoinOperator;
use crate::operators::join::pairs::outer;
use crate::plan::WindowJoin;
use crate::time::MILLISECOND;

const KINDS: [JoinKind; 6] = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::LeftSemi, JoinKind::LeftAnti];
const SIZE: Micros = 10;

fn plan(kind: JoinKind, filter: Option<Arc<dyn PhysicalExpr>>) -> WindowJoin {
    WindowJoin { kind, left: side(&["k", "ts"]), right: side(&["k", "ts"]), filter, schema: output(kind) }
}

/// The end of the window of a time.
fn end(time: Micros) -> Micros {
    time.div_euclid(SIZE) * SIZE + SIZE
}

/// All that leaves, in order.
fn oracle(arrivals: &[Arrival], kind: JoinKind, filtered: bool) -> Vec<Pair> {
    let mut ends: Vec<Micros> = arrivals.iter().map(|a| a.row.time).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut want = Vec::new();
    for end in ends {
        let of = |side: usize| {
            let mut rows: Vec<Row> = arrivals.iter().filter(|a| a.side == side && a.row.time == end).map(|a| a.row.clone()).collect();
            rows.sort();
            rows
        };
        let (lefts, rights) = (of(0), of(1));
        for left in &lefts {
            let partners: Vec<&Row> = rights.iter().filter(|right| matches(left, right, filtered)).collect();
            match kind {
                JoinKind::LeftSemi if !partners.is_empty() => want.push((Some(left.clone()), None)),
                JoinKind::LeftAnti if partners.is_empty() => want.push((Some(left.clone()), None)),
                JoinKind::LeftSemi | JoinKind::LeftAnti => {}
                _ if partners.is_empty() && outer(kind)[0] => want.push((Some(left.clone()), None)),
                _ => want.extend(partners.into_iter().map(|right| (Some(left.clone()), Some(right.clone())))),
            }
        }
        if outer(kind)[1] {
            let alone = rights.iter().filter(|right| !lefts.iter().any(|left| matches(left, right, filtered)));
            want.extend(alone.map(|right| (None, Some(right.clone()))));
        }
    }
    want
}

/// The last millisecond of the window is ahead of the watermark.
fn in_time(pair: &Pair, watermark: Micros) -> bool {
    [&pair.0, &pair.1].into_iter().flatten().all(|row| row.time - MILLISECOND > watermark)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn windows_leave_once_and_in_one_order(
        arrivals in arrivals(end), one in cuts(), other in cuts(), filtered in any::<bool>(), kind in prop::sample::select(&KINDS[..]),
    ) {
        let new = || Box::new(WindowJoinOperator::new(plan(kind, filtered.then(filter))).unwrap()) as Box<dyn Stateful>;
        check(&new, &arrivals, [&one, &other], in_time, &oracle(&arrivals, kind, filtered))?;
    }
}

fn row(end: Micros, value: i64) -> Row {
    Row { key: Some("a"), time: end, value: Some(value) }
}

#[test]
fn a_window_leaves_when_its_last_time_has_passed() {
    let mut plan = plan(JoinKind::Inner, None);
    plan.left.unit = 2;
    let mut operator = WindowJoinOperator::new(plan).unwrap();
    let mut out = Vec::new();
    for side in [0, 1] {
        operator.push(side, Changes::inserts(batch(&[row(10, 1), row(20, 2), row(10, 3)])), &mut out).unwrap();
    }
    // At 8 the right side may still have 9. What comes later has its last millisecond after the end of the last window that left.
    assert_eq!((operator.advance(8, &mut out).unwrap(), out.len(), operator.held()), (9 - MILLISECOND, 0, 6));
    assert_eq!((operator.advance(9, &mut out).unwrap(), out.len(), operator.held()), (10 - MILLISECOND, 1, 2));
    let values = pairs(&out[0].rows).into_iter().map(|(l, r)| (l.unwrap().value.unwrap(), r.unwrap().value.unwrap()));
    assert_eq!(values.collect::<Vec<_>>(), [(1, 1), (1, 3), (3, 1), (3, 3)]);
    assert_eq!((operator.advance(Micros::MAX, &mut out).unwrap(), out.len(), operator.held()), (Micros::MAX, 2, 0));
}

#[test]
fn a_window_stays_while_a_time_between_the_units_can_lie_in_it() {
    let mut plan = plan(JoinKind::Inner, None);
    (plan.left.unit, plan.right.unit) = (4, 4);
    let mut operator = WindowJoinOperator::new(plan).unwrap();
    let mut out = Vec::new();
    [0, 1].into_iter().for_each(|side| operator.push(side, Changes::inserts(batch(&[row(10, 1)])), &mut out).unwrap());
    // 8 is still to come.
    operator.advance(7, &mut out).unwrap();
    assert!(out.is_empty());
    operator.advance(8, &mut out).unwrap();
    assert_eq!((out.len(), operator.held()), (1, 0));
}

#[test]
fn more_pairs_than_are_settled_at_once() {
    let rows: Vec<Row> = (0..300).map(|i| row(10, i % 7)).collect();
    for kind in KINDS {
        for filtered in [false, true] {
            let got = join_at_once(WindowJoinOperator::new(plan(kind, filtered.then(filter))).unwrap(), &rows, &rows).unwrap();
            let arrival = |side: usize| move |r: &Row| Arrival { side, time: 0, row: r.clone(), late: [0, 0] };
            let arrivals: Vec<Arrival> = rows.iter().map(arrival(0)).chain(rows.iter().map(arrival(1))).collect();
            assert!(got == oracle(&arrivals, kind, filtered), "{kind:?} {filtered}");
        }
    }
}

#[test]
fn a_pair_that_the_filter_cannot_judge_is_none_and_is_told() {
    let operator = || WindowJoinOperator::new(plan(JoinKind::LeftAnti, Some(failing_filter()))).unwrap();
    assert_eq!(join_at_once(operator(), &[row(10, 2)], &[row(10, 2)]).unwrap(), []);
    let (alone, failed) = joined(operator(), &[row(10, 2)], &[row(10, 0)]).unwrap();
    assert_eq!((alone.len(), failed.len()), (1, 1));
    assert!(failed[0].contains("divide by zero"), "{failed:?}");
}

#[test]
fn more_than_may_leave_at_once_ends_the_join() {
    let rows: Vec<Row> = (0..5).map(|i| row(10, i)).collect();
    leaves_at_most(25, |bound| {
        let mut operator = WindowJoinOperator::new(plan(JoinKind::Inner, None)).unwrap();
        operator.pairing.bound = bound;
        Ok(join_at_once(operator, &rows, &rows)?.len())
    });
}

#[test]
fn rows_that_waited_leave_at_once_however_many_they_are() {
    let rows: Vec<Row> = (0..3 * BATCH_ROWS_MAX as i64).map(|i| row(10, i)).collect();
    let mut operator = WindowJoinOperator::new(plan(JoinKind::Left, None)).unwrap();
    operator.pairing.bound = Bound::of_rows(&output(JoinKind::Left), BATCH_ROWS_MAX as u64);
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(&rows)), &mut out).unwrap();
    operator.advance(8, &mut out).unwrap();
    assert_eq!((operator.held(), out.len()), (rows.len() as u64, 0));
    operator.advance(100, &mut out).unwrap();
    assert_eq!((operator.held(), out.iter().map(Changes::len).sum::<usize>()), (0, rows.len()));
}

#[test]
fn one_side_may_be_any_number_of_windows_ahead() {
    let rows: Vec<Row> = (1..=20_000).map(|i| row(10 * i, i)).collect();
    let mut operator = WindowJoinOperator::new(plan(JoinKind::Inner, None)).unwrap();
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(&rows)), &mut out).unwrap();
    let usage = operator.usage().unwrap();
    assert!(operator.held() == 20_000 && usage.groups == 20_000 && usage.bytes > 20_000 * 512, "{usage:?}");
    operator.push(1, Changes::inserts(batch(&rows)), &mut out).unwrap();
    operator.advance(Micros::MAX, &mut out).unwrap();
    assert_eq!((out.iter().map(Changes::len).sum::<usize>(), operator.usage()), (rows.len(), Some(Usage::default())));
}
