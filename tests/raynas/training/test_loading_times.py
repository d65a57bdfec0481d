"""Images a second and the share of waiting, by a clock that the test moves."""

from raynas.storage.progress import describe_loading
from raynas.training.loading_times import LoadingTimes


def test_two_workers_that_wait_a_quarter_of_the_time() -> None:
    now = [100.0]
    times = LoadingTimes(clock=lambda: now[0])
    for _ in range(2):
        with times.loading(32):
            now[0] += 1
        now[0] += 3
    figures = times.figures(workers=2)
    assert figures == {"images_per_second": 16.0, "waiting": 0.25}
    assert describe_loading(figures) == "16 images/s, 25 % of the time waiting for images"


def test_nothing_was_loaded_at_the_beginning() -> None:
    assert LoadingTimes(clock=lambda: 1.0).figures(workers=1) == {"images_per_second": 0.0, "waiting": 0.0}
