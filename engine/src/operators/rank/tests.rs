//! Rankings against sorts of all rows. Invariant checked: after each step the folded changelog is the first rows of those that are
//! in; batches, arrival and snapshots do not show.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use proptest::prelude::*;

use super::*;
use crate::changes::RowKind;
use crate::operators::support::*;
use crate::plan::{Rank, SortKey};
use crate::time::MILLISECOND;

/// Event time, key, number, end of the window.
type Row = (Micros, Option<&'static str>, Option<i64>, Micros);

fn input() -> SchemaRef {
    let time = crate::time::timestamp_type;
    schema(&[("ts", time()), ("k", DataType::Utf8View), ("v", DataType::Int64), ("window_end", time())])
}

fn batch(rows: &[Row]) -> RecordBatch {
    let time = |of: fn(&Row) -> Micros| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(of)).with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        time(|r| r.0),
        Arc::new(rows.iter().map(|r| r.1).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>()),
        time(|r| r.3),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

fn by(column: usize, descending: bool, nulls_first: bool) -> SortKey {
    SortKey { column, options: SortOptions { descending, nulls_first } }
}

fn plan(order: SortKey, (offset, limit, place): (u64, u64, bool)) -> Rank {
    let mut fields: Vec<FieldRef> = input().fields().iter().cloned().collect();
    fields.extend(place.then(|| Arc::new(Field::new("rn", DataType::Int64, false))));
    Rank {
        input: input(),
        partition: vec![1],
        order: vec![order],
        offset,
        limit,
        place,
        time: None,
        window_end: None,
        unit: 1,
        ttl: None,
        schema: Arc::new(Schema::new(fields)),
    }
}

fn compare(order: &SortKey, a: &Row, b: &Row) -> Ordering {
    let SortOptions { descending, nulls_first } = order.options;
    let first = match (order.column, a.2, b.2) {
        (0, _, _) => {
            if descending {
                b.0.cmp(&a.0)
            } else {
                a.0.cmp(&b.0)
            }
        }
        (_, None, None) => Ordering::Equal,
        (_, None, _) => {
            if nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (_, _, None) => {
            if nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (_, Some(x), Some(y)) => {
            if descending {
                y.cmp(&x)
            } else {
                x.cmp(&y)
            }
        }
    };
    first.then(a.cmp(b))
}

/// The rows of one group that are in sight, as text.
fn visible(plan: &Rank, rows: &[Row]) -> Vec<String> {
    let mut sorted = rows.to_vec();
    sorted.sort_by(|a, b| compare(&plan.order[0], a, b));
    let seen = sorted.iter().enumerate().skip(plan.offset as usize).take(plan.limit as usize);
    let text = |(i, r): (usize, &Row)| {
        let row = row(&batch(&[*r]), 0);
        if plan.place { format!("{row} Int64({})", i + 1) } else { row }
    };
    seen.map(text).collect()
}

fn groups(rows: &[Row]) -> BTreeMap<Option<&'static str>, Vec<Row>> {
    let mut groups: BTreeMap<_, Vec<Row>> = BTreeMap::new();
    rows.iter().for_each(|r| groups.entry(r.1).or_default().push(*r));
    groups
}

fn result(plan: &Rank, rows: &[Row]) -> Folded {
    Folded::of(groups(rows).values().flat_map(|rows| visible(plan, rows)))
}

fn resumed(plan: &Rank, mut operator: RankOperator, use_old: bool) -> RankOperator {
    let state = operator.snapshot().unwrap();
    let mut new = RankOperator::new(plan.clone()).unwrap();
    new.restore(&state).unwrap();
    assert_eq!(new.held(), operator.held());
    if use_old { operator } else { new }
}

fn orders() -> impl Strategy<Value = SortKey> {
    (prop::sample::select(vec![0, 2]), any::<bool>(), any::<bool>())
        .prop_map(|(column, descending, nulls_first)| by(column, descending, nulls_first))
}

/// Offset, limit, whether the place is shown.
fn bounds() -> impl Strategy<Value = (u64, u64, bool)> {
    (0u64..3, 1u64..4, any::<bool>())
}

fn key() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some("north"), Some("a site with a long name")])
}

