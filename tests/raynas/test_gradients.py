"""Two processes that each see half a batch end with the gradients of the whole."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raynas.training.gradients import add_over_workers, from_first_worker
from tests import two_workers


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
