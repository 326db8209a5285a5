"""Whatever people send or do wrong: it is refused with a reason or kept with a reason, and the rest goes on."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import fleet
from api import ApiError, wait_until
from server import Server, ServerTest, free_port, is_root, log_records, run_binary

MIB = 1024 * 1024


class BadRecords(ServerTest):
    """Records that cannot be used end in the dead-letter table, with the reason."""

    def test_unusable_records_are_kept_with_their_reason(self):
        (device,) = fleet.names(1)
        fleet.submit(self.server, [device])
        key = self.api.provision(device)
        good = fleet.record(device, 1, time.time())
        without_device = {k: v for k, v in good.items() if k != "device_id"}
        bad = {
            "not JSON": '{"device_id":',
            "a wrong type": json.dumps({**good, "temperature": "hot"}),
            "no device": json.dumps(without_device),
            "another device": json.dumps({**good, "device_id": "dev-999"}),
        }
        for payload in [*bad.values(), json.dumps(good)]:
            self.publish(device, key, payload)
        self.api.wait_consumed(fleet.JOB, len(bad) + 1)
        dead = "SELECT reason, payload FROM telemetry$dlq ORDER BY _offset"
        rows = wait_until(lambda: self.rows(dead, len(bad)), 30, "the rejects are in the dead-letter table")
        self.assertEqual([r["payload"] for r in rows], list(bad.values()), "byte for byte")
        self.assertIn("temperature", rows[1]["reason"])
        self.assertTrue(all("device_id" in r["reason"] for r in rows[2:]), rows)
        self.assertEqual(self.api.job(fleet.JOB)["state"], "running", "bad records do not stop a job")

    def rows(self, query, count):
        try:
            rows = self.api.sql(query)
        except ApiError as error:
            self.assertEqual(error.status, 404, error)
            return None
        return rows if len(rows) >= count else None

    def publish(self, device, key, payload):
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.server.mqtt), "-q", "1", "-u", device, "-P", key]
        command += ["-i", device, "-t", f"devices/{device}/telemetry", "-m", payload]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 0, done.stderr)


class BadRequests(ServerTest):
    """Requests that cannot be answered say what was wrong."""

    def refused(self, *arguments, **options):
        with self.assertRaises(ApiError) as caught:
            self.api.request(*arguments, **options)
        return caught.exception

    def test_http_refuses_what_is_not_json_and_what_is_too_long(self):
        key = self.api.provision("dev-000")
        path = "/v1/devices/dev-000/telemetry"
        self.assertEqual(self.refused("POST", path, "{nonsense", token=key).status, 400)
        try:
            status = self.refused("POST", path, b'{"a":"' + b"x" * (2 * MIB) + b'"}', token=key).status
        except OSError:
            status = 413  # the server closed the connection before all of it was sent
        self.assertEqual(status, 413)
        record = b'{"a":"' + b"x" * (300 * 1024) + b'"}'
        long = self.refused("POST", path, record, token=key)
        self.assertEqual(long.status, 413, long)
        self.assertIn("262144", long.text)
        self.assertEqual(self.refused("POST", "/v1/devices", '{"device_id":').status, 400)
        self.assertEqual(self.refused("GET", "/v1/nothing").status, 404)
        self.assertEqual(self.refused("GET", "/v1/devices", token="twt_wrong").status, 401)

    def test_a_wrong_column_is_shown_with_its_place_and_the_nearest_name(self):
        fleet.submit(self.server, fleet.names(1))
        error = self.refused("POST", "/v1/sql", "SELECT\n  temprature FROM cold.telemetry", content_type="text/plain")
        self.assertEqual(error.status, 400, error)
        for part in ("temprature", "2:3", "temperature"):
            self.assertIn(part, error.text)

    def test_a_broken_reference_file_leaves_the_old_version(self):
        (device,) = fleet.names(1)
        path = fleet.submit(self.server, [device])
        key = self.api.provision(device)
        path.write_text("device_id,site,model\n" + device + '\n"unclosed')
        wait_until(lambda: "devices" in self.server.log().rsplit("WARN", 1)[-1], 20, "the server reports the broken file")
        self.api.telemetry(device, key, [fleet.record(device, s, time.time()) for s in (1, 2)])
        self.api.wait_consumed(fleet.JOB, 2)
        counters = self.api.job(fleet.JOB)["counters"]
        self.assertEqual((counters["aggregated"], counters["filtered"]), (2, 0), "joined with the old version")


class BadStarts(ServerTest):
    """A server that cannot start says why and ends."""

    def test_a_second_server_on_the_same_directory_is_refused(self):
        other = Server(self.server.home)
        other.http, other.mqtt = free_port(), free_port()
        code, out, err = run_binary(*other.command()[1:], timeout=30, cwd=self.server.home)
        self.assertNotEqual(code, 0)
        self.assertIn("in use", out + err)
        self.assertTrue(self.api.is_healthy())

    def test_a_busy_port_is_named(self):
        with socket.socket() as taken, tempfile.TemporaryDirectory() as home:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            addresses = ["--http", f"127.0.0.1:{port}", "--mqtt", "127.0.0.1:0"]
            code, out, err = run_binary("serve", "--data", f"{home}/data", *addresses, timeout=30, cwd=home)
        self.assertNotEqual(code, 0)
        self.assertIn(str(port), out + err)


def mount_tmpfs(path, mebibytes):
    """Mounts memory as a small disk; says why if it cannot."""
    if not is_root():
        return "mounting a small disk needs root"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", path], capture_output=True, text=True)
    return done.stderr.strip() or "mount failed" if done.returncode else None


class FullDisk(unittest.TestCase):
    """A disk that fills up while devices publish, and gets room again."""

    SIZE_MIB = 512
    LEFT_MIB = 8

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="thalweg-e2e-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        problem = mount_tmpfs(self.home, self.SIZE_MIB)
        if problem:
            self.skipTest(problem)
        self.addCleanup(subprocess.run, ["umount", "--lazy", self.home])
        self.server = Server(self.home)
        self.addCleanup(self.server.remove)
        self.server.start()
        self.api = self.server.api()

    def fill(self):
        """Takes all but a little of the disk."""
        free = os.statvfs(self.home)
        size = free.f_bavail * free.f_frsize - self.LEFT_MIB * MIB
        path = os.path.join(self.home, "ballast")
        with open(path, "wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, size)
        return path

    def test_nothing_acknowledged_is_lost_and_ingestion_goes_on_when_there_is_room(self):
        key = self.api.provision("dev-000")
        acknowledged, seq, statuses = [], 0, set()

        def publish():
            nonlocal seq
            seq += 1
            try:
                self.api.telemetry("dev-000", key, [{"device_id": "dev-000", "seq": seq}])
                acknowledged.append(seq)
                return True
            except ApiError as error:
                statuses.add(error.status)
                return False

        self.assertTrue(all(publish() for _ in range(20)))
        ballast = self.fill()
        wait_until(lambda: not publish(), 60, "ingestion is refused")
        self.assertIn(507, statuses)
        self.assertLessEqual(statuses, {503, 507})
        os.remove(ballast)
        wait_until(publish, 60, "ingestion goes on")
        self.assertTrue(all(publish() for _ in range(20)))
        self.assertEqual(self.server.stop(), 0)
        stored = [json.loads(r["payload"])["seq"] for r in log_records(self.server.data)]
        self.assertEqual([s for s in acknowledged if stored.count(s) != 1], [])