fn number() -> impl Strategy<Value = Option<i64>> {
    prop::option::weighted(0.9, 0i64..8)
}

/// Pushes `rows` in pieces that end at `cuts`, each up to 20 behind its place, through two operators, one of which is put away and
/// resumed at times; gives the output after each step, and how many rows were in by then and the watermark.
fn run(
    plan: &Rank,
    rows: &[Row],
    cuts: &[(usize, Option<bool>)],
    mut check: impl FnMut(&[Changes], &[Row], Micros) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let (mut straight, mut cut) = (RankOperator::new(plan.clone()).unwrap(), RankOperator::new(plan.clone()).unwrap());
    let mut from = 0;
    for &(count, resume) in cuts {
        let to = (from + count).min(rows.len());
        let watermark = if from == rows.len() { 1_000 } else { to as i64 - 21 };
        let (mut out, mut other) = (Vec::new(), Vec::new());
        cut.push(0, Changes::inserts(batch(&rows[from..to])), &mut out).unwrap();
        straight.push(0, Changes::inserts(batch(&rows[from..to])), &mut other).unwrap();
        prop_assert!(out.is_empty());
        if let Some(use_old) = resume {
            cut = resumed(plan, cut, use_old);
        }
        let reached = cut.advance(watermark, &mut out).unwrap();
        prop_assert!(reached == watermark || plan.window_end.is_some() && reached < watermark);
        straight.advance(watermark, &mut other).unwrap();
        prop_assert_eq!(log(&out), log(&other));
        check(&out, &rows[..to], watermark)?;
        if watermark == 1_000 {
            prop_assert!(plan.ttl.is_none() && plan.window_end.is_none() || cut.held() == 0, "state is released");
            break;
        }
        from = to;
    }
    Ok(())
}

fn arrivals() -> impl Strategy<Value = Vec<Row>> {
    let place = |(i, (late, k, v)): (usize, (i64, _, _))| (i as i64 - late, k, v, (i as i64 - late).div_euclid(16) * 16 + 16);
    prop::collection::vec((0i64..20, key(), number()), 1..150).prop_map(move |rows| rows.into_iter().enumerate().map(place).collect())
}

fn cuts() -> impl Strategy<Value = Vec<(usize, Option<bool>)>> {
    prop::collection::vec((1usize..20, prop::option::of(any::<bool>())), 150)
}

