//! Which changes of a query leave its state as it was. Invariant: what keeps no state may change, and what does is named when it differs.

use thalweg_engine::plan::StateLayout;
use thalweg_sql::{Session, Settings, Statement};

use crate::support::session;

fn layout(session: &Session, sql: &str) -> StateLayout {
    match session.prepare(sql, &Settings::default()).unwrap_or_else(|e| panic!("{e}\n{sql}")) {
        Statement::Tail { plan, .. } => plan.layout(),
        other => panic!("{other:?}"),
    }
}

/// What keeps the state of one query from being the other's.
fn differences(session: &Session, before: &str, now: &str) -> Vec<String> {
    layout(session, now).fit(&layout(session, before)).differences
}

fn windowed(select: &str, size: &str, rest: &str) -> String {
    format!(
        "SELECT {select} FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '{size}' SECOND)) {rest} \
         GROUP BY window_start, window_end, status"
    )
}

#[test]
fn what_keeps_no_state_may_change() {
    let session = session();
    let window = windowed("window_end, status, AVG(temperature) AS t", "10", "");
    let having = format!("{window} HAVING AVG(temperature) > 3");
    let joined = "SELECT t.device_id, t.temperature, v.x FROM telemetry t JOIN vibration v ON t.device_id = v.device_id \
                  AND v.received_at BETWEEN t.ts AND t.ts + INTERVAL '5' SECOND";
    let ranked = "SELECT * FROM (SELECT device_id, ts, temperature, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS n \
                  FROM telemetry) WHERE n = 1";
    let running = "SELECT device_id, AVG(temperature) OVER (PARTITION BY device_id ORDER BY ts ROWS 3 PRECEDING) AS t FROM telemetry";
    for (before, now) in [
        (window.clone(), windowed("window_end, status, AVG(temperature) AS t", "10", "WHERE humidity > 3")),
        (window.clone(), windowed("window_start, AVG(temperature) * 1.8 + 32 AS f, status", "10", "")),
        (window.clone(), format!("/* the same */ {}", window.replace("SELECT", "SELECT  "))),
        (window.clone(), having),
        (window.clone(), format!("SELECT window_end, t FROM ({window}) WHERE status = 'ok'")),
        (joined.to_owned(), joined.replace("t.temperature, v.x", "v.x * 2 AS double, t.temperature")),
        (ranked.to_owned(), ranked.replace("SELECT *", "SELECT temperature, device_id")),
        (running.to_owned(), running.replace("SELECT device_id,", "SELECT UPPER(device_id) AS d,")),
        ("SELECT ts FROM telemetry".to_owned(), "SELECT device_id, rpm FROM telemetry WHERE rpm > 3".to_owned()),
        (
            "SELECT status, COUNT(*) AS n FROM telemetry GROUP BY status".to_owned(),
            "SELECT n * 2 AS m, status FROM (SELECT status, COUNT(*) AS n FROM telemetry GROUP BY status) WHERE n > 2".to_owned(),
        ),
    ] {
        assert_eq!(differences(&session, &before, &now), Vec::<String>::new(), "{before}\n{now}");
    }
}

