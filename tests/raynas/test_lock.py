"""A run folder is held by one process, and ghosts of a killed attempt are waited for."""

import subprocess
import sys
import threading
import time

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
lock.note_process(RunFolder(sys.argv[1]))
print("noted", flush=True)
time.sleep(60)
"""


def start(script, folder):
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_attempts_are_numbered(tmp_path):
    for expected in (1, 2, 3):
        with lock.held(RunFolder(tmp_path)) as attempt:
            assert attempt == expected


def test_a_second_run_is_refused_while_the_first_lives(tmp_path):
    holder = start(HOLD, tmp_path)
    try:
        with pytest.raises(UserError, match=f"held by process {holder.pid}"), lock.held(RunFolder(tmp_path)):
            pass
    finally:
        holder.kill()
        holder.wait()
    with lock.held(RunFolder(tmp_path)) as attempt:
        assert attempt == 2


def test_a_new_attempt_waits_for_the_processes_of_the_last(tmp_path):
    ghost = start(NOTE, tmp_path)

    def end_it():
        time.sleep(0.6)
        ghost.kill()
        ghost.wait()

    threading.Thread(target=end_it).start()
    with lock.held(RunFolder(tmp_path)):
        assert ghost.poll() is not None


def test_a_reused_process_number_is_not_mistaken_for_the_holder(tmp_path):
    folder = RunFolder(tmp_path)
    with lock.held(folder):
        pass
    mine = folder.read_json("lock.json")
    folder.write_json("lock.json", {**mine, "state": "held", "started": "1"})
    with lock.held(folder) as attempt:
        assert attempt == 2
