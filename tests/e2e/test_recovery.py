"""The server is killed again and again while devices publish; then every promise is checked from outside.

kill -9 proves the logic of recovery. It does not prove durability: what the program wrote survives in the page cache.
"""

import json
import random
import time

import fleet
import lake
import settings
from api import wait_until
from journal import Journal
from load import Load
from server import CHECKPOINT_SECONDS, ServerTest, log_records

DEVICES = 20
UP_SECONDS_MIN, UP_SECONDS_MAX = 0.3, 2.5 * CHECKPOINT_SECONDS
LAST_SECONDS = 2 * fleet.WINDOW_SECONDS


class Recovery(ServerTest):
    def test_nothing_acknowledged_is_lost_or_doubled_by_kills(self):
        seed = settings.seed if settings.seed is not None else random.SystemRandom().randrange(1 << 32)
        print(f"recovery: {settings.rounds} rounds, seed {seed}", flush=True)
        moments = random.Random(seed)
        devices = fleet.names(DEVICES)
        fleet.submit(self.server, devices)
        journal = Journal()
        load = Load({d: self.api.provision(d) for d in devices}, journal)
        for _ in range(settings.rounds):
            load.start(self.server.mqtt)
            time.sleep(moments.uniform(UP_SECONDS_MIN, UP_SECONDS_MAX))
            self.server.kill()
            load.stop()
            self.server.start()
            self.api = self.server.api()
        load.start(self.server.mqtt)
        time.sleep(LAST_SECONDS)
        load.stop()
        self.assertGreater(len(journal.acknowledged), 100 * settings.rounds, "the load did not get through")
        self.check_log(journal)
        self.check_lake(journal, devices)

    def check_log(self, journal):
        """Every acknowledged record is in the log once, in the order of its device."""
        self.stored = log_records(self.server.data)
        payloads = [json.loads(r["payload"]) for r in self.stored]
        self.assertEqual(journal.violations((p["device_id"], p["seq"]) for p in payloads), [])

    def check_lake(self, journal, devices):
        """The same in the archive; and the windows are what the archive gives."""
        cold = lake.path_of(self.server.data, "cold", "telemetry")
        wait_until(lambda: lake.counts(cold)["deltalake"] >= len(self.stored), 90, "the archive is complete")
        self.api.wait_committed(fleet.JOB, len(self.stored))
        late = lake.path_of(self.server.data, "late", "site_10s")
        late = late if lake.exists(self.server.data, "late", "site_10s") else None
        tables = {"cold": cold, "warm": lake.path_of(self.server.data, "warm", "site_10s"), "late": late}
        with lake.connect(tables) as connection:
            rows = connection.execute("SELECT device_id, seq FROM cold ORDER BY _partition, _offset").fetchall()
            self.assertEqual(journal.violations(rows), [])
            self.assertEqual(len(rows), len(self.stored))
            connection.execute("CREATE TABLE devices (device_id VARCHAR, site VARCHAR)")
            connection.executemany("INSERT INTO devices VALUES (?, ?)", [(d, fleet.site_of(d)) for d in devices])
            stored = lake.windows(connection, lake.WARM)
            self.assertEqual(lake.differences(stored, lake.windows(connection, lake.RECOMPUTE)), [])
