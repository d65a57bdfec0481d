"""The cache of a node: damaged folders, a full disk, folders that cannot be written, leftovers of killed processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import yaml

from raynas.data import DataSettings, open_images, prepare
from raynas.data.archives import unpack
from raynas.data.cache import checksum, ensure_cached
from raynas.data.disk_room import allocate
from search_spaces.errors import UserError
from tests.raynas.cli.bad_input.case import RECIPE
from tests.support.absent import absent
from tests.support.command import run_raynas
from tests.support.full_disk import full_disk, small_disk


def test_a_damaged_cache_is_filled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path))
    prepared = prepare(DataSettings(classes=3), 8, 0)
    expected = np.array(open_images(prepared).pixels)
    (folder,) = (path for path in (tmp_path / "decoded").iterdir() if path.is_dir())
    pixels = folder / "pixels.npy"
    whole = pixels.read_bytes()
    for damage in (whole[:-100], whole[:500] + b"\xff" * 9 + whole[509:]):
        pixels.write_bytes(damage)
        assert np.array_equal(open_images(prepared).pixels, expected)
        assert pixels.read_bytes() == whole
    (folder / "checksums.json").write_text("{")
    assert np.array_equal(open_images(prepared).pixels, expected)
    (folder / "selection.npz").unlink()
    assert np.array_equal(open_images(prepared).pixels, expected)


def test_a_checksum_samples_large_files_at_both_ends(tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as large:
        large.truncate(200 << 20)
    before = checksum(file)
    for place in (0, (200 << 20) - 1):
        with file.open("r+b") as large:
            large.seek(place)
            large.write(b"\x01")
        assert checksum(file) != before
        before = checksum(file)


def test_a_failed_fill_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path))

    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        ensure_cached("folder", fail, int)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.lock"]


def test_a_full_disk_is_refused_before_a_file_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path))
    with (
        full_disk(),
        pytest.raises(UserError, match=r"images need 5\.4 MiB in the cache .*File too large.*RAYNAS_CACHE"),
    ):
        prepare(DataSettings(), 32, 0)
    assert [path.name for path in (tmp_path / "decoded").iterdir() if path.suffix != ".lock"] == []
    assert len(open_images(prepare(DataSettings(), 32, 0)).pixels) == 1797, "with room, the same call is served"


def test_a_run_on_a_small_disk_is_refused_with_one_sentence(tmp_path: Path) -> None:
    """The disk takes the file, but not its content: a write into the mapped file would be SIGBUS."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "space": {"name": "nas-bench-macro"}}))
    with small_disk(tmp_path / "disk", "1m") as disk:
        environment = {**os.environ, "RAYNAS_CACHE": str(disk)}
        finished = run_raynas(tmp_path, "run", "recipe.yaml", "--out", "out", environment=environment)
        assert (finished.returncode, finished.stdout) == (2, ""), finished.stderr
        (sentence,) = finished.stderr.splitlines()
        assert re.match(rf"The images need 5\.4 MiB in the cache {disk}, whose disk had \S+ [KM]iB free", sentence)
        assert sentence.endswith("free room there, or set RAYNAS_CACHE to a folder on another disk.")
        assert not [path for path in disk.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_without_room_is_refused_before_it_is_unpacked(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.jpg").write_bytes(os.urandom(2 << 20))
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), kind, tmp_path / "photos"))
    with small_disk(tmp_path / "disk", "1m") as disk:
        monkeypatch.setenv("RAYNAS_CACHE", str(disk))
        with pytest.raises(UserError, match=r"The images need 2\.0 MiB in the cache .* free room there"):
            unpack(archive)
        assert [path.suffix for path in (disk / "archives").iterdir()] == [".lock"]
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path / "cache"))
    with full_disk(), pytest.raises(UserError, match=r"The images need 2\.0 MiB .* \(File too large\)"):
        unpack(archive)


def test_a_file_is_allocated_before_it_is_mapped(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        file = disk / "pixels"
        for size, has_room in ((500_000, True), (5_000_000, False)):
            with file.open("wb") as sparse:
                sparse.write(b"header")
                sparse.truncate(size)
            with nullcontext() if has_room else pytest.raises(OSError, match="No space left on device"):
                allocate(file)
        assert file.read_bytes()[:6] == b"header"


def test_a_disk_that_fills_up_while_files_are_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs may take the room that was free before."""

    def fill(folder: Path) -> None:
        (folder / "whole").write_bytes(b"0" * 1000)
        with full_disk():
            (folder / "half").write_bytes(b"0" * 1000)

    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"need 2\.0 KiB in the cache .* free room there"):
        ensure_cached("folder", fill, lambda: 2048)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.lock"]


@pytest.mark.parametrize("cache", ["/proc/cache", "file", "file/cache"])
def test_a_cache_that_cannot_be_written_is_refused(cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path / cache))
    with pytest.raises(UserError, match=rf"The cache .*{cache} cannot be written \(.*\): set RAYNAS_CACHE to a folder"):
        prepare(DataSettings(), 32, 0)


def test_a_home_that_cannot_be_written_is_refused_with_one_sentence(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "RAYNAS_CACHE"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    finished = run_raynas(tmp_path, "run", "recipe.yaml", environment={**environment, "HOME": "/proc"})
    assert (finished.returncode, finished.stdout) == (2, "")
    (sentence,) = finished.stderr.splitlines()
    assert re.match(r"The cache /proc/\.cache/raynas cannot be written \(.*\): set RAYNAS_CACHE to a folder", sentence)


def test_a_user_without_a_home_is_refused() -> None:
    """Clusters run containers as users that have no entry among the users."""
    if os.getuid():
        absent("the superuser, who alone can become another user")
    script = "import os\nfrom raynas.data.cache import cache_root\nos.setuid(4321)\nprint(cache_root())"
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "RAYNAS_CACHE")}
    finished = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert b"UserError: The cache has no folder" in finished.stderr
    assert b"set RAYNAS_CACHE to a folder" in finished.stderr


_KILLED = """
import os, signal, sys
from raynas.data.cache import ensure_cached

def fill(folder):
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

ensure_cached(sys.argv[1], fill, int)
"""

_FILLING = """
import sys
from raynas.data.cache import ensure_cached

def fill(folder):
    (folder / "file").write_text("whole")
    print("filling", flush=True)
    sys.stdin.readline()

ensure_cached("filled", fill, int)
"""


def test_leftovers_of_killed_processes_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that fills another folder deletes them. A folder that a living process fills stays."""
    monkeypatch.setenv("RAYNAS_CACHE", str(tmp_path))
    subprocess.run([sys.executable, "-c", _KILLED, "other-32"], check=False)
    (tmp_path / "own-32.1.aside").mkdir()
    assert len(list(tmp_path.glob("*.aside"))) == 2
    filling = subprocess.Popen([sys.executable, "-c", _FILLING], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert filling.stdout is not None
    filling.stdout.readline()
    ensure_cached("own-32", lambda folder: None, int)
    assert [path.name for path in tmp_path.glob("*.aside")] == [f"filled.{filling.pid}.aside"]
    filling.communicate(b"go on")
    assert (tmp_path / "filled" / "file").read_text() == "whole"
