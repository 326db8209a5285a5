"""Polars in batch over the files of readings: `polars_peer.py QUERY FILES DEVICES OUT`. Invariant: it scans all of them with declared
columns and writes its result as Parquet; queries that have no natural form in it are not here.
"""

import resource
import sys
import time

began = time.perf_counter()

import polars as pl  # noqa: E402

SCHEMA = {
    "device_id": pl.String,
    "ts": pl.String,
    "temperature": pl.Float64,
    "humidity": pl.Float64,
    "battery": pl.Int64,
    "status": pl.String,
    "seq": pl.Int64,
}


def main():
    query, file, devices, out = sys.argv[1:5]
    readings = pl.scan_ndjson(file, schema=SCHEMA)
    readings = readings.with_columns(pl.col("ts").str.strptime(pl.Datetime("ms"), "%Y-%m-%dT%H:%M:%S%.3fZ"))
    reference = pl.scan_csv(devices)
    temperature = pl.col("temperature")
    if query == "tumbling":
        joined = readings.filter(pl.col("status") != "fault").join(reference, on="device_id")
        grouped = joined.group_by(pl.col("ts").dt.truncate("10s").alias("window_start"), "site")
        result = grouped.agg(pl.len().alias("n"), temperature.mean().alias("mean"), temperature.min().alias("low"), temperature.max().alias("high"))
    elif query == "filter":
        joined = readings.join(reference, on="device_id").filter(temperature > pl.col("threshold"))
        result = joined.select("device_id", "ts", "site", "temperature", "threshold")
    else:
        assert query == "archive", f"{query} has no natural form in Polars"
        result = readings
    result.sink_parquet(out, compression="zstd")
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = pl.scan_parquet(out).select(pl.len()).collect().item()
    print(f"seconds={seconds:.4f} rows={rows} peak_bytes={peak} version={pl.__version__}")


main()
