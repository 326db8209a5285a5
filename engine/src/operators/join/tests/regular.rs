//! Tests of the regular join: its changelog, folded, is the batch join of all rows so far; with event times, of all rows in the end.

use std::collections::BTreeMap;

use super::*;
use crate::changes::RowKind::{self, Delete, Insert, UpdateAfter, UpdateBefore};
use crate::operators::join::RegularJoinOperator;
use crate::operators::join::pairs::outer;
use crate::operators::open_step;
use crate::parallel::Helpers;
use crate::plan::{RegularJoin, StepKind};

const KINDS: [JoinKind; 6] = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::LeftSemi, JoinKind::LeftAnti];

/// A change of one side.
type Change = (usize, RowKind, Row);

fn plan(kind: JoinKind, filter: Option<Arc<dyn PhysicalExpr>>, ttl: Micros) -> RegularJoin {
    RegularJoin { kind, left: side(&["k"]), right: side(&["k"]), filter, times: None, ttl, schema: output(kind) }
}

fn new(kind: JoinKind, filter: Option<Arc<dyn PhysicalExpr>>, ttl: Micros) -> Box<dyn Stateful> {
    Box::new(RegularJoinOperator::new(plan(kind, filter, ttl)).unwrap())
}

/// Of rows with event times, shared by so many threads.
fn timed(kind: JoinKind, filtered: bool, ttl: Micros, threads: usize) -> Box<dyn Stateful> {
    let plan = RegularJoin { times: Some([1, 1]), ..plan(kind, filtered.then(filter), ttl) };
    open_step(&StepKind::RegularJoin(plan), &[schema(), schema()], &[], &Arc::new(Helpers::new(threads))).unwrap()
}

fn push(operator: &mut dyn Stateful, side: usize, changes: &[(RowKind, Row)]) -> Result<Vec<(RowKind, Pair)>> {
    let (kinds, rows): (Vec<RowKind>, Vec<Row>) = changes.iter().cloned().unzip();
    let mut out = Vec::new();
    operator.push(side, Changes::new(batch(&rows), kinds), &mut out)?;
    let changes = out.iter().flat_map(|c| pairs(&c.rows).into_iter().enumerate().map(|(i, pair)| (c.kind(i), pair)));
    Ok(changes.collect())
}

/// The join of all rows whose times are at most `ttl` apart.
fn batch_join(kind: JoinKind, [lefts, rights]: &[Vec<Row>; 2], filtered: bool, ttl: Micros) -> Vec<Pair> {
    let matches = |left: &Row, right: &Row, filtered| matches(left, right, filtered) && (left.time - right.time).abs() <= ttl;
    let mut all = Vec::new();
    for left in lefts {
        let partners: Vec<&Row> = rights.iter().filter(|right| matches(left, right, filtered)).collect();
        let alone = match kind {
            JoinKind::LeftSemi => !partners.is_empty(),
            JoinKind::LeftAnti => partners.is_empty(),
            _ => outer(kind)[0] && partners.is_empty(),
        };
        all.extend(alone.then(|| (Some(left.clone()), None)));
        if !matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti) {
            all.extend(partners.into_iter().map(|right| (Some(left.clone()), Some(right.clone()))));
        }
    }
    let lonely = rights.iter().filter(|right| outer(kind)[1] && !lefts.iter().any(|left| matches(left, right, filtered)));
    all.extend(lonely.map(|right| (None, Some(right.clone()))));
    all.sort();
    all
}

/// Changes of few different rows: those of rows that are there are taken back, so that no change is impossible.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = prop_oneof![1 => Just(None), 7 => prop::sample::select(&KEYS[..2]).prop_map(Some)];
    let row = (0usize..2, key, prop::option::weighted(0.9, -1i64..2), any::<bool>(), any::<bool>(), any::<prop::sample::Index>());
    prop::collection::vec(row, 0..80).prop_map(|steps| {
        let mut there: [Vec<Row>; 2] = [vec![], vec![]];
        let change = |(side, key, value, takes, update, which): (usize, _, _, bool, bool, prop::sample::Index)| {
            if takes && !there[side].is_empty() {
                let place = which.index(there[side].len());
                return (side, if update { UpdateBefore } else { Delete }, there[side].swap_remove(place));
            }
            let row = Row { key, time: 0, value };
            there[side].push(row.clone());
            (side, if update { UpdateAfter } else { Insert }, row)
        };
        steps.into_iter().map(change).collect()
    })
}

