"""The process of a training's controller ends where Python does."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import ray

from tests.faults.runs import told

LEAVE = """
import atexit
import threading
atexit.register(threading.Event().wait)
from raynas.runtime.controller_exit import Leaving
{leave}
print("ended", flush=True)
"""


def ends(leave: str, within_seconds: float) -> bool:
    """Whether a process ends that would wait for ever once Python has ended."""
    process = subprocess.Popen([sys.executable, "-c", LEAVE.format(leave=leave)], stdout=subprocess.PIPE, text=True)
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


def test_nothing_that_would_wait_keeps_a_controller() -> None:
    assert ends("Leaving().after_controller_start(None)", within_seconds=60)
    assert not ends("", within_seconds=1)


def test_ray_destroys_nothing_in_the_controllers_of_trainings(standalone_run: Path) -> None:
    node = ray._private.worker._global_node
    assert node is not None
    logs = Path(node.get_logs_dir_path())
    said = [file for file in logs.glob("worker-*.out") if "actor_name:TrainController" in file.read_text()]
    numbers = [file.stem.rpartition("-")[2] for file in said]
    assert numbers
    while any("TrainController" in told(int(number), "cmdline") for number in numbers):
        time.sleep(0.1)
    for number in numbers:
        (log,) = logs.glob(f"python-core-worker-*_{number}.log")
        assert "Core worker is destructed" in log.read_text()
        assert "Destructing CoreWorkerProcessImpl" not in log.read_text()
