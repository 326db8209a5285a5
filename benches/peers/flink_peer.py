"""Flink SQL in streaming mode over the readings: `flink_peer.py QUERY FOLDER DEVICES`. Invariant: the queries are those of the engine, in
the same dialect, at a parallelism of two with a file for each reader; results go to the blackhole connector and no checkpoints are taken,
so it is spared what the engine pays for both.
"""

import resource
import sys
import time

began = time.perf_counter()

from pyflink.table import EnvironmentSettings, TableEnvironment  # noqa: E402
from pyflink.version import __version__  # noqa: E402

TELEMETRY = """
CREATE TABLE telemetry (
  device_id STRING, ts TIMESTAMP_LTZ(3), temperature DOUBLE, humidity DOUBLE, battery BIGINT, status STRING, seq BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'file://{folder}', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601')"""

# Without an outside database, a table that is joined as of a time has to be a versioned one: each row is valid from long ago.
DEVICES = """
CREATE TABLE devices (
  device_id STRING, site STRING, model STRING, threshold DOUBLE, since AS TO_TIMESTAMP_LTZ(0, 3),
  PRIMARY KEY (device_id) NOT ENFORCED, WATERMARK FOR since AS since
) WITH ('connector' = 'filesystem', 'path' = 'file://{devices}', 'format' = 'csv', 'csv.ignore-parse-errors' = 'true')"""

QUERIES = {
    "filter": (
        "device_id STRING, ts TIMESTAMP_LTZ(3), site STRING, temperature DOUBLE, threshold DOUBLE",
        """SELECT t.device_id, t.ts, d.site, t.temperature, d.threshold
           FROM telemetry AS t JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
           WHERE t.temperature > d.threshold""",
    ),
    "hopping": (
        "window_start TIMESTAMP(3), window_end TIMESTAMP(3), device_id STRING, n BIGINT, mean DOUBLE, high DOUBLE",
        """SELECT window_start, window_end, device_id, COUNT(*), AVG(temperature), MAX(temperature)
           FROM TABLE(HOP(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '60' SECOND))
           GROUP BY window_start, window_end, device_id""",
    ),
    "session": (
        "window_start TIMESTAMP(3), window_end TIMESTAMP(3), device_id STRING, n BIGINT, mean DOUBLE, high DOUBLE",
        """SELECT window_start, window_end, device_id, COUNT(*), AVG(temperature), MAX(temperature)
           FROM TABLE(SESSION(TABLE telemetry PARTITION BY device_id, DESCRIPTOR(ts), INTERVAL '5' SECOND))
           GROUP BY window_start, window_end, device_id""",
    ),
    "tumbling": (
        "window_start TIMESTAMP(3), window_end TIMESTAMP(3), site STRING, n BIGINT, mean DOUBLE, low DOUBLE, high DOUBLE",
        """SELECT window_start, window_end, site, COUNT(*), AVG(temperature), MIN(temperature), MAX(temperature)
           FROM TABLE(TUMBLE(TABLE joined, DESCRIPTOR(ts), INTERVAL '10' SECOND))
           GROUP BY window_start, window_end, site""",
    ),
}

# Flink does not join inside of a windowing function's query; the join comes first.
JOINED = """
CREATE VIEW joined AS SELECT t.ts, t.temperature, d.site
FROM telemetry AS t JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
WHERE t.status <> 'fault'"""


def main():
    query, folder, devices = sys.argv[1:4]
    columns, select = QUERIES[query]
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    configuration = environment.get_config()
    configuration.set("parallelism.default", "2")
    configuration.set("pipeline.object-reuse", "true")
    environment.execute_sql(TELEMETRY.format(folder=folder))
    environment.execute_sql(DEVICES.format(devices=devices))
    environment.execute_sql(JOINED)
    environment.execute_sql(f"CREATE TABLE results ({columns}) WITH ('connector' = 'blackhole')")
    environment.execute_sql(f"INSERT INTO results {select}").wait()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"seconds={seconds:.4f} rows=0 peak_bytes={peak} version={__version__}")


main()