/// Changes of one side after another, at most so many at once.
fn batches(changes: &[Change], sizes: &[usize]) -> Vec<(usize, Vec<(RowKind, Row)>)> {
    let mut batches: Vec<(usize, Vec<(RowKind, Row)>)> = Vec::new();
    for (side, kind, row) in changes {
        let most = sizes[batches.len() % sizes.len()];
        match batches.last_mut() {
            Some((of, batch)) if of == side && batch.len() < most => batch.push((*kind, row.clone())),
            _ => batches.push((*side, vec![(*kind, row.clone())])),
        }
    }
    batches
}

/// Applies changes to a result.
fn fold(result: &mut BTreeMap<Pair, usize>, changes: Vec<(RowKind, Pair)>) {
    for (kind, pair) in changes {
        let count = result.entry(pair).or_default();
        assert!(kind.adds() || *count > 0, "a row is taken back and is not there");
        *count = if kind.adds() { *count + 1 } else { *count - 1 };
    }
}

fn folded(result: &BTreeMap<Pair, usize>) -> Vec<Pair> {
    result.iter().flat_map(|(pair, &count)| std::iter::repeat_n(pair.clone(), count)).collect()
}

/// What is left in the end of rows that arrive as late as in run `late`.
fn joined_in_time(new: &dyn Fn() -> Box<dyn Stateful>, arrivals: &[Arrival], (late, cuts): (usize, &Cuts)) -> Vec<Pair> {
    let mut arrivals: Vec<&Arrival> = arrivals.iter().collect();
    arrivals.sort_by_key(|a| a.time + a.late[late]);
    let (mut operator, mut result, mut from) = (new(), BTreeMap::new(), 0);
    for &(count, what) in cuts.iter().cycle() {
        let to = (from + count).min(arrivals.len());
        for side in if what & 4 == 0 { [0, 1] } else { [1, 0] } {
            let rows = arrivals[from..to].iter().filter(|a| a.side == side).map(|a| (Insert, a.row.clone()));
            fold(&mut result, push(&mut *operator, side, &rows.collect::<Vec<_>>()).unwrap());
        }
        if what & 1 != 0 && to > from {
            let last = arrivals[to - 1];
            operator.advance(last.time + last.late[late] - JITTER, &mut Vec::new()).unwrap();
        }
        if what & 2 != 0 {
            operator = resumed(operator, new);
        }
        from = to;
        if from == arrivals.len() {
            break;
        }
    }
    operator.advance(Micros::MAX, &mut Vec::new()).unwrap();
    assert_eq!((operator.held(), operator.keys()), (0, Some(0)));
    folded(&result)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn rows_at_most_a_lifetime_apart_are_joined_however_they_come(
        arrivals in arrivals(|time| time), one in cuts(), other in cuts(), filtered in any::<bool>(),
        kind in prop::sample::select(&KINDS[..]), ttl in 0i64..40,
    ) {
        let rows = [0, 1].map(|side| arrivals.iter().filter(|a| a.side == side).map(|a| a.row.clone()).collect());
        let want = batch_join(kind, &rows, filtered, ttl);
        let (whole, single): (Cuts, Cuts) = (vec![(usize::MAX / 2, 0)], vec![(1, 1)]);
        for (late, cuts, threads) in [(0, &whole, 1), (0, &one, 3), (1, &other, 1), (1, &single, 1)] {
            let new = || timed(kind, filtered, ttl, threads);
            prop_assert_eq!(&joined_in_time(&new, &arrivals, (late, cuts)), &want, "late {}, cuts {:?}", late, cuts);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_changelog_folds_to_the_batch_join(
        changes in changes(), sizes in prop::collection::vec(1usize..9, 1..5), filtered in any::<bool>(), kind in prop::sample::select(&KINDS[..]),
    ) {
        let new = || new(kind, filtered.then(filter), Micros::MAX);
        let (mut whole, mut single) = (new(), new());
        let mut there: [Vec<Row>; 2] = [vec![], vec![]];
        let mut result: BTreeMap<Pair, usize> = BTreeMap::new();
        for (watermark, (side, batch)) in batches(&changes, &sizes).into_iter().enumerate() {
            let got = push(&mut *whole, side, &batch).unwrap();
            let mut one_by_one = Vec::new();
            for change in &batch {
                one_by_one.extend(push(&mut *single, side, std::slice::from_ref(change)).unwrap());
            }
            prop_assert_eq!(&one_by_one, &got);
            single.advance(watermark as Micros, &mut Vec::new()).unwrap();
            single = resumed(single, &new);

            fold(&mut result, got);
            for (kind, row) in batch {
                if kind.adds() {
                    there[side].push(row);
                } else {
                    let place = there[side].iter().position(|r| *r == row).unwrap();
                    there[side].remove(place);
                }
            }
            prop_assert_eq!(folded(&result), batch_join(kind, &there, filtered, Micros::MAX));
            let with_keys = there.iter().flatten().filter(|r| r.key.is_some()).count();
            prop_assert_eq!(whole.held(), with_keys as u64);
        }
    }

    #[test]
    fn inserts_give_inserts_of_an_inner_or_semi_join(rows in changes(), filtered in any::<bool>(), semi in any::<bool>()) {
        let mut operator = new(if semi { JoinKind::LeftSemi } else { JoinKind::Inner }, filtered.then(filter), Micros::MAX);
        for (side, _, row) in rows {
            let mut out = Vec::new();
            operator.push(side, Changes::inserts(batch(&[row])), &mut out).unwrap();
            prop_assert!(out.iter().all(|c| c.kinds.is_none()));
        }
    }
}

fn row(value: i64) -> Row {
    Row { key: Some("a"), time: 0, value: Some(value) }
}

fn shown(changes: Vec<(RowKind, Pair)>) -> Vec<String> {
    let part = |row: Option<Row>| row.map_or("-".to_owned(), |r| r.value.unwrap().to_string());
    changes.into_iter().map(|(kind, (left, right))| format!("{}[{} {}]", kind.sign(), part(left), part(right))).collect()
}

/// Pushes changes one by one and compares with what Flink writes.
fn writes(kind: JoinKind, steps: &[(usize, RowKind, i64, &[&str])]) {
    let mut operator = new(kind, None, Micros::MAX);
    for (side, of, value, want) in steps {
        let got = shown(push(&mut *operator, *side, &[(*of, row(*value))]).unwrap());
        assert_eq!(&got, want, "{kind:?}: {} {value} on side {side}", of.sign());
    }
}

#[test]
fn kinds_are_those_of_flink() {
    writes(
        JoinKind::Inner,
        &[
            (0, Insert, 1, &[]),
            (1, UpdateAfter, 7, &["+U[1 7]"]),
            (1, UpdateBefore, 7, &["-U[1 7]"]),
            (1, UpdateAfter, 8, &["+U[1 8]"]),
            (0, Insert, 2, &["+I[2 8]"]),
            (0, Delete, 1, &["-D[1 8]"]),
        ],
    );
    writes(
        JoinKind::Left,
        &[
            (0, Insert, 1, &["+I[1 -]"]),
            (0, Insert, 1, &["+I[1 -]"]),
            (1, UpdateAfter, 7, &["-D[1 -]", "-D[1 -]", "+I[1 7]", "+I[1 7]"]),
            (1, Insert, 8, &["+I[1 8]", "+I[1 8]"]),
            (0, UpdateBefore, 1, &["-D[1 7]", "-D[1 8]"]),
            (1, UpdateBefore, 7, &["-U[1 7]"]),
            (1, UpdateBefore, 8, &["-U[1 8]", "+I[1 -]"]),
            (0, UpdateBefore, 1, &["-D[1 -]"]),
        ],
    );
    writes(
        JoinKind::Full,
        &[
            (1, Insert, 7, &["+I[- 7]"]),
            (0, UpdateAfter, 1, &["-D[- 7]", "+I[1 7]"]),
            (0, UpdateBefore, 1, &["-D[1 7]", "+I[- 7]"]),
            (1, UpdateBefore, 7, &["-D[- 7]"]),
        ],
    );
    writes(
        JoinKind::LeftSemi,
        &[
            (0, Insert, 1, &[]),
            (1, UpdateAfter, 7, &["+U[1 -]"]),
            (1, Insert, 7, &[]),
            (0, UpdateAfter, 2, &["+U[2 -]"]),
            (1, Delete, 7, &[]),
            (1, UpdateBefore, 7, &["-U[1 -]", "-U[2 -]"]),
        ],
    );
    writes(
        JoinKind::LeftAnti,
        &[
            (0, UpdateAfter, 1, &["+U[1 -]"]),
            (1, UpdateAfter, 7, &["-D[1 -]"]),
            (0, Insert, 2, &[]),
            (1, UpdateBefore, 7, &["+I[1 -]", "+I[2 -]"]),
            (0, UpdateBefore, 2, &["-U[2 -]"]),
        ],
    );
}

#[test]
fn rows_are_forgotten_by_age() {
    let make = || new(JoinKind::Left, None, 10);
    let mut operator = make();
    let advance = |operator: &mut Box<dyn Stateful>, watermark: Micros| {
        let mut out = Vec::new();
        assert_eq!(operator.advance(watermark, &mut out).unwrap(), watermark);
        assert!(out.is_empty(), "forgetting says something");
    };
    // What comes before the first watermark counts from there.
    push(&mut *operator, 0, &[(Insert, row(1)), (Insert, row(2))]).unwrap();
    advance(&mut operator, Micros::MIN);
    advance(&mut operator, 100);
    push(&mut *operator, 1, &[(Insert, row(7))]).unwrap();
    advance(&mut operator, 105);
    // An equal row renews the first.
    assert_eq!(shown(push(&mut *operator, 0, &[(Insert, row(1))]).unwrap()), ["+I[1 7]"]);
    advance(&mut operator, 109);
    operator = resumed(operator, &make);
    assert_eq!(operator.held(), 4);
    advance(&mut operator, 110);
    assert_eq!(operator.held(), 2);
    // Row 2 and row 7 are forgotten; row 1 has met row 7, and is not padded again.
    assert_eq!(shown(push(&mut *operator, 1, &[(Insert, row(8))]).unwrap()), ["+I[1 8]", "+I[1 8]"]);
    advance(&mut operator, 114);
    assert_eq!(operator.held(), 3);
    advance(&mut operator, 115);
    assert_eq!(operator.held(), 1);
    advance(&mut operator, 120);
    assert_eq!(operator.held(), 0);
    assert_eq!(shown(push(&mut *operator, 0, &[(Insert, row(1))]).unwrap()), ["+I[1 -]"]);
}

#[test]
fn rows_with_event_times_go_when_nothing_near_can_come() {
    let make = || timed(JoinKind::Left, false, 10, 1);
    let at = |time: Micros, value: i64| [(Insert, Row { time, ..row(value) })];
    let mut operator = make();
    assert_eq!(shown(push(&mut *operator, 0, &at(0, 1)).unwrap()), ["+I[1 -]"]);
    operator.advance(5, &mut Vec::new()).unwrap();
    assert!(push(&mut *operator, 1, &at(11, 8)).unwrap().is_empty(), "it is too far away, though both are there");
    operator.advance(9, &mut Vec::new()).unwrap();
    operator = resumed(operator, &make);
    assert_eq!(shown(push(&mut *operator, 1, &at(10, 7)).unwrap()), ["-D[1 -]", "+I[1 7]"]);
    for (watermark, held) in [(9, 3), (10, 2), (19, 2), (20, 1), (21, 0)] {
        operator.advance(watermark, &mut Vec::new()).unwrap();
        assert_eq!(operator.held(), held, "at {watermark}");
    }
}

#[test]
fn a_state_with_the_times_of_arrival_is_taken_over() {
    let mut old = new(JoinKind::Left, None, 10);
    push(&mut *old, 0, &[(Insert, Row { time: 4, ..row(1) })]).unwrap();
    old.advance(7, &mut Vec::new()).unwrap();
    let mut operator = timed(JoinKind::Left, false, 10, 1);
    operator.restore(&old.snapshot().unwrap()).unwrap();
    assert_eq!(shown(push(&mut *operator, 1, &[(Insert, Row { time: 14, ..row(7) })]).unwrap()), ["-D[1 -]", "+I[1 7]"]);
    assert!(push(&mut *operator, 1, &[(Insert, Row { time: 15, ..row(8) })]).unwrap().is_empty());
    operator.advance(14, &mut Vec::new()).unwrap();
    assert_eq!(operator.held(), 2);
}

#[test]
fn more_pairs_than_are_taken_at_once() {
    let rights: Vec<(RowKind, Row)> = (0..500).map(|i| (Insert, row(i))).collect();
    let lefts: Vec<(RowKind, Row)> = (100..200).map(|i| (Insert, row(i))).collect();
    for filtered in [false, true] {
        let mut operator = new(JoinKind::Full, filtered.then(filter), Micros::MAX);
        push(&mut *operator, 1, &rights).unwrap();
        let got = push(&mut *operator, 0, &lefts).unwrap();
        let pairs: Vec<_> = got.iter().filter(|(_, p)| p.0.is_some() && p.1.is_some()).collect();
        let want = lefts.iter().map(|(_, l)| rights.iter().filter(|(_, r)| matches(l, r, filtered)).count()).sum::<usize>();
        assert_eq!((pairs.len(), got.len()), (want, want + if filtered { 399 } else { 500 }));
        assert!(pairs.iter().is_sorted_by_key(|(_, p)| p));
    }
}

#[test]
fn a_pair_that_the_filter_cannot_judge_is_none_and_is_told_when_it_comes() {
    let mut operator = new(JoinKind::Inner, Some(failing_filter()), Micros::MAX);
    push(&mut *operator, 0, &[(Insert, row(2))]).unwrap();
    assert_eq!(push(&mut *operator, 1, &[(Insert, row(2))]).unwrap().len(), 1);
    assert_eq!(push(&mut *operator, 1, &[(Insert, row(0))]).unwrap(), []);
    let failed = operator.failed();
    assert!(failed.len() == 1 && failed[0].reason.to_lowercase().contains("divide by zero"), "{failed:?}");
    assert_eq!(push(&mut *operator, 1, &[(Delete, row(0)), (Delete, row(2))]).unwrap().len(), 1);
    assert!(operator.failed().is_empty(), "what is taken back was told");
}

#[test]
fn more_than_may_leave_at_once_ends_the_join() {
    let rows = |values: std::ops::Range<i64>| values.map(|i| (Insert, row(i))).collect::<Vec<_>>();
    // Different rows, and one that is there many times.
    for rights in [rows(0..5), vec![(Insert, row(1)); 5]] {
        leaves_at_most(25, |bound| {
            let mut operator = RegularJoinOperator::new(plan(JoinKind::Inner, None, Micros::MAX))?;
            operator.bound = bound;
            push(&mut operator, 1, &rights)?;
            // What left before does not count.
            push(&mut operator, 0, &rows(0..3))?;
            Ok(push(&mut operator, 0, &rows(3..8))?.len())
        });
    }
}
