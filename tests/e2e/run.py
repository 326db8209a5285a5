"""Runs the end-to-end tests against a finished binary, from outside and as strangers would use it.

Invariant: a test knows the program only through its command line, its ports and its files; whatever it starts is gone
when it ends. The last line counts: `N passed, N failed, N skipped`.

    python tests/e2e/run.py --binary target/debug/thalweg [--rounds 20] [-k WORD] [--list]
"""

import argparse
import faulthandler
import sys
import time
import unittest
from pathlib import Path

import settings

HERE = Path(__file__).resolve().parent
# A run that hangs shows where, and ends.
SECONDS_MAX = 3600


class Result(unittest.TextTestResult):
    """Shows each test with its time, and what the server said when one fails."""

    def startTest(self, test):
        super(unittest.TextTestResult, self).startTest(test)
        self.started = time.monotonic()

    def show(self, test, verdict):
        self.stream.writeln(f"{verdict:7} {time.monotonic() - self.started:6.1f} s  {test.id()}")
        self.stream.flush()

    def addSuccess(self, test):
        super(unittest.TextTestResult, self).addSuccess(test)
        self.passed = getattr(self, "passed", 0) + 1
        self.show(test, "ok")

    def addError(self, test, err):
        super(unittest.TextTestResult, self).addError(test, err)
        self.show(test, "ERROR")

    def addFailure(self, test, err):
        super(unittest.TextTestResult, self).addFailure(test, err)
        self.show(test, "FAILED")

    def addSkip(self, test, reason):
        super(unittest.TextTestResult, self).addSkip(test, reason)
        self.show(test, f"skipped ({reason})")


def tests(suite):
    """All single tests of a suite."""
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from tests(part)
        else:
            yield part


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, help="the program under test")
    parser.add_argument("--rounds", type=int, default=3, help="how often the recovery test kills the server")
    parser.add_argument("--seed", type=int, default=None, help="seed of the recovery test, as printed by an earlier run")
    parser.add_argument("-k", dest="word", default="", help="only tests whose name contains this")
    parser.add_argument("--list", action="store_true", help="list the tests")
    arguments = parser.parse_args()

    found = [t for t in tests(unittest.TestLoader().discover(str(HERE), top_level_dir=str(HERE))) if arguments.word in t.id()]
    if arguments.list:
        for test in found:
            print(test.id())
        return 0
    if arguments.binary is None or not arguments.binary.is_file():
        parser.error(f"--binary must name the program under test, found {arguments.binary}")
    settings.binary = arguments.binary.resolve()
    settings.rounds = arguments.rounds
    settings.seed = arguments.seed

    faulthandler.dump_traceback_later(SECONDS_MAX, exit=True)
    runner = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, verbosity=0)
    result = runner.run(unittest.TestSuite(found))
    faulthandler.cancel_dump_traceback_later()
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed = getattr(result, "passed", 0)
    print(f"{passed} passed, {failed} failed, {len(result.skipped)} skipped", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
