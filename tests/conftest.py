"""What several tests need: the real data beside the checkout, and a cache of decoded images that the user's is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.absent import absent

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
    """Where every process that a test starts keeps decoded images: the tests neither use nor fill the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYNAS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def cluster(image_cache: Path) -> Iterator[None]:
    """One Ray on this machine for all tests that call it in their own process."""
    from raynas.cluster.ray_session import connect

    with connect():
        yield
