"""The HTTP API as a client sees it. Invariant: an answer that is not a success becomes an `ApiError` with status and text."""

import http.client
import json
import time
import urllib.error
import urllib.request


class ApiError(Exception):
    """The server refused."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


# How long a condition may take on a slow machine at least: no test expects that one is never met.
PATIENCE_SECONDS = 120


def wait_until(condition, seconds, what):
    """Asks until the answer is true; returns it. Fails naming what was waited for."""
    seconds = max(seconds, PATIENCE_SECONDS)
    end = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > end
        answer = condition()
        if answer:
            return answer
        if is_last:
            raise AssertionError(f"waited {seconds} s until {what}")
        time.sleep(0.05)


def statements(script):
    """The statements of a script, split at semicolons outside of texts and comments."""
    found, current, quote, i = [], "", "", 0
    while i < len(script):
        char = script[i]
        if not quote and script.startswith("--", i):
            i = (script.find("\n", i) + 1 or len(script) + 1) - 1
            continue
        if char in "'\"":
            quote = "" if quote == char else quote or char
        if char == ";" and not quote:
            found.append(current.strip())
            current = ""
        else:
            current += char
        i += 1
    return [s for s in [*found, current.strip()] if s]


class Api:
    """Requests to one server."""

    def __init__(self, base, token=None):
        self.base = base
        self.token = token

    def request(self, method, path, body=None, token=None, content_type="application/json", timeout=30):
        """Sends a request; returns the text of the answer."""
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(self.base + path, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", content_type)
        bearer = token or self.token
        if bearer:
            request.add_header("Authorization", f"Bearer {bearer}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from None

    def json(self, method, path, value=None, **options):
        """Sends JSON, reads JSON."""
        body = None if value is None else json.dumps(value)
        text = self.request(method, path, body, **options)
        return json.loads(text) if text.strip() else {}

    def is_healthy(self):
        try:
            self.request("GET", "/health", timeout=2)
            return True
        except (ApiError, OSError, http.client.HTTPException):
            return False

    def is_unwell(self):
        """Whether the server answers that something is wrong."""
        try:
            self.request("GET", "/health", timeout=2)
        except ApiError as error:
            return error.status == 503
        except (OSError, http.client.HTTPException):
            return False
        return False

    # devices

    def register(self, device, **fields):
        return self.json("POST", "/v1/devices", {"device_id": device, **fields})["activation_key"]

    def activate(self, device, activation_key):
        return self.json("POST", f"/v1/devices/{device}/activate", {"activation_key": activation_key})["key"]

    def provision(self, device, **fields):
        """Registers and activates; returns the device's key."""
        return self.activate(device, self.register(device, **fields))

    def revoke(self, device):
        self.json("POST", f"/v1/devices/{device}/revoke")

    def telemetry(self, device, key, records):
        """Publishes records as lines of JSON."""
        body = "\n".join(json.dumps(r) for r in records)
        return self.request("POST", f"/v1/devices/{device}/telemetry", body, token=key, content_type="application/x-ndjson")

    # SQL

    def sql(self, text):
        """Runs one statement; returns its rows, or the message as a single row."""
        answer = self.request("POST", "/v1/sql", text, content_type="text/plain; charset=utf-8", timeout=60)
        rows = [json.loads(line) for line in answer.splitlines() if line.strip()]
        if rows and set(rows[-1]) == {"error"}:
            raise ApiError(200, f"broke off after {len(rows) - 1} rows: {rows[-1]['error']}")
        return rows

    def script(self, text):
        for statement in statements(text):
            self.sql(statement)

    def value(self, text):
        """The only value of the only row."""
        (row,) = self.sql(text)
        (value,) = row.values()
        return value

    # jobs

    def job(self, name):
        """One job; None if there is none of that name."""
        answer = self.json("GET", "/v1/jobs")
        jobs = answer["jobs"] if isinstance(answer, dict) else answer
        return next((j for j in jobs if j["name"] == name), None)

    def consumed(self, name):
        job = self.job(name)
        return job["counters"]["consumed"] if job else -1

    def wait_consumed(self, name, records, seconds=90):
        """Waits until the job has read that many records."""
        wait_until(lambda: self.consumed(name) >= records, seconds, f"job {name} has consumed {records} records")

    def wait_committed(self, name, records):
        """Waits until what came of that many records is in the lake."""
        wait_until(lambda: self.job(name)["committed"]["consumed"] >= records, 90, f"{records} records of {name} are committed")
