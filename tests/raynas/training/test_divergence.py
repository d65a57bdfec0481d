"""A loss that is not finite or has exploded raises an error, and so does a weight that is not finite."""

import math

import pytest
import torch
from torch import nn

from raynas.training.divergence import Divergence, LossMonitor, check_weights_finite
from search_spaces import load

SPACE = load("nas-bench-macro", width=0.125, resolution=16, num_classes=3)
PATH = SPACE.architecture([1] * len(SPACE.choices))
GUESSING = math.log(3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", math.nan),
        ("loss", math.inf),
        ("loss", 1001 * GUESSING),
        ("teacher_loss", math.nan),
    ],
)
def test_the_error_of_a_diverged_loss_names_the_epoch_and_the_architecture(name: str, value: float) -> None:
    monitor = LossMonitor(classes=3)
    monitor.add({"loss": torch.tensor(1.0)}, [])
    monitor.add({name: torch.tensor(value)}, [PATH])
    message = f"The {name.replace('_', ' ')} was {value:.3g} in epoch 3; architectures: {PATH}"
    with pytest.raises(Divergence) as fault:
        monitor.check(2)
    assert str(fault.value) == message
    monitor.check(2)  # losses are checked once


def test_other_metrics_and_high_losses_are_no_divergence() -> None:
    monitor = LossMonitor(classes=3)
    monitor.add({"loss": torch.tensor(999 * GUESSING), "top1": torch.tensor(math.nan)}, [PATH])
    monitor.add({"latency_loss": torch.tensor(1e9)}, [PATH])
    monitor.check(0)


def test_a_weight_that_is_not_finite_is_a_divergence() -> None:
    weights = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))]
    check_weights_finite(weights, 0)
    for wrong in (math.nan, math.inf):
        weights[1].data[2] = wrong
        with pytest.raises(Divergence, match="A weight was not finite in epoch 5"):
            check_weights_finite(weights, 4)
