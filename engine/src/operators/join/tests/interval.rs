//! Tests of the interval join.

use super::*;
use crate::limits::BATCH_ROWS_MAX;
use crate::operators::join::IntervalJoinOperator;
use crate::plan::IntervalJoin;

const KINDS: [JoinKind; 4] = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full];

fn plan(kind: JoinKind, (lower, upper): (Micros, Micros), filter: Option<Arc<dyn PhysicalExpr>>) -> IntervalJoin {
    IntervalJoin { kind, left: side(&["k"]), right: side(&["k"]), lower, upper, filter, schema: output(kind) }
}

/// Time, whether after all rows of that time, side of the one that goes, places of the later and of the earlier row.
type When = (Micros, bool, usize, usize, usize);

/// All that leaves, in order: a pair when the later row is taken, a row alone when its last possible partner was.
fn oracle(arrivals: &[Arrival], kind: JoinKind, (lower, upper): (Micros, Micros), filtered: bool) -> Vec<Pair> {
    let mut rows: Vec<(Micros, usize, Row)> = arrivals.iter().map(|a| (a.row.time, a.side, a.row.clone())).collect();
    rows.sort();
    let outer = crate::operators::join::pairs::outer(kind);
    let mut paired = vec![false; rows.len()];
    let mut leaving: Vec<(When, Pair)> = Vec::new();
    for (l, (left_time, left_side, left)) in rows.iter().enumerate() {
        for (r, (right_time, right_side, right)) in rows.iter().enumerate() {
            let apart = right_time - left_time;
            if (*left_side, *right_side) == (0, 1) && (lower..=upper).contains(&apart) && matches(left, right, filtered) {
                (paired[l], paired[r]) = (true, true);
                leaving.push((((*left_time).max(*right_time), false, 0, l.max(r), l.min(r)), (Some(left.clone()), Some(right.clone()))));
            }
        }
    }
    for (i, (time, side, row)) in rows.into_iter().enumerate().filter(|(i, _)| !paired[*i]) {
        if outer[side] {
            let last = time + if side == 0 { upper.max(0) } else { (-lower).max(0) };
            let when = if row.key.is_none() { (time, false, 0, i, i) } else { (last, true, side, i, i) };
            leaving.push((when, if side == 0 { (Some(row), None) } else { (None, Some(row)) }));
        }
    }
    leaving.sort();
    leaving.into_iter().map(|(_, pair)| pair).collect()
}

/// Neither side's time may lie at or behind the watermark.
fn in_time(pair: &Pair, watermark: Micros) -> bool {
    [&pair.0, &pair.1].into_iter().flatten().all(|row| row.time > watermark)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn pairs_and_single_rows_leave_in_one_order(
        arrivals in arrivals(|t| t), one in cuts(), other in cuts(), filtered in any::<bool>(), kind in prop::sample::select(&KINDS[..]),
        bounds in prop::sample::select(vec![(-10, 10), (0, 0), (0, 15), (-15, 0), (-20, -5), (4, 18), (-3, 30), (5, -5)]),
    ) {
        let new = || Box::new(IntervalJoinOperator::new(plan(kind, bounds, filtered.then(filter))).unwrap()) as Box<dyn Stateful>;
        check(&new, &arrivals, [&one, &other], in_time, &oracle(&arrivals, kind, bounds, filtered))?;
    }
}

fn row(time: Micros, value: i64) -> Row {
    Row { key: Some("a"), time, value: Some(value) }
}

#[test]
fn more_pairs_than_are_settled_at_once() {
    let rows: Vec<Row> = (0..300).map(|i| row(i / 3, i % 7)).collect();
    for filtered in [false, true] {
        let operator = IntervalJoinOperator::new(plan(JoinKind::Full, (-1_000, 1_000), filtered.then(filter))).unwrap();
        let got = join_at_once(operator, &rows, &rows).unwrap();
        let pairs = rows.iter().flat_map(|l| rows.iter().filter(move |r| matches(l, r, filtered))).count();
        let alone = if filtered { rows.iter().filter(|r| r.value == Some(6) || r.value == Some(0)).count() } else { 0 };
        assert_eq!((got.iter().filter(|p| p.0.is_some() && p.1.is_some()).count(), got.len()), (pairs, pairs + alone));
    }
}

#[test]
fn rows_are_dropped_when_no_partner_can_come() {
    let mut operator = IntervalJoinOperator::new(plan(JoinKind::Inner, (-5, 10), None)).unwrap();
    let mut out = Vec::new();
    for time in 0..2_000 {
        operator.push(0, Changes::inserts(batch(&[row(time, 1)])), &mut out).unwrap();
        operator.push(1, Changes::inserts(batch(&[Row { key: Some("b"), ..row(time, 1) }])), &mut out).unwrap();
        assert_eq!(operator.advance(time, &mut out).unwrap(), time - 10);
        assert!(operator.held() <= 10 + 5, "{}", operator.held());
    }
    operator.advance(2_009, &mut out).unwrap();
    assert_eq!((operator.held(), out.len()), (0, 0));
}

#[test]
fn a_pair_that_the_filter_cannot_judge_is_none_and_is_told() {
    let operator = || IntervalJoinOperator::new(plan(JoinKind::Left, (0, 0), Some(failing_filter()))).unwrap();
    let (pairs, failed) = joined(operator(), &[row(1, 2)], &[row(1, 2)]).unwrap();
    assert_eq!((pairs.len(), failed.len()), (1, 0));
    let (pairs, failed) = joined(operator(), &[row(1, 2)], &[row(1, 0), row(1, 2)]).unwrap();
    assert_eq!((pairs.len(), failed.len()), (1, 1));
    assert!(failed[0].contains("divide by zero"), "{failed:?}");
    let (pairs, failed) = joined(operator(), &[row(1, 2)], &[row(1, 0)]).unwrap();
    assert_eq!((pairs.len(), failed.len()), (1, 1), "the left row leaves alone");
}

#[test]
fn semi_and_anti_joins_are_refused() {
    for kind in [JoinKind::LeftSemi, JoinKind::LeftAnti] {
        let error = IntervalJoinOperator::new(plan(kind, (0, 0), None)).err().unwrap();
        assert_eq!(error.kind(), crate::error::ErrorKind::Invalid);
    }
}

#[test]
fn more_than_may_leave_at_once_ends_the_join() {
    let rows: Vec<Row> = (0..5).map(|i| row(10, i)).collect();
    leaves_at_most(25, |bound| {
        let mut operator = IntervalJoinOperator::new(plan(JoinKind::Inner, (-10, 10), None)).unwrap();
        operator.pairing.bound = bound;
        Ok(join_at_once(operator, &rows, &rows)?.len())
    });
}

#[test]
fn rows_that_waited_leave_at_once_however_many_they_are() {
    let rows: Vec<Row> = (0..3 * BATCH_ROWS_MAX as i64).map(|i| row(10, i)).collect();
    let mut operator = IntervalJoinOperator::new(plan(JoinKind::Left, (0, 5), None)).unwrap();
    operator.pairing.bound = Bound::of_rows(&output(JoinKind::Left), BATCH_ROWS_MAX as u64);
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(&rows)), &mut out).unwrap();
    operator.advance(10, &mut out).unwrap();
    assert_eq!((operator.held(), out.len()), (rows.len() as u64, 0));
    operator.advance(100, &mut out).unwrap();
    assert_eq!((operator.held(), out.iter().map(Changes::len).sum::<usize>()), (0, rows.len()));
}
