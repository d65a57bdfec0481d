"""The difference of two JSON objects names each field by its path."""

from raynas.storage.difference import difference

BEFORE = {"seed": 1, "training": {"epochs": 3, "steps": None}, "scale": {"train": {"workers": 2}, "max_failures": 3}}


def test_equal_objects_have_no_difference() -> None:
    assert list(difference(BEFORE, {**BEFORE})) == []


def test_nested_fields_are_compared_one_by_one() -> None:
    now = {**BEFORE, "training": {"epochs": 4, "steps": 10}}
    assert list(difference(BEFORE, now)) == [("training.epochs", 3, 4), ("training.steps", None, 10)]


def test_a_field_of_one_object_alone_is_none_in_the_other() -> None:
    assert list(difference({"seed": 1}, {"track": ["mlflow"]})) == [("seed", 1, None), ("track", None, ["mlflow"])]


def test_an_object_in_place_of_a_value_is_one_field() -> None:
    assert list(difference({"racing": None}, {"racing": {"risk": 0.1}})) == [("racing", None, {"risk": 0.1})]
    assert list(difference({"budget": {"macs": 1}}, {"budget": 2})) == [("budget", {"macs": 1}, 2)]


def test_paths_to_ignore_are_left_out_with_all_their_fields() -> None:
    now = {"seed": 2, "training": {"epochs": 4, "steps": None}, "scale": {"train": {"workers": 1}, "max_failures": 9}}
    assert list(difference(BEFORE, now, ignoring=["scale.max_failures"])) == [
        ("scale.train.workers", 2, 1),
        ("seed", 1, 2),
        ("training.epochs", 3, 4),
    ]
    assert list(difference(BEFORE, now, ignoring=["scale", "training.epochs"])) == [("seed", 1, 2)]
    assert list(difference(BEFORE, now, ignoring=["epochs", "scale", "seed"])) == [("training.epochs", 3, 4)]


def test_paths_begin_with_the_path_of_the_objects() -> None:
    assert list(difference({"cells": 3}, {"cells": 5}, under="space.")) == [("space.cells", 3, 5)]
    assert list(difference({"cells": 3}, {"cells": 5}, ignoring=["space.cells"], under="space.")) == []
