"""Devices that publish over MQTT until they are stopped or cut off, with a journal.

Invariant: a record is sent once. A client is thrown away with its connection, so nothing is sent again by itself and what
was not acknowledged stays unknown. Sequences go on across clients.
"""

import json
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

import fleet

IN_FLIGHT_MAX = 20


def client(device, key, version=MQTTProtocolVersion.MQTTv311, suffix=""):
    """A client that does not reconnect by itself."""
    made = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=device + suffix, protocol=version, reconnect_on_failure=False,
    )
    made.username_pw_set(device, key)
    return made


class Device(threading.Thread):
    """One device, one connection, one thread."""

    def __init__(self, port, device, key, first, journal, interval):
        super().__init__(daemon=True)
        self.device, self.next, self.journal, self.interval = device, first, journal, interval
        self.done = threading.Event()
        self.room = threading.Semaphore(IN_FLIGHT_MAX)
        self.pending = {}
        # Whether those failed that were answered before `publish` had told their number.
        self.early = {}
        self.guard = threading.Lock()
        even = int(device.rsplit("-", 1)[1]) % 2 == 0
        self.client = client(device, key, MQTTProtocolVersion.MQTTv5 if even else MQTTProtocolVersion.MQTTv311)
        self.client.on_publish = self.on_publish
        self.client.on_disconnect = lambda *_: self.done.set()
        self.port = port

    def on_publish(self, _client, _data, mid, reason, _properties):
        with self.guard:
            seq = self.pending.pop(mid, None)
            if seq is None:
                self.early[mid] = reason.is_failure
                return
        self.answered(seq, reason.is_failure)

    def answered(self, seq, is_failure):
        if not is_failure:
            self.journal.note_acknowledged(self.device, seq)
        self.room.release()

    def run(self):
        try:
            self.client.connect("127.0.0.1", self.port)
        except OSError:
            return
        self.client.loop_start()
        while not self.done.wait(self.interval):
            if not self.room.acquire(timeout=0.5):
                continue
            seq, self.next = self.next, self.next + 1
            self.journal.note_sent(self.device, seq)
            payload = json.dumps(fleet.record(self.device, seq, time.time()))
            # Not under the guard: the client takes a lock here that it also holds while it calls `on_publish`.
            sent = self.client.publish(f"devices/{self.device}/telemetry", payload, qos=1)
            with self.guard:
                is_failure = self.early.pop(sent.mid, None)
                if is_failure is None:
                    self.pending[sent.mid] = seq
            if is_failure is not None:
                self.answered(seq, is_failure)
        self.finish()

    def finish(self):
        """Waits for the last acknowledgements, unless the connection is gone."""
        end = time.monotonic() + 60
        while self.pending and self.client.is_connected() and time.monotonic() < end:
            time.sleep(0.01)
        self.client.disconnect()
        self.client.loop_stop()


class Load:
    """A fleet that publishes."""

    def __init__(self, keys, journal, interval=0.01):
        self.keys, self.journal, self.interval = keys, journal, interval
        self.next = dict.fromkeys(keys, 1)
        self.devices = []

    def start(self, port):
        self.devices = [
            Device(port, d, key, self.next[d], self.journal, self.interval) for d, key in self.keys.items()
        ]
        for device in self.devices:
            device.start()

    def stop(self):
        for device in self.devices:
            device.done.set()
        for device in self.devices:
            device.join(90)
            assert not device.is_alive(), f"{device.device} hangs"
            self.next[device.device] = device.next
