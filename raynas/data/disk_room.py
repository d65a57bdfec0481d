"""The room of files on a disk: a full disk is an error before a file is mapped into memory, never a signal after."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def allocate(file: Path) -> None:
    """Allocate the disk's blocks for a whole file, whose content stays.

    A full disk is an OSError here. Later, in a write into the mapped file, it would end the process with SIGBUS.
    """
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, os.fstat(opened.fileno()).st_size)


def is_full(error: OSError) -> bool:
    """Return whether an error says that a disk, a quota or the largest size of a file is used up."""
    return error.errno in _FULL


def format_bytes(count: int) -> str:
    """Return a number of bytes in a unit that people read: `1.5 GiB`."""
    return next((f"{count / size:,.1f} {unit}" for unit, size in _UNITS if count >= size), f"{count} bytes")
