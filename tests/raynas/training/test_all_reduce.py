"""Two processes that each see half a batch end with the gradients of the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from raynas.interfaces.objective import WEIGHTS, MicroBatch, TrainingStep, UniformPath
from raynas.recipe.settings import TrainingSettings
from raynas.training.all_reduce import add_over_workers, from_first_worker
from raynas.training.update import apply_update, make_optimizer
from search_spaces import load
from tests.support import two_workers

SPACE = load("proxylessnas", width=0.1, resolution=32, num_classes=3)


def two_paths() -> nn.ModuleList:
    """Two branches over one stem; a step trains the first branch alone."""
    torch.manual_seed(0)
    return nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Linear(4, 2), nn.Linear(4, 2)])


def accumulate(net: nn.ModuleList, images: Tensor, labels: Tensor, share: float) -> Tensor:
    features = net[0](images).mean((2, 3))
    loss = nn.functional.cross_entropy(net[1](features), labels) * share
    torch.autograd.backward(loss)
    return loss.detach()


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 3, 5, 5, generator=generator), torch.randint(2, (8,), generator=generator)


def work(rank: int) -> dict[str, Any]:
    net = two_paths()
    images, labels = data()
    begin, end = ((0, 3), (3, 8))[rank]  # shares need not be equal
    loss = accumulate(net, images[begin:end], labels[begin:end], (end - begin) / 8)
    metrics = add_over_workers(net.parameters(), {"loss": loss, "count": torch.tensor(rank + 1)})
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    idle = add_over_workers(two_paths().parameters(), {})
    return {"gradients": gradients, "metrics": metrics, "idle": idle, "first": from_first_worker(rank + 41)}


def test_gradients_of_the_path_and_metrics_add_up(tmp_path: Path) -> None:
    found = two_workers.run(work, tmp_path)
    alone = two_paths()
    loss = accumulate(alone, *data(), 1.0)
    expected = {name: parameter.grad for name, parameter in alone.named_parameters()}
    for one in found:
        assert one["first"] == 41
        assert one["idle"] == {}
        assert float(one["metrics"]["loss"]) == pytest.approx(float(loss), rel=1e-6)
        assert float(one["metrics"]["count"]) == 3
        for name, gradient in one["gradients"].items():
            if gradient is None:
                assert expected[name] is None, f"{name} of the other path"
            else:
                torch.testing.assert_close(gradient, expected[name])
    for name, gradient in found[0]["gradients"].items():
        assert gradient is None or torch.equal(gradient, found[1]["gradients"][name])


def test_one_worker_adds_up_nothing() -> None:
    net = two_paths()
    loss = accumulate(net, *data(), 1.0)
    before = net[1].weight.grad
    assert add_over_workers(net.parameters(), {"loss": loss}) == {"loss": loss}
    assert net[1].weight.grad is before
    assert from_first_worker(5) == 5


def reduced_in_a_step(rank: int) -> dict[str, Any]:
    """What one single-path step on half of four images reduces, as the collective operations' own record has it."""
    torch.manual_seed(0)
    supernet = SPACE.supernet()
    (update,) = UniformPath().begin(SPACE, SPACE.costs(), 0).passes(0)[0]
    half = MicroBatch(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]), 0.5)
    optimizer = make_optimizer(supernet.parameters(), TrainingSettings())
    step = TrainingStep(SPACE, supernet, [half], np.random.default_rng(5), functional.cross_entropy)
    with torch.profiler.profile(record_shapes=True) as profile:
        (path,) = apply_update(update, {WEIGHTS: optimizer}, 0.1, step).paths
    shapes = [event.input_shapes for event in profile.events() if event.name == "gloo:all_reduce"]
    on_path = sum(weight.numel() for module in supernet.path_modules(path) for weight in module.parameters())
    held = optimizer.param_groups[0]["params"]
    return {
        "reduced": shapes,
        "path": on_path,
        "all": sum(weight.numel() for weight in supernet.parameters()),
        "moved": sum(weight.numel() for weight in optimizer.state),
        "held": sum(weight.numel() for weight in held),
    }


def test_a_step_reduces_the_paths_gradients_and_the_metrics_at_once_and_nothing_else(tmp_path: Path) -> None:
    for found in two_workers.run(reduced_in_a_step, tmp_path):
        metrics = 2
        assert found["reduced"] == [[[found["path"] + metrics]]]
        assert found["moved"] == found["path"] < found["all"] / 3
        assert found["held"] == found["all"]
