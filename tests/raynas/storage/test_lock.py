"""One process holds a run folder, and a new attempt waits for the processes of a killed attempt."""

import os
import socket
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
    """Start a process that runs a script, and wait for its first line."""
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_attempts_are_numbered(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        with lock.hold(RunFolder(tmp_path)) as attempt:
            assert attempt == expected


def test_a_second_run_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path)
    try:
        with pytest.raises(UserError, match=f"in use by process {holder.pid}"), lock.hold(RunFolder(tmp_path)):
            pass
    finally:
        holder.kill()
        holder.wait()
    with lock.hold(RunFolder(tmp_path)) as attempt:
        assert attempt == 2


def test_a_new_attempt_waits_for_the_processes_of_the_attempt_before(tmp_path: Path) -> None:
    worker = start(NOTE, tmp_path)
    killed = threading.Event()

    def kill_later() -> None:
        time.sleep(0.6)
        killed.set()
        worker.kill()
        worker.wait()

    thread = threading.Thread(target=kill_later)
    thread.start()
    with lock.hold(RunFolder(tmp_path)):
        assert killed.is_set()
    thread.join()


def test_a_reused_process_number_does_not_count_as_a_process_of_the_run(tmp_path: Path) -> None:
    """After a reboot, say, another process has the number of the holder or of a noted process."""
    folder = RunFolder(tmp_path)
    with lock.hold(folder):
        own = folder.read_json("lock.json")
        assert lock.holder(folder) == own
    other = {**own, "state": "held", "started": "1"}
    folder.write_json("lock.json", other)
    assert lock.holder(folder) is None
    folder.write_json(f"processes/{own['host']}-{own['pid']}.json", other)
    with lock.hold(folder) as attempt:
        assert attempt == 2


def test_on_an_object_store_the_lock_file_is_the_lock() -> None:
    folder = RunFolder("mock:///")
    with lock.hold(folder):
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"), lock.hold(folder):
            pass
        own = folder.read_json("lock.json")
        folder.write_json("lock.json", {**own, "host": "another"})
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on another"), lock.hold(folder):
            pass
    with lock.hold(folder) as attempt:
        assert attempt == 2


def test_after_a_damaged_lock_attempts_are_counted_from_the_step_records(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("study.json", {"steps": [{"attempt": 3}, {}]})
    (tmp_path / "lock.json").write_text("{")
    with lock.hold(folder) as attempt:
        assert attempt == 4


def test_a_process_of_an_older_attempt_may_not_write(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for _ in range(2):
        with lock.hold(folder):
            pass
    with pytest.raises(lock.Superseded, match="attempt 1 has been followed by attempt 2"):
        lock.note_process(folder, 1)
    assert folder.names("processes") == []
    lock.note_process(folder, 2)
    assert len(folder.names("processes")) == 1


def test_unfinished_files_of_killed_processes_are_deleted(tmp_path: Path) -> None:
    """The next holder of the lock deletes them. Files of living processes, and new files of other hosts, stay."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host, folder = socket.gethostname(), tmp_path / "steps" / "01-supernet"
    folder.mkdir(parents=True)
    stay = {f"a.json.{host}.{os.getpid()}.aside", f"a.json.another.{gone.pid}.aside", "whole.json"}
    leave = {f"a.json.{host}.{gone.pid}.aside", "old.json.another.1.aside", "old.json.1.aside"}
    for name in stay | leave:
        (folder / name).write_text("half")
        if name.startswith("old"):
            os.utime(folder / name, (time.time() - 90_000,) * 2)
    with lock.hold(RunFolder(tmp_path)):
        assert {file.name for file in folder.iterdir()} == stay


def test_a_killed_writer_leaves_a_file_that_the_next_run_deletes(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom raynas.storage.run_folder import RunFolder\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "RunFolder(sys.argv[1]).write('weights', b'half')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob("weights.*.aside"))) == 1
    with lock.hold(RunFolder(tmp_path)):
        assert not list(tmp_path.glob("weights*"))
