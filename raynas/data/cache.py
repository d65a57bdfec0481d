"""A node's cache: folders that are filled once, whole or absent, and filled again when they are found damaged."""

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
    """This node's cache: `RAYNAS_CACHE`, or `~/.cache/raynas`."""
    return Path(os.environ.get("RAYNAS_CACHE") or "~/.cache/raynas").expanduser().absolute()


def cached(key: str, fill: Callable[[Path], None]) -> Path:
    """The cache's folder `key`. Where it is absent or damaged, one process of the node fills it and the others wait."""
    folder = cache_root() / key
    if _is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_whole(folder):
            return folder
        for left in (folder, *folder.parent.glob(f"{folder.name}.*.aside")):
            shutil.rmtree(left, ignore_errors=True)
        aside = Path(f"{folder}.{os.getpid()}.aside")
        aside.mkdir()
        try:
            fill(aside)
            checksums = {file.name: checksum(file) for file in sorted(aside.iterdir())}
            (aside / _CHECKSUMS).write_text(json.dumps(checksums))
            for file in aside.iterdir():
                with file.open("rb") as written:
                    os.fsync(written)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def checksum(file: Path) -> str:
    """SHA-256 of a file's size and content; of a larger file's, 64 blocks of 1 MiB that are evenly spread."""
    size = file.stat().st_size
    blocks = -(-size // _BLOCK_BYTES)
    chosen = range(blocks) if blocks <= _BLOCKS else [i * (blocks - 1) // (_BLOCKS - 1) for i in range(_BLOCKS)]
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as content:
        for block in chosen:
            content.seek(block * _BLOCK_BYTES)
            digest.update(content.read(_BLOCK_BYTES))
    return digest.hexdigest()


def _is_whole(folder: Path) -> bool:
    try:
        checksums: dict[str, str] = json.loads((folder / _CHECKSUMS).read_text())
        return all(checksum(folder / name) == expected for name, expected in checksums.items())
    except (OSError, ValueError):
        return False
