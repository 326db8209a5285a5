"""A device that speaks AMQP 1.0 through Qpid Proton.

Invariant: it sends each message once; whoever wants it sent again makes another device. What the server said about each
delivery is kept as it came.
"""

from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import Container


class Device(MessagingHandler):
    """One connection, one link to `address`; ends by itself when everything is answered, or something went wrong."""

    def __init__(self, port, device, key, messages, address=None, seconds=300, **options):
        super().__init__(auto_settle=True)
        self.port, self.device, self.key, self.options = port, device, key, options
        self.address = address or f"devices/{device}/messages/events"
        self.messages, self.next = list(messages), 0
        self.accepted, self.released, self.rejected, self.errors = 0, 0, [], []
        self.seconds = seconds

    def run(self):
        Container(self).run()
        return self

    def on_start(self, event):
        self.timer = event.reactor.schedule(self.seconds, self)
        options = {"user": self.device, "password": self.key, "allowed_mechs": "PLAIN", **self.options}
        self.connection = event.container.connect(
            f"amqp://127.0.0.1:{self.port}", allow_insecure_mechs=True, reconnect=False, heartbeat=20, **options
        )
        event.container.create_sender(self.connection, self.address)

    def on_sendable(self, event):
        while event.sender.credit and self.next < len(self.messages):
            event.sender.send(self.messages[self.next])
            self.next += 1

    def on_accepted(self, event):
        self.accepted += 1
        self.end_if_done()

    def on_released(self, event):
        self.released += 1
        self.end_if_done()

    def on_rejected(self, event):
        self.rejected.append(event.delivery.remote.condition.name)
        self.end_if_done()

    def on_link_error(self, event):
        self.fail(event.link.remote_condition)

    def on_connection_error(self, event):
        self.fail(event.connection.remote_condition)

    def on_transport_error(self, event):
        self.fail(event.transport.condition)

    def on_disconnected(self, event):
        self.timer.cancel()

    def on_timer_task(self, event):
        self.errors.append("time is up")
        self.connection.close()

    def end_if_done(self):
        if self.accepted + self.released + len(self.rejected) == len(self.messages):
            self.connection.close()
            self.timer.cancel()

    def fail(self, condition):
        self.errors.append(condition.name if condition else "no reason was given")
        self.connection.close()
        self.timer.cancel()


def message(body, **properties):
    """A message whose body is the text, as data."""
    made = Message(body=body.encode(), properties=properties or None, content_type="application/json")
    made.inferred = True
    return made
