"""The optimizers: EfficientNet's RMSprop against hand-computed steps, and weights without decay."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from raynas.recipe.settings import TrainingSettings
from raynas.training.optimizers import EfficientNetRmsprop, make_optimizer


def test_rmsprop_makes_the_steps_of_tensorflow() -> None:
    """Two steps by hand. The rate halves between them; the first step keeps its own rate in the momentum."""
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    rmsprop = EfficientNetRmsprop([{"params": [weight], "weight_decay": 0.1}], 0.2, 0.9)
    weight.grad = torch.tensor([0.5], dtype=torch.float64)
    rmsprop.step()
    gradient = 0.5 + 0.1 * 1.0
    squares = 0.9 * 1.0 + 0.1 * gradient**2
    momentum = 0.2 * gradient / math.sqrt(squares + 0.001)
    value = 1.0 - momentum
    assert weight.item() == pytest.approx(value, abs=1e-12)
    rmsprop.param_groups[0]["lr"] = 0.1
    weight.grad = torch.tensor([-0.3], dtype=torch.float64)
    rmsprop.step()
    gradient = -0.3 + 0.1 * value
    squares = 0.9 * squares + 0.1 * gradient**2
    momentum = 0.9 * momentum + 0.1 * gradient / math.sqrt(squares + 0.001)
    assert weight.item() == pytest.approx(value - momentum, abs=1e-12)


def test_rmsprop_begins_with_small_steps_where_torch_begins_with_large_ones() -> None:
    """With squares from 1, a small gradient makes a small first step. With squares from 0, every step is the rate."""
    steps = {}
    for name in ("ours", "torch"):
        weight = nn.Parameter(torch.zeros(1))
        groups: list[dict[str, Any]] = [{"params": [weight]}]
        optimizer = (
            EfficientNetRmsprop(groups, 0.1, 0.0)
            if name == "ours"
            else torch.optim.RMSprop(groups, 0.1, alpha=0.9, eps=1e-3)
        )
        weight.grad = torch.tensor([0.05])
        optimizer.step()
        steps[name] = abs(weight.item())
    assert steps["ours"] == pytest.approx(0.1 * 0.05 / math.sqrt(0.9 + 0.1 * 0.0025 + 0.001))
    assert steps["torch"] > 0.2


def test_rmsprop_computes_the_gradients_of_a_closure() -> None:
    weight = nn.Parameter(torch.ones(1))
    rmsprop = EfficientNetRmsprop([{"params": [weight]}], 0.1, 0.9)

    def closure() -> float:
        loss = (weight**2).sum()
        torch.autograd.backward(loss)
        return float(loss.detach())

    assert rmsprop.step(closure) == 1.0
    assert weight.item() < 1


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
@pytest.mark.parametrize(
    ("no_decay", "decayed"),
    [
        ((), {"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"}),
        (("norm",), {"0.weight", "0.bias", "2.weight", "2.bias"}),
        (("bias",), {"0.weight", "1.weight", "1.bias", "2.weight"}),
        (("norm", "bias"), {"0.weight", "2.weight"}),
    ],
)
def test_spared_weights_have_no_decay(optimizer: str, no_decay: tuple[str, ...], decayed: set[str]) -> None:
    norm = nn.BatchNorm2d(4)
    nn.init.ones_(norm.bias)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.Linear(4, 2))
    settings = TrainingSettings.model_validate({"optimizer": optimizer, "no_decay": no_decay, "weight_decay": 0.5})
    made = make_optimizer(network.parameters(), settings, [network])
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    made.step()
    moved = {name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == decayed
