//! An hour of data in every way. Invariant checked: the rows of a query are the same, row for row, with 1, 4 and 16 partitions, fed in
//! batches of 1, 100 and 8192 records, straight and with restarts from the state; early results are told in the same order; and rows that
//! are late wherever they lie are left out, each as often as it is read.

use arrow::array::{AsArray, RecordBatch};
use thalweg_engine::changes::Changes;
use thalweg_engine::plan::JobPlan;
use thalweg_replay::{Database, Prepared, Way, folded, shown};

/// Seconds between two rows.
const STEP: u64 = 2;
/// Devices.
const DEVICES: u64 = 24;
/// How much older a late row is than the one before it, in milliseconds.
const LATE: u64 = 1_200_000;

/// Every table.
const CREATE: [&str; 3] = [
    "CREATE TABLE events (id BIGINT, device_id STRING, ts TIMESTAMP(3), site STRING, v DOUBLE, n BIGINT, \
     WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) WITH ('connector' = 'log', 'stream' = 'events', 'format' = 'json')",
    "CREATE TABLE sites (site STRING, area BIGINT, PRIMARY KEY (site) NOT ENFORCED) \
     WITH ('connector' = 'reference', 'path' = 'sites.csv', 'format' = 'csv')",
    "CREATE TABLE by_name (name STRING, n BIGINT, PRIMARY KEY (name) NOT ENFORCED) WITH ('connector' = 'lake')",
];

/// A query of each kind of step that keeps state; settings stand around it.
const QUERIES: [&str; 16] = [
    "SELECT window_start, device_id, COUNT(*), SUM(v), MIN(n), AVG(v) \
     FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, device_id",
    "SELECT window_start, window_end, site, SUM(v), AVG(v) FILTER (WHERE n > 9), SUM(DISTINCT v), COUNT(DISTINCT n) \
     FROM TABLE(HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, site",
    "SELECT window_start, window_end, site, COUNT(*), MAX(v), SUM(v), AVG(v) \
     FROM TABLE(SESSION(TABLE events PARTITION BY site, DESCRIPTOR(ts), INTERVAL '12' SECOND)) GROUP BY window_start, window_end, site",
    "SELECT a.id, b.id AS other FROM events AS a JOIN events AS b \
     ON a.site = b.site AND b.ts BETWEEN a.ts + INTERVAL '1' SECOND AND a.ts + INTERVAL '20' SECOND",
    "SELECT a.id, b.id AS newest FROM events AS a ASOF JOIN events AS b MATCH_CONDITION (a.ts > b.ts) ON a.device_id = b.device_id",
    "SELECT id, SUM(v) OVER (PARTITION BY site ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) AS s, \
     LAG(n) OVER (PARTITION BY device_id ORDER BY ts) AS n FROM events",
    "SELECT id, LEAD(n) OVER (PARTITION BY device_id ORDER BY ts) AS n, LAG(id, 2) OVER (PARTITION BY device_id ORDER BY ts) AS i, \
     LEAD(id, 3) OVER (PARTITION BY site ORDER BY ts) AS later FROM events",
    "SELECT window_start, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, id) AS rn \
     FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' MINUTE))) WHERE rn <= 3",
    "SELECT device_id, COUNT(*), SUM(v), AVG(v), MAX(n) FROM events GROUP BY device_id",
    "SELECT window_start, window_end, site, COUNT(*), SUM(v), MAX(n) \
     FROM TABLE(CUMULATE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '10' MINUTE)) GROUP BY window_start, window_end, site",
    "SELECT a.id, b.id AS other, a.window_start FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '20' SECOND)) AS a \
     LEFT JOIN TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '20' SECOND)) AS b \
     ON a.site = b.site AND a.n < b.n AND a.window_start = b.window_start AND a.window_end = b.window_end",
    "SELECT area, COUNT(*), SUM(id) FROM (SELECT e.id, e.ts, s.area FROM events AS e \
     LEFT JOIN sites FOR SYSTEM_TIME AS OF e.ts AS s ON e.site = s.site) GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), area",
    "SET 'table.exec.state.ttl' = '30 s'; SELECT a.id, b.id AS other FROM events AS a LEFT JOIN events AS b \
     ON a.site = b.site AND a.n = b.n AND a.id < b.id; RESET 'table.exec.state.ttl'",
    "SELECT window_start, site, device_id, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) \
     GROUP BY window_start, window_end, GROUPING SETS ((device_id), (site), ())",
    "SELECT TUMBLE_START(ts, INTERVAL '1' MINUTE), part, COUNT(*), COUNT(DISTINCT device_id) FROM (SELECT e.ts, device_id, part \
     FROM events AS e CROSS JOIN UNNEST(string_to_array(e.site, 'o')) AS u (part)) GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), part",
    "INSERT INTO by_name SELECT COALESCE(name, '?'), n FROM (SELECT device_id AS name, COUNT(*) AS n FROM events GROUP BY device_id \
     UNION ALL SELECT CONCAT('at ', site), COUNT(*) FROM events GROUP BY site)",
];

