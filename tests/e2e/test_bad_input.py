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
from server import Server, ServerTest, free_ports, is_root, log_records, run_binary

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
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
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
        other.http, other.mqtt, other.amqp = free_ports(3)
        code, out, err = run_binary(*other.command()[1:], timeout=120, cwd=self.server.home)
        self.assertNotEqual(code, 0)
        self.assertIn("in use", out + err)
        wait_until(self.api.is_healthy, 20, "the first server is healthy")

    def test_a_busy_port_is_named(self):
        with socket.socket() as taken, tempfile.TemporaryDirectory() as home:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            addresses = ["--http", f"127.0.0.1:{port}", "--mqtt", "127.0.0.1:0", "--amqp", "127.0.0.1:0"]
            code, out, err = run_binary("serve", "--data", f"{home}/data", *addresses, timeout=120, cwd=home)
        self.assertNotEqual(code, 0)
        self.assertIn(str(port), out + err)


def mount_tmpfs(path, mebibytes):
    """Mounts memory as a small disk; says why if it cannot."""
    if not is_root():
        return "mounting a small disk needs root"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", path], capture_output=True, text=True)
    return done.stderr.strip() or "mount failed" if done.returncode else None


class SmallDisk(unittest.TestCase):
    """A server on a disk that others fill while a device publishes, and empty again."""

    SIZE_MIB = 512
    DEVICE = "dev-000"

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
        self.key = self.api.provision(self.DEVICE)
        self.seq, self.acknowledged, self.statuses = 0, [], set()

    def fill(self, left_mib):
        """Takes all but so much of the disk."""
        path = os.path.join(self.home, "ballast")
        with open(path, "wb") as ballast:
            for is_last in (False, False, True):
                free = os.statvfs(self.home)
                try:
                    os.posix_fallocate(ballast.fileno(), 0, free.f_bavail * free.f_frsize - left_mib * MIB)
                    break
                except OSError:  # the server took its own reserve meanwhile
                    ballast.truncate(0)
                    if is_last:
                        raise
        return path

    def publish(self):
        """One record; whether it was acknowledged."""
        self.seq += 1
        try:
            self.api.telemetry(self.DEVICE, self.key, [{"device_id": self.DEVICE, "seq": self.seq}])
            self.acknowledged.append(self.seq)
            return True
        except ApiError as error:
            self.statuses.add(error.status)
            return False


class FullDisk(SmallDisk):
    """No room for anything."""

    def test_nothing_acknowledged_is_lost_and_ingestion_goes_on_when_there_is_room(self):
        self.assertTrue(all(self.publish() for _ in range(20)))
        ballast = self.fill(left_mib=8)
        wait_until(lambda: not self.publish(), 60, "ingestion is refused")
        self.assertIn(507, self.statuses)
        self.assertLessEqual(self.statuses, {503, 507})
        os.remove(ballast)
        wait_until(self.publish, 60, "ingestion goes on")
        self.assertTrue(all(self.publish() for _ in range(20)))
        self.assertEqual(self.server.stop(), 0)
        stored = [json.loads(r["payload"])["seq"] for r in log_records(self.server.data)]
        self.assertEqual([s for s in self.acknowledged if stored.count(s) != 1], [])


class ScarceDisk(SmallDisk):
    """Room for the log only: records are taken while jobs wait."""

    TABLES = """
CREATE TABLE telemetry (device_id STRING, seq BIGINT) WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json');
CREATE TABLE copies (device_id STRING, seq BIGINT)
WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'ops@example.com', 'description' = 'what was sent');
INSERT INTO copies SELECT device_id, seq FROM telemetry;
"""

    def copies(self):
        return sorted(row["seq"] for row in self.api.sql("SELECT seq FROM warm.copies"))

    def test_records_are_taken_while_jobs_wait_and_each_reaches_the_lake_once(self):
        self.api.script(self.TABLES)
        self.assertTrue(all(self.publish() for _ in range(20)))
        wait_until(lambda: self.copies() == self.acknowledged, 60, "the first records are in the lake")
        ballast = self.fill(left_mib=160)
        wait_until(lambda: self.api.job("copies")["state"] == "restarting", 30, "the job waits")
        self.assertTrue(all(self.publish() for _ in range(200)), "the log takes what it can")
        problems = self.api.json("GET", "/v1/status")["problems"]
        self.assertTrue(any(p.startswith("job copies: ") and "kept for the log" in p for p in problems), problems)
        self.assertEqual(len(self.copies()), 20, "the lake can be read, and does not grow")
        os.remove(ballast)
        wait_until(lambda: self.copies() == self.acknowledged, 90, "all records are in the lake, each once")
        wait_until(self.api.is_healthy, 10, "the server is healthy again")
