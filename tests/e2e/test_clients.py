"""Unrelated MQTT clients: mosquitto's and paho's, both versions of the protocol, good keys and bad ones."""

import json
import subprocess
import threading
import time

import fleet
import load
from api import ApiError, wait_until
from paho.mqtt.enums import MQTTProtocolVersion
from server import ServerTest, log_records

VERSIONS = {"mqttv311": MQTTProtocolVersion.MQTTv311, "mqttv5": MQTTProtocolVersion.MQTTv5}
REVOKE_SECONDS = 2
# The program and its clients share two cores with whatever else runs, so the bound of the test is wider than the promise.
REVOKE_SECONDS_MAX = REVOKE_SECONDS * 10


class Clients(ServerTest):
    def setUp(self):
        super().setUp()
        self.device, self.other = fleet.names(2)
        fleet.submit(self.server, [self.device, self.other])
        self.key = self.api.provision(self.device)
        self.other_key = self.api.provision(self.other)

    def mosquitto(self, program, version, *arguments, key=None, client=None, timeout=60):
        """Runs mosquitto_pub or mosquitto_sub as the first device; returns exit code and output."""
        command = [program, "-h", "127.0.0.1", "-p", str(self.server.mqtt), "-V", version, "-q", "1"]
        command += ["-u", self.device, "-P", key or self.key, "-i", client or self.device, *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout + done.stderr

    def connect(self, version, key=None):
        """A connected paho client of the first device, or None if it was refused."""
        answer = threading.Event()
        made = load.client(self.device, key or self.key, version)
        made.accepted = False

        def on_connect(_client, _data, _flags, reason, _properties):
            made.accepted = not reason.is_failure
            answer.set()

        made.on_connect = on_connect
        made.on_disconnect = lambda *_: answer.set()
        made.connect("127.0.0.1", self.server.mqtt)
        made.loop_start()
        self.addCleanup(made.loop_stop)
        self.assertTrue(answer.wait(60), "the server did not answer CONNECT")
        return made if made.accepted else None

    def assert_nothing_stored(self):
        self.assertEqual(log_records(self.server.data), [], "a refused record is in the log")

    def payload(self, seq):
        return json.dumps(fleet.record(self.device, seq, time.time()))

    def test_mosquitto_publishes_and_subscribes(self):
        for seq, version in enumerate(VERSIONS, 1):
            topic = f"devices/{self.device}/telemetry"
            code, text = self.mosquitto("mosquitto_pub", version, "-t", topic, "-m", self.payload(seq))
            self.assertEqual(code, 0, text)
            code, text = self.mosquitto("mosquitto_sub", version, "-E", "-t", f"devices/{self.device}/#")
            self.assertEqual(code, 0, text)
        self.api.wait_consumed(fleet.JOB, len(VERSIONS))

    def test_mosquitto_is_refused_with_a_wrong_key_and_beyond_its_own_topics(self):
        for version in VERSIONS:
            own, foreign = f"devices/{self.device}/telemetry", f"devices/{self.other}/telemetry"
            code, text = self.mosquitto("mosquitto_pub", version, "-t", own, "-m", "{}", key=self.other_key)
            self.assertNotEqual(code, 0, f"the key of another device: {text}")
            code, text = self.mosquitto("mosquitto_pub", version, "-t", own, "-m", "{}", client=self.other)
            self.assertNotEqual(code, 0, f"the client id of another device: {text}")
            for topic in (f"devices/{self.other}/#", "#", "devices/+/telemetry"):
                code, text = self.mosquitto("mosquitto_sub", version, "-E", "-t", topic)
                self.assertTrue(code != 0 or "denied" in text.lower(), f"{topic} was granted: {text}")
            self.mosquitto("mosquitto_pub", version, "-t", foreign, "-m", self.payload(1))
        self.assert_nothing_stored()

    def test_paho_publishes_with_quality_of_service_1(self):
        for seq, version in enumerate(VERSIONS.values(), 1):
            client = self.connect(version)
            sent = client.publish(f"devices/{self.device}/telemetry", self.payload(seq), qos=1)
            sent.wait_for_publish(60)
            self.assertTrue(sent.is_published())
            client.disconnect()
        self.api.wait_consumed(fleet.JOB, len(VERSIONS))

    def test_paho_is_told_that_a_topic_is_not_its_own(self):
        client = self.connect(MQTTProtocolVersion.MQTTv5)
        reasons = []
        client.on_publish = lambda _client, _data, _mid, reason, _properties: reasons.append(reason)
        client.publish(f"devices/{self.other}/telemetry", self.payload(1), qos=1)
        wait_until(lambda: reasons or not client.is_connected(), 10, "the server answers")
        self.assertTrue(not reasons or reasons[0].is_failure, reasons)
        self.assert_nothing_stored()

    def test_wrong_keys_are_refused_over_both_protocols(self):
        for version in VERSIONS.values():
            self.assertIsNone(self.connect(version, key="not-a-key"))
        for key in ("not-a-key", self.other_key):
            with self.assertRaises(ApiError) as refused:
                self.api.telemetry(self.device, key, [fleet.record(self.device, 1, time.time())])
            self.assertIn(refused.exception.status, (401, 403))
        self.assert_nothing_stored()

    def test_revocation_cuts_the_live_connection_and_refuses_the_next(self):
        took = []
        for version in VERSIONS.values():
            device = f"dev-1{version.value:02d}"
            self.device, self.key = device, self.api.provision(device)
            client = self.connect(version)
            cut = threading.Event()
            client.on_disconnect = lambda *_: cut.set()
            start = time.monotonic()
            self.api.revoke(device)
            self.assertTrue(cut.wait(REVOKE_SECONDS_MAX), "the connection of a revoked device is still open")
            took.append(time.monotonic() - start)
            self.assertIsNone(self.connect(version))
            with self.assertRaises(ApiError) as refused:
                self.api.telemetry(device, self.key, [fleet.record(device, 1, time.time())])
            self.assertIn(refused.exception.status, (401, 403))
        self.assertLess(min(took), REVOKE_SECONDS * 3, "not even once as it is promised")
