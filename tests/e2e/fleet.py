"""The fleet that most tests use: devices at sites, one stream, one job with ten-second windows.

Invariant: what it publishes is a function of its arguments alone, in order of event time, so nothing is late by accident.
"""

from datetime import datetime, timezone

SITES = ("north", "south", "west")
WINDOW_SECONDS = 10

SQL = """
CREATE TABLE telemetry (
  device_id STRING, ts TIMESTAMP(3), temperature DOUBLE, humidity DOUBLE, status STRING, seq BIGINT,
  topic STRING METADATA VIRTUAL,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json');

CREATE TABLE devices (device_id STRING, site STRING, model STRING, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'reference', 'path' = '{reference}', 'format' = 'csv', 'refresh' = '1s');

CREATE TABLE site_10s (window_start TIMESTAMP(3), window_end TIMESTAMP(3), site STRING, n BIGINT, avg_temperature DOUBLE)
WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'ops@example.com', 'description' = 'mean temperature of a site');

INSERT INTO site_10s
SELECT window_start, window_end, d.site, COUNT(*) AS n, AVG(t.temperature) AS avg_temperature
FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS t
JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
WHERE t.status <> 'fault'
GROUP BY window_start, window_end, d.site;
"""

JOB = "site_10s"


def names(count):
    return [f"dev-{i:03d}" for i in range(count)]


def site_of(device):
    return SITES[int(device.rsplit("-", 1)[1]) % len(SITES)]


def reference_csv(devices):
    return "device_id,site,model\n" + "".join(f"{d},{site_of(d)},m1\n" for d in devices)


def time_text(seconds):
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(device, seq, seconds):
    """One record; every 17th is a fault."""
    number = int(device.rsplit("-", 1)[1])
    return {
        "device_id": device,
        "ts": time_text(seconds),
        "temperature": round(20 + (number * 7 + seq * 3) % 50 / 10, 2),
        "humidity": 40 + seq % 20,
        "status": "fault" if (number + seq) % 17 == 0 else "ok",
        "seq": seq,
    }


def submit(server, devices):
    """Writes the reference file and submits all statements."""
    path = server.data / "reference" / "devices.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reference_csv(devices))
    server.api().script(SQL.replace("{reference}", str(path)))
    return path
