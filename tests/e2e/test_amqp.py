"""An unrelated AMQP 1.0 client, Qpid Proton: good keys and bad ones, own addresses and others, messages sent twice."""

import json
import os
import re
import threading
import time

import amqp
import fleet
from api import wait_until
from server import ServerTest, log_records
from test_bad_input import SmallDisk

RECORDS = 10_000
EPOCH = 7


class Amqp(ServerTest):
    def setUp(self):
        super().setUp()
        self.device, self.other = fleet.names(2)
        self.key = self.api.provision(self.device)
        self.other_key = self.api.provision(self.other)

    def send(self, messages, device=None, key=None, **options):
        return amqp.Device(self.server.amqp, device or self.device, key or self.key, messages, **options).run()

    def payload(self, seq):
        return json.dumps(fleet.record(self.device, seq, 1_700_000_000 + seq))

    def outcome(self, name):
        """A counter of the gateway."""
        found = re.search(rf'^thalweg_gateway_records_total{{outcome="{name}"}} (\d+)$', self.api.request("GET", "/metrics"), re.M)
        return int(found.group(1))

    def numbered(self):
        return [amqp.message(self.payload(n), epoch=EPOCH, seq=n) for n in range(RECORDS)]

    def test_everything_is_sent_twice_and_stored_once(self):
        for _ in range(2):
            sent = self.send(self.numbered())
            self.assertEqual((sent.accepted, sent.rejected, sent.errors), (RECORDS, [], []))
        stored = log_records(self.server.data)
        self.assertEqual(sorted(json.loads(r["payload"])["seq"] for r in stored), list(range(RECORDS)))
        self.assertEqual({r["device_id"] for r in stored}, {self.device})
        self.assertEqual(stored[0]["payload"], self.payload(0), "byte for byte")
        self.assertEqual((self.outcome("appended"), self.outcome("duplicate")), (RECORDS, RECORDS))

    def test_both_addresses_lead_to_a_job(self):
        fleet.submit(self.server, [self.device, self.other])
        for seq, address in enumerate(["messages/events", "telemetry"], 1):
            sent = self.send([amqp.message(self.payload(seq))], address=f"devices/{self.device}/{address}")
            self.assertEqual((sent.accepted, sent.errors), (1, []))
        self.api.wait_consumed(fleet.JOB, 2)

    def test_wrong_keys_and_no_keys_are_refused(self):
        for options in ({"key": "not-a-key"}, {"key": self.other_key}, {"device": "dev-999"}, {"allowed_mechs": "ANONYMOUS"}):
            sent = self.send([amqp.message("{}")], **options)
            self.assertEqual((sent.accepted, sent.errors), (0, ["amqp:unauthorized-access"]), options)
        self.assertEqual(log_records(self.server.data), [])

    def test_addresses_of_others_are_refused(self):
        for address in (f"devices/{self.other}/messages/events", f"devices/{self.other}/telemetry", "telemetry"):
            sent = self.send([amqp.message("{}")], address=address)
            self.assertEqual((sent.accepted, sent.errors), (0, ["amqp:unauthorized-access"]), address)
        self.assertEqual(log_records(self.server.data), [])

    def test_what_cannot_be_stored_is_rejected_and_the_rest_goes_on(self):
        sent = self.send(
            [
                amqp.message(self.payload(1)),
                amqp.message(self.payload(2), epoch=EPOCH),
                amqp.message(self.payload(3), epoch=EPOCH, seq="three"),
                amqp.message(json.dumps("x" * 262_144)),
                amqp.message(self.payload(4), epoch=EPOCH, seq=4),
            ]
        )
        self.assertEqual((sent.accepted, sent.errors), (2, []))
        self.assertEqual(sent.rejected, ["amqp:invalid-field", "amqp:invalid-field", "amqp:link:message-size-exceeded"])
        self.assertEqual([json.loads(r["payload"])["seq"] for r in log_records(self.server.data)], [1, 4])

    def test_a_message_larger_than_announced_ends_the_link(self):
        sent = self.send([amqp.message("x" * 400_000)])
        self.assertEqual((sent.accepted, sent.errors), (0, ["amqp:link:message-size-exceeded"]))
        self.assertEqual(log_records(self.server.data), [])

    def test_revocation_cuts_the_live_connection_and_refuses_the_next(self):
        # It says that it has more to send than it sends, so that it stays.
        waiting = amqp.Device(self.server.amqp, self.device, self.key, [amqp.message(self.payload(1))], seconds=300)
        waiting.end_if_done = lambda: None
        thread = threading.Thread(target=waiting.run, daemon=True)
        thread.start()
        wait_until(lambda: waiting.accepted, 60, "the record is acknowledged")
        start = time.monotonic()
        self.api.revoke(self.device)
        thread.join(60)
        self.assertFalse(thread.is_alive())
        self.assertLess(time.monotonic() - start, 20)
        self.assertEqual(waiting.errors[:1], ["amqp:unauthorized-access"])
        again = self.send([amqp.message(self.payload(2))])
        self.assertEqual((again.accepted, again.errors), (0, ["amqp:unauthorized-access"]))


class FullDisk(SmallDisk):
    """No room for anything."""

    def send(self, value, **number):
        message = amqp.message(json.dumps({"device_id": self.DEVICE, "seq": value}), **number)
        return amqp.Device(self.server.amqp, self.DEVICE, self.key, [message]).run()

    def test_a_message_that_finds_no_room_is_not_lost_and_none_overtakes_one_with_a_number(self):
        ballast = self.fill(left_mib=8)
        wait_until(lambda: not self.publish(), 60, "ingestion is refused")
        plain, numbered = self.send(1), self.send(2, epoch=EPOCH, seq=2)
        self.assertEqual((plain.accepted, plain.released, plain.rejected, plain.errors), (0, 1, [], []))
        self.assertEqual((numbered.accepted, numbered.released, numbered.errors), (0, 0, ["amqp:resource-limit-exceeded"]))
        os.remove(ballast)
        wait_until(self.publish, 60, "ingestion goes on")
        for again in [self.send(1), self.send(2, epoch=EPOCH, seq=2)]:
            self.assertEqual((again.accepted, again.released, again.errors), (1, 0, []))
