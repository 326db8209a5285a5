"""A disk that fails under a running server. What it had acknowledged is there; from the first error on it acknowledges nothing, and ends."""

import http.client
import json
import os
import shutil
import subprocess
import unittest

from api import ApiError
from server import STOP_SECONDS, ServerTest, log_records

DEVICE = "pump-1"
# Of each thread; a start needs fewer.
FAILS_FROM = 40


def problem():
    """Why no call can be made to fail; None if it can."""
    if shutil.which("strace") is None:
        return "the program strace is missing"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True)
    return tried.stderr.strip() or "strace failed" if tried.returncode else None


class DiskErrors(ServerTest):
    def setUp(self):
        reason = problem()
        if reason:
            self.skipTest(reason)
        super().setUp()

    def publish(self, key, seq):
        """Sends one record, and so one frame; whether it was acknowledged."""
        try:
            self.server.api().telemetry(DEVICE, key, [{"device_id": DEVICE, "seq": seq}])
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True

    def test_after_a_failed_sync_nothing_is_acknowledged_and_what_was_is_kept(self):
        key = self.api.provision(DEVICE)
        self.server.stop()
        trace = self.server.home / "trace"
        inject = f"inject=fdatasync:error=EIO:when={FAILS_FROM}+"
        # With -D the server stays the child of this process, with its own exit code.
        self.server.wrapper = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", str(trace), "-e", "trace=fdatasync", "-e", inject]
        self.server.start()
        answers = [self.publish(key, seq) for seq in range(2 * FAILS_FROM)]
        self.assertIn("(INJECTED)", trace.read_text())
        self.assertIn(False, answers)
        acknowledged = answers.index(False)
        # Each of them took a sync of its own by the one thread that writes its partition.
        self.assertIn(acknowledged, range(1, FAILS_FROM))
        self.assertNotIn(True, answers[acknowledged:])
        self.assertGreater(self.server.process.wait(STOP_SECONDS), 0, self.server.tail())
        self.assertIn("the disk failed under the log", self.server.log())

        self.server.wrapper = []
        self.server.start()
        stored = [json.loads(record["payload"])["seq"] for record in log_records(self.server.data)]
        self.assertGreaterEqual(len(stored), acknowledged)
        self.assertEqual(stored, list(range(len(stored))))
        self.assertTrue(self.publish(key, len(stored)))


if __name__ == "__main__":
    unittest.main()
