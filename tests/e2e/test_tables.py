"""Tables come and go over a stream that stays: its archive holds every record once, and a restart finds all of it again."""

import time

import fleet
import lake
from api import ApiError, statements, wait_until
from server import CHECKPOINT_SECONDS, ServerTest, log_records

RECORDS = 5
STREAM_TABLE = statements(fleet.SQL)[0]


def named(name):
    """The stream's table under another name."""
    return STREAM_TABLE.replace("CREATE TABLE telemetry", f"CREATE TABLE {name}")


class Tables(ServerTest):
    def setUp(self):
        super().setUp()
        (self.device,) = fleet.names(1)
        self.key = self.api.provision(self.device)
        self.seq = 0
        self.api.sql(STREAM_TABLE)
        self.publish()

    def publish(self):
        """A few records, and time for a checkpoint."""
        numbers = range(self.seq + 1, self.seq + RECORDS + 1)
        self.seq += RECORDS
        self.api.telemetry(self.device, self.key, [fleet.record(self.device, n, time.time()) for n in numbers])
        time.sleep(2 * CHECKPOINT_SECONDS)

    def refused(self, statement):
        """Whether a statement is refused, as one that contradicts what is there."""
        try:
            self.api.sql(statement)
            return False
        except ApiError as error:
            self.assertEqual(error.status, 409, error)
            return True

    def restart(self):
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        self.api = self.server.api()

    def assert_archived_once(self):
        path = lake.path_of(self.server.data, "cold", "telemetry")
        stored = len(log_records(self.server.data))
        wait_until(lambda: lake.counts(path)["duckdb"] >= stored, 15, f"{stored} records are archived")
        with lake.connect({"cold": path}) as connection:
            found = connection.execute("SELECT count(*), count(DISTINCT seq) FROM cold").fetchone()
        self.assertEqual(found, (stored, stored))

    def test_a_table_that_others_need_is_not_dropped_under_them(self):
        self.api.sql(named("second").replace("temperature DOUBLE, ", ""))
        self.refused("DROP TABLE telemetry")
        self.publish()
        self.restart()
        self.publish()
        self.assert_archived_once()

    def test_a_table_under_another_name_does_not_archive_again(self):
        self.api.sql("DROP TABLE telemetry")
        self.publish()
        if self.refused(named("second")):
            self.api.sql(STREAM_TABLE)
        self.publish()
        self.restart()
        self.assert_archived_once()
