"""A run folder is held by one process, and ghosts of a killed attempt are waited for."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from raynas import lock
from raynas.run_folder import RunFolder
from search_spaces.errors import UserError

HOLD = """
import sys, time
from raynas import lock
from raynas.run_folder import RunFolder
with lock.held(RunFolder(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

NOTE = """
import sys, time
from raynas import lock
from raynas.run_folder import RunFolder
lock.note_process(RunFolder(sys.argv[1]), 1)
print("noted", flush=True)
time.sleep(60)
"""


def start(script: str, folder: Path) -> subprocess.Popen[bytes]:
    """A process that runs the script, once it has said something."""
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_attempts_are_numbered(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        with lock.held(RunFolder(tmp_path)) as attempt:
            assert attempt == expected


def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path)
    try:
        with pytest.raises(UserError, match=f"held by process {holder.pid}"), lock.held(RunFolder(tmp_path)):
            pass
    finally:
        holder.kill()
        holder.wait()
    with lock.held(RunFolder(tmp_path)) as attempt:
        assert attempt == 2


def test_a_new_attempt_waits_for_the_processes_of_the_last(tmp_path: Path) -> None:
    ghost = start(NOTE, tmp_path)

    killed = threading.Event()

    def end_it() -> None:
        time.sleep(0.6)
        killed.set()
        ghost.kill()
        ghost.wait()

    ending = threading.Thread(target=end_it)
    ending.start()
    with lock.held(RunFolder(tmp_path)):
        assert killed.is_set()
    ending.join()


def test_a_reused_process_number_is_not_mistaken_for_the_holder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with lock.held(folder):
        pass
    mine = folder.read_json("lock.json")
    folder.write_json("lock.json", {**mine, "state": "held", "started": "1"})
    with lock.held(folder) as attempt:
        assert attempt == 2
