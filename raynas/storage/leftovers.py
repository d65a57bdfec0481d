"""Delete the unfinished files that killed processes have left in a run folder."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import suppress
from pathlib import Path

_SUFFIX = ".aside"
_DAY_SECONDS = 86_400


def aside_path(path: str) -> str:
    """Return where this process writes a file before the file gets its name. The name holds the host and the process.

    A process number says nothing about another host, which may share the file system.
    """
    return f"{path}.{socket.gethostname()}.{os.getpid()}{_SUFFIX}"


def is_aside(name: str) -> bool:
    """Return whether a file has not got its name yet."""
    return name.endswith(_SUFFIX)


def delete_leftovers(folder: str) -> None:
    """Delete unfinished files in a local folder and below, if their process on this host is gone, or after a day."""
    writer = re.compile(rf"\.{re.escape(socket.gethostname())}\.(\d+){re.escape(_SUFFIX)}$")
    for place, _, names in os.walk(folder):
        for name in filter(is_aside, names):
            file, match = Path(place, name), writer.search(name)
            with suppress(OSError):  # its writer has just finished, or it is another user's
                is_gone = match is not None and not Path("/proc", match[1]).exists()
                if is_gone or time.time() - file.stat().st_mtime > _DAY_SECONDS:
                    file.unlink()
