"""Test that a first Ctrl-C or SIGTERM stops a process cleanly, and that a second signal ends it at once."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

WORK = """
import time
from raynas.runtime.signals import stop_on_signal

try:
    with stop_on_signal():
        try:
            print("works", flush=True)
            time.sleep(600)
        finally:
            print("writes results", flush=True)
            input()
            print("has written results", flush=True)
except KeyboardInterrupt:
    print("was stopped", flush=True)
"""
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@contextmanager
def stopped_by(first: signal.Signals) -> Iterator[subprocess.Popen[str]]:
    """Yield a process after its first signal. It writes its results when it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "works\n"
            process.send_signal(first)
            assert process.stdout.readline() == "writes results\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_stops_a_process_cleanly(number: signal.Signals) -> None:
    with stopped_by(number) as process:
        output, errors = process.communicate("\n", timeout=60)
    assert (process.returncode, output, errors) == (0, "has written results\nwas stopped\n", "")


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_the_second_signal_ends_a_process_at_once(first: signal.Signals, second: signal.Signals) -> None:
    with stopped_by(first) as process:
        process.send_signal(second)
        assert process.wait(60) == 130
        output, errors = process.communicate()
    assert (output, errors) == ("", "")
