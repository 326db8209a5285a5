"""Commands as an operator types them: what they print, and what they say when something is wrong."""

import json
import os
import subprocess
import time

import fleet
import settings
from api import ApiError, wait_until
from server import ServerTest, run_binary


class Commands(ServerTest):
    def command(self, *arguments, token=None):
        """Runs a command against the server; returns exit code, standard output, standard error."""
        connection = ["--server", self.server.base(), "--token", token or self.server.token]
        return run_binary(*arguments, *connection, cwd=self.server.home)

    def done(self, *arguments, **options):
        code, out, err = self.command(*arguments, **options)
        self.assertEqual((code, err), (0, ""), f"{arguments}: {out}")
        return out

    def refused(self, *arguments, **options):
        """Message and hint of a command that fails."""
        code, _, err = self.command(*arguments, **options)
        self.assertNotEqual(code, 0, arguments)
        self.assertTrue(err.startswith("error: "), err)
        return err

    def test_a_wrong_activation_key_is_about_the_activation_key(self):
        self.done("devices", "register", "pump-1")
        said = self.refused("devices", "activate", "pump-1", "--activation-key", "twa_pump-1_wrong")
        self.assertIn("hint: show the activation key", said)
        self.assertNotIn("token", said)

    def test_a_lost_key_is_replaced(self):
        lost = self.api.provision("pump-1")
        key = self.done("devices", "new-key", "pump-1").splitlines()[-1]
        self.api.telemetry("pump-1", key, [{"device_id": "pump-1"}])
        with self.assertRaises(ApiError) as caught:
            self.api.telemetry("pump-1", lost, [{"device_id": "pump-1"}])
        self.assertEqual(caught.exception.status, 401)

    def test_tokens_are_made_listed_and_revoked(self):
        token = self.done("tokens", "create", "--role", "analyst", "--name", "ana", "--expires", "90d").splitlines()[-1]
        self.done("sql", "SHOW TABLES", token=token)
        listed = next(line for line in self.done("tokens", "list").splitlines() if line.startswith("ana"))
        self.assertEqual(listed.split()[1], "analyst")
        self.assertEqual(len(listed.split()), 4, "made and ends")
        self.assertIn("may read", self.refused("sql", "STOP JOB x", token=token))
        self.done("tokens", "revoke", "ana")
        self.assertIn("not valid", self.refused("sql", "SHOW TABLES", token=token))
        short = self.done("tokens", "create", "--role", "viewer", "--name", "guest", "--expires", "15s").splitlines()[-1]
        # Its time runs from before it was on the disk.
        self.done("jobs", "list", token=short)
        time.sleep(15.5)
        self.assertIn("not valid", self.refused("jobs", "list", token=short))

    def test_a_refused_publisher_is_told_in_words(self):
        keys = self.server.home / "keys.json"
        keys.write_text(json.dumps({"load-0001": "twd_load-0001_wrong"}))
        for protocol in ("http", "mqtt"):
            options = ["--devices", 1, "--duration", "60s", "--protocol", protocol, "--keys", keys]
            said = self.refused("publish", *options, "--mqtt", f"127.0.0.1:{self.server.mqtt}")
            self.assertIn("device load-0001 was refused: ", said)
            self.assertIn("hint: ", said)
            self.assertNotIn("{", said)
        wait_until(lambda: "login of device load-0001 from 127.0.0.1" in self.server.log(), 5, "the login is in the server's log")
        self.assertNotIn("wrong\n", self.server.log(), "no key is in the log")

    def test_an_unknown_stream_is_answered_with_those_that_there_are(self):
        code, _, err = run_binary("log", "--data", self.server.data, "dump", "nope")
        self.assertNotEqual(code, 0)
        self.assertEqual(err, 'error: there is no stream "nope"\nhint: there are: telemetry\n')

    def test_a_wrong_line_of_a_file_is_named_by_its_number(self):
        script = self.server.home / "script.sql"
        script.write_text("-- a comment\nSHOW TABLES;\n\nSHOW JOBS;   SELECT x\nFROM nothing;\n")
        self.assertIn("5:6: table 'nothing' does not exist", self.refused("sql", "--file", script))

    def test_the_lint_names_places_of_a_file_and_its_exit_code_tells_whether_there_are_any(self):
        script = self.server.home / "script.sql"
        hop = "FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end"
        script.write_text(f"SELECT window_start, window_end, COUNT(*) AS n\n{hop};\n")
        for arguments in ([script], ["--file", script], [script.read_text()]):
            code, out, err = run_binary("sql", "--lint", "flink", *arguments)
            self.assertEqual((code, err), (1, "1 findings: 1 refused, 0 read differently\n"), arguments)
            self.assertTrue(out.startswith("2:12: Flink refuses this HOP: "), out)
            self.assertIn("[hop-multiple]\n", out)
        code, out, _ = run_binary("sql", "--lint", "flink", "--format", "json", script)
        found = json.loads(out)
        self.assertEqual((code, found["line"], found["column"], found["rule"], found["flink"]), (1, 2, 12, "hop-multiple", "refuses"))
        script.write_text("SHOW TABLES;\n")
        for output in ("table", "json"):
            done = run_binary("sql", "--lint", "flink", "--format", output, script)
            self.assertEqual(done, (0, "", "no findings\n"))
        code, out, err = run_binary("sql", "--lint", "flink", "--file", self.server.home / "nothing.sql")
        self.assertNotEqual(code, 0)
        self.assertEqual(out, "")
        self.assertTrue(err.startswith("error: ") and "nothing.sql" in err, err)

    def test_csv_holds_no_formula_and_a_table_is_as_wide_as_a_terminal(self):
        fleet.submit(self.server, fleet.names(1))
        rows = "SELECT '=1+1' AS f, -1.5 AS n FROM (SELECT COUNT(*) AS c FROM cold.telemetry) AS x"
        self.assertEqual(self.done("sql", "--format", "csv", rows), "f,n\n'=1+1,-1.5\n")
        self.assertEqual(json.loads(self.done("sql", "--format", "json", rows)), {"f": "=1+1", "n": -1.5})
        shown = self.done("sql", "SHOW JOBS")
        self.assertLessEqual(max(map(len, shown.splitlines())), 130, shown)
        self.assertIn("archive.telemetry", shown)
        described = self.done("sql", f"DESCRIBE JOB {fleet.JOB}")
        self.assertIn("FOR SYSTEM_TIME AS OF", described)
        self.assertIn("keeps the history", self.refused("sql", "STOP JOB archive.telemetry"))

    def test_a_missing_reference_file_is_logged_once_and_shown_until_it_is_back(self):
        path = fleet.submit(self.server, fleet.names(1))
        away = path.rename(path.with_suffix(".away"))
        problems = wait_until(lambda: self.api.json("GET", "/v1/status")["problems"], 20, "the server is degraded")
        wait_until(self.api.is_unwell, 20, "the server says so")
        self.assertEqual(len(problems), 1, problems)
        self.assertIn("reference table devices", problems[0])
        wait_until(lambda: "reference table devices" in self.server.log(), 20, "it is logged")
        time.sleep(8)
        self.assertEqual(self.server.log().count("reference table devices"), 1, "it is logged once")
        away.rename(path)
        wait_until(self.api.is_healthy, 20, "the server is well again")
        wait_until(lambda: "can be used again" in self.server.log(), 20, "that is logged too")

    def test_a_server_goes_on_and_ends_in_order_when_nothing_takes_what_it_says(self):
        self.server.stop()
        # As on a full disk. There is much to say.
        self.server.wrapper = ["env", "RUST_LOG=debug", "sh", "-c", 'exec "$@" > /dev/full 2>&1', "sh"]
        self.server.start()
        self.server.api().provision("pump-1")
        self.assertEqual(self.server.stop(), 0)

    def test_commands_read_the_data_directory_that_the_settings_name(self):
        settings_file = self.server.home / "thalweg.toml"
        settings_file.write_text(settings_file.read_text() + "data = 'data'\n")
        for words in (["log", "ls"], ["log", "verify"], ["lake", "verify"]):
            self.assertNotIn("there is no", run_binary(*words, cwd=self.server.home)[2], words)
        self.assertIn("telemetry", run_binary("log", "ls", cwd=self.server.home)[1])

    def test_a_list_whose_reader_has_seen_enough_ends_without_a_word(self):
        for words in (["log", "ls"], ["log", "verify"], ["lake", "ls"]):
            reader, writer = os.pipe()
            os.close(reader)
            command = [str(settings.binary), *words, "--data", str(self.server.data)]
            done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
            os.close(writer)
            self.assertEqual((done.returncode, done.stderr), (0, ""), words)

    def test_a_result_that_is_too_long_ends_with_a_hint(self):
        (device,) = fleet.names(1)
        fleet.submit(self.server, [device])
        key = self.api.provision(device)
        count = 1_100
        self.api.telemetry(device, key, [fleet.record(device, seq, time.time()) for seq in range(count)])
        archived = "SELECT COUNT(*) AS n FROM cold.telemetry"
        wait_until(lambda: self.api.value(archived) == count, 30, "the records are archived")
        square = "SELECT {} FROM cold.telemetry AS a JOIN cold.telemetry AS b ON a.device_id = b.device_id"
        self.assertEqual(self.api.value(square.format("COUNT(*) AS n")), count * count)
        said = self.refused("sql", "--format", "csv", square.format("a.seq AS x, b.seq AS y"))
        self.assertIn("more than 1000000 rows", said)
        self.assertIn("LIMIT", said)
