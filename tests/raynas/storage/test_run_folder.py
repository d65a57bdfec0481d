"""A file is written whole or not at all, and is read back as written."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from raynas.storage.run_folder import DamagedFile, RunFolder, WriteFailed
from tests.support.full_disk import full_disk


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_a_folder_in_a_run_folder_keeps_the_query_of_its_uri(tmp_path: Path) -> None:
    run = RunFolder("s3://bucket/run?region=eu-west-1&endpoint_override=localhost")
    assert (run / "steps" / "01-supernet").uri == (
        "s3://bucket/run/steps/01-supernet?region=eu-west-1&endpoint_override=localhost"
    )
    assert (RunFolder(tmp_path / "run?") / "steps").uri == str(tmp_path / "run?" / "steps")


def test_json_is_read_back(folder: RunFolder) -> None:
    value = {"a": 0.1 + 0.2, "b": [1, None, "ü"], "c": {"d": 2**70}}
    folder.write_json("deep/er/file.json", value)
    assert folder.read_json("deep/er/file.json") == value
    assert folder.names("deep/er") == ["file.json"]


def test_tensors_are_read_back_bit_for_bit(folder: RunFolder) -> None:
    tensors = {
        "weight": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "half": torch.randn(5).bfloat16(),
    }
    folder.write_tensors("w.safetensors", tensors, {"epoch": 3})
    read, header = folder.read_tensors("w.safetensors")
    assert header == {"epoch": 3}
    assert all(torch.equal(read[key], tensors[key]) and read[key].dtype == tensors[key].dtype for key in tensors)


def test_equal_tensors_give_equal_files(folder: RunFolder) -> None:
    tensors = {"weight": torch.arange(6.0), "count": torch.tensor(7)}
    contents = set()
    for _ in range(20):
        folder.write_tensors("w.safetensors", tensors, {"epoch": 3})
        contents.add(folder.read("w.safetensors"))
    assert len(contents) == 1


def test_a_table_is_read_back(folder: RunFolder) -> None:
    table = pd.DataFrame({"architecture": ["a", "b"], "top1": [1.5, math.nan], "macs": [1, 2]})
    folder.write_table("t.parquet", table)
    pd.testing.assert_frame_equal(folder.read_table("t.parquet"), table)


@pytest.mark.parametrize("kind", ["json", "tensors", "table"])
@pytest.mark.parametrize("damage", ["truncate", "empty", "flip"])
def test_damage_is_detected(folder: RunFolder, kind: str, damage: str) -> None:
    writers: dict[str, Callable[[], None]] = {
        "json": lambda: folder.write_json("file", {"value": "a text that is long enough to damage"}),
        "tensors": lambda: folder.write_tensors("file", {"w": torch.arange(1000.0)}, {}),
        "table": lambda: folder.write_table("file", pd.DataFrame({"a": range(1000)})),
    }
    readers: dict[str, Callable[[str], Any]] = {
        "json": folder.read_json,
        "tensors": folder.read_tensors,
        "table": folder.read_table,
    }
    write, read = writers[kind], readers[kind]
    write()
    content = bytearray(folder.read("file"))
    if damage == "truncate":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    else:
        content[len(content) // 2 if kind != "json" else content.index(b"long")] ^= 1
    folder.write("file", bytes(content))
    with pytest.raises(DamagedFile):
        read("file")


def test_the_unfinished_file_of_a_killed_writer_is_not_listed(folder: RunFolder) -> None:
    folder.write("file", b"whole")
    folder.write("file.123.aside", b"ha")
    assert folder.names() == ["file"]


def test_a_failed_write_leaves_the_file_before(folder: RunFolder) -> None:
    folder.write("file", b"before")
    with full_disk(), pytest.raises(WriteFailed, match=r"file could not be written: File too large\."):
        folder.write("file", b"after")
    assert folder.read("file") == b"before"
    assert os.listdir(folder.uri) == ["file"], "no unfinished file remains"


def test_a_file_gets_its_name_after_its_content_is_on_the_disk(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the new content is synced while the name still has the old content, then the change of the name."""
    folder.write("file", b"before")
    synced: list[tuple[bytes, bytes]] = []
    fsync = os.fsync

    def recorded_fsync(handle: int) -> None:
        fsync(handle)
        path = Path(f"/proc/self/fd/{handle}")
        synced.append((b"the folder" if path.is_dir() else path.read_bytes(), folder.read("file")))

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    folder.write("file", b"after")
    assert synced == [(b"after", b"before"), (b"the folder", b"after")]


def test_a_missing_file_does_not_exist(folder: RunFolder) -> None:
    assert not folder.exists("nothing")
    assert folder.names("nowhere") == []
    with pytest.raises(FileNotFoundError):
        folder.read_json("nothing.json")


READ_A_TABLE = """
import os, sys
from raynas.storage.run_folder import RunFolder

threads = set(os.listdir("/proc/self/task"))
RunFolder(sys.argv[1]).read_table("table.parquet")
print(len(set(os.listdir("/proc/self/task")) - threads))
"""


def test_reading_a_table_starts_no_thread(tmp_path: Path) -> None:
    # Arrow's threads may still hold the bytes while Python ends, and then the process aborts (7 of 60 did).
    RunFolder(tmp_path).write_table("table.parquet", pd.DataFrame({"top1": [1.0], "architecture": ["a"]}))
    command = [sys.executable, "-c", READ_A_TABLE, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"
