"""A search that times itself, to separate its own time from that of Tune and of the evaluators."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from raynas.interfaces.searcher import Evaluation, Search
from search_spaces import Architecture, Budget, Costs, SearchSpace
from tuners.search_algorithms.nsga2 import ConstrainedNsga2


class TimedNsga2(ConstrainedNsga2):
    """PAD-NAS's search; its state has the search's own seconds, and the moments of its generations."""

    def begin(self, space: SearchSpace, costs: Costs, budget: Budget, seed: int) -> Search:
        start = time.perf_counter()
        search = super().begin(space, costs, budget, seed)
        return _TimedSearch(search, time.perf_counter() - start)


class _TimedSearch(Search):
    """A search with a stop-watch."""

    def __init__(self, search: Search, seconds: float) -> None:
        self._search = search
        self._seconds = seconds
        self._moments: list[float] = []
        self.generations = search.generations

    def ask(self) -> list[Architecture]:
        self._moments.append(time.time())
        start = time.perf_counter()
        architectures = self._search.ask()
        self._seconds += time.perf_counter() - start
        return architectures

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        start = time.perf_counter()
        self._search.tell(evaluations)
        self._seconds += time.perf_counter() - start

    def state(self) -> dict[str, Any]:
        """Return the state with `seconds`, the search's own time, and `moments`, the clock at each `ask` in seconds."""
        start = time.perf_counter()
        state = self._search.state()
        self._seconds += time.perf_counter() - start
        return {**state, "seconds": self._seconds, "moments": self._moments}

    def restore(self, state: dict[str, Any]) -> None:
        self._search.restore(state)
        self._seconds, self._moments = state["seconds"], state["moments"]
