"""Handle Ctrl-C and SIGTERM: the first signal stops a run cleanly, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPED = 130


@contextmanager
def stop_on_signal() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal, so that finished results are written and Ray is stopped.

    A second signal ends the process at once.
    """
    handlers = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for signal_number in _SIGNALS:
        signal.signal(signal_number, _exit_at_once)
    raise KeyboardInterrupt


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    # The kernel then also ends the Ray that this process started.
    os._exit(_STOPPED)
