"""Copies of a data directory, each with a server of its own. Of those that share a lake one goes on; the others say why they do not.

Invariant checked: whoever writes the lake, each row is there once, and none is lost that a server which goes on has acknowledged.
"""

import shutil
import unittest

import lake
from api import Api, wait_until
from server import STOP_SECONDS, Server

DEVICE = "pump-1"
# What one life of a server adds.
ROWS = 20
TABLES = """
CREATE TABLE telemetry (device_id STRING, k BIGINT) WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json');
CREATE TABLE hot (k BIGINT) WITH ('connector' = 'lake', 'tier' = 'warm');
INSERT INTO hot SELECT k FROM telemetry
"""
JOBS = ("hot", "archive.telemetry")


def copy_if_there(source, target):
    """A server that runs may have removed a file since it was listed."""
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        pass


class Copies(unittest.TestCase):
    def new_server(self):
        server = Server()
        self.addCleanup(server.remove)
        (server.home / "thalweg.toml").write_text("checkpoint-interval = '200ms'\n")
        return server

    def first(self):
        """A server with the first rows in its lake."""
        server = self.new_server().start()
        server.api().script(TABLES)
        self.key = server.api().provision(DEVICE)
        self.feed(server, 1)
        return server

    def copy_of(self, server):
        """A server over a copy of the directory of one that runs, and has nothing to do."""
        copy = self.new_server()
        copy.token = server.token
        shutil.copytree(server.data, copy.data, symlinks=True, copy_function=copy_if_there)
        return copy

    def feed(self, server, life):
        """Publishes the rows of a life, and waits until they are committed."""
        first = (life - 1) * ROWS
        server.api().telemetry(DEVICE, self.key, [{"device_id": DEVICE, "k": k} for k in range(first, first + ROWS)])
        for job in JOBS:
            wait_until(lambda: server.api().job(job)["committed"]["consumed"] == first + ROWS, 30, f"job {job} has committed life {life}")

    def check_rows(self, server, lives):
        """Each row is there once, as others read it; and each record of the archive."""
        tables = {"hot": lake.path_of(server.data, "warm", "hot"), "cold": lake.path_of(server.data, "cold", "telemetry")}
        with lake.connect(tables) as connection:
            for table in tables:
                rows = connection.execute(f"SELECT k FROM {table} ORDER BY k").fetchall()
                self.assertEqual([k for (k,) in rows], list(range(lives * ROWS)), table)

    def check_fenced(self, server):
        """It ends by itself, and says why and what to do."""
        self.assertGreater(server.process.wait(STOP_SECONDS), 0, server.tail())
        self.assertIn("another process has taken the lake at", server.log())
        self.assertIn("hint: stop one of the two processes", server.log())

    def check_ahead(self, server):
        """It serves, but its jobs have stopped, and say why and what to do."""
        for job in JOBS:
            failed = wait_until(lambda: (j := server.api().job(job))["state"] == "failed" and j, 30, f"job {job} stops")
            self.assertIn("the lake is ahead of the checkpoint", failed["error"])
            self.assertIn("(hint: ", failed["error"])

    def test_of_two_servers_over_one_lake_one_goes_on(self):
        owner = self.first()
        owner.stop()
        shared = owner.home / "lake"
        shutil.move(owner.data / "lake", shared)
        (owner.data / "lake").symlink_to(shared)
        owner.start()

        # The lock holds: the copy does not even start, and the owner does not notice.
        old = self.copy_of(owner)
        with self.assertRaisesRegex(AssertionError, "the lake at .* is in use by another process"):
            old.start()
        self.assertIn("hint: stop the other process", old.log())
        self.feed(owner, 2)
        self.check_rows(owner, 2)

        # A lock that does not hold, as on some network file systems. The copy is from before the last rows: it fences the owner off, but
        # has nothing to go on from; so the owner does, when it is started again.
        (shared / "_lock").unlink()
        old.start(expected=Api.is_unwell)
        self.check_fenced(owner)
        self.check_ahead(old)
        self.check_rows(old, 2)
        old.stop()
        owner.start()
        self.feed(owner, 3)
        self.check_rows(owner, 3)

        # A copy with all that the owner had: it goes on instead of it.
        new = self.copy_of(owner)
        (shared / "_lock").unlink()
        new.start()
        self.check_fenced(owner)
        self.feed(new, 4)
        self.check_rows(new, 4)
        with self.assertRaisesRegex(AssertionError, "the lake at .* is in use by another process"):
            owner.start()
        new.stop()
        owner.start(expected=Api.is_unwell)
        self.check_ahead(owner)
        self.check_rows(new, 4)

    def test_a_copy_with_its_lake_is_another_server(self):
        owner = self.first()
        other = self.copy_of(owner).start()
        for server in (owner, other):
            self.feed(server, 2)
        for server in (owner, other):
            self.check_rows(server, 2)
        with self.assertRaisesRegex(AssertionError, "data directory .* is in use by process"):
            second = self.new_server()
            second.data = owner.data
            second.start()
        wait_until(owner.api().is_healthy, 20, "the first server is healthy")


if __name__ == "__main__":
    unittest.main()
