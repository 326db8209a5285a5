//! An hour of data in every way. Invariant checked: the rows of a query are the same, row for row, with 1, 4 and 16 partitions, fed in
//! batches of 1, 100 and 8192 records, straight and with restarts from the state.

use thalweg_replay::{Database, Prepared, Way};

/// Seconds between two rows.
const STEP: u64 = 2;
/// Devices.
const DEVICES: u64 = 24;

/// A query of each kind of step that keeps state.
const QUERIES: [&str; 8] = [
    "SELECT window_start, device_id, COUNT(*), SUM(v), MIN(n), AVG(v) \
     FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, device_id",
    "SELECT window_start, window_end, site, SUM(v), COUNT(DISTINCT n) \
     FROM TABLE(HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, site",
    "SELECT window_start, window_end, site, COUNT(*), MAX(v) \
     FROM TABLE(SESSION(TABLE events PARTITION BY site, DESCRIPTOR(ts), INTERVAL '12' SECOND)) GROUP BY window_start, window_end, site",
    "SELECT a.id, b.id AS other FROM events AS a JOIN events AS b \
     ON a.site = b.site AND b.ts BETWEEN a.ts + INTERVAL '1' SECOND AND a.ts + INTERVAL '20' SECOND",
    "SELECT a.id, b.id AS newest FROM events AS a ASOF JOIN events AS b MATCH_CONDITION (a.ts > b.ts) ON a.device_id = b.device_id",
    "SELECT id, SUM(v) OVER (PARTITION BY site ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) AS s, \
     LAG(n) OVER (PARTITION BY device_id ORDER BY ts) AS n FROM events",
    "SELECT window_start, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, id) AS rn \
     FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' MINUTE))) WHERE rn <= 3",
    "SELECT device_id, COUNT(*), SUM(v), MAX(n) FROM events GROUP BY device_id",
];

/// Numbers that look random and are always the same.
fn hash(n: u64) -> u64 {
    let mixed = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33
}

/// The rows of the hour, each up to five seconds behind its place.
fn feed(database: &mut Database) {
    let mut rows: Vec<(u64, u64)> = (0..3_600 / STEP).map(|n| (n * STEP * 1_000 + hash(n) % 5_000, n)).collect();
    rows.sort_unstable();
    for (_, n) in rows {
        let (second, device, value) = (n * STEP, hash(n + 7) % DEVICES, hash(n + 1_000));
        let payload = format!(
            r#"{{"id":{n},"device_id":"d{device}","ts":"2026-01-01T00:{:02}:{:02}.{:03}Z","site":"{}","v":{},"n":{}}}"#,
            second / 60,
            second % 60,
            value % 4 * 250,
            ["north", "south", "west"][(device % 3) as usize],
            (value % 400) as f64 * 0.25,
            value % 50
        );
        database.feed("events", &format!("d{device}"), payload.as_bytes());
    }
}

#[test]
fn partitions_and_batches_do_not_show() {
    let mut database = Database::new().expect("a database");
    let create = "CREATE TABLE events (id BIGINT, device_id STRING, ts TIMESTAMP(3), site STRING, v DOUBLE, n BIGINT, \
        WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) WITH ('connector' = 'log', 'stream' = 'events', 'format' = 'json')";
    database.prepare(create).expect("a table");
    feed(&mut database);
    let straight = [1, 4, 16].into_iter().flat_map(|partitions| [1, 100, 8_192].map(|batch| Way { partitions, batch, restart_every: 0 }));
    let resumed = [1, 4, 16].map(|partitions| Way { partitions, batch: 100, restart_every: 3 });
    database.set_ways(straight.chain(resumed).collect());
    for query in QUERIES {
        let Ok(Prepared::Stream(plan)) = database.prepare(query) else { panic!("{query} is not a query over streams") };
        let (rows, late) = database.rows(&plan).unwrap_or_else(|e| panic!("{query}: {}", e.message()));
        assert_eq!(late, 0, "{query}");
        assert!(rows.len() >= 20, "{query} gives {} rows", rows.len());
    }
}
