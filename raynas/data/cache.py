"""The cache of a node: each folder is complete or absent, and a damaged folder is filled again."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

_CHECKSUMS = "checksums.json"
_BLOCK_BYTES = 1 << 20
_BLOCKS = 64


def cache_root() -> Path:
    """Return the cache folder of this node: `RAYNAS_CACHE`, or `~/.cache/raynas`."""
    return Path(os.environ.get("RAYNAS_CACHE") or "~/.cache/raynas").expanduser().absolute()


def ensure_cached(key: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder `key` of the cache. If it is absent or damaged, one process fills it and the others wait.

    Args:
        fill: writes the files into an empty folder. Files in folders below it are not compared later.
    """
    folder = cache_root() / key
    if _is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_whole(folder):
            return folder
        for remnant in (folder, *folder.parent.glob(f"{folder.name}.*.aside")):
            shutil.rmtree(remnant, ignore_errors=True)
        aside = Path(f"{folder}.{os.getpid()}.aside")
        aside.mkdir()
        try:
            fill(aside)
            files = sorted(file for file in aside.iterdir() if file.is_file())
            (aside / _CHECKSUMS).write_text(json.dumps({file.name: checksum(file) for file in files}))
            for file in (*files, aside / _CHECKSUMS):
                with file.open("rb") as written:
                    os.fsync(written)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


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
