"""Results that change, in tables with a primary key: the server is killed again and again while rows of them are replaced and
deleted; then strangers read one row a key, and each is what the archive gives.
"""

import random
import time

import fleet
import lake
import polars
import settings
from api import statements, wait_until
from deltalake import DeltaTable
from server import CHECKPOINT_SECONDS, ServerTest, run_binary

DEVICES = 12
PLACES = 5
STEPS = 10
ROUNDS_MIN = 3

SQL = f"""
{statements(fleet.SQL)[0]};

CREATE TABLE totals (n BIGINT, device_id STRING, total BIGINT, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'ops@example.com', 'description' = 'records of each device');

INSERT INTO totals SELECT COUNT(*), COALESCE(device_id, '?'), SUM(seq) FROM telemetry GROUP BY COALESCE(device_id, '?');

CREATE TABLE busiest (device_id STRING, place BIGINT, n BIGINT, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'ops@example.com', 'description' = 'devices with most records');

INSERT INTO busiest SELECT device_id, place, n FROM (
  SELECT device_id, n, ROW_NUMBER() OVER (ORDER BY n DESC) AS place FROM (
    SELECT COALESCE(device_id, '?') AS device_id, COUNT(*) AS n FROM telemetry GROUP BY COALESCE(device_id, '?')
  )
) WHERE place <= {PLACES};
"""
TABLES = ("totals", "busiest")


class Upsert(ServerTest):
    def publish(self, moments):
        """Some records of each device, in order of event time; how many is a matter of luck."""
        for _ in range(STEPS):
            self.now += 1
            for device, key in self.keys.items():
                count = moments.randrange(3)
                records = [fleet.record(device, self.seq + i, self.now) for i in range(count)]
                self.seq += count
                if records:
                    self.api.telemetry(device, key, records)

    def test_a_key_has_one_row_whatever_is_killed(self):
        seed = settings.seed if settings.seed is not None else random.SystemRandom().randrange(1 << 32)
        rounds = max(settings.rounds, ROUNDS_MIN)
        print(f"upsert: {rounds} rounds, seed {seed}", flush=True)
        moments = random.Random(seed)
        self.api.script(SQL)
        self.keys = {d: self.api.provision(d) for d in fleet.names(DEVICES)}
        self.now, self.seq = time.time() // 10 * 10 - 3600, 1
        for _ in range(rounds):
            self.publish(moments)
            time.sleep(moments.uniform(0, 1.5 * CHECKPOINT_SECONDS))
            self.server.kill()
            self.server.start()
            self.api = self.server.api()
        self.publish(moments)
        self.end = self.now
        # Event time goes on, so that every row before is in the results.
        self.now += 3000
        for device, key in self.keys.items():
            self.api.telemetry(device, key, [fleet.record(device, self.seq, self.now)])
        wait_until(lambda: self.stored() == self.expected(), 60, "both tables hold the results of all that was archived")
        self.check_files()

    def archived(self):
        """Records that are in the results, by device: count and sum of their numbers."""
        rows = polars.scan_delta(str(lake.path_of(self.server.data, "cold", "telemetry")))
        rows = rows.filter(polars.col("ts").dt.epoch("us") <= self.end * 1_000_000)
        grouped = rows.group_by("device_id").agg(polars.len().alias("n"), polars.col("seq").sum().alias("total")).collect()
        return {r["device_id"]: (r["n"], r["total"]) for r in grouped.iter_rows(named=True)}

    def expected(self):
        totals = self.archived()
        ranked = sorted(totals, key=lambda device: (-totals[device][0], device))[:PLACES]
        return {"totals": totals, "busiest": {d: (place, totals[d][0]) for place, d in enumerate(ranked, 1)}}

    def stored(self):
        """The rows of both tables, by DuckDB."""
        found = {}
        for name, columns in zip(TABLES, ("n, total", "place, n")):
            path = lake.path_of(self.server.data, "warm", name)
            rows = []
            # Before the first commit there are no files, and so no columns.
            if DeltaTable(str(path)).file_uris():
                with lake.connect({"warm": path}) as connection:
                    rows = connection.execute(f"SELECT device_id, {columns} FROM warm").fetchall()
            self.assertEqual(len({r[0] for r in rows}), len(rows), f"a key of {name} is there twice")
            found[name] = {r[0]: r[1:] for r in rows}
        return found

    def check_files(self):
        """All readers agree, and nothing lies about that was staged in vain."""
        for name in TABLES:
            counts = lake.counts(lake.path_of(self.server.data, "warm", name))
            self.assertEqual(counts, dict.fromkeys(counts, len(self.expected()[name])))
            self.assertEqual(counts["duckdb"], self.api.value(f"SELECT COUNT(*) AS n FROM {name}"))
        self.assertEqual(self.server.stop(), 0)
        code, out, err = run_binary("lake", "--data", self.server.data, "verify")
        self.assertEqual(code, 0, out + err)
