"""A network that is no better than one answer to every image is called that."""

import pytest

from raynas.results.guessing import LargestClass, describe_guess, has_top5


@pytest.mark.parametrize(
    ("top1", "images", "share", "is_guess"),
    [
        (10.0, 355, 0.1, True),
        (13.1, 355, 0.1, True),  # the standard error is 1.59 points
        (13.3, 355, 0.1, False),
        (99.01, 505, 500 / 505, True),  # 500 images against 5
        (100.0, 505, 500 / 505, False),
        (60.0, 10, 0.5, True),
        (60.0, 1000, 0.5, False),
    ],
)
def test_a_guess_is_within_two_standard_errors_of_the_largest_class(
    top1: float, images: int, share: float, is_guess: bool
) -> None:
    sentence = describe_guess(top1, images, LargestClass("good", share))
    assert (sentence is not None) == is_guess
    if sentence:
        assert "no better than a guess" in sentence
        assert "class good" in sentence


@pytest.mark.parametrize(("classes", "says_something"), [(2, False), (5, False), (6, True)])
def test_top5_of_five_classes_says_nothing(classes: int, says_something: bool) -> None:
    assert has_top5(classes) == says_something
