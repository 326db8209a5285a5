//! Tests of the as-of join.

use super::*;
use crate::operators::join::AsofJoinOperator;
use crate::plan::AsofJoin;

fn plan(kind: JoinKind, or_equal: bool, within: Option<Micros>) -> AsofJoin {
    AsofJoin { kind, left: side(&["k"]), right: side(&["k"]), or_equal, within, schema: output(kind) }
}

/// All that leaves, in order.
fn oracle(arrivals: &[Arrival], plan: &AsofJoin) -> Vec<Pair> {
    let of = |side: usize| arrivals.iter().filter(move |a| a.side == side).map(|a| a.row.clone());
    let mut lefts: Vec<Row> = of(0).collect();
    lefts.sort_by_key(|r| (r.time, r.clone()));
    let newest = |left: &Row| {
        let not_newer = |r: &Row| r.time < left.time || plan.or_equal && r.time == left.time;
        let newest = of(1).filter(|r| matches(left, r, false) && not_newer(r)).max_by_key(|r| (r.time, r.clone()));
        newest.filter(|r| plan.within.is_none_or(|within| left.time - r.time <= within))
    };
    let met = lefts.into_iter().map(|left| (Some(left.clone()), newest(&left)));
    met.filter(|(_, right)| plan.kind == JoinKind::Left || right.is_some()).collect()
}

/// Event time is that of the left side.
fn in_time(pair: &Pair, watermark: Micros) -> bool {
    pair.0.as_ref().is_some_and(|left| left.time > watermark)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_left_row_meets_the_newest_right_row(
        arrivals in arrivals(|t| t), one in cuts(), other in cuts(), kind in prop::sample::select(vec![JoinKind::Inner, JoinKind::Left]),
        or_equal in any::<bool>(), within in prop::option::of(prop::sample::select(vec![0i64, 1, 7, 25])),
    ) {
        let plan = plan(kind, or_equal, within);
        let new = || Box::new(AsofJoinOperator::new(plan.clone()).unwrap()) as Box<dyn Stateful>;
        check(&new, &arrivals, [&one, &other], in_time, &oracle(&arrivals, &plan))?;
    }
}

fn row(key: &'static str, time: Micros) -> Row {
    Row { key: Some(key), time, value: Some(time) }
}

#[test]
fn one_row_a_key_is_kept_and_old_ones_are_dropped() {
    let mut operator = AsofJoinOperator::new(plan(JoinKind::Inner, true, Some(10))).unwrap();
    let mut out = Vec::new();
    for time in 0..100 {
        operator.push(1, Changes::inserts(batch(&[row("a", time), row("b", time), row("b", time)])), &mut out).unwrap();
        operator.advance(time, &mut out).unwrap();
        assert_eq!(operator.held(), 2);
    }
    // The last row of the key may be 10 older: up to 109.
    operator.push(0, Changes::inserts(batch(&[row("a", 109), row("b", 110)])), &mut out).unwrap();
    operator.advance(115, &mut out).unwrap();
    assert_eq!(out.iter().flat_map(|c| pairs(&c.rows)).collect::<Vec<_>>(), [(Some(row("a", 109)), Some(row("a", 99)))]);
    assert_eq!(operator.held(), 0);
}

#[test]
fn other_kinds_than_inner_and_left_are_refused() {
    for kind in [JoinKind::Right, JoinKind::Full, JoinKind::LeftSemi, JoinKind::LeftAnti] {
        assert_eq!(AsofJoinOperator::new(plan(kind, true, None)).err().unwrap().kind(), crate::error::ErrorKind::Invalid);
    }
}
