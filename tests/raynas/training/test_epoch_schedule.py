"""An epoch's steps, against lists written by hand; and the means of what they say."""

import json

import numpy as np
import pytest
import torch

from raynas.interfaces.objective import Gradients, TrainingStep, Update
from raynas.training.epoch_schedule import EpochSchedule
from raynas.training.metric_means import MetricMeans


def unused(step: TrainingStep) -> Gradients:
    raise AssertionError


TRAIN = Update("weights", "train", unused)
SEARCH = Update("architecture", "search", unused)
BATCHES = {"train": np.arange(6).reshape(3, 2), "search": np.arange(10, 14).reshape(2, 2)}


def walked(walk: EpochSchedule) -> list[list[tuple[str, list[int]]]]:
    return [[(update.parameters, rows.tolist()) for update, rows, _ in walk.at(step)] for step in range(walk.steps)]


def test_one_pass_after_the_other_as_hournas_walks() -> None:
    walk = EpochSchedule([[TRAIN], [SEARCH]], BATCHES)
    assert walked(walk) == [
        [("weights", [0, 1])],
        [("weights", [2, 3])],
        [("weights", [4, 5])],
        [("architecture", [10, 11])],
        [("architecture", [12, 13])],
    ]
    assert walk.weight_steps == 3
    assert [walk.weight_step(step) for step in range(5)] == [0, 1, 2, 3, 3]


def test_both_in_each_step_the_shorter_stream_beginning_again() -> None:
    walk = EpochSchedule([[TRAIN, SEARCH]], BATCHES)
    assert walked(walk) == [
        [("weights", [0, 1]), ("architecture", [10, 11])],
        [("weights", [2, 3]), ("architecture", [12, 13])],
        [("weights", [4, 5]), ("architecture", [10, 11])],
    ]
    assert walk.weight_steps == 3


def test_the_weights_say_how_many_steps_there_are() -> None:
    walk = EpochSchedule([[SEARCH, TRAIN]], BATCHES)
    assert walked(walk) == [
        [("architecture", [10, 11]), ("weights", [0, 1])],
        [("architecture", [12, 13]), ("weights", [2, 3])],
        [("architecture", [10, 11]), ("weights", [4, 5])],
    ]


def test_a_second_stream_is_handed_in_beside_the_first() -> None:
    walk = EpochSchedule([[Update("architecture", "search", unused, beside="train"), TRAIN]], BATCHES)
    (_, rows, beside), (_, train, none) = walk.at(2)
    assert beside is not None
    assert (rows.tolist(), beside.tolist(), train.tolist(), none) == ([10, 11], [4, 5], [4, 5], None)


def test_an_epoch_may_have_fewer_steps_than_batches() -> None:
    walk = EpochSchedule([[SEARCH, TRAIN]], BATCHES, most=1)
    assert walked(walk) == [[("architecture", [10, 11]), ("weights", [0, 1])]]
    assert (walk.steps, walk.weight_steps) == (1, 1)


def test_weights_may_be_moved_after_another_group() -> None:
    walk = EpochSchedule([[SEARCH], [TRAIN]], BATCHES)
    assert [walk.weight_step(step) for step in range(5)] == [0, 0, 0, 1, 2]


def test_means_go_on_from_what_was_written_down() -> None:
    means = MetricMeans()
    means.add({"loss": torch.tensor(1.0)})
    means.add({"loss": torch.tensor(2.0)})
    means.add({"architecture_loss": torch.tensor(5.0)})
    resumed = MetricMeans.restore(json.loads(json.dumps(means.state())), torch.device("cpu"))
    resumed.add({"loss": torch.tensor(6.0)})
    assert resumed.values() == pytest.approx({"loss": 3.0, "architecture_loss": 5.0})