/// Numbers that look random and are always the same.
fn hash(n: u64) -> u64 {
    let mixed = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33
}

/// What a device sends of a row that is at `at` milliseconds of the hour.
fn record(id: u64, device: u64, at: u64) -> String {
    let (second, value) = (at / 1_000, hash(id + 1_000));
    format!(
        r#"{{"id":{id},"device_id":"d{device}","ts":"2026-01-01T00:{:02}:{:02}.{:03}Z","site":"{}","v":{},"n":{}}}"#,
        second / 60,
        second % 60,
        at % 1_000,
        ["north", "south", "west"][(device % 3) as usize],
        (value % 400) as f64 * 0.1,
        value % 50
    )
}

/// The rows of the hour, each up to five seconds behind its place; and if `with_late`, behind some of them one of the same device that is
/// `LATE` older, so that it is late wherever the device lies. Returns those.
fn feed(database: &mut Database, with_late: bool) -> Vec<String> {
    let mut rows: Vec<(u64, u64)> = (0..3_600 / STEP).map(|n| (n * STEP * 1_000 + hash(n) % 5_000, n)).collect();
    rows.sort_unstable();
    let mut late = Vec::new();
    for (_, n) in rows {
        let (device, at) = (hash(n + 7) % DEVICES, n * STEP * 1_000 + hash(n + 1_000) % 4 * 250);
        database.feed("events", &format!("d{device}"), record(n, device, at).as_bytes());
        if with_late && n % 40 == 7 && at > LATE {
            late.push(record(100_000 + n, device, at - LATE));
            database.feed("events", &format!("d{device}"), record(100_000 + n, device, at - LATE).as_bytes());
        }
    }
    late
}

/// The tables of the hour, without rows, and how it is run.
fn tables() -> (Database, Vec<Way>) {
    let mut database = Database::new().expect("a database");
    database.file("sites.csv", "site,area\nnorth,1\nsouth,2\n").expect("a file");
    for create in CREATE {
        database.prepare(create).unwrap_or_else(|e| panic!("{create}: {}", e.message()));
    }
    let straight = [1, 4, 16]
        .into_iter()
        .flat_map(|partitions| [1, 100, 8_192].map(|batch| Way { partitions, batch, restart_every: 0, threads: [1, 1] }));
    let resumed = [1, 4, 16].map(|partitions| Way { partitions, batch: 100, restart_every: 3, threads: [2, 3] });
    (database, straight.chain(resumed).collect())
}

/// The hour in a database, and how it is run.
fn hour() -> (Database, Vec<Way>) {
    let (mut database, ways) = tables();
    feed(&mut database, false);
    (database, ways)
}

#[test]
fn partitions_and_batches_do_not_show() {
    let (mut database, ways) = hour();
    database.set_ways(ways);
    for query in QUERIES {
        let plan = database.plan(query).unwrap_or_else(|e| panic!("{query}: {}", e.message())).expect("a query over streams");
        let (rows, late) = database.rows(&plan).unwrap_or_else(|e| panic!("{query}: {}", e.message()));
        assert_eq!(late, 0, "{query}");
        assert!(rows.len() >= 20, "{query} gives {} rows", rows.len());
    }
}

/// Queries whose results are told early, or when later rows come.
const TOLD: [&str; 4] = [
    "SELECT window_start, window_end, device_id, COUNT(*) AS n, MAX(v) AS v, LAST_VALUE(id) AS id \
     FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, device_id",
    "SELECT window_start, window_end, COUNT(DISTINCT n) AS n, SUM(n) AS s \
     FROM TABLE(HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '50' SECOND)) GROUP BY window_start, window_end",
    "SELECT window_start, window_end, site, COUNT(*) AS n \
     FROM TABLE(CUMULATE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, site",
    "SELECT id, LEAD(id, 2) OVER (PARTITION BY device_id ORDER BY ts) AS later, LEAD(n) OVER (PARTITION BY site ORDER BY ts) AS n FROM events",
];

