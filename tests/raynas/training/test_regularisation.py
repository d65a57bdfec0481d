"""Regularisation of stand-alone training: stochastic depth, a teacher, averaged weights, an augmentation policy."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import search_spaces
from raynas.data import DataSettings, Images, open_images, prepare, training_batch
from raynas.interfaces.objective import MicroBatch, TrainingStep
from raynas.recipe.settings import FitSettings, TeacherSettings
from raynas.training.standalone_checks import check_standalone_settings
from raynas.training.standalone_training import standalone_objective
from raynas.training.teacher import Teacher, check_teacher
from raynas.training.weight_average import moving_average
from search_spaces import SearchSpace, UserError
from search_spaces.supernet import Supernet
from tests.support.small_spaces import small_elastic_space

IMAGES = 8
CHAIN = search_spaces.load("nas-bench-macro", width=0.25, resolution=16, num_classes=3)
CHAIN_TEXT = "nas-bench-macro: k5e6 k3e3 | k3e3 k3e3 skip | k5e6 skip k3e3"


@pytest.fixture(scope="module")
def digits() -> Images:
    return open_images(prepare(DataSettings(augment="none"), 16, 0))


def gradients(
    space: SearchSpace, supernet: Supernet, settings: FitSettings, digits: Images, bounds: list[int]
) -> Tensor:
    """Return the gradients of a training step on fixed images, in micro-batches with these bounds."""
    images = torch.randn(IMAGES, 3, space.resolution, space.resolution, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(IMAGES) % 3
    batches = [
        MicroBatch(images[start:end], labels[start:end], (end - start) / IMAGES, start)
        for start, end in pairwise(bounds)
    ]
    step = TrainingStep(space, supernet, batches, np.random.default_rng(3), functional.cross_entropy)
    ((update,),) = standalone_objective(settings, digits.prepared).begin(space, space.costs(), 0).passes(0)
    supernet.zero_grad()
    update.accumulate(step)
    return torch.cat([weight.grad.flatten() for weight in supernet.parameters() if weight.grad is not None])


def test_branches_are_added_to_the_inputs_of_their_blocks() -> None:
    """With zeroed branches a network is equal to the network that skips those blocks."""
    space, supernet = CHAIN, CHAIN.supernet().eval()
    architecture = space.parse(CHAIN_TEXT)
    branches = supernet.branches(architecture)
    assert len(branches) == 3, "the second, fourth and eighth block keep their shape and are not skipped"
    for branch in branches:
        (norm,) = [part for part in branch.modules() if isinstance(part, nn.BatchNorm2d)]
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    images = torch.randn(2, 3, 16, 16)
    without_branches = space.parse("nas-bench-macro: k5e6 skip | k3e3 skip skip | k5e6 skip skip")
    torch.testing.assert_close(supernet(images, architecture), supernet(images, without_branches))


def test_an_elastic_network_has_a_branch_for_each_residual_block() -> None:
    space = small_elastic_space()
    architecture = space.sample(np.random.default_rng(2))
    residuals = [part for part in space.network(architecture).modules() if type(part).__name__ == "Residual"]
    assert len(space.supernet().branches(architecture)) == len(residuals)


@pytest.mark.parametrize("kind", ["chain", "elastic"])
def test_stochastic_depth_does_not_depend_on_micro_batches(kind: str, digits: Images) -> None:
    torch.manual_seed(0)
    space = CHAIN if kind == "chain" else small_elastic_space()
    fixed = space.only(space.parse(CHAIN_TEXT) if kind == "chain" else space.sample(np.random.default_rng(4)))
    supernet = fixed.supernet().eval()
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    settings = FitSettings(stochastic_depth=0.5)
    whole = gradients(fixed, supernet, settings, digits, [0, IMAGES])
    torch.testing.assert_close(gradients(fixed, supernet, settings, digits, [0, 3, IMAGES]), whole)
    assert not torch.allclose(gradients(fixed, supernet, FitSettings(), digits, [0, IMAGES]), whole)
    assert not any(module._forward_hooks for module in supernet.modules())


def test_stochastic_depth_is_refused_for_networks_of_cells() -> None:
    with pytest.raises(UserError, match=r"set fit\.drop_path"):
        check_standalone_settings(search_spaces.load("nats-bench"), FitSettings(stochastic_depth=0.2))
    check_standalone_settings(CHAIN, FitSettings(stochastic_depth=0.2))


def save_teacher(folder: Path, classes: int) -> Path:
    """Write the weights of a torchvision network, and return the file."""
    from torchvision.models import squeezenet1_1

    torch.manual_seed(5)
    file = folder / "teacher.pth"
    torch.save(squeezenet1_1(num_classes=classes).state_dict(), file)
    return file


def test_the_loss_of_a_teacher_is_that_of_torch(tmp_path: Path) -> None:
    """The teacher gets its own normalisation. Torch's divergence lacks the entropy of the teacher's probabilities."""
    from torchvision.models import squeezenet1_1

    settings = TeacherSettings(model="squeezenet1_1", weights=str(save_teacher(tmp_path, 3)), share=0.25, temperature=2)
    mean, std = (0.2, 0.4, 0.6), (0.3, 0.2, 0.1)
    colours = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = (colours - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    network = squeezenet1_1(num_classes=3).eval()
    network.load_state_dict(torch.load(tmp_path / "teacher.pth", weights_only=True))
    theirs = (colours - torch.tensor(settings.mean)[:, None, None]) / torch.tensor(settings.std)[:, None, None]
    probabilities = (network(theirs) / 2).softmax(1).detach()
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    entropy = -(probabilities * probabilities.log()).sum(1).mean()
    divergence = functional.kl_div((logits / 2).log_softmax(1), probabilities, reduction="batchmean")
    expected = 0.75 * functional.cross_entropy(logits, labels) + 0.25 * 4 * (divergence + entropy)
    loss = Teacher(settings, 3, mean, std).loss(ours, functional.cross_entropy)
    torch.testing.assert_close(loss(logits, labels), expected)


def test_a_teacher_changes_the_gradients_but_is_not_in_the_learner(tmp_path: Path, digits: Images) -> None:
    fixed = CHAIN.only(CHAIN.parse(CHAIN_TEXT))
    supernet = fixed.supernet().eval()
    teacher = TeacherSettings(model="squeezenet1_1", weights=str(save_teacher(tmp_path, 3)))
    settings = FitSettings(teacher=teacher)
    learner = standalone_objective(settings, digits.prepared).begin(fixed, fixed.costs(), 0)
    assert not learner.state_dict()
    assert not list(learner.own_weights())
    large = search_spaces.load("nas-bench-macro", width=0.25, resolution=32, num_classes=3)  # squeezenet's smallest
    fixed = large.only(large.parse(CHAIN_TEXT))
    supernet = fixed.supernet().eval()
    with_teacher = gradients(fixed, supernet, settings, digits, [0, 3, IMAGES])
    assert not torch.allclose(gradients(fixed, supernet, FitSettings(), digits, [0, IMAGES]), with_teacher)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet17"}, "no classification model 'resnet17'; the nearest is 'resnet18'"),
        ({"weights": "nowhere.pth"}, "nowhere.pth cannot be read"),
        ({"model": "squeezenet1_0"}, "not the weights of a squeezenet1_0 with 3 classes"),
        ({"weights": "DEFAULT"}, "have 1000 classes, but the data has 3"),
    ],
)
def test_a_teacher_that_cannot_be_loaded_is_refused(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    settings = {"model": "squeezenet1_1", "weights": str(save_teacher(tmp_path, 3)), **changes}
    with pytest.raises(UserError, match=message):
        check_teacher(TeacherSettings.model_validate(settings), 3)


def test_the_average_of_weights_follows_its_formula() -> None:
    """Four training steps by hand: the average keeps 0, 2/11, 3/12, then at most the share of the setting."""
    network = nn.Linear(1, 1, bias=False)
    average = moving_average(network, 0.26)
    averaged = average.module.get_parameter("weight")
    expected = 0.0
    for step, value in enumerate([1.0, 2.0, 4.0, 8.0]):
        nn.init.constant_(network.weight, value)
        average.update_parameters(network)
        kept = 0.0 if step == 0 else min(0.26, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
    assert averaged.item() == pytest.approx(expected)


@pytest.mark.parametrize("policy", ["randaugment", "autoaugment", "autoaugment-cifar10"])
def test_a_policy_depends_on_the_training_step_and_the_place_in_the_batch(policy: str, digits: Images) -> None:
    rows = digits.rows("train")[:12]
    whole, labels = training_batch(digits, rows, 1, 2, 3, policy=policy)
    part, part_labels = training_batch(digits, rows, 1, 2, 3, slice(5, 9), policy=policy)
    assert torch.equal(whole[5:9], part)
    assert torch.equal(labels[5:9], part_labels)
    plain, _ = training_batch(digits, rows, 1, 2, 3)
    other, _ = training_batch(digits, rows, 1, 2, 4, policy=policy)
    assert not torch.equal(whole, plain)
    assert not torch.equal(whole, other)


def test_a_policy_does_not_change_the_random_state_of_torch(digits: Images) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    training_batch(digits, digits.rows("train")[:4], 1, 2, 3, policy="randaugment")
    assert torch.equal(torch.rand(3), expected)
