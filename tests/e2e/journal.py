"""What was sent and what was acknowledged, kept by somebody who is not the server.

Invariant: SENT is noted before a record leaves, ACK after its acknowledgement arrived. Then, whatever crashed in between:
ACK ⇒ stored exactly once; stored ⇒ SENT; SENT without ACK ⇒ stored once or not at all; order kept within a device.
"""

import threading
from collections import Counter


class Journal:
    """Two sets of (device, seq)."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = set()
        self.acknowledged = set()

    def note_sent(self, device, seq):
        with self.lock:
            self.sent.add((device, seq))

    def note_acknowledged(self, device, seq):
        with self.lock:
            self.acknowledged.add((device, seq))

    def violations(self, stored):
        """`stored`: (device, seq) in the order they are stored."""
        stored = list(stored)
        copies = Counter(stored)
        found = [f"acknowledged and lost: {k}" for k in sorted(self.acknowledged) if copies[k] == 0]
        found += [f"stored {n} times: {k}" for k, n in sorted(copies.items()) if n > 1]
        found += [f"never sent: {k}" for k in sorted(copies) if k not in self.sent]
        last = {}
        for device, seq in stored:
            if seq <= last.get(device, 0):
                found.append(f"out of order: {(device, seq)} after {last[device]}")
            last[device] = seq
        return found
