"""A server under test. Invariant: it lives in a directory of its own on ports of its own, and is gone when the test ends."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

import settings
from api import Api, wait_until

CHECKPOINT_SECONDS = 2
READY_SECONDS = 120
STOP_SECONDS = 120
TOKEN = re.compile(r"admin token: (twt_\S+)")


def free_ports(count):
    """Different ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def find_token(text):
    """The admin token in what a first start printed; None if it is not there."""
    found = TOKEN.search(text)
    return found.group(1) if found else None


class Server:
    """`thalweg serve` on a temporary directory."""

    def __init__(self, home=None):
        self.home = Path(home or tempfile.mkdtemp(prefix="thalweg-e2e-"))
        self.owned = home is None
        self.data = self.home / "data"
        self.output = self.home / "server.log"
        self.process = None
        # Words before the program, such as those of a tracer that does not come between the two processes.
        self.wrapper = []
        self.token = None
        self.http = self.mqtt = self.amqp = 0
        (self.home / "thalweg.toml").write_text(f"checkpoint-interval = '{CHECKPOINT_SECONDS}s'\n")

    def command(self):
        """The command line."""
        ports = {"--mqtt": self.mqtt, "--amqp": self.amqp, "--http": self.http}
        addresses = [word for option, port in ports.items() for word in (option, f"127.0.0.1:{port}")]
        return [*self.wrapper, str(settings.binary), "serve", "--data", str(self.data), *addresses]

    def start(self, expected=Api.is_healthy):
        """Starts on new ports and waits until the API is as `expected`."""
        self.http, self.mqtt, self.amqp = free_ports(3)
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                self.command(), cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        wait_until(lambda: self.ready(expected), READY_SECONDS, "the server answers /health")
        if self.token is None:
            wait_until(lambda: find_token(self.log()), 10, "the admin token is printed")
            self.token = find_token(self.log())
        return self

    def ready(self, expected):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
        return expected(Api(self.base()))

    def base(self):
        return f"http://127.0.0.1:{self.http}"

    def api(self):
        """The API with the rights of an administrator."""
        return Api(self.base(), self.token)

    def kill(self):
        """No chance to finish anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Asks it to end; returns its exit code."""
        if self.process is None or self.process.poll() is not None:
            return None if self.process is None else self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end within {STOP_SECONDS} s:\n{self.tail()}") from None

    def remove(self):
        """Ends it whatever happens, and removes its directory."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self.owned:
            shutil.rmtree(self.home, ignore_errors=True)

    def log(self):
        """Everything it printed."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])


class ServerTest(unittest.TestCase):
    """A test with a running server; shows what the server printed if it fails."""

    def setUp(self):
        self.server = Server(self.home())
        self.addCleanup(self.server.remove)
        self.addCleanup(self.note)
        self.server.start()
        self.api = self.server.api()

    def home(self):
        """Directory of the server; None for a new one."""
        return None

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before and self.said:
            print(f"---- the server of {self.id()} said\n{self.said}\n----", flush=True)

    said = ""

    def note(self):
        self.said = self.server.tail()


def run_binary(*arguments, timeout=120, **options):
    """Runs the program to its end; returns exit code, standard output, standard error."""
    command = [str(settings.binary), *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, **options)
    return done.returncode, done.stdout, done.stderr


def log_records(data, stream="telemetry"):
    """Every record of a stream of the log, read by the program from the files: a list of dictionaries."""
    code, out, err = run_binary("log", "--data", data, "dump", stream, "--json")
    assert code == 0, f"log dump ended with {code}: {err}"
    return [json.loads(line) for line in out.splitlines() if line.strip()]


def is_root():
    return os.geteuid() == 0
