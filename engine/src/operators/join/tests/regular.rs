//! Tests of the regular join: its changelog, folded, is the batch join of all rows so far.

use std::collections::BTreeMap;

use super::*;
use crate::changes::RowKind::{self, Delete, Insert, UpdateAfter, UpdateBefore};
use crate::operators::join::RegularJoinOperator;
use crate::operators::join::pairs::outer;
use crate::plan::RegularJoin;

const KINDS: [JoinKind; 6] = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::LeftSemi, JoinKind::LeftAnti];

/// A change of one side.
type Change = (usize, RowKind, Row);

fn new(kind: JoinKind, filter: Option<Arc<dyn PhysicalExpr>>, ttl: Micros) -> Box<dyn Stateful> {
    let plan = RegularJoin { kind, left: side(&["k"]), right: side(&["k"]), filter, ttl, schema: output(kind) };
    Box::new(RegularJoinOperator::new(plan).unwrap())
}

fn push(operator: &mut dyn Stateful, side: usize, changes: &[(RowKind, Row)]) -> Result<Vec<(RowKind, Pair)>> {
    let (kinds, rows): (Vec<RowKind>, Vec<Row>) = changes.iter().cloned().unzip();
    let mut out = Vec::new();
    operator.push(side, Changes::new(batch(&rows), kinds), &mut out)?;
    let changes = out.iter().flat_map(|c| pairs(&c.rows).into_iter().enumerate().map(|(i, pair)| (c.kind(i), pair)));
    Ok(changes.collect())
}

/// The join of all rows.
fn batch_join(kind: JoinKind, [lefts, rights]: &[Vec<Row>; 2], filtered: bool) -> Vec<Pair> {
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

            for (kind, pair) in got {
                if kind.adds() {
                    *result.entry(pair).or_default() += 1;
                } else {
                    let count = result.get_mut(&pair);
                    prop_assert!(count.is_some(), "{:?} is taken back and is not there", pair);
                    let left = count.map_or(0, |c| { *c -= 1; *c });
                    if left == 0 {
                        result.remove(&pair);
                    }
                }
            }
            for (kind, row) in batch {
                if kind.adds() {
                    there[side].push(row);
                } else {
                    let place = there[side].iter().position(|r| *r == row).unwrap();
                    there[side].remove(place);
                }
            }
            let folded: Vec<Pair> = result.iter().flat_map(|(pair, &count)| std::iter::repeat_n(pair.clone(), count)).collect();
            prop_assert_eq!(folded, batch_join(kind, &there, filtered));
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
