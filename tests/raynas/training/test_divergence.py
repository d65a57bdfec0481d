"""A loss that is no number or has exploded is found, and named; so is a weight that is no number."""

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
def test_a_loss_that_diverged_is_named_with_its_epoch_and_its_architecture(name: str, value: float) -> None:
    watch = LossMonitor(classes=3)
    watch.add({"loss": torch.tensor(1.0)}, [])
    watch.add({name: torch.tensor(value)}, [PATH])
    shown = f"The {name.replace('_', ' ')} was {value:.3g} in epoch 3, of {PATH}"
    with pytest.raises(Divergence) as fault:
        watch.look(2)
    assert str(fault.value) == shown
    watch.look(2)  # what has been told is not told again


def test_what_is_no_loss_and_what_is_merely_high_goes_on() -> None:
    watch = LossMonitor(classes=3)
    watch.add({"loss": torch.tensor(999 * GUESSING), "top1": torch.tensor(math.nan)}, [PATH])
    watch.add({"latency_loss": torch.tensor(1e9)}, [PATH])
    watch.look(0)


def test_a_weight_that_is_no_number_is_found() -> None:
    weights = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))]
    check_weights_finite(weights, 0)
    for wrong in (math.nan, math.inf):
        weights[1].data[2] = wrong
        with pytest.raises(Divergence, match="A weight was not a number in epoch 5"):
            check_weights_finite(weights, 4)
