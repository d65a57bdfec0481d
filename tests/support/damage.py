"""Damage a file as a crash, a disk or another version of raynas does."""

from __future__ import annotations

from pathlib import Path

from raynas.storage.run_folder import RunFolder


def truncate(file: Path) -> None:
    """Keep the first half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    """Remove the content of a file."""
    file.write_bytes(b"")


def flip_bit(file: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def write_as_other_version(file: Path) -> None:
    """Write a whole checkpoint in the format of another version of raynas."""
    folder = RunFolder(file.parent)
    tensors, header = folder.read_tensors(file.name)
    changed = {f"later/{key}": value for key, value in tensors.items()}
    folder.write_tensors(file.name, changed, {**header, "format": 2})
