//! What is checked across restarts, kills and versions, as data. Invariant: a check is a table and the job of that name; its statements
//! and its query are all that tells it from others.

/// The first statement, so that no job runs if it cannot be carried out.
pub const SITES: &str = "CREATE TABLE sites (device_id STRING, site STRING, PRIMARY KEY (device_id) NOT ENFORCED)
  WITH ('connector' = 'reference', 'path' = 'reference/sites.csv', 'format' = 'csv')";
pub const SITES_FILE: &str = "device_id,site\npump-0,north\npump-1,south\npump-2,north\npump-3,west\n";
pub const TELEMETRY: &str =
    "CREATE TABLE telemetry (device_id STRING NOT NULL, ts TIMESTAMP(3), v BIGINT NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
       WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json', 'scan.watermark.idle-timeout' = '1h')";

/// Since when a check can be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// It is in the files of 0.1.0.
    First,
    /// It is not.
    Later,
}

/// Something that lasts: a table of its name, filled by a job of its name.
pub struct Check {
    pub name: &'static str,
    pub since: Since,
    pub init: &'static str,
    /// Behind the first half of the records, and before the second; empty for none.
    pub manipulate: [&'static str; 2],
    pub validate: &'static str,
}

const NOTHING: [&str; 2] = ["", ""];

/// Every check; the names stand in the fixtures.
pub static CHECKS: &[Check] = &[
    Check {
        name: "sessions",
        since: Since::First,
        init: "CREATE TABLE sessions (window_start TIMESTAMP(3), window_end TIMESTAMP(3), device_id STRING, n BIGINT, total BIGINT)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO sessions SELECT window_start, window_end, device_id, COUNT(*), SUM(v)
           FROM TABLE(SESSION(TABLE telemetry PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '2' SECOND))
           GROUP BY window_start, window_end, device_id",
        manipulate: NOTHING,
        validate: "SELECT * FROM sessions ORDER BY 1, 2, 3",
    },
    Check {
        name: "followed",
        since: Since::First,
        init: "CREATE TABLE followed (device_id STRING, v BIGINT, later BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO followed SELECT a.device_id, a.v, b.v FROM telemetry AS a JOIN telemetry AS b
           ON a.device_id = b.device_id AND b.ts BETWEEN a.ts + INTERVAL '1' SECOND AND a.ts + INTERVAL '5' SECOND",
        manipulate: NOTHING,
        // Rows without a time lie by the day on which they were written, which no two runs need share.
        validate: "SELECT device_id, v, later FROM followed ORDER BY 1, 2, 3",
    },
    Check {
        name: "paired",
        since: Since::First,
        init: "CREATE TABLE paired (device_id STRING, v BIGINT, later BIGINT, PRIMARY KEY (device_id, v) NOT ENFORCED)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         SET 'table.exec.state.ttl' = '1 h';
         INSERT INTO paired SELECT a.device_id, a.v, b.v FROM telemetry AS a LEFT JOIN telemetry AS b
           ON a.device_id = b.device_id AND b.v = a.v + 30",
        manipulate: NOTHING,
        validate: "SELECT * FROM paired ORDER BY 1, 2, 3",
    },
    Check {
        name: "running",
        since: Since::First,
        init: "CREATE TABLE running (device_id STRING, ts TIMESTAMP(3), total BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO running SELECT device_id, ts,
           SUM(v) OVER (PARTITION BY device_id ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM telemetry",
        manipulate: NOTHING,
        validate: "SELECT * FROM running ORDER BY 1, 2, 3",
    },
    Check {
        name: "best",
        since: Since::First,
        init: "CREATE TABLE best (place BIGINT, device_id STRING, v BIGINT, PRIMARY KEY (place) NOT ENFORCED)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO best SELECT place, device_id, v FROM (
           SELECT device_id, v, ROW_NUMBER() OVER (ORDER BY v DESC) AS place FROM telemetry) WHERE place <= 3",
        manipulate: NOTHING,
        validate: "SELECT * FROM best ORDER BY 1, 2, 3",
    },
    Check {
        name: "newest",
        since: Since::First,
        init: "CREATE TABLE newest (device_id STRING, ts TIMESTAMP(3), v BIGINT, PRIMARY KEY (device_id) NOT ENFORCED)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO newest SELECT device_id, ts, v FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY device_id ORDER BY ts DESC) AS rn FROM telemetry) WHERE rn = 1",
        manipulate: NOTHING,
        validate: "SELECT * FROM newest ORDER BY 1, 2, 3",
    },
    Check {
        name: "ranked",
        since: Since::First,
        // The key of the table is another than that of the query, so that a step keeps the newest row of each.
        init: "CREATE TABLE ranked (device_id STRING, place BIGINT, total BIGINT, PRIMARY KEY (device_id) NOT ENFORCED)
           WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO ranked SELECT device_id, place, total FROM (
           SELECT device_id, total, ROW_NUMBER() OVER (ORDER BY total DESC) AS place FROM (
             SELECT device_id, SUM(v) AS total FROM telemetry GROUP BY device_id)) WHERE place <= 2",
        manipulate: NOTHING,
        validate: "SELECT * FROM ranked ORDER BY 1, 2, 3",
    },
    Check {
        name: "looked_up",
        since: Since::Later,
        init: "CREATE TABLE looked_up (site STRING, v BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO looked_up SELECT d.site, t.v
           FROM telemetry AS t JOIN sites FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id",
        manipulate: NOTHING,
        validate: "SELECT site, v FROM looked_up ORDER BY 1, 2",
    },
    Check {
        name: "paused",
        since: Since::Later,
        // It is stopped in between, and begins where it was.
        init: "CREATE TABLE paused (device_id STRING, v BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO paused SELECT device_id, v FROM telemetry WHERE v >= 0",
        manipulate: ["STOP JOB paused", "INSERT INTO paused SELECT device_id, v FROM telemetry WHERE v >= 0"],
        validate: "SELECT device_id, v FROM paused ORDER BY 1, 2",
    },
    Check {
        name: "viewed",
        since: Since::Later,
        init: "CREATE VIEW heavy AS SELECT device_id, v FROM telemetry WHERE v >= 50;
         CREATE TABLE viewed (device_id STRING, v BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
         INSERT INTO viewed SELECT device_id, v FROM heavy",
        manipulate: NOTHING,
        validate: "SELECT device_id, v FROM viewed ORDER BY 1, 2",
    },
];
