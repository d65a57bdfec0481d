"""Two workers with a share of a batch each get the gradients of the whole batch."""

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
from raynas.training.optimizers import make_optimizer
from raynas.training.update import apply_update
from search_spaces import load
from tests.support import two_workers

SPACE = load("proxylessnas", width=0.1, resolution=32, num_classes=3)


def build_two_paths() -> nn.ModuleList:
    """Build two branches over one stem. A training step trains the first branch alone."""
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


def reduce_share(rank: int) -> dict[str, Any]:
    net = build_two_paths()
    images, labels = data()
    begin, end = ((0, 3), (3, 8))[rank]  # shares can be unequal
    loss = accumulate(net, images[begin:end], labels[begin:end], (end - begin) / 8)
    metrics = add_over_workers(net.parameters(), {"loss": loss, "count": torch.tensor(rank + 1)})
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    idle = add_over_workers(build_two_paths().parameters(), {})
    return {"gradients": gradients, "metrics": metrics, "idle": idle, "first": from_first_worker(rank + 41)}


def test_the_gradients_of_a_path_and_the_metrics_are_summed(tmp_path: Path) -> None:
    results = two_workers.run(reduce_share, tmp_path)
    single = build_two_paths()
    loss = accumulate(single, *data(), 1.0)
    expected = {name: parameter.grad for name, parameter in single.named_parameters()}
    for result in results:
        assert result["first"] == 41
        assert result["idle"] == {}
        assert float(result["metrics"]["loss"]) == pytest.approx(float(loss), rel=1e-6)
        assert float(result["metrics"]["count"]) == 3
        for name, gradient in result["gradients"].items():
            if gradient is None:
                assert expected[name] is None, f"{name} of the other path"
            else:
                torch.testing.assert_close(gradient, expected[name])
    for name, gradient in results[0]["gradients"].items():
        assert gradient is None or torch.equal(gradient, results[1]["gradients"][name])


def test_a_single_worker_keeps_its_gradients_and_metrics() -> None:
    net = build_two_paths()
    loss = accumulate(net, *data(), 1.0)
    before = net[1].weight.grad
    assert add_over_workers(net.parameters(), {"loss": loss}) == {"loss": loss}
    assert net[1].weight.grad is before
    assert from_first_worker(5) == 5


def profile_training_step(rank: int) -> dict[str, Any]:
    """Profile a single-path training step on half of four images, and return the shapes of its all-reduces."""
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
    in_optimizer = optimizer.param_groups[0]["params"]
    return {
        "reduced": shapes,
        "path": on_path,
        "all": sum(weight.numel() for weight in supernet.parameters()),
        "moved": sum(weight.numel() for weight in optimizer.state),
        "in_optimizer": sum(weight.numel() for weight in in_optimizer),
    }


def test_a_training_step_has_one_all_reduce_for_the_gradients_of_the_path_and_the_metrics(tmp_path: Path) -> None:
    for result in two_workers.run(profile_training_step, tmp_path):
        metrics = 2
        assert result["reduced"] == [[[result["path"] + metrics]]]
        assert result["moved"] == result["path"] < result["all"] / 3
        assert result["in_optimizer"] == result["all"]
