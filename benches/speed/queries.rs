//! The queries of the table in `docs/benchmarks.md`. Invariant: the peers in `benches/peers/` run the same ones.

use thalweg_engine::error::{Error, Result};

/// A job: the table that it writes, and its statement.
pub struct Query {
    pub name: &'static str,
    pub table: &'static str,
    pub insert: &'static str,
}

pub static QUERIES: &[Query] = &[
    Query {
        name: "copy",
        table: "device_id STRING, ts TIMESTAMP(3), temperature DOUBLE, humidity DOUBLE, battery BIGINT, status STRING, seq BIGINT",
        insert: "SELECT device_id, ts, temperature, humidity, battery, status, seq FROM telemetry",
    },
    Query {
        name: "filter",
        table: "device_id STRING, ts TIMESTAMP(3), site STRING, temperature DOUBLE, threshold DOUBLE",
        insert: "SELECT t.device_id, t.ts, d.site, t.temperature, d.threshold
                 FROM telemetry AS t JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
                 WHERE t.temperature > d.threshold",
    },
    Query {
        name: "hopping",
        table: "window_start TIMESTAMP(3), window_end TIMESTAMP(3), device_id STRING, n BIGINT, mean DOUBLE, high DOUBLE",
        insert: "SELECT window_start, window_end, device_id, COUNT(*), AVG(temperature), MAX(temperature)
                 FROM TABLE(HOP(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '60' SECOND))
                 GROUP BY window_start, window_end, device_id",
    },
    Query {
        name: "session",
        table: "window_start TIMESTAMP(3), window_end TIMESTAMP(3), device_id STRING, n BIGINT, mean DOUBLE, high DOUBLE",
        insert: "SELECT window_start, window_end, device_id, COUNT(*), AVG(temperature), MAX(temperature)
                 FROM TABLE(SESSION(TABLE telemetry PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '5' SECOND))
                 GROUP BY window_start, window_end, device_id",
    },
    Query {
        name: "tumbling",
        table: "window_start TIMESTAMP(3), window_end TIMESTAMP(3), site STRING, n BIGINT, mean DOUBLE, low DOUBLE, high DOUBLE",
        insert: "SELECT window_start, window_end, d.site, COUNT(*), AVG(t.temperature), MIN(t.temperature), MAX(t.temperature)
                 FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS t
                 JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
                 WHERE t.status <> 'fault'
                 GROUP BY window_start, window_end, d.site",
    },
];

/// The query called `name`.
pub fn find(name: &str) -> Result<&'static Query> {
    let names = || QUERIES.iter().map(|q| q.name).collect::<Vec<_>>().join(", ");
    QUERIES.iter().find(|q| q.name == name).ok_or_else(|| Error::invalid(format!("{name} is not one of {}", names())))
}

/// The stream in a format, with its options.
pub fn telemetry(format: &str) -> String {
    format!(
        "CREATE TABLE telemetry (
           device_id STRING, ts TIMESTAMP(3), temperature DOUBLE, humidity DOUBLE, battery BIGINT, status STRING, seq BIGINT,
           WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
         ) WITH ('connector' = 'log', 'stream' = 'telemetry', {format})"
    )
}

/// The reference table.
pub const DEVICES: &str =
    "CREATE TABLE devices (device_id STRING, site STRING, model STRING, threshold DOUBLE, PRIMARY KEY (device_id) NOT ENFORCED)
     WITH ('connector' = 'reference', 'path' = 'reference/devices.csv', 'format' = 'csv')";

impl Query {
    /// The table of its results.
    pub fn create(&self) -> String {
        format!("CREATE TABLE {} ({}) WITH ('connector' = 'lake', 'owner' = 'bench', 'description' = 'bench')", self.name, self.table)
    }

    /// The job.
    pub fn statement(&self) -> String {
        format!("INSERT INTO {} {}", self.name, self.insert)
    }
}
