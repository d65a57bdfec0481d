"""How fast a worker gets its images, and how long it waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class LoadingTimes:
    """The images that a worker has loaded since the times began, and the seconds that it waited for them."""

    clock: Callable[[], float] = time.monotonic
    images: int = 0
    waited: float = 0.0
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @contextmanager
    def loading(self, images: int) -> Iterator[None]:
        """Count images, and the time of the block that loads them."""
        begun = self.clock()
        yield
        self.images += images
        self.waited += self.clock() - begun

    def figures(self, workers: int) -> dict[str, float]:
        """Return `images_per_second` of equal workers together, and `waiting`, the share of the time from 0 to 1."""
        seconds = max(self.clock() - self.begun, 1e-9)
        return {"images_per_second": workers * self.images / seconds, "waiting": self.waited / seconds}
