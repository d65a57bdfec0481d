"""A fingerprint is computed once for files that do not change, and again for files that do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raynas.data import DataSettings, prepare
from raynas.data.channels import channel_statistics
from raynas.data.decoded_images import open_pixels
from raynas.data.fingerprints import fingerprint_files
from tests.messy.folders import write_class_folders

BYTES = 4 << 20


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    file.write_bytes(bytes(BYTES))
    return file


def bytes_read_by(work: Callable[[], object]) -> int:
    def count() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = count()
    work()
    return count() - before


def test_files_that_do_not_change_are_read_once(file: Path) -> None:
    time.sleep(2.1)  # so that the time of their change is over
    fingerprints = set[str]()

    def fingerprint() -> None:
        fingerprints.add(fingerprint_files(file.parent, [str(file)]))

    assert bytes_read_by(fingerprint) > BYTES
    assert bytes_read_by(fingerprint) < BYTES / 10
    assert len(fingerprints) == 1


@pytest.mark.parametrize("age_s", [0, 2.1])
def test_a_change_is_seen_that_keeps_size_and_time(age_s: float, file: Path) -> None:
    time.sleep(age_s)
    before, times = fingerprint_files(file.parent, [str(file)]), file.stat()
    file.write_bytes(b"x" * BYTES)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint_files(file.parent, [str(file)]) != before


@pytest.mark.parametrize("damage", ["", "cut off"])
def test_a_kept_fingerprint_that_is_damaged_is_computed_again(damage: str, file: Path, own_cache: Path) -> None:
    time.sleep(2.1)
    before = fingerprint_files(file.parent, [str(file)])
    (kept,) = (own_cache / "fingerprints").iterdir()
    kept.write_text(damage)
    assert fingerprint_files(file.parent, [str(file)]) == before
    assert kept.read_text() == before


def test_a_cache_that_cannot_be_written_keeps_nothing(file: Path, own_cache: Path) -> None:
    own_cache.write_text("a file in its place")
    assert len(fingerprint_files(file.parent, [str(file)])) == 64


def test_channel_statistics_are_measured_once_for_a_split(tmp_path: Path, own_cache: Path) -> None:
    write_class_folders(tmp_path / "images")
    prepared = prepare(DataSettings(name="folder", path=tmp_path / "images"), 12, 0)
    (folder,) = (path for path in (own_cache / "decoded").iterdir() if path.is_dir())
    (kept,) = folder.glob("channels-*.json")
    pixels = open_pixels(folder)
    rows = np.arange(len(pixels))
    measured = channel_statistics(folder, rows, 0, "another split")
    assert measured[0] == pytest.approx(pixels.reshape(-1, 3).mean(axis=0) / 255)
    assert measured[1] == pytest.approx(pixels.reshape(-1, 3).std(axis=0) / 255)
    kept.write_text("[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]")
    again = prepare(DataSettings(name="folder", path=tmp_path / "images"), 12, 0)
    assert (again.mean, again.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    kept.write_text("cut o")
    assert prepare(DataSettings(name="folder", path=tmp_path / "images"), 12, 0) == prepared
