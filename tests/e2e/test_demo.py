"""The first thing a newcomer runs."""

import tempfile
import unittest

from server import run_binary

SECONDS = 10


class Demo(unittest.TestCase):
    def demo(self, home):
        # Two hundred devices are about a thousand syncs, one after the other.
        code, out, err = run_binary("demo", "--for", f"{SECONDS}s", timeout=SECONDS + 900, cwd=home)
        self.assertEqual(code, 0, out + err)
        return out + err

    def test_it_runs_prints_a_balance_and_resumes(self):
        with tempfile.TemporaryDirectory(prefix="thalweg-e2e-") as home:
            self.assertIn("balance", self.demo(home).lower())
            self.assertIn("balance", self.demo(home).lower(), "the second run starts from the data of the first")
