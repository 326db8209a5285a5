"""Jobs as an operator runs them: begun, stopped, changed, started from savepoints, and bounded in memory."""

import settings
from api import ApiError, wait_until
from server import ServerTest, run_binary

TABLES = """
CREATE TABLE telemetry (device_id STRING, ts TIMESTAMP(3), k BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
  WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json', 'scan.watermark.idle-timeout' = '1s');
CREATE TABLE counts (window_end TIMESTAMP(3), n BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
CREATE TABLE again (window_end TIMESTAMP(3), n BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
CREATE TABLE days (k BIGINT, n BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
CREATE TABLE passed (k BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm')
"""

BODY = 20_000
# With --rounds 1000 and more a million keys.
KEYS_MAX = 1_000_000


def window(into, size, value="COUNT(*)", where=""):
    table = f"TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '{size}' SECOND))"
    return f"INSERT INTO {into} SELECT window_end, {value} FROM {table} {where} GROUP BY window_start, window_end"


class Jobs(ServerTest):
    def setUp(self):
        super().setUp()
        self.api.script(TABLES)
        self.key = self.api.provision("pump-1")

    def feed(self, *seconds, first=0):
        records = [{"device_id": "pump-1", "ts": f"2026-01-01T00:{s // 60:02}:{s % 60:02}Z", "k": first + i} for i, s in enumerate(seconds)]
        self.api.telemetry("pump-1", self.key, records)

    def job(self, name):
        return self.api.json("GET", f"/v1/jobs/{name}")

    def refused(self, sql):
        with self.assertRaises(ApiError) as caught:
            self.api.sql(sql)
        return caught.exception.text

    def counts(self, table):
        rows = self.api.sql(f"SELECT window_end, n FROM {table} ORDER BY window_end")
        return [(r["window_end"][14:19], r["n"]) for r in rows]

    def restarted(self):
        self.server.kill()
        self.server.start()
        self.api = self.server.api()

    def test_a_query_is_stopped_changed_and_copied_across_crashes(self):
        self.api.sql(window("counts", 10))
        self.feed(1, 2, 3)
        wait_until(lambda: self.job("counts")["committed"]["consumed"] == 3, 20, "a checkpoint")
        said = self.api.sql("STOP JOB counts WITH SAVEPOINT 'three'")
        self.assertIn("savepoint 'three'", str(said))
        self.restarted()
        self.assertEqual(self.job("counts")["state"], "stopped")
        self.assertIn("the window's size was 10 s, is now 20 s", self.refused(window("counts", 20)))
        self.assertEqual([r["savepoint"] for r in self.api.sql("SHOW SAVEPOINTS")], ["three"])
        said = self.api.sql(window("counts", 10, "COUNT(*) * 2"))
        self.assertIn("changed statement", str(said))
        said = self.api.sql("SET 'execution.state-recovery.path' = 'three'; " + window("again", 10))
        self.assertIn("state of savepoint 'three'", str(said))
        self.restarted()
        self.feed(4, 30)
        for table, want in (("counts", [("00:10", 8)]), ("again", [("00:10", 4)])):
            wait_until(lambda: self.counts(table) == want, 30, f"{table} is {want}, not {self.counts(table)}")
        self.assertIn("has results of its own", self.refused("SET 'execution.state-recovery.path' = 'three'; " + self.stopped("counts")))
        self.api.sql("DROP SAVEPOINT 'three'")
        self.api.sql("DROP JOB counts")
        self.assertNotIn("counts", [r["job"] for r in self.api.sql("SHOW JOBS")])

    def stopped(self, table):
        self.api.sql(f"STOP JOB {table}")
        return window(table, 10, "COUNT(*) * 2")

    def test_what_is_looked_at_fits_on_a_terminal(self):
        self.api.sql(window("counts", 10))
        self.feed(1, 2, 3)
        wait_until(lambda: self.job("counts")["committed"]["consumed"] == 3, 20, "a checkpoint")
        code, out, err = run_binary("jobs", "list", "--server", self.server.base(), "--token", self.server.token)
        self.assertEqual((code, err), (0, ""))
        self.assertLessEqual(max(map(len, out.splitlines())), 100, out)
        job = self.job("counts")
        self.assertEqual((job["lag"], job["lag_s"], job["restarts"]), (0, 0, 0))
        self.assertGreater(job["state_bytes"], 0)
        self.assertIsNotNone(job["checkpoint_ms"])
        metrics = self.api.request("GET", "/metrics")
        for name in ("lag_seconds", "state_bytes", "checkpoint_duration_seconds", "rows_per_second", "restarts_total"):
            self.assertIn(f'thalweg_job_{name}{{job="counts"}}', metrics)

    def test_state_past_its_bound_stops_its_job_and_nothing_else(self):
        keys = KEYS_MAX if settings.rounds >= 1_000 else 160_000
        bound = "32 MB" if keys == KEYS_MAX else "8 MB"
        day = "TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '1' DAY))"
        insert = f"INSERT INTO days SELECT k, COUNT(*) FROM {day} GROUP BY window_start, window_end, k"
        self.api.sql(f"SET 'job.state.memory' = '{bound}'; {insert}")
        self.api.sql("INSERT INTO passed SELECT k FROM telemetry WHERE k < 10")
        for first in range(0, keys, BODY):
            self.feed(*([first // BODY] * BODY), first=first)
        failed = wait_until(lambda: (j := self.job("days"))["state"] == "failed" and j, 120, "the job stops")
        self.assertIn("the state of job days takes", failed["error"])
        self.assertIn("job.state.memory", failed["error"])
        self.assertGreater(failed["lag"] + failed["counters"]["consumed"], 0)
        wait_until(lambda: self.job("passed")["counters"]["consumed"] == keys, 120, "the other job has read all")
        self.assertEqual(self.server.process.poll(), None)
        self.peak("past the bound")
        # With more it goes on from its last checkpoint.
        self.api.sql("SET 'job.state.memory' = '1 GB'; " + insert)
        job = wait_until(lambda: (j := self.job("days"))["committed"]["consumed"] == keys and j, 120, "all records")
        self.assertEqual(job["committed"]["open"], keys)
        self.peak("with room")

    def peak(self, when):
        status = open(f"/proc/{self.server.process.pid}/status").read()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        print(f"{when}: {line}", flush=True)
        self.assertLess(int(line.split()[1]), 1_500_000, "kB")