/// What appended rows leave behind, one by one: what is forgotten is not taken back, and only what gets in keeps a group alive.
fn appended_result(plan: &Rank, rows: &[Row]) -> Folded {
    let mut rows = rows.to_vec();
    rows.sort();
    let mut left: Vec<String> = Vec::new();
    for rows in groups(&rows).values() {
        let (mut life, mut last): (Vec<Row>, Option<Micros>) = (Vec::new(), None);
        for row in rows {
            if last.zip(plan.ttl).is_some_and(|(last, ttl)| row.0 > last + ttl) {
                left.extend(visible(plan, &life));
                life.clear();
            }
            let before = life.clone();
            life.push(*row);
            life.sort_by(|a, b| compare(&plan.order[0], a, b));
            life.truncate((plan.offset + plan.limit) as usize);
            if life != before {
                last = Some(row.0);
            }
        }
        left.extend(visible(plan, &life));
    }
    Folded::of(left)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn appended_rows(rows in arrivals(), cuts in cuts(), order in orders(), bounds in bounds(), ttl in prop::option::of(0i64..30)) {
        let plan = Rank { time: Some(0), ttl, ..plan(order, bounds) };
        let mut folded = Folded::default();
        run(&plan, &rows, &cuts, |out, rows, watermark| {
            folded.apply(out);
            let passed: Vec<Row> = rows.iter().copied().filter(|r| r.0 <= watermark).collect();
            prop_assert_eq!(&folded, &appended_result(&plan, &passed));
            if ttl.is_none() {
                prop_assert_eq!(&folded, &result(&plan, &passed));
            }
            Ok(())
        })?;
    }

    #[test]
    fn windows(rows in arrivals(), cuts in cuts(), order in orders(), bounds in bounds(), unit in 1i64..3) {
        let plan = Rank { time: Some(0), window_end: Some(3), partition: vec![1, 3], unit, ..plan(order, bounds) };
        let mut reached = Micros::MIN;
        run(&plan, &rows, &cuts, |out, rows, watermark| {
            let mut want = Vec::new();
            let mut ends: Vec<Micros> = rows.iter().map(|r| r.3).filter(|end| (reached..watermark).contains(&(end - unit)) || end - unit == watermark).collect();
            ends.sort_unstable();
            ends.dedup();
            for end in ends.into_iter().filter(|end| end - unit > reached) {
                let rows: Vec<Row> = rows.iter().copied().filter(|r| r.3 == end).collect();
                want.extend(groups(&rows).values().flat_map(|rows| visible(&plan, rows)));
            }
            reached = watermark;
            let got: Vec<String> = out.iter().flat_map(|c| { assert!(c.kinds.is_none()); crate::operators::support::rows(&c.rows) }).collect();
            prop_assert_eq!(got, want);
            Ok(())
        })?;
    }

    #[test]
    fn changes(
        steps in prop::collection::vec((prop::collection::vec((0usize..12, key(), number()), 1..12), prop::option::of(any::<bool>())), 1..30),
        order in orders(),
        bounds in bounds(),
    ) {
        let plan = plan(order, bounds);
        let (mut straight, mut cut) = (RankOperator::new(plan.clone()).unwrap(), RankOperator::new(plan.clone()).unwrap());
        let (mut folded, mut live): (_, Vec<Row>) = (Folded::default(), Vec::new());
        for (step, resume) in steps {
            let (mut rows, mut kinds) = (Vec::new(), Vec::new());
            for (pick, k, v) in step {
                let row = (pick as i64 / 4, k, v, 0);
                if pick < live.len() {
                    rows.push(live.swap_remove(pick));
                    kinds.push(if pick % 2 == 0 { RowKind::Delete } else { RowKind::UpdateBefore });
                    if pick % 2 == 0 {
                        continue;
                    }
                    kinds.push(RowKind::UpdateAfter);
                } else {
                    kinds.push(RowKind::Insert);
                }
                rows.push(row);
                live.push(row);
            }
            let (mut out, mut other) = (Vec::new(), Vec::new());
            let changes = Changes::new(batch(&rows), kinds);
            straight.push(0, changes.clone(), &mut other).unwrap();
            cut.push(0, changes, &mut out).unwrap();
            prop_assert_eq!(log(&out), log(&other));
            folded.apply(&out);
            prop_assert_eq!(&folded, &result(&plan, &live));
            prop_assert_eq!(cut.held(), live.len() as u64);
            if let Some(use_old) = resume {
                cut = resumed(&plan, cut, use_old);
            }
        }
    }
}

/// The changelog of rows that come one a step, as sign, number and place.
fn one_by_one(plan: Rank, numbers: &[(Micros, i64)]) -> Vec<String> {
    let mut operator = RankOperator::new(plan.clone()).unwrap();
    let mut out = Vec::new();
    for &(time, v) in numbers {
        operator.push(0, Changes::inserts(batch(&[(time, Some("a"), Some(v), 0)])), &mut out).unwrap();
        operator.advance(time, &mut out).unwrap();
    }
    let short = |line: String| {
        let [sign, v, rn] = [(0, 2), (line.find("Int64(").unwrap() + 6, 1), (line.len() - 3, 1)].map(|(at, len)| &line[at..at + len]);
        if plan.place { format!("{sign}{v}@{rn}") } else { format!("{sign}{v}") }
    };
    log(&out).into_iter().map(short).collect()
}

