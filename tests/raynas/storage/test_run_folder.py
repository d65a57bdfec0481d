"""What is written is whole or absent, and what is read is what was written."""

import math
import os
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


def test_folders_in_it_keep_what_its_uri_says_of_the_store(tmp_path: Path) -> None:
    run = RunFolder("s3://bucket/run?region=eu-west-1&endpoint_override=localhost")
    assert (run / "steps" / "01-supernet").uri == (
        "s3://bucket/run/steps/01-supernet?region=eu-west-1&endpoint_override=localhost"
    )
    assert (RunFolder(tmp_path / "what?") / "steps").uri == str(tmp_path / "what?" / "steps")


def test_json_comes_back(folder: RunFolder) -> None:
    value = {"a": 0.1 + 0.2, "b": [1, None, "ü"], "c": {"d": 2**70}}
    folder.write_json("deep/er/file.json", value)
    assert folder.read_json("deep/er/file.json") == value
    assert folder.names("deep/er") == ["file.json"]


def test_tensors_come_back_bit_for_bit(folder: RunFolder) -> None:
    tensors = {
        "weight": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "half": torch.randn(5).bfloat16(),
    }
    folder.write_tensors("w.safetensors", tensors, {"epoch": 3})
    read, about = folder.read_tensors("w.safetensors")
    assert about == {"epoch": 3}
    assert all(torch.equal(read[key], tensors[key]) and read[key].dtype == tensors[key].dtype for key in tensors)


def test_tables_come_back(folder: RunFolder) -> None:
    table = pd.DataFrame({"architecture": ["a", "b"], "top1": [1.5, math.nan], "macs": [1, 2]})
    folder.write_table("t.parquet", table)
    pd.testing.assert_frame_equal(folder.read_table("t.parquet"), table)


@pytest.mark.parametrize("kind", ["json", "tensors", "table"])
@pytest.mark.parametrize("harm", ["truncate", "empty", "flip"])
def test_damage_is_seen(folder: RunFolder, kind: str, harm: str) -> None:
    writers: dict[str, Callable[[], None]] = {
        "json": lambda: folder.write_json("file", {"value": "something long enough to be hit"}),
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
    if harm == "truncate":
        content = content[: len(content) // 2]
    elif harm == "empty":
        content = bytearray()
    else:
        content[len(content) // 2 if kind != "json" else content.index(b"long")] ^= 1
    folder.write("file", bytes(content))
    with pytest.raises(DamagedFile):
        read("file")


def test_what_a_killed_writer_left_aside_is_not_there(folder: RunFolder) -> None:
    folder.write("file", b"whole")
    folder.write("file.123.aside", b"ha")
    assert folder.names() == ["file"]


def test_what_cannot_be_written_leaves_what_was_there(folder: RunFolder) -> None:
    folder.write("file", b"before")
    with full_disk(), pytest.raises(WriteFailed, match=r"file could not be written: File too large\."):
        folder.write("file", b"after")
    assert folder.read("file") == b"before"
    assert os.listdir(folder.uri) == ["file"], "nothing is left aside"


def test_a_file_has_its_name_only_when_it_is_safe_on_the_disk(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is synced, and what the name stands for at that moment: first the new content, then the name's change."""
    folder.write("file", b"before")
    synced: list[tuple[bytes, bytes]] = []
    fsync = os.fsync

    def remembered(handle: int) -> None:
        fsync(handle)
        path = Path(f"/proc/self/fd/{handle}")
        synced.append((b"the folder" if path.is_dir() else path.read_bytes(), folder.read("file")))

    monkeypatch.setattr(os, "fsync", remembered)
    folder.write("file", b"after")
    assert synced == [(b"after", b"before"), (b"the folder", b"after")]


def test_a_missing_file_is_missing(folder: RunFolder) -> None:
    assert not folder.exists("nothing")
    assert folder.names("nowhere") == []
    with pytest.raises(FileNotFoundError):
        folder.read_json("nothing.json")
