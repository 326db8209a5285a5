//! Plans as text. Invariant: the plan of each accepted query is in the fixture; a change of a plan is seen in review.

use std::fmt::Write;

use thalweg_engine::plan::{JobPlan, Stage};
use thalweg_sql::{ScriptStatement, Session, Settings, Statement};

use crate::support::{bare, check_fixture, crate_directory, declare, fixture, sections, session};

fn explain(session: &Session, sql: &str) -> String {
    match session.prepare(&format!("EXPLAIN {sql}"), &Settings::default()).unwrap_or_else(|e| panic!("{e}\n{sql}")) {
        Statement::Explain { text } => text,
        other => panic!("{other:?}"),
    }
}

fn tail(session: &Session, sql: &str) -> JobPlan {
    match session.prepare(sql, &Settings::default()).unwrap_or_else(|e| panic!("{e}\n{sql}")) {
        Statement::Tail { plan, .. } => *plan,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_a_fleet_is_planned_as_reviewed() {
    let session = bare();
    let script = std::fs::read_to_string(crate_directory().join("../examples/fleet.sql")).unwrap();
    let statements = Session::split(&script).unwrap();
    let (insert, tables) = statements.split_last().unwrap();
    let insert = insert.text();
    declare(&session, &tables.iter().map(ScriptStatement::text).collect::<Vec<_>>().join(";\n"));
    check_fixture("fleet.explain", &explain(&session, insert));
    match session.prepare(insert, &Settings::default()).unwrap() {
        Statement::InsertJob { name, sinks, plan, sql, fingerprint, .. } => {
            assert_eq!((name.as_str(), &sinks, &sql), ("site_10s", &vec![name.clone()], &insert.to_owned()));
            assert_eq!(plan.fingerprint(), fingerprint);
            assert_eq!(plan.outputs[0].schema, session.table("site_10s").unwrap().schema());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn accepted_queries_are_planned_as_reviewed() {
    let session = session();
    let mut got = String::new();
    for (title, body) in sections(&fixture("plans.txt")) {
        let sql = body.split("\n---\n").next().unwrap().trim_end();
        writeln!(got, "=== {title}\n{sql}\n---\n{}", explain(&session, sql)).unwrap();
    }
    check_fixture("plans.txt", &got);
}

#[test]
fn every_spelling_of_a_window_is_the_same_plan() {
    let session = session();
    let rest = "GROUP BY window_start, window_end";
    let plan = |from: &str| format!("{:?}", tail(&session, &format!("SELECT window_end, COUNT(*) AS n FROM {from} {rest}")));
    let first = plan("TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS t");
    for other in [
        "TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
        "TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECONDS)",
        "TABLE(tumble(DATA => TABLE Telemetry, TIMECOL => DESCRIPTOR(TS), SIZE => INTERVAL '10' SECOND)) x",
        "TABLE(TUMBLE(SIZE => INTERVAL '10000' MILLISECOND, DATA => TABLE telemetry, TIMECOL => DESCRIPTOR(ts)))",
    ] {
        assert_eq!(plan(other), first, "{other}");
    }
}

#[test]
fn names_are_found_exactly_or_uniquely_in_another_case() {
    let session = session();
    let names = |sql: &str| tail(&session, sql).outputs[0].schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    assert_eq!(names("SELECT Device_ID, T.FLOW FROM TELEMETRY AS t"), ["device_id", "Flow"]);
    let from = "TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS t GROUP BY WINDOW_START, Window_End";
    assert_eq!(names(&format!("SELECT COUNT(*) AS Total FROM {from} HAVING TOTAL > 1")), ["Total"]);
}

#[test]
fn the_state_line_changes_with_the_state_and_not_with_the_output() {
    let session = session();
    let fingerprint = |items: &str, alias: &str| {
        let from = format!("TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS {alias}");
        tail(&session, &format!("SELECT window_end, {items} FROM {from} GROUP BY window_start, window_end, device_id")).inputs[0]
            .window
            .as_ref()
            .unwrap()
            .to_string()
    };
    let plain = fingerprint("SUM(t.temperature) AS a", "t");
    assert_eq!(plain, fingerprint("SUM(u.temperature) * 2 AS b", "u"));
    assert_ne!(plain, fingerprint("MAX(t.temperature) AS a", "t"));
    assert_ne!(plain, fingerprint("SUM(t.humidity) AS a", "t"));
    assert_ne!(plain, fingerprint("SUM(CAST(t.temperature AS FLOAT)) AS a", "t"));
    assert_ne!(plain, fingerprint("SUM(t.temperature) FILTER (WHERE t.rpm > 5) AS a", "t"));
}

#[test]
fn conditions_stand_as_early_as_their_columns_allow() {
    let session = session();
    let plan = tail(
        &session,
        "SELECT t.ts FROM telemetry AS t JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
         WHERE d.site = 'north' AND t.rpm > 5 AND 1 = 1 AND t.temperature > d.threshold",
    );
    let stages = &plan.inputs[0].stages;
    let kinds: Vec<&str> = stages
        .iter()
        .map(|s| match s {
            Stage::Filter(_) => "filter",
            Stage::Lookup(_) => "lookup",
            Stage::Project(_) => "project",
            Stage::Assign(_) => "assign",
            Stage::Unnest(_) => "unnest",
        })
        .collect();
    assert_eq!(kinds, ["filter", "lookup", "filter", "project"]);
    assert_eq!(stages[0].to_string(), "filter rpm@3 > 5");
}
