"""Ctrl-C and SIGTERM end a run in good order, a second one ends it at once, and nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.runs import Command, Result, reaped, shared_memory, wait_until
from tests.faults.test_kills import Commands, searching, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
STOPPED = "Stopped. Finished steps are kept: run the same command again to continue."


def ended_by(
    run: Command, moment: Callable[[Path], bool], *signals: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """What the command says when it gets these signals, one soon after the other, from that moment on."""
    process = run.start()
    with reaped(process):
        wait_until(lambda: moment(run.out), process)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.2)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def said(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """What we say; Ray may say which workers died with a run that was stopped."""
    return [line for line in ended.stderr.splitlines() if "(raylet)" not in line]


def test_a_run_ends_as_it_is_asked_to_and_goes_on(command: Commands, undisturbed: Result) -> None:
    before = shared_memory()
    run = command("stopped")
    once = ended_by(run, training("supernet"), signal.SIGINT)
    assert (once.returncode, once.stdout, said(once)) == (1, "", [STOPPED])
    run.wait_until_gone()
    asked = ended_by(run, searching("search-2"), signal.SIGTERM)
    assert (asked.returncode, asked.stdout, said(asked)) == (1, "", [STOPPED])
    twice = ended_by(run, training("supernet-2"), signal.SIGINT, signal.SIGINT)
    assert (twice.returncode, twice.stdout) in ((130, ""), (1, ""))
    assert "Traceback" not in twice.stderr
    run.wait_until_gone()
    assert shared_memory() <= before
    run.finish()
    Result.of(run.out).must_equal(undisturbed)
    run.wait_until_gone()
    assert shared_memory() <= before
