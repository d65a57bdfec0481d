"""The controller process of trainings exits with Python, before Ray's teardown, or when it must stop at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from raynas.storage.job_queue import JobQueue
from raynas.storage.run_folder import RunFolder
from tests.faults.runs import read_proc

SCRIPT = """
import atexit
import threading
atexit.register(threading.Event().wait)
from raynas.cluster.controller_exit import ImmediateExit
{register}
print("ended", flush=True)
"""


def exits(register: str, within_seconds: float) -> bool:
    """Return whether a process exits although one of its exit functions waits forever."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(register=register)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ended\n"
    try:
        return process.wait(timeout=within_seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_an_exit_function_that_waits_does_not_keep_a_controller(tmp_path: Path) -> None:
    assert exits(f"ImmediateExit({str(tmp_path)!r}).after_controller_start(None)", within_seconds=60)
    assert not exits("", within_seconds=1)


def test_a_controller_exits_if_its_queue_is_closed_at_once(tmp_path: Path) -> None:
    waiting = f"ImmediateExit({str(tmp_path)!r}).after_controller_start(None); print('waits', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(register=waiting)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        queue = JobQueue(RunFolder(tmp_path))
        queue.close()
        assert process.poll() is None, "its workers end after their job, and it ends with them"
        queue.close(at_once=True)
        assert process.wait(timeout=60) == 0


def test_the_controllers_of_trainings_skip_the_teardown_of_ray(standalone_run: Path) -> None:
    logs = Path((standalone_run.parent / "ray_logs").read_text())
    outputs = [file for file in logs.glob("worker-*.out") if "actor_name:TrainController" in file.read_text()]
    numbers = [file.stem.rpartition("-")[2] for file in outputs]
    assert numbers
    while any("TrainController" in read_proc(int(number), "cmdline") for number in numbers):
        time.sleep(0.1)
    for number in numbers:
        (log,) = logs.glob(f"python-core-worker-*_{number}.log")
        assert "Core worker is destructed" in log.read_text()
        assert "Destructing CoreWorkerProcessImpl" not in log.read_text()
