//! The newest row of each key against lists. Invariant checked: after each batch the folded changelog is the last row of each list,
//! batches and snapshots do not show.

use std::collections::BTreeMap;

use arrow::array::{Int64Array, StringViewArray};
use arrow::datatypes::{DataType, SchemaRef};
use proptest::prelude::*;

use super::*;
use crate::operators::support::*;

type Key = Option<&'static str>;

fn input() -> SchemaRef {
    schema(&[("v", DataType::Int64), ("k", DataType::Utf8View)])
}

fn operator(ttl: Option<Micros>) -> UpsertOperator {
    UpsertOperator::new(plan::Upsert { key: vec![1], ttl, schema: input() }).unwrap()
}

fn changes(changes: &[(RowKind, Key, i64)]) -> Changes {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(changes.iter().map(|c| Some(c.2)).collect::<Int64Array>()),
        Arc::new(changes.iter().map(|c| c.1).collect::<StringViewArray>()),
    ];
    Changes::new(RecordBatch::try_new(input(), columns).unwrap(), changes.iter().map(|c| c.0).collect())
}

fn pushed(operator: &mut UpsertOperator, rows: &[(RowKind, Key, i64)]) -> Vec<Changes> {
    let mut out = Vec::new();
    operator.push(0, changes(rows), &mut out).unwrap();
    out
}

fn resumed(mut operator: UpsertOperator) -> UpsertOperator {
    let state = operator.snapshot().unwrap();
    let mut new = UpsertOperator::new(operator.plan.clone()).unwrap();
    new.restore(&state).unwrap();
    assert_eq!((new.held(), new.now), (operator.held(), operator.now));
    assert_eq!(new.snapshot().unwrap(), state);
    new
}

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(vec![None, Some(""), Some("north"), Some("a site with a long name")])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_last_row_of_each_key_is_shown(
        steps in prop::collection::vec((key(), 0i64..4, any::<bool>(), 0usize..8), 1..120),
        cuts in prop::collection::vec((1usize..9, any::<bool>()), 120),
    ) {
        let mut lists: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
        let (mut operator, mut shown) = (operator(None), Folded::default());
        let (mut rest, mut cuts) = (steps.as_slice(), cuts.into_iter());
        while !rest.is_empty() {
            let (size, resume) = cuts.next().unwrap();
            let (batch, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            let rows: Vec<_> = batch.iter().map(|&(key, value, adds, place)| {
                let list = lists.entry(key).or_default();
                if adds || list.is_empty() {
                    list.push(value);
                    return (RowKind::Insert, key, value);
                }
                let value = list[place % list.len()];
                let newest = list.iter().rposition(|v| *v == value).unwrap();
                list.remove(newest);
                (RowKind::Delete, key, value)
            }).collect();
            shown.apply(&pushed(&mut operator, &rows));
            let last = lists.iter().filter_map(|(key, list)| Some((RowKind::Insert, *key, *list.last()?)));
            let want = changes(&last.collect::<Vec<_>>());
            prop_assert_eq!(&shown, &Folded::of(super::super::support::rows(&want.rows)));
            prop_assert_eq!(operator.held(), lists.values().map(|l| l.len() as u64).sum::<u64>());
            if resume {
                operator = resumed(operator);
            }
        }
    }
}

#[test]
fn a_key_is_told_once_a_step() {
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    let (a, b) = (Some("a"), Some("b"));
    let mut operator = operator(None);
    let line = |sign: &str, v: i64, k: &str| format!("{sign}[Int64({v}) Utf8View(\"{k}\")]");
    assert_eq!(log(&pushed(&mut operator, &[(Insert, a, 1), (Insert, b, 1), (Insert, a, 2)])), [line("+I", 2, "a"), line("+I", 1, "b")]);
    // A row that moves to the key of another, and the other goes later: it does not take the new one along.
    assert_eq!(
        log(&pushed(&mut operator, &[(UpdateBefore, b, 1), (UpdateAfter, a, 3)])),
        [line("-D", 1, "b"), line("-U", 2, "a"), line("+U", 3, "a")]
    );
    assert!(pushed(&mut operator, &[(Delete, a, 2)]).is_empty());
    assert_eq!(log(&pushed(&mut operator, &[(Delete, a, 3)])), [line("-U", 3, "a"), line("+U", 1, "a")]);
    assert!(pushed(&mut operator, &[(UpdateBefore, a, 1), (UpdateAfter, a, 1)]).is_empty());
    assert_eq!(log(&pushed(&mut operator, &[(Delete, a, 1)])), [line("-D", 1, "a")]);
    assert_eq!((operator.held(), operator.keys.len()), (0, 0));
    let gone = operator.push(0, changes(&[(Delete, a, 1)]), &mut Vec::new());
    assert_eq!(gone.unwrap_err().kind(), crate::error::ErrorKind::Internal);
}

#[test]
fn a_key_is_forgotten_with_its_rows() {
    use RowKind::{Delete, Insert};
    let a = Some("a");
    for forgets in [false, true] {
        let mut operator = operator(Some(10));
        operator.advance(5, &mut Vec::new()).unwrap();
        pushed(&mut operator, &[(Insert, a, 1), (Insert, a, 2)]);
        if forgets {
            operator.advance(16, &mut Vec::new()).unwrap();
            assert_eq!(operator.held(), 0);
        } else {
            operator.now = 16;
        }
        operator = resumed(operator);
        assert!(pushed(&mut operator, &[(Delete, a, 2)]).is_empty(), "nobody knows it");
        assert_eq!(log(&pushed(&mut operator, &[(Insert, a, 3)])), ["+I[Int64(3) Utf8View(\"a\")]"]);
        assert_eq!(operator.held(), 1);
    }
}

#[test]
fn a_damaged_state_is_noticed() {
    let mut good = operator(None);
    pushed(&mut good, &[(RowKind::Insert, None, 1)]);
    let state = good.snapshot().unwrap();
    let keys: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(vec![2])), Arc::new(Int64Array::from(vec![0]))];
    let [rows, _] = snapshot::unpack(&state).unwrap();
    let mut other = Vec::new();
    snapshot::put_part(&mut other, |bytes| {
        bytes.extend_from_slice(rows);
        Ok(())
    })
    .unwrap();
    snapshot::put_part(&mut other, |bytes| snapshot::encode_columns(bytes, keys)).unwrap();
    for bad in [other, Vec::new()] {
        assert_eq!(operator(None).restore(&bad).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
    }
}
