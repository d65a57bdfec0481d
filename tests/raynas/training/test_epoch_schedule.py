"""The training steps of an epoch, against lists by hand; and the means of their metrics."""

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


def steps_of(schedule: EpochSchedule) -> list[list[tuple[str, list[int]]]]:
    """Return the updates of each training step: the group of parameters and the rows of the batch."""
    return [
        [(update.parameters, rows.tolist()) for update, rows, _ in schedule.at(step)] for step in range(schedule.steps)
    ]


def test_passes_follow_each_other() -> None:
    schedule = EpochSchedule([[TRAIN], [SEARCH]], BATCHES)
    assert steps_of(schedule) == [
        [("weights", [0, 1])],
        [("weights", [2, 3])],
        [("weights", [4, 5])],
        [("architecture", [10, 11])],
        [("architecture", [12, 13])],
    ]
    assert schedule.weight_steps == 3
    assert [schedule.weight_step(step) for step in range(5)] == [0, 1, 2, 3, 3]


def test_the_shorter_stream_of_a_pass_begins_again() -> None:
    schedule = EpochSchedule([[TRAIN, SEARCH]], BATCHES)
    assert steps_of(schedule) == [
        [("weights", [0, 1]), ("architecture", [10, 11])],
        [("weights", [2, 3]), ("architecture", [12, 13])],
        [("weights", [4, 5]), ("architecture", [10, 11])],
    ]
    assert schedule.weight_steps == 3


def test_the_stream_of_the_weights_decides_the_number_of_steps() -> None:
    schedule = EpochSchedule([[SEARCH, TRAIN]], BATCHES)
    assert steps_of(schedule) == [
        [("architecture", [10, 11]), ("weights", [0, 1])],
        [("architecture", [12, 13]), ("weights", [2, 3])],
        [("architecture", [10, 11]), ("weights", [4, 5])],
    ]


def test_an_update_can_get_a_second_stream_beside_its_own() -> None:
    schedule = EpochSchedule([[Update("architecture", "search", unused, beside="train"), TRAIN]], BATCHES)
    (_, rows, beside), (_, train, none) = schedule.at(2)
    assert beside is not None
    assert (rows.tolist(), beside.tolist(), train.tolist(), none) == ([10, 11], [4, 5], [4, 5], None)


def test_an_epoch_can_have_fewer_steps_than_batches() -> None:
    schedule = EpochSchedule([[SEARCH, TRAIN]], BATCHES, most=1)
    assert steps_of(schedule) == [[("architecture", [10, 11]), ("weights", [0, 1])]]
    assert (schedule.steps, schedule.weight_steps) == (1, 1)


def test_the_pass_of_the_weights_can_come_second() -> None:
    schedule = EpochSchedule([[SEARCH], [TRAIN]], BATCHES)
    assert [schedule.weight_step(step) for step in range(5)] == [0, 0, 0, 1, 2]


def test_means_continue_from_a_written_state() -> None:
    means = MetricMeans()
    means.add({"loss": torch.tensor(1.0)})
    means.add({"loss": torch.tensor(2.0)})
    means.add({"architecture_loss": torch.tensor(5.0)})
    resumed = MetricMeans.restore(json.loads(json.dumps(means.state())), torch.device("cpu"))
    resumed.add({"loss": torch.tensor(6.0)})
    assert resumed.values() == pytest.approx({"loss": 3.0, "architecture_loss": 5.0})
