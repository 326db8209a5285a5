"""The load generator: what it says was acknowledged is in the log, once, over every protocol."""

import json
from collections import Counter

from server import ServerTest, log_records, run_binary

DEVICES = 5
RATE = 200
SECONDS = 3
PROTOCOLS = ("mqtt", "mqtt3", "amqp", "http")


class Publish(ServerTest):
    def publish(self, protocol):
        """Publishes with devices named after the protocol. Returns the report, as name → number, and the journal."""
        journal = self.server.home / f"{protocol}.journal"
        command = ["publish", "--server", self.server.base(), "--token", self.server.token, "--protocol", protocol]
        command += ["--mqtt", f"127.0.0.1:{self.server.mqtt}", "--amqp", f"127.0.0.1:{self.server.amqp}"]
        command += ["--devices", DEVICES, "--prefix", protocol]
        command += ["--rate", RATE, "--duration", f"{SECONDS}s", "--keys", "keys.json", "--journal", journal]
        code, out, err = run_binary(*command, cwd=self.server.home)
        self.assertEqual(code, 0, out + err)
        report = {words[0]: int(words[1]) for words in map(str.split, out.splitlines()) if words[0] != "latency"}
        lines = [line.split() for line in journal.read_text().splitlines()]
        return report, {(device, int(seq)) for device, seq in lines}, len(lines)

    def test_what_it_reports_is_in_the_log(self):
        journals, reports = {}, {}
        for protocol in PROTOCOLS:
            reports[protocol], journals[protocol], lines = self.publish(protocol)
            self.assertEqual(lines, len(journals[protocol]), "a record is acknowledged once")
            self.assertEqual(reports[protocol]["acknowledged"], lines, reports)
            # However slow the disk is, what was sent is waited for.
            self.assertGreater(lines, reports[protocol]["sent"] // 2, reports)
            self.assertGreaterEqual(reports[protocol]["sent"], 2 * DEVICES, reports)
        stored = Counter((r["device_id"], json.loads(r["payload"])["seq"]) for r in log_records(self.server.data))
        self.assertEqual(set().union(*journals.values()) - stored.keys(), set(), "acknowledged and lost")
        self.assertEqual([key for key, times in stored.items() if times > 1], [], "stored twice")
        self.assertLessEqual(len(stored), sum(report["sent"] for report in reports.values()), reports)
