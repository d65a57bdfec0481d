"""Fixtures of several tests: the real data, a cache of decoded images, a Ray of this process, and finished runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.absent import absent
from tests.support.made_once import make_once, session_folder

settings.register_profile("ci", derandomize=True, deadline=None)  # every run tries the same examples
settings.load_profile("ci")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; a user's clone has none."""
    if not SHARED.is_dir():
        absent("the real data in ../shared, which is not here")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of decoded images of all processes of a test session. The user's cache is neither used nor filled."""
    folder = session_folder(tmp_path_factory) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYNAS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def cluster(image_cache: Path) -> Iterator[None]:
    """One Ray on this machine for all tests that call it in their own process."""
    from raynas.cluster.ray_session import connect

    with connect():
        yield


@pytest.fixture(scope="session")
def finished_run(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that returns the folder of a finished run by its name in `finished_runs.RECIPES`.

    All tests of a session share the folder, so no test may change it.
    """
    from tests.support.finished_runs import finish_run

    folder = session_folder(tmp_path_factory) / "finished"

    def finished(name: str) -> Path:
        return make_once(folder / name, lambda made: finish_run(name, made)) / "run"

    return finished
