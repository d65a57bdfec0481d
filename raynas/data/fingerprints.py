"""The fingerprint of image files: one digest of their names and contents, which is kept while no file changes."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from raynas.data.cache import cache_root, keep

_HASHED_BYTES = 1 << 30
_LENGTH = 64
"""Digits of a fingerprint."""
_SETTLED_NS = 2_000_000_000
"""From this age on, a change of a file is known by its time."""


def fingerprint_files(folder: Path, files: Sequence[str]) -> str:
    """Return the SHA-256 of names and sizes and, up to 1 GiB, contents. A file that cannot be read has neither.

    The cache keeps the fingerprint by the files' paths, sizes and times. Unless they change, no file is opened again.
    The time of the last change of a file's inode is one of them: no program can set it back. Files that have just
    changed may change once more at the same time, so their fingerprint is not kept.
    """
    stats = [_stat(file) for file in files]
    kept = cache_root() / "fingerprints" / _digest(map(repr, zip(files, stats, strict=True)))
    with suppress(OSError):
        fingerprint = kept.read_text(encoding="ascii")
        if len(fingerprint) == _LENGTH:
            return fingerprint
    fingerprint = _hash_files(folder, files, [-1 if stat is None else stat[0] for stat in stats])
    newest = max((max(stat[1:]) for stat in stats if stat is not None), default=0)
    if time.time_ns() - newest < _SETTLED_NS:
        return fingerprint
    keep(kept, fingerprint)
    return fingerprint


def _stat(file: str) -> tuple[int, int, int] | None:
    """Return size, time of modification and time of change in nanoseconds; None if the file cannot be read."""
    if not os.access(file, os.R_OK):
        return None
    stat = os.stat(file)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _hash_files(folder: Path, files: Sequence[str], sizes: Sequence[int]) -> str:
    digest = hashlib.sha256()
    hash_content = sum(sizes) <= _HASHED_BYTES
    for file, size in zip(files, sizes, strict=True):
        digest.update(f"{os.path.relpath(file, folder)}\0{size}\0".encode())
        if hash_content and size >= 0:
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()
