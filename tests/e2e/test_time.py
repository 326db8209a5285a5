"""Devices whose clocks are wrong: one is a day ahead, one is ten minutes behind. Nobody else's windows suffer, and both are counted."""

import time

import fleet
from server import ServerTest

DEVICES = 12
STEPS = 60
DAY = 86_400
TEN_MINUTES = 600
WRONG = 5


class WrongClocks(ServerTest):
    def publish(self, keys, steps, start):
        """In order of event time: a request holds no more than the delay of the watermark."""
        for first in steps[::2]:
            for device, key in keys.items():
                self.api.telemetry(device, key, [fleet.record(device, s + 1, start + s) for s in (first, first + 1)])

    def shown(self):
        (row,) = [r for r in self.api.sql("SHOW JOBS") if r["job"] == fleet.JOB]
        return row

    def test_a_clock_ahead_closes_no_windows_and_one_behind_fills_late(self):
        devices = fleet.names(DEVICES)
        fleet.submit(self.server, devices)
        keys = {d: self.api.provision(d) for d in devices}
        start = (time.time() - 300) // fleet.WINDOW_SECONDS * fleet.WINDOW_SECONDS
        self.publish(keys, range(STEPS // 2), start)
        self.api.wait_consumed(fleet.JOB, DEVICES * STEPS // 2)
        ahead, behind = devices[0], devices[1]
        seq = range(STEPS + 1, STEPS + 1 + WRONG)
        self.api.telemetry(ahead, keys[ahead], [fleet.record(ahead, n, time.time() + DAY + n) for n in seq])
        self.api.telemetry(behind, keys[behind], [fleet.record(behind, n, start - TEN_MINUTES + n) for n in seq])
        self.api.wait_consumed(fleet.JOB, DEVICES * STEPS // 2 + 2 * WRONG)
        self.publish(keys, range(STEPS // 2, STEPS), start)
        total = DEVICES * STEPS + 2 * WRONG
        self.api.wait_committed(fleet.JOB, total)
        # What is rejected is written by the archive.
        self.api.wait_committed("archive.telemetry", total)

        counters = self.api.job(fleet.JOB)["counters"]
        self.assertEqual((counters["late"], counters["rejected"]), (WRONG, WRONG))
        row = self.shown()
        self.assertEqual((row["late"], row["rejected"]), (WRONG, WRONG), row)
        metrics = self.api.request("GET", "/metrics")
        for outcome in ("late", "rejected"):
            line = next(x for x in metrics.splitlines() if f'job="{fleet.JOB}"' in x and f'"{outcome}"' in x)
            self.assertEqual(float(line.rsplit(" ", 1)[1]), WRONG, line)

        late = self.api.sql(f"SELECT _device_id FROM {fleet.JOB}$late")
        self.assertEqual([r["_device_id"] for r in late], [behind] * WRONG)
        rejected = self.api.sql("SELECT * FROM telemetry$dlq")
        self.assertEqual(len(rejected), WRONG)
        self.assertTrue(all("after it was received; at most 300 s is allowed" in r["reason"] for r in rejected), rejected)
        newest = self.api.value(f"SELECT MAX(window_end) AS w FROM {fleet.JOB}")
        self.assertLess(newest, fleet.time_text(start + STEPS + fleet.WINDOW_SECONDS))
        closed = self.api.value(f"SELECT SUM(n) AS n FROM {fleet.JOB}")
        steps = range(STEPS - fleet.WINDOW_SECONDS)
        whole = [fleet.record(d, s + 1, start + s) for d in devices for s in steps]
        self.assertEqual(closed, sum(r["status"] != "fault" for r in whole), "every window but the last is closed and whole")
