"""A run folder is held by one process, and ghosts of a killed attempt are waited for."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from raynas.storage import lock
from raynas.storage.run_folder import RunFolder
from search_spaces.errors import UserError

HOLD = """
import sys, time
from raynas.storage import lock
from raynas.storage.run_folder import RunFolder
with lock.hold(RunFolder(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

NOTE = """
import sys, time
from raynas.storage import lock
from raynas.storage.run_folder import RunFolder
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
        with lock.hold(RunFolder(tmp_path)) as attempt:
            assert attempt == expected


def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path)
    try:
        with pytest.raises(UserError, match=f"in use by process {holder.pid}"), lock.hold(RunFolder(tmp_path)):
            pass
    finally:
        holder.kill()
        holder.wait()
    with lock.hold(RunFolder(tmp_path)) as attempt:
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
    with lock.hold(RunFolder(tmp_path)):
        assert killed.is_set()
    ending.join()


def test_a_reused_process_number_is_not_mistaken_for_one_of_the_run(tmp_path: Path) -> None:
    """Of an earlier boot, say: neither for the holder nor for a ghost, which would be waited for."""
    folder = RunFolder(tmp_path)
    with lock.hold(folder):
        mine = folder.read_json("lock.json")
        assert lock.holder(folder) == mine
    other = {**mine, "state": "held", "started": "1"}
    folder.write_json("lock.json", other)
    assert lock.holder(folder) is None
    folder.write_json(f"processes/{mine['host']}-{mine['pid']}.json", other)
    with lock.hold(folder) as attempt:
        assert attempt == 2


def test_an_object_store_has_no_lock_but_the_one_that_is_written() -> None:
    folder = RunFolder("mock:///")
    with lock.hold(folder):
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"), lock.hold(folder):
            pass
        mine = folder.read_json("lock.json")
        folder.write_json("lock.json", {**mine, "host": "another"})
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on another"), lock.hold(folder):
            pass
    with lock.hold(folder) as attempt:
        assert attempt == 2


def test_a_damaged_lock_counts_on_from_the_steps(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("study.json", {"steps": [{"attempt": 3}, {}]})
    (tmp_path / "lock.json").write_text("{")
    with lock.hold(folder) as attempt:
        assert attempt == 4


def test_what_an_older_attempt_has_still_to_write_is_not_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for _ in range(2):
        with lock.hold(folder):
            pass
    with pytest.raises(lock.Superseded, match="attempt 1 has been followed by attempt 2"):
        lock.note_process(folder, 1)
    assert folder.names("processes") == []
    lock.note_process(folder, 2)
    assert len(folder.names("processes")) == 1
