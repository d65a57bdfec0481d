"""Ctrl-C and SIGTERM stop a run cleanly, a second signal ends it at once, and no process outlives it."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.faults.runs import Command, Condition, Result, ended, unmapped_shared_memory, wait_until
from tests.faults.test_kills import Commands, searching, training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
STOPPED = "Stopped. Finished steps are kept: run the same command again to continue."


def stop(run: Command, condition: Condition, *signals: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Start a command, send it signals once the condition holds, and return its status and output."""
    process = run.start()
    with ended(process):
        wait_until(lambda: condition(run.out), process)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.2)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def test_a_stopped_run_continues_to_the_same_result(command: Commands, undisturbed: Result) -> None:
    before = unmapped_shared_memory()
    run = command("stopped")
    interrupted = stop(run, training("supernet"), signal.SIGINT)
    assert (interrupted.returncode, interrupted.stdout, interrupted.stderr) == (1, "", f"{STOPPED}\n")
    run.wait_for_processes()
    terminated = stop(run, searching("search-2"), signal.SIGTERM)
    assert (terminated.returncode, terminated.stdout, terminated.stderr) == (1, "", f"{STOPPED}\n")
    twice = stop(run, training("supernet-2"), signal.SIGINT, signal.SIGINT)
    assert (twice.returncode, twice.stdout) in ((130, ""), (1, ""))
    assert "Traceback" not in twice.stderr
    run.wait_for_processes()
    assert unmapped_shared_memory() <= before
    run.finish()
    Result.read(run.out).assert_equal(undisturbed)
    run.wait_for_processes()
    assert unmapped_shared_memory() <= before
