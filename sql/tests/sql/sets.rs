//! Statement sets and settings. Invariant: a set is one job whose queries share what they scan, and a job's stored text plans the same
//! job again.

use thalweg_engine::plan::{JobPlan, Lateness, StepKind};
use thalweg_sql::{SETTINGS, Session, SettingChange, Settings, Statement, without_settings};

use crate::support::session;

const SET: &str = "EXECUTE STATEMENT SET BEGIN
  INSERT INTO readings SELECT device_id, ts, temperature FROM telemetry WHERE device_id IS NOT NULL AND temperature > 10;
  INSERT INTO site_10s SELECT window_start, window_end, device_id, COUNT(*), AVG(humidity)
    FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, device_id;
END";

/// Name, sinks, plan and text of a job.
fn job(statement: Statement) -> (String, Vec<String>, JobPlan, String) {
    match statement {
        Statement::InsertJob { name, sinks, plan, sql, fingerprint, .. } => {
            assert_eq!(plan.fingerprint(), fingerprint);
            (name.to_string(), sinks.iter().map(ToString::to_string).collect(), *plan, sql)
        }
        other => panic!("{other:?}"),
    }
}

fn coalesced(set: &str) -> String {
    // `device_id` of `readings` is NOT NULL.
    set.replacen("SELECT device_id, ts", "SELECT COALESCE(device_id, ''), ts", 1)
}

#[test]
fn the_queries_of_a_set_share_a_scan_and_each_has_an_output() {
    let session = session();
    let set = coalesced(SET);
    let (name, sinks, plan, sql) = job(session.prepare(&set, &Settings::default()).unwrap_or_else(|e| panic!("{e}")));
    assert_eq!((name.as_str(), sinks, sql.as_str()), ("readings", vec!["readings".to_owned(), "site_10s".to_owned()], set.as_str()));
    assert_eq!((plan.scans.len(), plan.outputs.len()), (1, 2));
    let columns: Vec<&str> = plan.scans[0].projection.iter().map(|&i| plan.scans[0].columns[i].field.name().as_str()).collect();
    assert_eq!(columns, ["device_id", "ts", "temperature", "humidity"]);
    for (sink, output) in ["readings", "site_10s"].iter().zip(&plan.outputs) {
        assert_eq!(output.schema, session.table(sink).unwrap().schema());
    }
    let other = set.replace("EXECUTE STATEMENT SET BEGIN", "BEGIN STATEMENT SET;");
    let (.., same, _) = job(session.prepare(&format!("{other};"), &Settings::default()).unwrap());
    assert_eq!(same.to_string(), plan.to_string());
    for explain in ["EXPLAIN ", "EXPLAIN PLAN FOR "] {
        for set in [set.as_str(), set.strip_prefix("EXECUTE ").unwrap()] {
            let Statement::Explain { text } = session.prepare(&format!("{explain}{set}"), &Settings::default()).unwrap() else { panic!() };
            assert!(text.starts_with(&plan.to_string()) && text.contains("into readings: ") && text.contains("into site_10s: "), "{text}");
        }
    }
}

#[test]
fn errors_of_a_set_are_told_where_they_are() {
    let message = |sql: &str| session().prepare(sql, &Settings::default()).unwrap_err().message().lines().next().unwrap().to_owned();
    let set = coalesced(SET);
    assert_eq!(message(&set.replace("AVG(humidity)", "AVG(humid)")), "3:82: column 'humid' does not exist");
    assert_eq!(message(&set.replace("window_start, window_end, device_id;", "device_id;")).split(": ").next(), Some("3:31"));
    assert_eq!(message(&set.replace("INTO site_10s", "INTO Readings")), "3:15: 'Readings' is written twice in the set");
}

fn regular_join(session: &Session, settings: &Settings) -> Result<Statement, thalweg_engine::error::Error> {
    session.prepare("SELECT t.ts, v.x FROM telemetry AS t JOIN vibration AS v ON t.device_id = v.device_id", settings)
}

#[test]
fn the_time_to_live_of_state_comes_from_the_settings() {
    let session = session();
    let refused = regular_join(&session, &Settings::default()).unwrap_err();
    assert!(refused.hint_text().unwrap().contains("SET 'table.exec.state.ttl' = '1 h'"), "{refused}");
    let Statement::Tail { plan, .. } = regular_join(&session, &Settings::new([("table.exec.state.ttl", "90 min")]).unwrap()).unwrap()
    else {
        panic!()
    };
    let ttl = plan.steps.iter().find_map(|s| match &s.kind {
        StepKind::RegularJoin(join) => Some(join.ttl),
        _ => None,
    });
    assert_eq!(ttl, Some(90 * 60 * 1_000_000));
}

