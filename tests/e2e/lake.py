"""The lake through other people's readers. Invariant: nothing in here knows the program; it reads files, as anybody may.

The recomputation is a second implementation of the job in `fleet.py`, in another engine and over the archive.
"""

import math

import duckdb
import polars
from deltalake import DeltaTable

WINDOW_MICROS = 10_000_000

RECOMPUTE = f"""
SELECT epoch_us(c.ts) // {WINDOW_MICROS} * {WINDOW_MICROS} AS window_start, d.site, count(*) AS n, avg(c.temperature) AS mean
FROM cold c JOIN devices d ON c.device_id = d.device_id
WHERE c._reject IS NULL AND c.status <> 'fault'
  AND NOT EXISTS (SELECT 1 FROM late l WHERE l._partition = c._partition AND l._offset = c._offset)
GROUP BY ALL
"""

WARM = "SELECT epoch_us(window_start) AS window_start, site, n, avg_temperature AS mean FROM warm"


def path_of(data, namespace, table):
    return data / "lake" / namespace / table


def exists(data, namespace, table):
    return (path_of(data, namespace, table) / "_delta_log").is_dir()


def counts(path):
    """Rows of a table by reader."""
    table = DeltaTable(str(path))
    files = table.file_uris()
    with duckdb.connect() as connection:
        query = "SELECT count(*) FROM read_parquet(?, hive_partitioning = true, union_by_name = true)"
        by_duckdb = connection.execute(query, [files]).fetchone()[0] if files else 0
    return {
        "deltalake": table.to_pyarrow_dataset().count_rows(),
        "polars": polars.scan_delta(str(path)).select(polars.len()).collect().item(),
        "duckdb": by_duckdb,
    }


def connect(tables):
    """DuckDB with a view for each name and path; a path of None is a table without rows and with origin columns only."""
    connection = duckdb.connect()
    for name, path in tables.items():
        files = DeltaTable(str(path)).file_uris() if path else []
        if files:
            listed = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
            source = f"SELECT * FROM read_parquet([{listed}], hive_partitioning = true, union_by_name = true)"
        else:
            source = "SELECT 0::BIGINT AS _partition, 0::BIGINT AS _offset WHERE false"
        connection.execute(f"CREATE VIEW {name} AS {source}")
    return connection


def windows(connection, query):
    """(window start in microseconds, site) → (count, mean)."""
    found = {}
    for start, site, n, mean in connection.execute(query).fetchall():
        assert (start, site) not in found, f"window {start} of {site} is there twice"
        found[(start, site)] = (n, mean)
    return found


def windows_by_polars(cold, late, devices):
    """The recomputation once more, in polars."""
    rows = polars.scan_delta(str(cold)).filter(polars.col("_reject").is_null() & (polars.col("status") != "fault"))
    if late:
        rows = rows.join(polars.scan_delta(str(late)), on=["_partition", "_offset"], how="anti")
    start = polars.col("ts").dt.epoch("us") // WINDOW_MICROS * WINDOW_MICROS
    sites = polars.LazyFrame(devices, schema=["device_id", "site"], orient="row")
    grouped = rows.join(sites, on="device_id").group_by(start.alias("window_start"), "site")
    result = grouped.agg(polars.len().alias("n"), polars.col("temperature").mean().alias("mean")).collect()
    return {(r["window_start"], r["site"]): (r["n"], r["mean"]) for r in result.iter_rows(named=True)}


def differences(warm, recomputed):
    """What the warm table has wrong: every window that closed must be there, and equal. Later windows may still be open."""
    if not warm:
        return ["the warm table is empty"]
    last = max(start for start, _ in warm)
    found = []
    for key in sorted(warm.keys() | {k for k in recomputed if k[0] <= last}):
        have, want = warm.get(key), recomputed.get(key)
        if have is None or want is None or have[0] != want[0] or not math.isclose(have[1], want[1], rel_tol=1e-9):
            found.append(f"window {key}: warm has {have}, the archive gives {want}")
    return found