#[test]
fn what_is_told_early_or_late_is_told_in_one_order() {
    let (mut database, ways) = hour();
    for (number, query) in TOLD.iter().enumerate() {
        let plan = |database: &mut Database| match database.prepare(query) {
            Ok(Prepared::Stream(plan)) => plan,
            _ => panic!("{query} is not a query over streams"),
        };
        let closed = plan(&mut database);
        let final_rows = folded(&changes(&database, &closed, ways[0])).expect("rows");
        let settings = ["'table.exec.emit.early-fire.enabled' = 'true'", "'table.exec.emit.early-fire.delay' = '7 s'"];
        settings.iter().for_each(|s| drop(database.prepare(&format!("SET {s}")).expect("a setting")));
        let early = plan(&mut database);
        let mut first = None;
        for way in &ways {
            let told = changes(&database, &early, *way);
            assert_eq!(folded(&told).expect("changes"), final_rows, "{way:?}: {query}");
            let mut lines: Vec<Vec<String>> = told.iter().flat_map(|c| shown(&c.signed().expect("kinds")).expect("rows")).collect();
            assert!(number > 2 || lines.len() > final_rows.len(), "{query} tells {} changes", lines.len());
            let first = first.get_or_insert_with(|| lines.clone());
            if way.threads[0] > 1 {
                // Where keys are in groups, only the changes of one key have an order.
                lines.sort();
                assert_eq!(sorted(first), lines, "{way:?}: {query}");
                continue;
            }
            let differs = first.iter().zip(&lines).position(|(a, b)| a != b);
            assert_eq!((differs, lines.len()), (None, first.len()), "{way:?}: {query}");
        }
        database.prepare("RESET").expect("no settings");
    }
}

/// Queries that leave late rows out.
const LATE_LEFT_OUT: [&str; 4] = [
    "SELECT window_start, device_id, COUNT(*), SUM(v) \
     FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, device_id",
    "SELECT window_start, window_end, site, COUNT(*) \
     FROM TABLE(SESSION(TABLE events PARTITION BY site, DESCRIPTOR(ts), INTERVAL '12' SECOND)) GROUP BY window_start, window_end, site",
    "SELECT id, SUM(v) OVER (PARTITION BY site ORDER BY ts) AS s, LEAD(n) OVER (PARTITION BY site ORDER BY ts) AS n FROM events",
    "SELECT a.id, b.id AS other FROM events AS a JOIN events AS b \
     ON a.site = b.site AND b.ts BETWEEN a.ts + INTERVAL '1' SECOND AND a.ts + INTERVAL '20' SECOND",
];

#[test]
fn what_is_late_is_late_in_every_way() {
    let (mut database, ways) = tables();
    let mut late = feed(&mut database, true);
    assert!(late.len() >= 20, "{} rows are late", late.len());
    late.sort();
    let (mut on_time, _) = hour();
    on_time.set_ways(ways[..1].to_vec());
    for query in LATE_LEFT_OUT {
        let Ok(Prepared::Stream(plan)) = database.prepare(query) else { panic!("{query} is not a query over streams") };
        let want = on_time.rows(&plan).unwrap_or_else(|e| panic!("{query}: {}", e.message())).0;
        let told: Vec<String> = late.iter().flat_map(|row| std::iter::repeat_n(row.clone(), plan.inputs.len())).collect();
        for way in &ways {
            let ran = database.ran(&plan, *way).unwrap_or_else(|e| panic!("{way:?}: {}", e.message()));
            assert_eq!(folded(&ran.outputs[0]).expect("rows"), want, "{way:?}: {query}");
            let payloads = |rows: &RecordBatch| -> Vec<String> {
                let column = rows.column_by_name("payload").expect("a late row has its payload");
                column.as_string_view().iter().flatten().map(str::to_owned).collect()
            };
            let mut got: Vec<String> = ran.late.iter().flat_map(payloads).collect();
            got.sort();
            assert_eq!(got, told, "{way:?}: {query}");
        }
    }
}

fn sorted(lines: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut lines = lines.to_vec();
    lines.sort();
    lines
}

fn changes(database: &Database, plan: &JobPlan, way: Way) -> Vec<Changes> {
    let (mut outputs, late) = database.replay(plan, way).unwrap_or_else(|e| panic!("{way:?}: {}", e.message()));
    assert_eq!(late, 0);
    outputs.remove(0)
}