#[test]
fn changelogs_are_as_flink_writes_them() {
    let appended = |order, bounds| Rank { time: Some(0), ..plan(order, bounds) };
    let largest = by(2, true, false);
    let numbers = [(1, 3), (2, 5), (3, 1), (4, 4), (5, 9)];
    assert_eq!(
        one_by_one(appended(largest, (0, 2, true)), &numbers),
        ["+I3@1", "-U3@1", "+U5@1", "+I3@2", "-U3@2", "+U4@2", "-U5@1", "+U9@1", "-U4@2", "+U5@2"]
    );
    assert_eq!(one_by_one(appended(largest, (0, 2, false)), &numbers), ["+I3", "+I5", "-D3", "+I4", "-D4", "+I9"]);
    // The second largest alone.
    assert_eq!(one_by_one(appended(largest, (1, 1, false)), &numbers), ["+I3", "-U3", "+U4", "-U4", "+U5"]);
    let (first, last) = (by(0, false, true), by(0, true, true));
    assert_eq!(one_by_one(appended(first, (0, 1, false)), &numbers), ["+I3"]);
    assert_eq!(one_by_one(appended(last, (0, 1, false)), &numbers[..3]), ["+I3", "-U3", "+U5", "-U5", "+U1"]);
}

#[test]
fn the_first_row_comes_again_when_its_group_was_forgotten() {
    let plan = Rank { time: Some(0), ttl: Some(10), ..plan(by(0, false, true), (0, 1, false)) };
    assert_eq!(one_by_one(plan, &[(1, 1), (5, 2), (11, 3), (12, 4), (20, 5), (22, 6), (23, 7)]), ["+I1", "+I4", "+I7"]);
}

#[test]
fn a_late_row_does_not_let_a_group_be_forgotten_early() {
    let plan = Rank { time: Some(0), ttl: Some(10), ..plan(by(2, true, false), (0, 1, false)) };
    assert_eq!(one_by_one(plan, &[(20, 5), (8, 9), (29, 3)]), ["+I5", "-U5", "+U9"]);
}

#[test]
fn a_window_stays_while_a_time_between_the_units_can_lie_in_it() {
    let plan = Rank { time: Some(0), window_end: Some(3), partition: vec![1, 3], unit: 4, ..plan(by(2, true, false), (0, 1, false)) };
    let mut operator = RankOperator::new(plan).unwrap();
    let mut out = Vec::new();
    operator.push(0, Changes::inserts(batch(&[(4, Some("a"), Some(1), 10)])), &mut out).unwrap();
    // 8 is still to come. What comes later has its last millisecond after the end of the last window that left.
    assert_eq!((operator.advance(7, &mut out).unwrap(), out.len()), (8 - MILLISECOND, 0));
    assert_eq!((operator.advance(8, &mut out).unwrap(), out.len()), (12 - MILLISECOND, 1));
    assert_eq!(operator.advance(Micros::MAX, &mut out).unwrap(), Micros::MAX);
}

#[test]
fn what_cannot_be_is_an_error() {
    let mut appended = RankOperator::new(Rank { time: Some(0), ..plan(by(2, true, true), (0, 1, false)) }).unwrap();
    let delete = || Changes::new(batch(&[(1, None, None, 0)]), vec![RowKind::Delete]);
    let message = appended.push(0, delete(), &mut Vec::new()).unwrap_err();
    assert_eq!(message.message(), "changes came where new rows were planned");
    let mut updating = RankOperator::new(plan(by(2, true, true), (0, 1, false))).unwrap();
    assert_eq!(updating.push(0, delete(), &mut Vec::new()).unwrap_err().message(), "a row left a group that it was not in");
    let state = appended.snapshot().unwrap();
    assert_eq!(updating.restore(&state[..state.len() / 2]).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
    let mut windowed =
        RankOperator::new(Rank { window_end: Some(3), partition: vec![3], ..plan(by(2, true, true), (0, 1, false)) }).unwrap();
    assert_eq!(windowed.restore(&state).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
}
