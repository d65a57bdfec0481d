"""The first Ctrl-C or SIGTERM lets a process end in good order, a second one of either ends it at once."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

WORK = """
import time
from raynas.runtime.signals import ending_in_good_order

try:
    with ending_in_good_order():
        try:
            print("works", flush=True)
            time.sleep(600)
        finally:
            print("writes what is finished", flush=True)
            input()
            print("has written it", flush=True)
except KeyboardInterrupt:
    print("was stopped", flush=True)
"""
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@contextmanager
def stopped_by(first: signal.Signals) -> Iterator[subprocess.Popen[str]]:
    """A process that ends in good order when it is given a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "works\n"
            process.send_signal(first)
            assert process.stdout.readline() == "writes what is finished\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_lets_it_end_in_good_order(number: signal.Signals) -> None:
    with stopped_by(number) as process:
        said, wrong = process.communicate("\n", timeout=60)
    assert (process.returncode, said, wrong) == (0, "has written it\nwas stopped\n", "")


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_the_second_ends_it_at_once(first: signal.Signals, second: signal.Signals) -> None:
    with stopped_by(first) as process:
        process.send_signal(second)
        assert process.wait(60) == 130
        said, wrong = process.communicate()
    assert (said, wrong) == ("", "")
