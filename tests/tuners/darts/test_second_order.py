"""DARTS's second-order gradient against exact autograd through the unrolled step, in float64."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import search_spaces
from raynas.interfaces.objective import MicroBatch, TrainingStep
from search_spaces.supernet import Mixed, Supernet
from tests.support.micro_batches import split_batch
from tuners.darts.second_order import unrolled_gradient
from tuners.darts.weighted_mixture import run_mixture

RATE, MOMENTUM, DECAY = 0.3, 0.9, 0.01
SPACE = search_spaces.load("nats-bench", cells=1, channels=2, resolution=4, num_classes=3)


@pytest.fixture(autouse=True)
def use_double_precision() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def batch(count: int) -> MicroBatch:
    return MicroBatch(torch.randn(count, 3, 4, 4), torch.arange(count) % 3, 1.0)


@pytest.fixture
def supernet() -> Supernet:
    """A smooth supernet with unused weights; in evaluation mode batch norm is a fixed scale and shift."""
    supernet = SPACE.supernet().eval()
    for module in list(supernet.modules()):
        for name in [name for name, child in module.named_children() if isinstance(child, nn.ReLU)]:
            setattr(module, name, nn.Tanh())
    supernet.add_module("unused", nn.Linear(2, 2))
    return supernet


def exact_gradient(
    supernet: Supernet, sgd: torch.optim.SGD, mixture: Tensor, train: MicroBatch, search: MicroBatch
) -> Tensor:
    """Return the gradient of equation 7 without approximation, by autograd through the training step."""
    model = Mixed(supernet)
    parameters = {name: weight for name, weight in model.named_parameters() if "unused" not in name}
    weights: dict[str, Tensor] = {name: weight.detach().clone().requires_grad_() for name, weight in parameters.items()}
    alpha = mixture.detach().clone().requires_grad_()
    loss = functional.cross_entropy(functional_call(model, weights, (train.images, alpha)), train.labels)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    next_weights = {}
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        buffer = sgd.state[parameters[name]].get("momentum_buffer", torch.zeros(()))
        next_weights[name] = weight - RATE * (gradient + DECAY * weight + MOMENTUM * buffer)
    outer = functional.cross_entropy(functional_call(model, next_weights, (search.images, alpha)), search.labels)
    (gradient,) = torch.autograd.grad(outer, alpha)
    return gradient


@pytest.mark.parametrize("steps_before", [0, 2])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_gradient_is_the_gradient_through_the_unrolled_step(
    supernet: Supernet, steps_before: int, parts: int
) -> None:
    sgd = torch.optim.SGD(supernet.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    mixture = torch.softmax(torch.randn(6, 5), dim=1)
    train, search = batch(6), batch(4)
    train_batches, search_batches = (split_batch(whole.images, whole.labels, parts) for whole in (train, search))
    generator = np.random.default_rng(0)
    step = TrainingStep(SPACE, supernet, search_batches, generator, functional.cross_entropy, train_batches, sgd)
    for _ in range(steps_before):
        run_mixture(step, step.beside, mixture)
        sgd.step()
        sgd.zero_grad()
    for weight in supernet.parameters():
        weight.requires_grad_(False)
    before = [weight.clone() for weight in supernet.parameters()]
    expected = exact_gradient(supernet, sgd, mixture, train, search)

    for distance, tolerance in ((0.01, 1e-4), (1e-4, 1e-8)):
        leaf = mixture.clone().requires_grad_()
        metrics = unrolled_gradient(step, leaf, run_mixture, distance)
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    assert metrics.keys() == {"loss", "top1"}

    first_order = mixture.clone().requires_grad_()
    run_mixture(step, [search], first_order)
    assert first_order.grad is not None
    assert (first_order.grad - expected).abs().max() > 0.05 * expected.abs().max()
    for weight, old in zip(supernet.parameters(), before, strict=True):
        assert torch.equal(weight, old)
        assert weight.grad is None
        assert not weight.requires_grad
