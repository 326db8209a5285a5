//! Plans in words. Invariant checked: a person finds keys, times, bounds and retention of every kind of step, and the fingerprint
//! changes with what state belongs to and with nothing else.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_expr_common::operator::Operator;
use datafusion_physical_expr::expressions::{binary, col};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use crate::ids::Name;
use crate::plan::*;
use crate::time::{MILLISECOND, SECOND};

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field("device", DataType::Utf8View),
        field("ts", crate::time::timestamp_type()),
        field("v", DataType::Int64),
    ]))
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, &schema()).unwrap()
}

fn side() -> JoinSide {
    JoinSide { schema: schema(), keys: vec![column("device")], time: 1, unit: MILLISECOND }
}

fn call(name: &str) -> RetractableAggregate {
    let accumulator: RetractableFactory = Arc::new(|| Err(crate::error::Error::internal("not run")));
    let result = field(name, DataType::Int64);
    RetractableAggregate { name: name.to_owned(), arguments: vec![], distinct: false, filter: None, accumulator, result }
}

fn condition() -> Arc<dyn PhysicalExpr> {
    binary(column("v"), Operator::Gt, column("v"), &schema()).unwrap()
}

fn interval(lower: i64, upper: i64) -> IntervalJoin {
    let (left, right, schema) = (side(), side(), schema());
    IntervalJoin { kind: JoinKind::Left, left, right, lower, upper, filter: Some(condition()), schema }
}

fn rank() -> Rank {
    let options = SortOptions { descending: true, nulls_first: false };
    Rank {
        input: schema(),
        partition: vec![0],
        order: vec![SortKey { column: 2, options }],
        offset: 1,
        limit: 3,
        place: true,
        time: Some(1),
        window_end: None,
        unit: 1,
        ttl: Some(SECOND),
        schema: schema(),
    }
}

fn says(kind: StepKind) -> (String, String) {
    (kind.to_string(), kind.keeps().unwrap_or_default())
}

#[test]
fn joins_say_keys_times_bounds_and_what_they_keep() {
    let (what, keeps) = says(StepKind::IntervalJoin(interval(-5 * SECOND, 7)));
    assert_eq!(
        what,
        "interval join left on [device@0 = device@0] right ts@1 between left ts@1 - 5000 ms and left ts@1 + 7 µs where v@2 > v@2"
    );
    assert_eq!(keeps, "a left row until the watermark has passed ts@1 + 7 µs, a right row until it has passed ts@1 + 5000 ms");
    let join = WindowJoin { kind: JoinKind::LeftAnti, left: side(), right: side(), filter: None, schema: schema() };
    let (what, keeps) = says(StepKind::WindowJoin(join));
    assert_eq!(what, "window join left anti on [device@0 = device@0] window end left ts@1, right ts@1");
    assert_eq!(keeps, "the rows of each window until the watermark has passed ts@1");
    let asof = |within| AsofJoin { kind: JoinKind::Inner, left: side(), right: side(), or_equal: true, within, schema: schema() };
    let (what, keeps) = says(StepKind::AsofJoin(asof(Some(SECOND))));
    assert_eq!(what, "asof join inner on [device@0 = device@0] left ts@1 >= right ts@1 by at most 1000 ms");
    assert!(keeps.ends_with("the newest right row of each key behind the watermark, for 1000 ms at most"), "{keeps}");
    assert!(!says(StepKind::AsofJoin(asof(None))).0.contains("at most"));
    let filter = Some(condition());
    let join = RegularJoin { kind: JoinKind::Full, left: side(), right: side(), filter, times: None, ttl: SECOND, schema: schema() };
    let (what, keeps) = says(StepKind::RegularJoin(join));
    assert_eq!(what, "regular join full on [device@0 = device@0] where v@2 > v@2");
    assert_eq!(keeps, "every row for 1000 ms of event time");
}

#[test]
fn ranks_groups_and_over_say_groups_order_and_what_they_keep() {
    let (what, keeps) = says(StepKind::Rank(rank()));
    assert_eq!(what, "rank partition=[device@0] order=[v@2 DESC NULLS LAST] places 2 to 4 with place by event time ts@1");
    assert_eq!(keeps, "the rows of each group until 1000 ms of event time after it last changed");
    let (what, keeps) = says(StepKind::Rank(Rank { window_end: Some(1), ttl: None, ..rank() }));
    assert!(what.ends_with("of the window ending at ts@1"), "{what}");
    assert!(keeps.ends_with("until the watermark has passed its window"), "{keeps}");
    let keys = vec![(column("device"), field("device", DataType::Utf8View))];
    let group =
        Group { input: schema(), keys, aggregates: vec![call("sum(v)")], time: None, told: Told::Together, ttl: None, schema: schema() };
    let (what, keeps) = says(StepKind::Group(group));
    assert_eq!(
        (what.as_str(), keeps.as_str()),
        ("group keys=[device@0] aggregates=[sum(v)] of changes", "the results of each group for ever")
    );
    let (what, keeps) = says(StepKind::Upsert(Upsert { key: vec![2, 0], ttl: Some(SECOND), schema: schema() }));
    assert_eq!(what, "upsert key=[v@2, device@0] newest row of each");
    assert_eq!(keeps, "the rows of each key until 1000 ms of event time after it last changed");
    let lag = OverFunction::Lag { argument: column("v"), offset: 2, default: Some(column("v")) };
    let last = OverFunction::LastValue { argument: column("v"), ignore_nulls: true };
    let calls =
        [(OverFunction::Aggregate(call("sum(v)")), Frame::Range(Some(SECOND))), (lag, Frame::Rows(None)), (last, Frame::Rows(Some(2)))];
    let calls = calls.map(|(function, frame)| OverCall { function, frame, result: field("r", DataType::Int64) });
    let over = Over { input: schema(), partition: vec![column("device")], time: 1, calls: calls.into(), ttl: None, schema: schema() };
    let want = "over partition=[device@0] order=[ts@1] calls=[sum(v) RANGE 1000 ms PRECEDING AS r, lag(v@2, 2, v@2) AS r, \
                last_value(v@2) IGNORE NULLS ROWS 2 PRECEDING AS r]";
    assert_eq!(says(StepKind::Over(over)).0, want);
}