#[test]
fn with_a_time_to_live_rows_go_by_event_time_and_may_be_late() {
    let settings = Settings::new([("table.exec.state.ttl", "1 h")]).unwrap();
    let planned = |kind: &str| {
        let sql = format!(
            "SELECT l.status, COUNT(*) FROM telemetry AS l {kind} JOIN telemetry AS r ON l.device_id = r.device_id GROUP BY l.status"
        );
        let Statement::Tail { plan, .. } = session().prepare(&sql, &settings).unwrap() else { panic!() };
        let join = plan.steps.iter().find_map(|s| if let StepKind::RegularJoin(join) = &s.kind { join.times } else { None });
        let group = plan.steps.iter().find_map(|s| if let StepKind::Group(group) = &s.kind { Some(group.time.is_some()) } else { None });
        (join.is_some(), group, plan.inputs.iter().all(|i| matches!(i.late, Lateness::Row { .. })))
    };
    assert_eq!(planned("INNER"), (true, Some(true), true));
    assert_eq!(planned("LEFT"), (true, Some(false), true), "changes have no event time");
}

#[test]
fn a_stored_text_plans_the_same_job_under_the_same_name() {
    let session = session();
    let mut settings = Settings::new([("table.exec.state.ttl", "1 h"), ("pipeline.name", "both")]).unwrap();
    let set = coalesced(SET);
    let (name, _, plan, sql) = job(session.prepare(&format!("\n\n  {set}"), &settings).unwrap());
    assert_eq!(
        (name.as_str(), without_settings(&sql)),
        ("both", ("SET 'pipeline.name' = 'both';\nSET 'table.exec.state.ttl' = '1 h';", set.as_str()))
    );
    let again = job(session.prepare_stored(&sql).unwrap());
    assert_eq!((again.0.as_str(), &again.3, again.2.to_string()), ("both", &sql, plan.to_string()));
    settings.apply(&SettingChange::ResetAll).unwrap();
    let (.., sql) = job(session.prepare(&set, &settings).unwrap());
    assert_eq!(sql, set, "without settings the text is the statement");
    assert!(session.prepare_stored("SHOW JOBS; SHOW JOBS").is_err());
}

#[test]
fn settings_are_listed_and_wrong_ones_refused_with_their_place() {
    let session = session();
    let settings = Settings::new([("pipeline.name", "mine")]).unwrap();
    let Statement::List { rows } = session.prepare("SET", &settings).unwrap() else { panic!() };
    assert_eq!(rows.num_rows(), SETTINGS.len());
    let text = arrow::util::pretty::pretty_format_batches(&[rows]).unwrap().to_string();
    assert!(text.lines().any(|l| l.split_whitespace().take(4).eq(["|", "pipeline.name", "|", "mine"])), "{text}");
    let change = |sql: &str| match session.prepare(sql, &settings).unwrap() {
        Statement::Setting(change) => change,
        other => panic!("{other:?}"),
    };
    let set = SettingChange::Set { key: "table.exec.state.ttl".to_owned(), value: "10s".to_owned() };
    assert_eq!(change("SET 'table.exec.state.ttl' = '10s';"), set);
    assert_eq!(SettingChange::of("set 'table.exec.state.ttl' = '10s'"), Some(set));
    assert_eq!(change("RESET 'pipeline.name'"), SettingChange::Reset { key: "pipeline.name".to_owned() });
    assert_eq!(change("RESET"), SettingChange::ResetAll);
    assert_eq!(SettingChange::of("SELECT 1"), None);
    for (sql, place) in [
        ("SET 'table.exec.state.tll' = '1 h'", "1:5: setting 'table.exec.state.tll' is not known"),
        ("SET 'table.exec.state.ttl' = '1 month'", "1:30: setting 'table.exec.state.ttl': "),
        ("SET 'pipeline.name' = 'No Name'", "1:23: setting 'pipeline.name': "),
        ("RESET 'sql-client.execution.mode'", "1:7: setting 'sql-client.execution.mode' is not known"),
    ] {
        let error = session.prepare(sql, &settings).unwrap_err();
        assert!(error.message().starts_with(place) && error.hint_text().is_some(), "{error}");
    }
}
