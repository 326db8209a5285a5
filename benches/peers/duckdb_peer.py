"""DuckDB in batch over the files of readings: `duckdb_peer.py QUERY FILES DEVICES OUT`. Invariant: all of them are read with declared
columns, and every result is written as Parquet; what is printed counts only windows that a stream would have closed by the file's end.
"""

import resource
import sys
import time

began = time.perf_counter()

import duckdb  # noqa: E402

READINGS = """read_json('{file}', format = 'newline_delimited', columns = {{device_id: 'VARCHAR', ts: 'TIMESTAMP', temperature: 'DOUBLE',
    humidity: 'DOUBLE', battery: 'BIGINT', status: 'VARCHAR', seq: 'BIGINT'}})"""
DEVICES = "read_csv('{devices}', columns = {{device_id: 'VARCHAR', site: 'VARCHAR', model: 'VARCHAR', threshold: 'DOUBLE'}})"

TUMBLING = f"""
SELECT window_start, window_start + INTERVAL 10 SECONDS AS window_end, site, count(*) AS n, avg(temperature) AS mean,
       min(temperature) AS low, max(temperature) AS high
FROM (SELECT time_bucket(INTERVAL 10 SECONDS, t.ts) AS window_start, d.site, t.temperature
      FROM {READINGS} t JOIN {DEVICES} d USING (device_id) WHERE t.status <> 'fault')
GROUP BY window_start, site"""

HOPPING = f"""
SELECT window_start, window_start + INTERVAL 60 SECONDS AS window_end, device_id, count(*) AS n, avg(temperature) AS mean,
       max(temperature) AS high
FROM (SELECT device_id, temperature, slice - INTERVAL 10 SECONDS * unnest(range(6)) AS window_start
      FROM (SELECT device_id, temperature, time_bucket(INTERVAL 10 SECONDS, ts) AS slice FROM {READINGS}))
GROUP BY window_start, device_id"""

# The same in slices: what somebody who knows the trick would write. The faster of the two is what we compare with.
SLICED = f"""
SELECT window_start, window_start + INTERVAL 60 SECONDS AS window_end, device_id, sum(n) AS n, sum(total) / sum(n) AS mean,
       max(high) AS high
FROM (SELECT device_id, n, total, high, slice - INTERVAL 10 SECONDS * unnest(range(6)) AS window_start
      FROM (SELECT device_id, time_bucket(INTERVAL 10 SECONDS, ts) AS slice, count(*) AS n, sum(temperature) AS total,
                   max(temperature) AS high FROM {READINGS} GROUP BY ALL))
GROUP BY window_start, device_id"""

FILTER = f"""
SELECT t.device_id, t.ts, d.site, t.temperature, d.threshold
FROM {READINGS} t JOIN {DEVICES} d USING (device_id) WHERE t.temperature > d.threshold"""

SESSION = f"""
SELECT min(ts) AS window_start, max(ts) + INTERVAL 5 SECONDS AS window_end, device_id, count(*) AS n, avg(temperature) AS mean,
       max(temperature) AS high
FROM (SELECT device_id, ts, temperature, count(*) FILTER (starts) OVER (PARTITION BY device_id ORDER BY ts) AS session
      FROM (SELECT device_id, ts, temperature,
                   coalesce(ts - lag(ts) OVER (PARTITION BY device_id ORDER BY ts) > INTERVAL 5 SECONDS, true) AS starts FROM {READINGS}))
GROUP BY device_id, session"""

ARCHIVE = f"SELECT * FROM {READINGS}"

QUERIES = {
    "archive": ARCHIVE,
    "filter": FILTER,
    "hopping": HOPPING,
    "hopping-sliced": SLICED,
    "session": SESSION,
    "tumbling": TUMBLING,
}


def main():
    query, file, devices, out = sys.argv[1:5]
    text = QUERIES[query].format(file=file, devices=devices)
    duckdb.execute("SET preserve_insertion_order = false")
    duckdb.execute(f"COPY ({text}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    closed = "true"
    if "window_end" in text:
        closed = f"window_end <= (SELECT max(ts) - INTERVAL 2 SECONDS FROM {READINGS})".format(file=file)
    rows = duckdb.sql(f"SELECT count(*) FROM read_parquet('{out}') WHERE {closed}").fetchall()[0][0]
    print(f"seconds={seconds:.4f} rows={rows} peak_bytes={peak} version={duckdb.__version__}")


main()
