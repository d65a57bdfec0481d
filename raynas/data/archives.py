"""Archives of images: a .zip or .tar is unpacked once, into the cache, if nothing in it points or grows outside."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from raynas.data.cache import checksum, ensure_cached
from raynas.data.disk_room import is_full
from raynas.data.labelled_files import is_hidden
from search_spaces.errors import UserError

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MOST_FILES = 5_000_000
MOST_RATIO = 100
"""The most times that the content may be as large as the archive: images hardly shrink."""
_SMALL_BYTES = 1 << 28
"""Content up to this size is unpacked at any ratio."""
_LINK, _KIND = 0o120000, 0o170000


def is_archive(path: Path) -> bool:
    """Return whether the name of a file is that of an archive."""
    return path.name.lower().endswith(ARCHIVES)


def unpack(archive: Path) -> Path:
    """Return the folder with the content of an archive. A single folder around everything is left out.

    Raises:
        UserError: if the archive is damaged, holds links or names outside of it, or is far larger than its file.
    """
    key = f"archives/{checksum(archive)[:20]}"
    content = ensure_cached(key, lambda aside: _unpack_into(archive, aside), lambda: _checked_size(archive))
    content /= "content"
    while True:
        entries = [entry for entry in content.iterdir() if not is_hidden(entry.name)]
        if len(entries) != 1 or not entries[0].is_dir():
            return content
        content = entries[0]


def _unpack_into(archive: Path, aside: Path) -> None:
    root = aside / "content"
    root.mkdir()
    with _refused_if_damaged(archive):
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(root)
        else:
            with tarfile.open(archive) as tarred:
                tarred.extractall(root, filter="data")


def _checked_size(archive: Path) -> int:
    """Check all names and sizes before anything is written. Return the size of the content in bytes."""
    with _refused_if_damaged(archive):
        if _is_zip(archive):
            with zipfile.ZipFile(archive) as zipped:
                files = zipped.infolist()
            return _check(archive, ((f.filename, f.file_size, (f.external_attr >> 16) & _KIND == _LINK) for f in files))
        with tarfile.open(archive) as tarred:
            return _check(archive, ((f.name, f.size, not (f.isfile() or f.isdir())) for f in tarred))


def _is_zip(archive: Path) -> bool:
    return archive.name.lower().endswith(".zip")


@contextmanager
def _refused_if_damaged(archive: Path) -> Iterator[None]:
    try:
        yield
    # zipfile raises RuntimeError for an encrypted file and for an unknown compression.
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and is_full(error):
            raise
        raise UserError(f"{archive} cannot be unpacked: {error}. Pack it again, or unpack it yourself.") from error


def _check(archive: Path, files: Iterable[tuple[str, int, bool]]) -> int:
    """Check all names and sizes, and return the sum of the sizes in bytes.

    Args:
        files: name, size in bytes, and whether it is neither a file nor a folder.

    Raises:
        UserError: at the first file that must not be unpacked.
    """
    most_bytes = max(_SMALL_BYTES, MOST_RATIO * archive.stat().st_size)
    count, size = 0, 0
    for name, file_bytes, is_special in files:
        path = PurePosixPath(name.replace("\\", "/"))
        if is_special:
            raise UserError(f"{archive} holds {name!r}, a link or device. Pack only files and folders.")
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            raise UserError(
                f"{archive} holds {name!r}, which points outside of the archive. Pack it again without such a path."
            )
        count, size = count + 1, size + file_bytes
        if count > MOST_FILES or size > most_bytes:
            raise UserError(
                f"{archive} would unpack to over {MOST_FILES:,} files or {most_bytes / 2**30:,.1f} GiB. Few data "
                "sets are so large: if it is right, unpack it yourself and give the folder."
            )
    return size
