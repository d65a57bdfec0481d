"""A full disk for a part of a test, and a small disk."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.absent import absent


@contextmanager
def full_disk() -> Iterator[None]:
    """Let the kernel refuse every byte that this process writes into a file. Names can still be made and removed."""
    limit, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard_limit))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard_limit))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a size such as `1m` at a new folder. Without the superuser the test is skipped."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "raynas", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        absent("the superuser, who alone can mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