fn scan(stream: &str) -> Scan {
    let column = |f: &FieldRef| Column { field: f.clone(), source: ColumnSource::Payload, time_unit: MILLISECOND };
    Scan {
        stream: Name::new(stream).unwrap(),
        table: Name::new(stream).unwrap(),
        format: "json".to_owned(),
        columns: schema().fields().iter().map(column).collect(),
        projection: vec![0, 1, 2],
        row_time: Some(RowTime { column: 1, delay: 2 * SECOND }),
        watermark: None,
        format_options: std::collections::BTreeMap::new(),
        future_tolerance: SECOND,
        idle_timeout: SECOND,
        start: None,
    }
}

fn input(scan: usize) -> Input {
    Input { scan, stages: vec![], window: None, late: Lateness::Row { time: 1 }, unit: MILLISECOND, schema: schema() }
}

fn joined() -> JobPlan {
    let step = |inputs: &[From], kind| Step { inputs: inputs.to_vec(), kind, schema: schema() };
    JobPlan {
        scans: vec![scan("a"), scan("b")],
        inputs: vec![Input { stages: vec![Stage::Filter(condition())], ..input(0) }, input(1)],
        steps: vec![
            step(&[From::Input(0), From::Input(1)], StepKind::IntervalJoin(interval(0, SECOND))),
            step(&[From::Step(0)], StepKind::Stages(vec![Stage::Filter(condition()), Stage::Filter(column("v"))])),
        ],
        outputs: vec![
            OutputPlan { from: From::Step(1), schema: schema(), updating: true, key: vec![0, 1] },
            OutputPlan { from: From::Input(0), schema: schema(), updating: false, key: vec![] },
        ],
        parallelism: 1,
    }
}

#[test]
fn a_plan_with_branches_is_numbered() {
    let want = "\
scan 0: a of stream a (json) columns=[device, ts, v]
  watermark ts - 2000 ms, one a partition
scan 1: b of stream b (json) columns=[device, ts, v]
  watermark ts - 2000 ms, one a partition
input 0: from scan 0
  filter v@2 > v@2
  late if ts@1 is at or behind the watermark of its partition
input 1: from scan 1
  late if ts@1 is at or behind the watermark of its partition
exchange: all partitions of a, b
step 0: interval join left on [device@0 = device@0] right ts@1 between left ts@1 and left ts@1 + 1000 ms where v@2 > v@2 \
[from input 0, input 1]
  keeps a left row until the watermark has passed ts@1 + 1000 ms, a right row until it has passed ts@1
step 1: filter v@2 > v@2; filter v@2 [from step 0]
output 0: changes [from step 1] key=[device, ts]
output 1: new rows [from input 0]
";
    assert_eq!(joined().to_string(), want);
    let parallel = JobPlan { parallelism: 4, ..joined() };
    let groups = "passed ts@1\n  keys in 16 groups, by 4 threads\nstep 1";
    assert_eq!(parallel.to_string(), want.replace("passed ts@1\nstep 1", groups));
}

#[test]
fn the_fingerprint_is_of_what_state_belongs_to() {
    let changed = |change: fn(&mut JobPlan)| {
        let mut plan = joined();
        change(&mut plan);
        plan.fingerprint() != joined().fingerprint()
    };
    let same: [fn(&mut JobPlan); 2] = [|p| p.inputs[0].stages.clear(), |p| p.steps[1].kind = StepKind::Union];
    let other: [fn(&mut JobPlan); 9] = [
        |p| p.parallelism = 2,
        |p| p.scans[1] = scan("c"),
        |p| p.scans[1].row_time = None,
        |p| p.inputs[1].scan = 0,
        |p| p.steps[0].kind = StepKind::IntervalJoin(interval(1, SECOND)),
        |p| p.steps[0].inputs.reverse(),
        |p| p.steps[0].schema = Arc::new(Schema::empty()),
        |p| p.outputs[0].updating = false,
        |p| p.outputs[1].schema = Arc::new(Schema::empty()),
    ];
    assert!(!same.into_iter().any(changed));
    assert!(other.into_iter().all(changed));
    let threads = |parallelism| JobPlan { parallelism, ..joined() }.fingerprint();
    assert_eq!(threads(2), threads(3), "state says nothing of threads");
}
