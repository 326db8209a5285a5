"""The harness itself: a checker that cannot fail proves nothing, so each is given what it must find."""

import tempfile
import unittest
from datetime import datetime, timezone
from pathlib import Path

import pyarrow
from deltalake import write_deltalake

import fleet
import lake
from api import statements
from journal import Journal
from server import find_token

MICROS = pyarrow.timestamp("us", "UTC")


def micros(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1_000_000)


class Texts(unittest.TestCase):
    def test_the_token_is_found_in_what_a_first_start_prints(self):
        self.assertEqual(find_token("starting\n  admin token: twt_a1_B-2 (shown once)\n"), "twt_a1_B-2")
        self.assertIsNone(find_token("listening on 127.0.0.1"))

    def test_a_script_is_split_outside_of_texts_and_comments(self):
        script = "SELECT 'a;b'; -- no; end\nSELECT \"c;\" ;\n;SELECT 1"
        self.assertEqual(statements(script), ["SELECT 'a;b'", 'SELECT "c;"', "SELECT 1"])
        self.assertEqual(len(statements(fleet.SQL)), 4)


class Journals(unittest.TestCase):
    def setUp(self):
        self.journal = Journal()
        for seq in (1, 2, 3):
            self.journal.note_sent("a", seq)
        self.journal.note_acknowledged("a", 1)
        self.journal.note_acknowledged("a", 2)

    def test_what_may_happen_is_accepted(self):
        self.assertEqual(self.journal.violations([("a", 1), ("a", 2)]), [])
        self.assertEqual(self.journal.violations([("a", 1), ("a", 2), ("a", 3)]), [])

    def test_a_lost_a_doubled_an_invented_and_a_misplaced_record_are_found(self):
        self.assertEqual(self.journal.violations([("a", 1)]), ["acknowledged and lost: ('a', 2)"])
        self.assertIn("stored 2 times: ('a', 1)", self.journal.violations([("a", 1), ("a", 1), ("a", 2)]))
        self.assertEqual(self.journal.violations([("a", 1), ("a", 2), ("a", 9)]), ["never sent: ('a', 9)"])
        self.assertEqual(self.journal.violations([("a", 2), ("a", 1)]), ["out of order: ('a', 1) after 2"])


class Readers(unittest.TestCase):
    """The recomputation over a small lake made with another writer."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="thalweg-e2e-")
        self.addCleanup(directory.cleanup)
        self.data = Path(directory.name)
        times = ["2026-01-01T00:00:01", "2026-01-01T00:00:09", "2026-01-01T00:00:10", "2026-01-01T00:00:11", "2026-01-01T00:00:21"]
        cold = {
            "_partition": pyarrow.array([0] * 5, pyarrow.int32()),
            "_offset": pyarrow.array(range(5), pyarrow.int64()),
            "_reject": pyarrow.array([None] * 5, pyarrow.string()),
            "device_id": ["dev-000"] * 5,
            "ts": pyarrow.array([micros(t) for t in times], MICROS),
            "temperature": [20.0, 22.0, 30.0, 99.0, 40.0],
            "status": ["ok", "ok", "ok", "ok", "fault"],
            "date": ["2026-01-01"] * 5,
        }
        late = {"_partition": pyarrow.array([0], pyarrow.int32()), "_offset": pyarrow.array([3], pyarrow.int64())}
        self.cold = lake.path_of(self.data, "cold", "telemetry")
        self.late = lake.path_of(self.data, "late", "site_10s")
        write_deltalake(str(self.cold), pyarrow.table(cold), partition_by=["date"])
        write_deltalake(str(self.late), pyarrow.table(late))
        self.want = {
            (micros("2026-01-01T00:00:00"), "north"): (2, 21.0),
            (micros("2026-01-01T00:00:10"), "north"): (1, 30.0),
        }

    def connect(self):
        connection = lake.connect({"cold": self.cold, "late": self.late})
        connection.execute("CREATE TABLE devices AS SELECT 'dev-000' AS device_id, 'north' AS site")
        return connection

    def test_readers_agree(self):
        self.assertEqual(lake.counts(self.cold), {"deltalake": 5, "polars": 5, "duckdb": 5})
        self.assertTrue(lake.exists(self.data, "cold", "telemetry"))

    def test_two_engines_recompute_the_windows_without_late_and_filtered_rows(self):
        with self.connect() as connection:
            self.assertEqual(lake.windows(connection, lake.RECOMPUTE), self.want)
        self.assertEqual(lake.windows_by_polars(self.cold, self.late, [("dev-000", "north")]), self.want)

    def test_a_wrong_a_missing_and_an_invented_window_are_found(self):
        first, second = sorted(self.want)
        self.assertEqual(lake.differences(self.want, self.want), [])
        self.assertEqual(len(lake.differences({**self.want, first: (3, 21.0)}, self.want)), 1)
        self.assertEqual(len(lake.differences({**self.want, first: (2, 21.1)}, self.want)), 1)
        self.assertEqual(len(lake.differences({second: self.want[second]}, self.want)), 1)
        self.assertEqual(len(lake.differences({**self.want, (first[0], "south"): (1, 1.0)}, self.want)), 1)
        self.assertEqual(lake.differences({first: self.want[first]}, self.want), [], "the second may still be open")
        self.assertEqual(len(lake.differences({}, self.want)), 1)
