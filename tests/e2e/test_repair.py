"""A log that a disk has damaged. What is whole stays; what is not is named, and given up only when somebody says so."""

import json
import unittest

from api import Api, wait_until
from server import ServerTest, log_records, run_binary

RECORDS = 40
HEADER_BYTES, FRAME_HEADER_BYTES = 64, 48


class Repair(ServerTest):
    def publish(self, key, first):
        """One request, and so one frame, for each record."""
        for n in range(first, first + RECORDS):
            self.api.telemetry("pump-1", key, [{"device_id": "pump-1", "n": n}])

    def damage(self):
        """Flips a bit of the tenth frame; returns its partition and its offset."""
        newest = max(self.server.data.glob("log/telemetry/*/*.log"), key=lambda path: path.read_bytes().count(b"pump-1"))
        content, at = bytearray(newest.read_bytes()), HEADER_BYTES
        for _ in range(9):
            at += int.from_bytes(content[at : at + 4], "little")
        content[at + FRAME_HEADER_BYTES + 20] ^= 4
        newest.write_bytes(content)
        return int(newest.parent.name), int.from_bytes(content[at + 16 : at + 24], "little")

    def run_log(self, *arguments):
        code, out, err = run_binary("log", "--data", self.server.data, *arguments)
        return code, out + err

    def test_one_damaged_record_costs_one_record_and_a_word_of_an_operator(self):
        key = self.api.provision("pump-1")
        self.publish(key, 0)
        self.server.stop()
        partition, offset = self.damage()

        code, said = self.run_log("verify")
        self.assertEqual(code, 1, said)
        self.server.start(expected=Api.is_unwell)
        problems = self.server.api().json("GET", "/v1/status")["problems"]
        self.assertIn("thalweg log repair", problems[0])
        code, said = self.run_log("repair")
        self.assertIn("in use", said, "not while a server has the log open")
        self.server.stop()

        code, said = self.run_log("repair")
        command = f"--stream telemetry --partition {partition} --accept-loss {offset}..{offset + 1}"
        self.assertEqual(code, 1)
        self.assertIn(f"to repair it: thalweg log repair --data {self.server.data.resolve()} {command}\n", said)
        code, said = self.run_log("repair", *command.replace(f"{offset}..{offset + 1}", "0..1").split())
        self.assertNotEqual(code, 0, "other offsets than those that would be lost")
        code, said = self.run_log("repair", *command.split())
        self.assertEqual(code, 0, said)
        self.assertEqual(self.run_log("verify")[0], 0)

        self.server.start()
        self.api = self.server.api()
        wait_until(self.api.is_healthy, 20, "the server is healthy")
        self.publish(key, RECORDS)
        wait_until(lambda: len(list(log_records(self.server.data))) == 2 * RECORDS - 1, 10, "all records but one")
        kept = [json.loads(r["payload"])["n"] for r in log_records(self.server.data)]
        self.assertEqual(kept, [n for n in range(2 * RECORDS) if n != offset])


if __name__ == "__main__":
    unittest.main()
