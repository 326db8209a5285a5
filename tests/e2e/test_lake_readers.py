"""Data that went through the whole program is read by three strangers, and the results are recomputed from the archive."""

import time

import fleet
import lake
from api import wait_until
from server import ServerTest

DEVICES = 20
STEPS = 120
STEP_SECONDS = 1.0
RECORDS_A_REQUEST = 2


class LakeReaders(ServerTest):
    def publish(self, keys):
        """All records in order of event time, then late, broken and foreign ones. Returns how many of each."""
        start = (time.time() - 200) // fleet.WINDOW_SECONDS * fleet.WINDOW_SECONDS
        for first in range(0, STEPS, RECORDS_A_REQUEST):
            for device, key in keys.items():
                steps = range(first, first + RECORDS_A_REQUEST)
                records = [fleet.record(device, s + 1, start + s * STEP_SECONDS) for s in steps]
                self.api.telemetry(device, key, records)
        device, key = next(iter(keys.items()))
        late = [fleet.record(device, STEPS + 1 + i, start + i) for i in range(3)]
        self.api.telemetry(device, key, late)
        self.api.telemetry(device, key, [{**fleet.record(device, STEPS + 4, start), "temperature": "hot"}])
        return {"good": DEVICES * STEPS, "late": len(late), "rejected": 1}

    def test_strangers_read_the_lake_and_agree(self):
        devices = fleet.names(DEVICES)
        # The last device is in no reference table: an inner join drops its rows.
        fleet.submit(self.server, devices[:-1])
        sent = self.publish({d: self.api.provision(d) for d in devices})
        total = sum(sent.values())
        self.api.wait_committed(fleet.JOB, total)
        paths = {t: lake.path_of(self.server.data, n, t) for n, t in [("cold", "telemetry"), ("warm", "site_10s")]}
        wait_until(lambda: lake.counts(paths["telemetry"])["deltalake"] >= total, 30, "the archive is complete")

        counters = self.api.job(fleet.JOB)["counters"]
        self.assertEqual((counters["consumed"], counters["late"], counters["rejected"]), (total, sent["late"], sent["rejected"]))
        ways_out = ("filtered", "aggregated", "passed", "late", "rejected")
        self.assertEqual(counters["consumed"], sum(counters[w] for w in ways_out), "a record is counted in one way out")

        cold = lake.counts(paths["telemetry"])
        self.assertEqual(cold, dict.fromkeys(cold, total))
        warm = lake.counts(paths["site_10s"])
        self.assertEqual(len(set(warm.values())), 1, warm)
        self.assertEqual(warm["duckdb"], self.api.value("SELECT COUNT(*) AS n FROM site_10s"))
        self.assertEqual(cold["duckdb"], self.api.value("SELECT COUNT(*) AS n FROM cold.telemetry"))
        self.compare_windows(paths, devices)

    def compare_windows(self, paths, devices):
        late = lake.path_of(self.server.data, "late", "site_10s")
        known = [(d, fleet.site_of(d)) for d in devices[:-1]]
        with lake.connect({"cold": paths["telemetry"], "warm": paths["site_10s"], "late": late}) as connection:
            connection.execute("CREATE TABLE devices (device_id VARCHAR, site VARCHAR)")
            connection.executemany("INSERT INTO devices VALUES (?, ?)", known)
            stored = lake.windows(connection, lake.WARM)
            self.assertGreaterEqual(len({start for start, _ in stored}), STEPS * STEP_SECONDS / fleet.WINDOW_SECONDS - 2)
            self.assertEqual(lake.differences(stored, lake.windows(connection, lake.RECOMPUTE)), [])
        self.assertEqual(lake.differences(stored, lake.windows_by_polars(paths["telemetry"], late, known)), [])
        self.assertEqual(self.api.value("SELECT COUNT(*) AS n FROM site_10s$late"), 3)