#[test]
fn what_keeps_state_is_named_when_it_differs() {
    let session = session();
    let window = |select: &str, size: &str| windowed(select, size, "");
    let group = "SELECT status, COUNT(*) AS n FROM telemetry GROUP BY status";
    let joined = |bound: u32| {
        format!(
            "SELECT t.device_id, v.x FROM telemetry t JOIN vibration v ON t.device_id = v.device_id \
             AND v.received_at BETWEEN t.ts AND t.ts + INTERVAL '{bound}' SECOND"
        )
    };
    let own = |condition: &str| {
        format!(
            "SELECT a.ts, b.temperature FROM telemetry AS a JOIN telemetry AS b ON a.device_id = b.device_id \
             AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '5' SECOND AND {condition}"
        )
    };
    let looked_up = |key: &str| {
        format!(
            "SELECT window_end, d.site, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS t \
             JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.{key} = d.device_id GROUP BY window_start, window_end, d.site"
        )
    };
    for (before, now, want) in [
        (own("a.temperature > b.temperature"), own("b.temperature > a.temperature"), "the interval join's condition was "),
        (looked_up("device_id"), looked_up("status"), "the window's keys were site of devices on device_id = device_id at ts Utf8View"),
        (window("COUNT(*) AS n", "10"), window("COUNT(*) AS n", "30"), "the window's size was 10 s, is now 30 s"),
        (
            window("AVG(temperature) AS t", "10"),
            window("AVG(humidity) AS t", "10"),
            "aggregates were avg(temperature), are now avg(humidity)",
        ),
        (
            window("COUNT(*) AS n", "10"),
            window("COUNT(*) AS n, MAX(rpm) AS r", "10"),
            "the window's aggregates were count(*) of 1, are now count(*) of 1, max(rpm)",
        ),
        (
            window("COUNT(*) AS n", "10"),
            window("COUNT(*) AS n", "10").replace(", status", ", device_id"),
            "the window's keys were status Utf8View, are now device_id Utf8View",
        ),
        (window("COUNT(*) AS n", "10"), window("COUNT(*) AS n", "10").replace(", status", ""), "are now none"),
        (window("COUNT(*) AS n", "10"), "SELECT ts FROM telemetry".to_owned(), "is no longer there"),
        ("SELECT ts FROM telemetry".to_owned(), group.to_owned(), "there was no group by"),
        (group.to_owned(), group.replace("GROUP BY status", "GROUP BY status, rpm"), "the group by's keys were status Utf8View"),
        (group.to_owned(), group.replace("COUNT(*)", "SUM(rpm)"), "the group by's aggregates were count(*)"),
        (joined(5), joined(6), "the interval join's bounds were 0 ms to 5 s, are now 0 ms to 6 s"),
        ("SELECT ts FROM telemetry".to_owned(), "SELECT x FROM vibration".to_owned(), "the scan's stream was telemetry, is now vibration"),
    ] {
        let told = differences(&session, &before, &now).join("; ");
        assert!(told.contains(want), "{told}\nis not: {want}\n{before}\n{now}");
        assert_eq!(differences(&session, &before, &before), Vec::<String>::new(), "{before}");
    }
}

#[test]
fn equal_windows_over_other_rows_are_told_apart_by_these() {
    let session = session();
    let both = |n: &str, first: &str, second: &str| {
        let half = |over: &str| windowed(&format!("window_end, {n} AS n"), "10", &format!("WHERE humidity {over}"));
        layout(&session, &format!("{} UNION ALL {}", half(first), half(second)))
    };
    let (before, swapped) = (both("COUNT(*)", "> 3", "<= 3"), both("COUNT(*)", "<= 3", "> 3"));
    assert_eq!((before.windows.len(), &before.windows), (2, &swapped.windows));
    assert!(before.rows.is_some() && before.rows != swapped.rows, "{before:?}");
    assert_eq!(both("COUNT(*) * 2", "> 3", "<= 3").rows, before.rows, "what stands behind them changes nothing");
    assert_eq!(both("COUNT(*)", "> 3", "> 3").rows, None, "their state is the same");
    let left = swapped.fit(&before).without_twins(&swapped, &before);
    assert_eq!((left.windows, left.differences), (vec![None; 2], vec!["two windows of the query cannot be told apart".to_owned()]));
}

#[test]
fn a_layout_is_read_as_it_was_written() {
    let session = session();
    let layout = layout(&session, &windowed("window_end, AVG(temperature) AS t", "10", ""));
    let text = serde_json::to_string(&layout).unwrap();
    assert_eq!(serde_json::from_str::<StateLayout>(&text).unwrap(), layout);
    let window = &layout.windows[0].1;
    let told: Vec<String> = window.traits.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        told,
        [
            "stream: telemetry",
            "kind: tumble",
            "size: 10 s",
            "keys: status Utf8View",
            "aggregates: avg(temperature)",
            "types of state: Utf8View, UInt64, Float64",
            "precision: 1 ms",
        ]
    );
}
