"""The cache of a node: each folder is complete or absent, and a damaged folder is filled again."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from raynas.data.disk_room import format_bytes, is_full
from search_spaces.errors import UserError

_CHECKSUMS = "checksums.json"
_BLOCK_BYTES = 1 << 20
_BLOCKS = 64


def cache_root() -> Path:
    """Return the cache folder of this node: `RAYNAS_CACHE`, or `~/.cache/raynas`.

    Raises:
        UserError: if `RAYNAS_CACHE` is not set, and the user has no home folder.
    """
    try:
        return Path(os.environ.get("RAYNAS_CACHE") or "~/.cache/raynas").expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"The cache has no folder ({error}): set RAYNAS_CACHE to a folder for it.") from error


def ensure_cached(key: str, fill: Callable[[Path], None], count_bytes: Callable[[], int]) -> Path:
    """Return the folder `key` of the cache. If it is absent or damaged, one process fills it and the others wait.

    Args:
        fill: writes the files into an empty folder. Files in folders below it are not compared later.
        count_bytes: counts the bytes that `fill` writes. It is called before, if the folder has to be filled.

    Raises:
        UserError: if the cache cannot be written, or if its disk has no room. No part of the folder remains.
    """
    folder = cache_root() / key
    if _is_whole(folder):
        return folder
    with _locked(folder) as is_locked:
        assert is_locked, "the lock was waited for"
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            _delete_leftovers(folder.parent, own=folder)
            _fill(folder, fill, count_bytes())
    return folder


def keep(file: Path, text: str) -> None:
    """Write a small file of the cache whole or not at all. A cache that cannot be written keeps nothing."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(f"{file}.{os.getpid()}.aside")
        aside.write_text(text, encoding="ascii")
        aside.rename(file)


def _fill(folder: Path, fill: Callable[[Path], None], needed: int) -> None:
    aside, free = Path(f"{folder}.{os.getpid()}.aside"), shutil.disk_usage(folder.parent).free
    try:
        if needed > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        aside.mkdir()
        fill(aside)
        files = sorted(file for file in aside.iterdir() if file.is_file())
        (aside / _CHECKSUMS).write_text(json.dumps({file.name: checksum(file) for file in files}))
        for file in (*files, aside / _CHECKSUMS):
            with file.open("rb") as written:
                os.fsync(written)
        aside.rename(folder)
    except OSError as error:
        if not is_full(error):
            raise
        raise UserError(
            f"The images need {format_bytes(needed)} in the cache {cache_root()}, whose disk had {format_bytes(free)} "
            f"free ({error.strerror}): free room there, or set RAYNAS_CACHE to a folder on another disk."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the kernel's lock on filling a folder. Yields whether it is held: without `wait`, another may hold it.

    Raises:
        UserError: if the cache cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(Path(f"{folder}.lock").open("w"))
        except OSError as error:
            raise UserError(
                f"The cache {cache_root()} cannot be written ({error.strerror}): set RAYNAS_CACHE to a folder that can "
                "be."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _delete_leftovers(parent: Path, own: Path) -> None:
    """Delete what killed processes have left in a folder of the cache: what nobody fills who holds its lock.

    Args:
        own: the folder whose lock this process holds.
    """
    for aside in parent.glob("*.aside"):
        folder = aside.with_suffix("").with_suffix("")
        if folder == own:
            shutil.rmtree(aside, ignore_errors=True)
            continue
        with suppress(UserError), _locked(folder, wait=False) as is_locked:  # another user's lock is left alone
            if is_locked:
                shutil.rmtree(aside, ignore_errors=True)


def checksum(file: Path) -> str:
    """Return the SHA-256 of the size and the content of a file.

    Of a file larger than 64 MiB, only 64 evenly spread blocks of 1 MiB are read.
    """
    size = file.stat().st_size
    blocks = -(-size // _BLOCK_BYTES)
    sampled = range(blocks) if blocks <= _BLOCKS else [i * (blocks - 1) // (_BLOCKS - 1) for i in range(_BLOCKS)]
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as content:
        for block in sampled:
            content.seek(block * _BLOCK_BYTES)
            digest.update(content.read(_BLOCK_BYTES))
    return digest.hexdigest()


def _is_whole(folder: Path) -> bool:
    try:
        checksums: dict[str, str] = json.loads((folder / _CHECKSUMS).read_text())
        return all(checksum(folder / name) == expected for name, expected in checksums.items())
    except (OSError, ValueError):
        return False
